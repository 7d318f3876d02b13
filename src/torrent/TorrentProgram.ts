/**
 * The program of a torrent. Runs it until its files are gone, then again from its start, until it ends for good or its
 * scope closes. Keeps what a user asks of the torrent for the runs to come.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as Prng from "../base/Prng.ts"
import * as Signal from "../base/Signal.ts"
import type { Accept } from "../connect/Incoming.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as EventLog from "./EventLog.ts"
import * as Selection from "./Selection.ts"
import * as Sources from "./Sources.ts"
import * as StatusReport from "./StatusReport.ts"
import type { Torrent } from "./Torrent.ts"
import * as TorrentLife from "./TorrentLife.ts"
import type { Lasting, Options, TorrentParts } from "./TorrentParts.ts"
import * as TorrentRun from "./TorrentRun.ts"
import type { TorrentError, TorrentStatus } from "./TorrentStatus.ts"
import { TorrentDefect } from "./TorrentStatus.ts"

/** How many added addresses are kept for another run. */
const maxAddedAddresses = 1_000

/** A torrent that was started. */
export interface TorrentProgram {
  readonly torrent: Torrent
  /** Takes a connection that a peer opened to the engine. Closes it at once if it is of no use now. */
  readonly accept: Accept
}

/**
 * Starts a torrent that runs until the scope closes. Returns at once; events report the check, the download and
 * failures.
 */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { metainfo } = options
  const clock = yield* Clock.Clock
  const life = yield* TorrentLife.make({ seeds: options.seed !== undefined && options.seed !== false })
  const limits = RateLimits.makeTorrent(
    options.engineLimits,
    { torrent: options.limits, eachPeer: options.peerLimits },
    Monotonic.nowUnsafe(clock)
  )
  const lasting: Lasting = {
    options,
    life,
    selection: Selection.make(metainfo.layout, options.files ?? []),
    sources: Sources.make(),
    limits,
    random: Prng.make(yield* Random.nextInt)
  }
  /** The current run; `undefined` while files are checked and after the end. */
  let run: TorrentParts | undefined
  /** The run that is ending: its last pieces are still being stored. */
  let ending: TorrentParts | undefined
  /** The status of the last run at its end; `undefined` before, and while files are checked again. */
  let final: TorrentStatus | undefined
  /** The addresses that were added last. */
  let addedAddresses: ReadonlyArray<PeerAddress> = []
  /** The scope of the current run. */
  let parts: Scope.Closeable | undefined

  const begin = Effect.suspend(() => {
    final = undefined
    parts = Scope.makeUnsafe()
    return Effect.gen(function* () {
      const opened = yield* TorrentRun.open(lasting)
      run = opened
      PieceSwarm.add(opened.swarm, addedAddresses)
      yield* TorrentRun.begin(opened)
    }).pipe(TorrentRun.failing(life), Scope.provide(parts))
  })
  const end = Effect.suspend(() => {
    if (parts === undefined) return Effect.void
    if (run !== undefined) run.facts.isOver = true
    ending = run
    run = undefined
    TorrentLife.note(life, { _tag: "Restarted" })
    return Effect.ensuring(Scope.close(parts, Exit.void), ended)
  }).pipe(Effect.uninterruptible)
  const ended = Effect.sync(() => {
    if (ending !== undefined) final = StatusReport.atEnd(ending, Monotonic.nowUnsafe(clock))
    ending = undefined
    parts = undefined
  })
  const status = Effect.sync(() => {
    const parts = run ?? ending
    if (parts !== undefined) return StatusReport.of(parts, Monotonic.nowUnsafe(clock))
    return final === undefined ? StatusReport.early(lasting) : StatusReport.after(final, lasting)
  })
  const fail = (cause: Cause.Cause<TorrentError>) => {
    const error = Cause.findErrorOption(cause)
    if (Option.isSome(error)) TorrentLife.note(life, { _tag: "Broke", error: error.value })
    else if (Cause.hasDies(cause)) {
      TorrentLife.note(life, { _tag: "Broke", error: new TorrentDefect({ cause: Cause.squash(cause) }) })
    }
    return Effect.asVoid(Deferred.failCause(life.completed, cause))
  }
  const turn = Effect.andThen(
    end,
    Effect.suspend(() => (life.failure === undefined ? begin : Effect.failCause(life.failure)))
  ).pipe(
    // The scope of the run is closed then, so a failed torrent holds nothing until it is removed.
    Effect.catchCause((cause) => Effect.andThen(end, fail(cause)))
  )
  // Pieces that are stored while the torrent stops still count, so its run is over only after that.
  yield* Effect.addFinalizer(() =>
    Effect.andThen(parts === undefined ? Effect.void : Scope.close(parts, Exit.void), end)
  )
  yield* Signal.attend(life.turning, turn)
  Signal.set(life.turning)

  const torrent: Torrent = {
    metainfo,
    events: Stream.suspend(() => EventLog.events(life.log)),
    status,
    completed: Deferred.await(life.completed),
    addPeers: (addresses) =>
      Effect.suspend(() => {
        // Kept also during a run, because another one may follow.
        addedAddresses = [...addedAddresses, ...addresses].slice(-maxAddedAddresses)
        if (run !== undefined) PieceSwarm.add(run.swarm, addresses)
        return Effect.void
      }),
    setPriorities: (files) => Effect.suspend(() => Selection.setFiles(lasting.selection, () => run?.selected, files)),
    setDeadlines: (asked) =>
      Effect.map(Monotonic.now, (now) => {
        const deadlines = asked.map(({ piece, within }) => ({ piece, at: now + Duration.toMillis(within) }))
        Selection.setDeadlines(lasting.selection, run?.assembly, deadlines)
      }),
    setLimits: (asked) => Effect.map(Monotonic.now, (now) => RateLimits.set(limits, asked, now)),
    setPeerLimits: (asked) => Effect.map(Monotonic.now, (now) => RateLimits.setEachPeer(limits, asked, now))
  }
  const self: TorrentProgram = {
    torrent,
    accept: (caller, scope) =>
      Effect.suspend(() =>
        run === undefined ? Scope.close(scope, Exit.void) : PieceSwarm.accept(run.swarm, caller, scope)
      )
  }
  return self
})
