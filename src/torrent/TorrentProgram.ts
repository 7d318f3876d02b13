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
import * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as Prng from "../base/Prng.ts"
import * as Signal from "../base/Signal.ts"
import * as Tally from "../base/Tally.ts"
import type { Accept } from "../connect/Incoming.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as Readers from "./Readers.ts"
import * as Selection from "./Selection.ts"
import * as Sources from "./Sources.ts"
import * as StatusReport from "./StatusReport.ts"
import * as TorrentChange from "./TorrentChange.ts"
import * as TorrentLife from "./TorrentLife.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import type { Lasting, TorrentParts } from "./TorrentParts.ts"
import * as TorrentRecord from "./TorrentRecord.ts"
import * as TorrentRun from "./TorrentRun.ts"
import type { TorrentError } from "./TorrentStatus.ts"
import { TorrentDefect } from "./TorrentStatus.ts"
import { RemovalFailed, TorrentStopped } from "./TorrentStopped.ts"
import * as Watch from "./Watch.ts"

/** How many added addresses are kept for another run. */
const maxAddedAddresses = 1_000

/**
 * Starts a torrent that runs until the scope closes. Returns at once; events report the check, the download and
 * failures.
 */
export const make = Effect.fnUntraced(function* (options: TorrentRecord.ProgramOptions) {
  const { infoHash, source } = options
  const clock = yield* Clock.Clock
  const life = yield* TorrentLife.make({
    infoHash,
    seeds: options.seed !== undefined && options.seed !== false,
    isPaused: options.isPaused,
    fetches: source._tag === "Magnet",
    onEvent: options.onEvent
  })
  const self: TorrentRecord.TorrentRecord = {
    options,
    life,
    limits: RateLimits.makeTorrent(
      options.engineLimits,
      { torrent: options.limits, eachPeer: options.peerLimits },
      Monotonic.nowUnsafe(clock)
    ),
    sources: Sources.make(),
    random: Prng.make(yield* Random.nextInt),
    clock,
    scope: yield* Effect.scope,
    carried: { downloadedBytes: 0, wastedBytes: 0, uploadedBytes: 0 },
    asked: { files: options.files, deadlines: [], addresses: [] },
    lasting: undefined,
    run: undefined,
    ending: undefined,
    final: undefined,
    parts: undefined,
    keeping: undefined,
    exchanging: undefined,
    progress: undefined,
    acceptMeanwhile: undefined,
    epoch: 0,
    removal: undefined,
    isOver: false
  }
  if (source._tag === "Metainfo") yield* learn(self, source.metainfo)
  yield* Effect.addFinalizer(() => stop(self))
  yield* Signal.attend(life.turning, turn(self))
  yield* Effect.addFinalizer(() => Effect.sync(() => endReaders(self)))
  Signal.set(life.turning)
  return self
})

const now = ({ clock }: TorrentRecord.TorrentRecord): number => Monotonic.nowUnsafe(clock)

/** Notes the metainfo. */
const learn = Effect.fnUntraced(function* (self: TorrentRecord.TorrentRecord, metainfo: Metainfo) {
  const { asked, carried, life, limits, options, random, scope, sources } = self
  const { infoHash, layout } = metainfo
  const files = typeof asked.files === "function" ? asked.files(metainfo) : (asked.files ?? [])
  const selection = Selection.make(layout, files)
  Selection.setDeadlines(selection, undefined, asked.deadlines)
  /** A torrent that only reads its files fetches none for its readers. */
  const fetching = () => (options.readOnly === true ? undefined : self.run?.selected)
  const readers = Readers.make({ infoHash, layout, selection, selected: fetching })
  const { hintedPieces } = options
  const hint = hintedPieces && Bitfield.fitted(hintedPieces, layout.geometry.pieceCount)
  self.lasting = { options: { ...options, metainfo }, life, selection, readers, sources, limits, random, carried, hint }
  self.epoch++
  yield* Scope.provide(Selection.run(selection, fetching), scope)
})

/** Ends the readers of a torrent that ends. Without a cause, it was stopped. */
const endReaders = ({ lasting }: TorrentRecord.TorrentRecord, cause?: Cause.Cause<TorrentError>): void => {
  if (lasting !== undefined) Readers.end(lasting.readers, cause)
}

/** Does what the life asks for now. */
const turn = (self: TorrentRecord.TorrentRecord) =>
  TorrentRun.failing(self.life)(
    // The scope of the run is closed then, so a failed torrent holds nothing until it is removed.
    Effect.catchCause(goOn(self), (cause) => Effect.andThen(end(self), fail(self, cause)))
  )

const goOn = Effect.fnUntraced(function* (self: TorrentRecord.TorrentRecord) {
  const { life, options } = self
  if (TorrentMachine.hasEnded(life.machine)) return
  if (life.failure !== undefined || life.machine.phase === "restarting") yield* end(self)
  if (life.failure !== undefined) return yield* Effect.failCause(life.failure)
  if (self.lasting === undefined && options.source._tag === "Magnet") yield* fetch(self, options.source)
  if (self.lasting === undefined) return
  if (self.parts === undefined) {
    self.parts = Scope.makeUnsafe()
    self.final = undefined
    self.epoch++
    yield* begin(self, self.lasting, self.parts)
  }
  if (self.run !== undefined && life.machine.phase === "running") yield* exchange(self, self.run, self.parts)
})

/** Fetches the metadata, until it is known or somebody pauses the torrent. */
const fetch = Effect.fnUntraced(function* (
  self: TorrentRecord.TorrentRecord,
  source: Extract<TorrentRecord.Source, { _tag: "Magnet" }>
) {
  const { life, sources } = self
  Sources.setTrackers(sources, source.trackers)
  if (life.machine.isPaused) return TorrentLife.note(life, { _tag: "Rested", at: now(self) })
  const fetched = source.fetch({
    listen: (accept) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          self.acceptMeanwhile = accept
        }),
        () =>
          Effect.sync(() => {
            self.acceptMeanwhile = undefined
          })
      ),
    report: (progress, event) => {
      self.progress = progress
      if (event !== undefined) {
        Sources.note(sources, event, now(self), (reported) => TorrentLife.report(life, reported))
      }
    }
  })
  const paused = Watch.until(life.watch, () => life.machine.isPaused || undefined)
  const found = yield* Effect.raceFirst(Effect.asSome(fetched), Effect.as(paused, Option.none())).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        self.progress = undefined
      })
    )
  )
  if (Option.isNone(found)) return TorrentLife.note(life, { _tag: "Rested", at: now(self) })
  const { metainfo, peers } = found.value
  addPeers(self, peers)
  yield* learn(self, metainfo)
  const { totalLength } = metainfo.layout.geometry
  TorrentLife.note(life, {
    _tag: "Fetched",
    event: { _tag: "MetadataFetched", name: metainfo.name, totalBytes: totalLength }
  })
})

/** Checks the files, and has them kept. */
const begin = Effect.fnUntraced(function* (
  self: TorrentRecord.TorrentRecord,
  lasting: Lasting,
  parts: Scope.Closeable
) {
  const { life } = self
  const { askedRechecks } = life
  const run = yield* Scope.provide(TorrentRun.open(lasting, askedRechecks > life.doneRechecks), parts)
  self.run = run
  self.epoch++
  life.doneRechecks = askedRechecks
  self.keeping = yield* Scope.fork(parts)
  yield* Scope.provide(TorrentRun.begin(run), self.keeping)
  // Somebody asked while files were checked.
  if (life.askedRechecks > life.doneRechecks) TorrentLife.note(life, { _tag: "RecheckAsked" })
})

/** Exchanges pieces, or rests, as is asked. */
const exchange = Effect.fnUntraced(function* (
  self: TorrentRecord.TorrentRecord,
  run: TorrentParts,
  parts: Scope.Closeable
) {
  const { asked, exchanging, life } = self
  if (!life.machine.isPaused) {
    if (exchanging !== undefined) return
    self.exchanging = yield* Scope.fork(parts)
    return yield* Scope.provide(TorrentRun.exchange(run, asked.addresses), self.exchanging)
  }
  if (exchanging !== undefined) yield* TorrentRun.rest(run, exchanging)
  self.exchanging = undefined
  TorrentLife.note(life, { _tag: "Rested", at: now(self) })
})

/** Ends the run. */
const end = (self: TorrentRecord.TorrentRecord): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { life, parts, run } = self
    if (parts === undefined) return Effect.void
    if (run !== undefined) run.facts.isOver = true
    self.ending = run
    self.run = undefined
    TorrentLife.note(life, { _tag: "Restarted" })
    return Effect.ensuring(
      Scope.close(parts, Exit.void),
      Effect.sync(() => noteEnd(self))
    )
  }).pipe(Effect.uninterruptible)

const noteEnd = (self: TorrentRecord.TorrentRecord): void => {
  const { carried, ending, options } = self
  if (ending !== undefined) {
    const { assembly, upload } = ending
    const { downloadedBytes, wastedBytes } = assembly
    if (options.tally !== undefined) {
      Tally.end(options.tally, { downloadedBytes, wastedBytes, uploadedBytes: upload.uploadedBytes })
    }
    const status = StatusReport.atEnd(ending, now(self))
    const present = TorrentRecord.presentOf(self, ending)
    self.final = { status, stored: TorrentChange.storedOf(present), wanted: Bitfield.copy(present.wanted) }
    carried.downloadedBytes = status.downloadedBytes
    carried.wastedBytes = status.wastedBytes
    carried.uploadedBytes = status.uploadedBytes
  }
  self.ending = undefined
  self.parts = undefined
  self.keeping = undefined
  self.exchanging = undefined
  Watch.wake(self.life.watch)
}

const fail = (self: TorrentRecord.TorrentRecord, cause: Cause.Cause<TorrentError>): Effect.Effect<void> => {
  const { life } = self
  endReaders(self, cause)
  const error = Cause.findErrorOption(cause)
  if (Option.isSome(error)) TorrentLife.note(life, { _tag: "Broke", error: error.value })
  else if (Cause.hasDies(cause)) {
    TorrentLife.note(life, { _tag: "Broke", error: new TorrentDefect({ cause: Cause.squash(cause) }) })
  } else return Effect.void
  return Effect.asVoid(Deferred.failCause(life.completed, cause))
}

/** Ends the torrent for good, and deletes what is to be deleted. */
const stop = Effect.fnUntraced(function* (self: TorrentRecord.TorrentRecord) {
  const { infoHash } = self.options
  let deleted: TorrentRecord.Removed | undefined
  if (self.removal !== undefined) {
    self.removal.hasBegun = true
    const { data } = self.removal
    const removed = remove(self, data).pipe(
      Effect.tap((result) =>
        Effect.sync(() => {
          if (data && !result.isRemembered) deleted = result
        })
      ),
      Effect.mapError((error) => new RemovalFailed({ infoHash, error }))
    )
    Deferred.doneUnsafe(self.removal.done, yield* Effect.exit(removed))
  }
  // Pieces that are stored while the torrent stops still count, so its run is over only after that.
  if (self.parts !== undefined) yield* Scope.close(self.parts, Exit.void)
  yield* end(self)
  if (deleted !== undefined) noteDeleted(self, deleted)
  self.isOver = true
  // Whoever wanted to remove it meanwhile came too late.
  if (self.removal !== undefined) Deferred.doneUnsafe(self.removal.done, Effect.fail(new TorrentStopped({ infoHash })))
})

/** Notes that what was stored at the end of the last run was deleted since. */
const noteDeleted = (self: TorrentRecord.TorrentRecord, { keptPaths }: TorrentRecord.Removed): void => {
  const { final, lasting, life } = self
  if (final === undefined || lasting === undefined) return
  self.final = TorrentRecord.afterDeletion(final, lasting.options.metainfo.layout, keptPaths)
  Watch.wake(life.watch)
}

/** Deletes what is to be deleted. In a run, everything ends first that writes. */
const remove = Effect.fnUntraced(function* (self: TorrentRecord.TorrentRecord, data: boolean) {
  const { exchanging, keeping, lasting, options, run } = self
  if (run === undefined || keeping === undefined) {
    yield* end(self)
    return yield* TorrentRun.forget(options, lasting, data)
  }
  if (exchanging !== undefined) yield* Scope.close(exchanging, Exit.void)
  yield* Scope.close(keeping, Exit.void)
  run.facts.isOver = true
  return { keptPaths: yield* run.files.remove(data), isRemembered: options.readOnly === true }
})

/** As `Torrent.remove`. */
export const removing = (
  self: TorrentRecord.TorrentRecord,
  data: boolean
): Effect.Effect<TorrentRecord.Removed, RemovalFailed | TorrentStopped> =>
  Effect.suspend(() => {
    const { isOver, options } = self
    const stopped = Effect.fail(new TorrentStopped({ infoHash: options.infoHash }))
    if (isOver) return stopped
    self.removal ??= { data, hasBegun: false, done: Deferred.makeUnsafe() }
    const { removal } = self
    // Somebody removes it already, whose files are to be kept.
    if (data && !removal.data && removal.hasBegun) return Effect.andThen(options.stop, stopped)
    removal.data ||= data
    // Once it has begun, it must not be left half done.
    return Effect.uninterruptible(Effect.andThen(options.stop, Deferred.await(removal.done)))
  })

/** Adds addresses of peers to dial. */
export const addPeers = (self: TorrentRecord.TorrentRecord, addresses: ReadonlyArray<PeerAddress>): void => {
  const { asked, run } = self
  // Kept also during a run, because another one may follow.
  asked.addresses = [...asked.addresses, ...addresses].slice(-maxAddedAddresses)
  if (run !== undefined) PieceSwarm.add(run.swarm, addresses)
}

/** Takes a connection that a peer opened to the engine. Closes it at once if it is of no use now. */
export const accept = (
  self: TorrentRecord.TorrentRecord,
  ...[caller, scope]: Parameters<Accept>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { acceptMeanwhile, exchanging, run } = self
    if (acceptMeanwhile !== undefined) return acceptMeanwhile(caller, scope)
    return run === undefined || exchanging === undefined
      ? Scope.close(scope, Exit.void)
      : PieceSwarm.accept(run.swarm, caller, scope)
  })
