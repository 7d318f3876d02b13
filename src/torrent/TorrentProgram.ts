/**
 * The program of a torrent. Fetches its metadata if it was added by a magnet link. Runs it until its files are gone or
 * somebody asks for a recheck, then again from its start, until it ends for good or its scope closes. Pauses it and
 * lets it go on. Keeps what a user asks of the torrent for the runs to come.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import type * as PieceOrder from "../assembly/PieceOrder.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as Prng from "../base/Prng.ts"
import * as Signal from "../base/Signal.ts"
import * as Tally from "../base/Tally.ts"
import type { Accept } from "../connect/Incoming.ts"
import type { Metainfo, MetainfoError } from "../metainfo/Metainfo.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import type * as MetadataFetch from "./MetadataFetch.ts"
import * as Readers from "./Readers.ts"
import * as Selection from "./Selection.ts"
import * as Sources from "./Sources.ts"
import * as StatusReport from "./StatusReport.ts"
import * as TorrentChange from "./TorrentChange.ts"
import * as TorrentLife from "./TorrentLife.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import type { TorrentOptions } from "./TorrentOptions.ts"
import type { Carried, Lasting, Options, TorrentParts } from "./TorrentParts.ts"
import * as TorrentRun from "./TorrentRun.ts"
import type { TorrentError, TorrentStatus } from "./TorrentStatus.ts"
import { TorrentDefect } from "./TorrentStatus.ts"
import { RemovalFailed, TorrentStopped } from "./TorrentStopped.ts"
import * as Watch from "./Watch.ts"

/** How many added addresses are kept for another run. */
const maxAddedAddresses = 1_000

/** Where the metainfo comes from: it is known, or it is fetched for a magnet link. */
export type Source =
  | { readonly _tag: "Metainfo"; readonly metainfo: Metainfo }
  | {
      readonly _tag: "Magnet"
      /** The name to show until the metainfo is known. */
      readonly name: string
      readonly trackers: ReadonlyArray<ReadonlyArray<string>>
      /** Fetches the metainfo, and the addresses that were found meanwhile. Ends everything it began when it ends. */
      readonly fetch: (
        options: Required<Pick<MetadataFetch.Options, "listen" | "report">>
      ) => Effect.Effect<{ readonly metainfo: Metainfo; readonly peers: ReadonlyArray<PeerAddress> }, MetainfoError>
    }

/** What a torrent is made from. */
export interface ProgramOptions extends Omit<Options, "metainfo">, Pick<TorrentOptions, "files"> {
  readonly infoHash: InfoHash
  readonly source: Source
  readonly onEvent?: TorrentLife.Options["onEvent"]
  /** Closes the scope of the torrent, and with it the torrent. */
  readonly stop: Effect.Effect<void>
}

/** What is left of a torrent's files after it was removed. */
export interface Removed {
  /**
   * Files at its paths that were left alone, because they are somebody else's or nothing proves them to be the
   * torrent's own. Components joined by `/`. Empty if its files were not to be deleted.
   */
  readonly keptPaths: ReadonlyArray<string>
}

/** What is asked for until the metainfo is known, and for every run. */
interface Asked {
  files: TorrentOptions["files"]
  deadlines: ReadonlyArray<PieceOrder.Deadline>
  /** The addresses that were added last. */
  addresses: ReadonlyArray<PeerAddress>
}

/** A torrent that was started. Its functions are plain or effects that never fail. */
export interface TorrentProgram {
  readonly options: ProgramOptions
  readonly life: TorrentLife.TorrentLife
  readonly limits: RateLimits.TorrentLimits
  readonly asked: Asked
  /** What outlives a run; `undefined` until the metainfo is known. */
  readonly lasting: () => Lasting | undefined
  /** The current run; `undefined` while files are checked and after the end. */
  readonly run: () => TorrentParts | undefined
  /** What is stored and wanted, in the run or at the end of the last one. */
  readonly present: () => TorrentChange.Present
  readonly addPeers: (addresses: ReadonlyArray<PeerAddress>) => void
  readonly statusNow: () => TorrentStatus
  /** As `Torrent.remove`. */
  readonly remove: (options: { readonly data: boolean }) => Effect.Effect<Removed, RemovalFailed | TorrentStopped>
  /** Takes a connection that a peer opened to the engine. Closes it at once if it is of no use now. */
  readonly accept: Accept
  /** The parts of the run that has not ended yet. */
  readonly parts: () => TorrentParts | undefined
}

/** What a torrent was like at the end of a run. */
interface Final {
  readonly status: TorrentStatus
  readonly stored: Bitfield.Bitfield
  readonly wanted: Bitfield.Bitfield
}

/**
 * Starts a torrent that runs until the scope closes. Returns at once; events report the check, the download and
 * failures.
 */
export const make = Effect.fnUntraced(function* (options: ProgramOptions) {
  const { infoHash, source } = options
  const clock = yield* Clock.Clock
  let removal:
    | { readonly data: boolean; readonly done: Deferred.Deferred<Removed, RemovalFailed | TorrentStopped> }
    | undefined
  // Registered first, so that it is done last: the torrent may have stopped before it could be removed.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      if (removal !== undefined) Deferred.doneUnsafe(removal.done, Effect.fail(new TorrentStopped({ infoHash })))
    })
  )
  const life = yield* TorrentLife.make({
    infoHash,
    seeds: options.seed !== undefined && options.seed !== false,
    isPaused: options.isPaused,
    fetches: source._tag === "Magnet",
    onEvent: options.onEvent
  })
  const limits = RateLimits.makeTorrent(
    options.engineLimits,
    { torrent: options.limits, eachPeer: options.peerLimits },
    Monotonic.nowUnsafe(clock)
  )
  const random = Prng.make(yield* Random.nextInt)
  const sources = Sources.make()
  const carried: Carried = { downloadedBytes: 0, wastedBytes: 0, uploadedBytes: 0 }
  const asked: Asked = { files: options.files, deadlines: [], addresses: [] }
  const scope = yield* Effect.scope
  let lasting: Lasting | undefined
  let run: TorrentParts | undefined
  /** The run that is ending: its last pieces are still being stored. */
  let ending: TorrentParts | undefined
  /** The end of the last run; `undefined` before, and while files are checked again. */
  let final: Final | undefined
  /** The scope of the current run, and what exchanges pieces in it. */
  let parts: Scope.Closeable | undefined
  let exchanging: TorrentRun.Exchanging | undefined
  /** The scope of what keeps its files. */
  let keeping: Scope.Closeable | undefined
  /** How the fetch of the metadata is going, and who takes connections meanwhile. */
  let progress: MetadataFetch.Progress | undefined
  let acceptMeanwhile: Accept | undefined
  /** Increases when other things are known of the torrent than before. */
  let epoch = 0

  const learn = Effect.fnUntraced(function* (metainfo: Metainfo) {
    const { layout } = metainfo
    const files = typeof asked.files === "function" ? asked.files(metainfo) : (asked.files ?? [])
    const selection = Selection.make(layout, files)
    Selection.setDeadlines(selection, undefined, asked.deadlines)
    const selected = () => run?.selected
    const fetching = options.readOnly === true ? () => undefined : selected
    const readers = Readers.make({ infoHash, layout, selection, selected: fetching })
    epoch++
    lasting = { options: { ...options, metainfo }, life, selection, readers, sources, limits, random, carried }
    yield* Scope.provide(Selection.run(selection, selected), scope)
  })

  const begin = Effect.fnUntraced(function* (lasting: Lasting) {
    const { askedRechecks } = life
    const opened = yield* TorrentRun.open(lasting, askedRechecks > life.doneRechecks)
    run = opened
    epoch++
    life.doneRechecks = askedRechecks
    keeping = yield* Scope.fork(yield* Effect.scope)
    yield* Scope.provide(TorrentRun.begin(opened), keeping)
    // Somebody asked while files were checked.
    if (life.askedRechecks > life.doneRechecks) TorrentLife.note(life, { _tag: "RecheckAsked" })
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
    if (ending !== undefined) {
      const status = StatusReport.atEnd(ending, Monotonic.nowUnsafe(clock))
      const present = presentOf(ending)
      final = { status, stored: TorrentChange.storedOf(present), wanted: Bitfield.copy(present.wanted) }
      const { assembly, upload } = ending
      const { downloadedBytes, wastedBytes } = assembly
      if (options.tally !== undefined) {
        Tally.end(options.tally, { downloadedBytes, wastedBytes, uploadedBytes: upload.uploadedBytes })
      }
      carried.downloadedBytes = status.downloadedBytes
      carried.wastedBytes = status.wastedBytes
      carried.uploadedBytes = status.uploadedBytes
    }
    ending = undefined
    parts = undefined
    exchanging = undefined
    keeping = undefined
    Watch.wake(life.watch)
  })

  /** Deletes what is to be deleted. In a run, everything ends first that writes. */
  const remove = Effect.fnUntraced(function* (data: boolean) {
    if (run === undefined || keeping === undefined) {
      yield* end
      return yield* TorrentRun.forget(infoHash, lasting, data)
    }
    if (exchanging !== undefined) yield* Scope.close(exchanging.scope, Exit.void)
    yield* Scope.close(keeping, Exit.void)
    run.facts.isOver = true
    return yield* run.files.remove(data)
  })

  /** Exchanges pieces, or rests, as is asked. */
  const exchange = Effect.fnUntraced(function* (run: TorrentParts) {
    if (!life.machine.isPaused) {
      exchanging ??= yield* TorrentRun.exchange(run, asked.addresses)
      return
    }
    if (exchanging !== undefined) yield* TorrentRun.rest(run, exchanging)
    exchanging = undefined
    TorrentLife.note(life, { _tag: "Rested", at: Monotonic.nowUnsafe(clock) })
  })

  /** Fetches the metadata, until it is known or somebody pauses the torrent. */
  const fetch = Effect.fnUntraced(function* (source: Extract<Source, { _tag: "Magnet" }>) {
    Sources.setTrackers(sources, source.trackers)
    const fetched = source.fetch({
      listen: (accept) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            acceptMeanwhile = accept
          }),
          () =>
            Effect.sync(() => {
              acceptMeanwhile = undefined
            })
        ),
      report: (current, event) => {
        progress = current
        if (event !== undefined) Sources.note(sources, event, (reported) => TorrentLife.report(life, reported))
      }
    })
    const paused = Watch.until(life.watch, () => (life.machine.isPaused ? true : undefined))
    const found = yield* Effect.raceFirst(Effect.asSome(fetched), Effect.as(paused, Option.none())).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          progress = undefined
        })
      )
    )
    if (Option.isNone(found)) return TorrentLife.note(life, { _tag: "Rested", at: Monotonic.nowUnsafe(clock) })
    const { metainfo, peers } = found.value
    addPeers(peers)
    yield* learn(metainfo)
    const event = {
      _tag: "MetadataFetched",
      name: metainfo.name,
      totalBytes: metainfo.layout.geometry.totalLength
    } as const
    TorrentLife.note(life, { _tag: "Fetched", event })
  })

  const fail = (cause: Cause.Cause<TorrentError>) => {
    if (lasting !== undefined) Readers.end(lasting.readers, cause)
    const error = Cause.findErrorOption(cause)
    if (Option.isSome(error)) TorrentLife.note(life, { _tag: "Broke", error: error.value })
    else if (Cause.hasDies(cause)) {
      TorrentLife.note(life, { _tag: "Broke", error: new TorrentDefect({ cause: Cause.squash(cause) }) })
    } else return Effect.void
    return Effect.asVoid(Deferred.failCause(life.completed, cause))
  }
  /** Does what the life asks for now. */
  const turn = Effect.gen(function* () {
    if (TorrentMachine.hasEnded(life.machine)) return
    if (life.failure !== undefined || life.machine.phase === "restarting") yield* end
    if (life.failure !== undefined) return yield* Effect.failCause(life.failure)
    if (lasting === undefined && source._tag === "Magnet") yield* fetch(source)
    if (lasting === undefined) return
    const isNew = parts === undefined
    parts ??= Scope.makeUnsafe()
    if (isNew) {
      final = undefined
      epoch++
      yield* Scope.provide(begin(lasting), parts)
    }
    if (run !== undefined && life.machine.phase === "running") yield* Scope.provide(exchange(run), parts)
  }).pipe(
    TorrentRun.failing(life),
    // The scope of the run is closed then, so a failed torrent holds nothing until it is removed.
    Effect.catchCause((cause) => Effect.andThen(end, fail(cause)))
  )
  const addPeers = (addresses: ReadonlyArray<PeerAddress>): void => {
    // Kept also during a run, because another one may follow.
    asked.addresses = [...asked.addresses, ...addresses].slice(-maxAddedAddresses)
    if (run !== undefined) PieceSwarm.add(run.swarm, addresses)
  }
  const early = (): StatusReport.Known => {
    if (lasting !== undefined) return StatusReport.knownOf(lasting)
    const name = source._tag === "Magnet" ? source.name : source.metainfo.name
    return { life, sources, limits, carried, name, layout: undefined, fetching: progress }
  }
  const presentOf = ({ assembly, facts, files }: TorrentParts): TorrentChange.Present => ({
    state: TorrentMachine.stateOf(life.machine),
    epoch,
    stored: facts.kept,
    suspects: files.suspects,
    wanted: assembly.table.wanted
  })
  const present = (): TorrentChange.Present => {
    const parts = run ?? ending
    if (parts !== undefined) return presentOf(parts)
    const pieces = lasting?.options.metainfo.layout.geometry.pieceCount ?? 0
    return {
      state: TorrentMachine.stateOf(life.machine),
      epoch,
      stored: final?.stored ?? Bitfield.make(pieces),
      suspects: undefined,
      wanted: final?.wanted ?? Bitfield.full(pieces)
    }
  }
  if (source._tag === "Metainfo") yield* learn(source.metainfo)
  // Pieces that are stored while the torrent stops still count, so its run is over only after that.
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      if (removal !== undefined) {
        const { data, done } = removal
        const removed = Effect.mapBoth(remove(data), {
          onSuccess: (keptPaths): Removed => ({ keptPaths }),
          onFailure: (error) => new RemovalFailed({ infoHash, error })
        })
        Deferred.doneUnsafe(done, yield* Effect.exit(removed))
      }
      if (parts !== undefined) yield* Scope.close(parts, Exit.void)
      yield* end
    })
  )
  yield* Signal.attend(life.turning, turn)
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      if (lasting !== undefined) Readers.end(lasting.readers)
    })
  )
  Signal.set(life.turning)

  const self: TorrentProgram = {
    options,
    life,
    limits,
    asked,
    lasting: () => lasting,
    run: () => run,
    parts: () => run ?? ending,
    present,
    addPeers,
    remove: ({ data }) =>
      Effect.suspend(() => {
        if (life.machine.phase === "stopped") return Effect.fail(new TorrentStopped({ infoHash }))
        removal ??= { data, done: Deferred.makeUnsafe() }
        // Once it has begun, it must not be left half done.
        return Effect.uninterruptible(Effect.andThen(options.stop, Deferred.await(removal.done)))
      }),
    statusNow: () => {
      const parts = run ?? ending
      if (parts !== undefined) return StatusReport.of(parts, Monotonic.nowUnsafe(clock))
      return final === undefined || lasting === undefined
        ? StatusReport.early(early())
        : StatusReport.after(final.status, lasting)
    },
    accept: (caller, scope) =>
      Effect.suspend(() => {
        if (acceptMeanwhile !== undefined) return acceptMeanwhile(caller, scope)
        return run === undefined || exchanging === undefined
          ? Scope.close(scope, Exit.void)
          : PieceSwarm.accept(run.swarm, caller, scope)
      })
  }
  return self
})
