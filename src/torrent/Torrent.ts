/**
 * A running torrent: opens its storage, finds out what is stored, and starts the fibers that fetch the rest. Everything
 * it started ends with its scope. What the parts do stands in their own files; here they are put together.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"
import type { PeerSource, PeerSourceContext } from "../discovery/PeerSource.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as AllowedFast from "../piece/AllowedFast.ts"
import * as BufferPool from "../piece/BufferPool.ts"
import * as Download from "../piece/Download.ts"
import type * as PieceBuffer from "../piece/PieceBuffer.ts"
import { PieceHasher } from "../piece/PieceHasher.ts"
import type * as PiecePriority from "../piece/PiecePriority.ts"
import * as PieceTable from "../piece/PieceTable.ts"
import * as PieceVerifier from "../piece/PieceVerifier.ts"
import * as PieceWriter from "../piece/PieceWriter.ts"
import * as Upload from "../piece/Upload.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import { ResumeStore } from "../resume/ResumeStore.ts"
import type * as ReadCache from "../storage/ReadCache.ts"
import type { StorageError } from "../storage/Storage.ts"
import { Storage } from "../storage/Storage.ts"
import type { ConnectionLimit } from "../swarm/ConnectionLimit.ts"
import type * as Incoming from "../swarm/Incoming.ts"
import * as Swarm from "../swarm/Swarm.ts"
import * as Recheck from "./Recheck.ts"
import * as ResumeKeeper from "./ResumeKeeper.ts"
import * as SeedingGoal from "./SeedingGoal.ts"
import * as Selection from "./Selection.ts"
import * as Sources from "./Sources.ts"
import * as StatusReport from "./StatusReport.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import type { TorrentError, TorrentState, TorrentStatus } from "./TorrentStatus.ts"
import { TorrentDefect } from "./TorrentStatus.ts"

/** Events that wait for a slow reader; beyond that it misses the oldest. */
export const eventCapacity = 8_192

/** Events that a reader who comes later still gets. */
export const eventReplay = 1_024

/** A running torrent. */
export interface Torrent {
  readonly metainfo: Metainfo.Metainfo
  /** What happens, beginning with the last 1,024 events; a reader that lags by 8,192 misses the oldest. */
  readonly events: Stream.Stream<TorrentEvent>
  /** How it stands now. */
  readonly status: Effect.Effect<TorrentStatus>
  /**
   * Completes when every wanted piece is stored, for good: what is wanted later is told by events. Fails when the torrent
   * could not even be started. Interrupts who waits when the torrent is stopped before, and dies of our own bugs, which end
   * all its parts.
   */
  readonly completed: Effect.Effect<void, TorrentError>
  /** Adds addresses to try. */
  readonly addPeers: (addresses: ReadonlyArray<PeerAddress>) => Effect.Effect<void>
  /**
   * Says how much each file is wanted, as `Options.files`. Fails, and changes nothing but where bytes lie, where the
   * storage cannot take the files that are wanted now.
   */
  readonly setPriorities: (files: ReadonlyArray<PiecePriority.PiecePriority>) => Effect.Effect<void, StorageError>
  /**
   * Asks for these pieces before all others, the most urgent first, as for somebody who watches meanwhile; `within` counts
   * from now. They take the place of those asked for before. A piece of skipped files alone is not fetched for it.
   */
  readonly setDeadlines: (
    deadlines: ReadonlyArray<{ readonly piece: PieceIndex; readonly within: Duration.Input }>
  ) => Effect.Effect<void>
  /** Sets other limits for all its peers together; those that are absent are lifted. Those of the engine stand. */
  readonly setLimits: (limits: RateLimits.Limits) => Effect.Effect<void>
  /** The same for each of its peers. */
  readonly setPeerLimits: (limits: RateLimits.Limits) => Effect.Effect<void>
  /** Takes a connection that a peer opened to the engine; closes it at once where it is of no use now. */
  readonly accept: Incoming.Accept
}

/** What a torrent is made of. */
export interface Options {
  readonly metainfo: Metainfo.Metainfo
  readonly peerId: PeerId
  /** Where peers can connect to us, if anywhere. */
  readonly port: number | undefined
  readonly sources: ReadonlyArray<PeerSource>
  /**
   * How much each file of `metainfo.layout.files` is wanted, in their order; those beyond the end are `normal`. A piece is
   * fetched for any byte of a wanted file, and everything that is stored is given to others.
   */
  readonly files?: ReadonlyArray<PiecePriority.PiecePriority> | undefined
  /** `sequential` fetches pieces from the first on; default `rarest`, which is better for the swarm. */
  readonly order?: "rarest" | "sequential" | undefined
  /** Pieces under way at once; default 20, or more where pieces are small (`BufferPool.capacityFor`). */
  readonly maxActivePieces?: number | undefined
  /** Connections of this torrent, default 50. */
  readonly maxConnections?: number | undefined
  /** Goes on giving to others when everything that is wanted is stored: for ever, or until a goal is reached. */
  readonly seed?: boolean | SeedingGoal.SeedingGoal | undefined
  /** Gives a torrent that is complete from the start away a piece at a time (BEP 16). */
  readonly superSeed?: boolean | undefined
  /** Peers that may be given to at once; default 8, or as many as suit the upload limit. */
  readonly uploadSlots?: number | undefined
  /** What all its peers may have together, and each of them. */
  readonly limits?: RateLimits.Limits | undefined
  readonly peerLimits?: RateLimits.Limits | undefined
  /** What all torrents of the engine may have. */
  readonly engineLimits: RateLimits.EngineLimits
  /** The connections that all torrents of the engine may have. */
  readonly connections: ConnectionLimit
  /** What all torrents of the engine keep of what peers ask for. */
  readonly readCache: ReadCache.ReadCache
}

/** Starts a torrent, until the scope closes. Returns at once: checking, downloading and failures are told as events. */
export const make = Effect.fn("Torrent.make")(function* (options: Options) {
  const { metainfo } = options
  const { layout } = metainfo
  const { geometry } = layout
  const random = Prng.make(yield* Random.nextInt)
  const events = yield* Effect.acquireRelease(
    PubSub.sliding<TorrentEvent>({ capacity: eventCapacity, replay: eventReplay }),
    PubSub.shutdown
  )
  const completed = yield* Effect.acquireRelease(Deferred.make<void, TorrentError>(), Deferred.interrupt)
  let state: TorrentState = { _tag: "Checking" }
  let running: StatusReport.Parts | undefined
  let waiting: ReadonlyArray<PeerAddress> = []
  const clock = yield* Clock.Clock
  const selection = Selection.make(layout, options.files ?? [])
  const sources = Sources.make()
  const limits = RateLimits.makeTorrent(
    options.engineLimits,
    { torrent: options.limits, eachPeer: options.peerLimits },
    Monotonic.nowUnsafe(clock)
  )
  const seeds = options.seed !== undefined && options.seed !== false
  let isSeeding = seeds
  /** When everything that is wanted now was stored; `undefined` while it is not. */
  let completedAt: number | undefined
  let resumedBytes = 0
  let keptPieces = 0
  let rejectedPieces = 0
  const tell = (event: TorrentEvent): void => {
    PubSub.publishUnsafe(events, event)
  }

  const onVerdict = (swarm: Swarm.Swarm, verdict: PieceVerifier.Verdict): void => {
    switch (verdict._tag) {
      case "Passed":
        return swarm.prove(verdict.contributors)
      case "Guilty":
        return swarm.ban(verdict.peer, `it sent wrong bytes for piece ${verdict.piece}`)
      case "Damaged":
        return tell({ _tag: "PieceDamaged", piece: verdict.piece, address: swarm.addressOf(verdict.peer) })
      case "Rejected": {
        rejectedPieces++
        const contributors = [...verdict.contributors].flatMap((key) => swarm.addressOf(key) ?? [])
        return tell({ _tag: "PieceRejected", piece: verdict.piece, contributors })
      }
    }
  }

  const onWritten = (noteStored: (piece: PieceIndex) => void, fact: PieceWriter.Fact): void => {
    switch (fact._tag) {
      case "Failed":
        state = { _tag: "StorageFailing", error: fact.error }
        return tell({ _tag: "StorageFailed", piece: fact.piece, error: fact.error })
      case "Recovered":
        if (state._tag === "StorageFailing") state = { _tag: completedAt === undefined ? "Downloading" : "Complete" }
        return tell({ _tag: "StorageRecovered" })
      case "Stored":
        return noteStored(fact.piece)
    }
  }

  /** The world is told of a piece only when a kill at this instant would not lose it. */
  const onKept = (piece: PieceIndex): void => {
    running?.swarm.announce(piece)
    tell({ _tag: "PieceStored", piece, storedPieces: ++keptPieces })
    settle()
  }

  /** Whether everything is there that is wanted now. */
  const settle = (): void => {
    if (state._tag === "Failed") return
    const { table } = running!.download
    const isFinished = PieceTable.isFinished(table)
    if (!isFinished) {
      completedAt = undefined
      isSeeding = seeds
      if (state._tag === "Complete") state = { _tag: "Downloading" }
    } else if (completedAt === undefined && keptPieces === table.counts.stored) {
      completedAt = Monotonic.nowUnsafe(clock)
      state = { _tag: "Complete" }
      tell({ _tag: "Completed" })
      Deferred.doneUnsafe(completed, Effect.void)
    }
  }

  /** What a change of the selection changes with it. */
  const selected = (): Selection.Running | undefined =>
    running && {
      ...running,
      onChange: () => {
        running!.swarm.reconsider()
        settle()
      }
    }

  /** Ends seeding where enough was given. */
  const checkGoal = Effect.fnUntraced(function* (goal: SeedingGoal.SeedingGoal, parts: StatusReport.Parts) {
    if (!isSeeding || completedAt === undefined) return
    const { download, swarm, upload } = parts
    const { uploadedBytes } = upload
    const wantedBytes = PieceTable.wantedBytes(download.table)
    const seedingMillis = Monotonic.nowUnsafe(clock) - completedAt
    const reached = SeedingGoal.reached(goal, { uploadedBytes, wantedBytes, seedingMillis })
    if (reached === undefined) return
    isSeeding = false
    yield* swarm.dismiss("it was seeded enough")
    tell({ _tag: "SeedingEnded", reached })
  })

  const fail = (error: TorrentError | TorrentDefect): void => {
    state = { _tag: "Failed", error }
    tell({ _tag: "Failed", error })
  }

  /** Starts a part that runs until the torrent stops; one that dies takes the others with it. */
  const forkPart = <A, R>(part: Effect.Effect<A, never, R>) =>
    part.pipe(
      Effect.onError((cause) => Deferred.failCause(completed, cause)),
      Effect.forkScoped
    )

  const start = Effect.gen(function* () {
    const storage = yield* (yield* Storage).open(layout)
    const resume = yield* (yield* ResumeStore).open(metainfo.infoHash, geometry.pieceCount)
    const onResumeFailure = (error: { readonly message: string }): void =>
      tell({ _tag: "ResumeFailed", why: error.message })
    const saved = yield* Effect.catch(resume.load, (error) =>
      Effect.sync(() => {
        onResumeFailure(error)
        return undefined
      })
    )
    // Before anything is read, as the bytes of files that are wanted now may have to come to their places.
    const prepared = yield* Selection.prepare(selection, storage)
    const stored = yield* Recheck.run({
      metainfo,
      storage,
      resume: saved,
      random,
      onProgress: (checkedPieces, totalPieces) => tell({ _tag: "Checking", checkedPieces, totalPieces })
    })
    const download = yield* Download.make({ geometry, stored, random, maxActivePieces: options.maxActivePieces })
    download.order.isSequential = options.order === "sequential"
    Selection.begin(selection, download, prepared)
    const noteStored = yield* ResumeKeeper.make({
      resume,
      storage,
      stored: download.table.stored,
      flushed: saved?.flushed ?? Bitfield.make(geometry.pieceCount),
      onFailure: onResumeFailure,
      onKept
    })
    const toWrite = yield* Queue.bounded<PieceBuffer.PieceBuffer>(download.pool.capacity)
    const hasher = yield* PieceHasher
    const upload: Upload.Upload = yield* Upload.make({
      geometry,
      storage,
      cache: options.readCache,
      onFailure: (piece, error) => {
        tell({ _tag: "ReadFailed", piece, error })
        if (Bitfield.has(upload.unreadable, piece)) running?.swarm.retract(piece)
      }
    })
    const swarm = yield* Swarm.make({
      download,
      upload,
      infoHash: metainfo.infoHash,
      extensions: { info: metainfo.infoBytes, isPrivate: metainfo.isPrivate, port: options.port },
      peerId: options.peerId,
      random,
      maxConnections: options.maxConnections,
      seeds: () => isSeeding,
      limits,
      superSeeds: options.superSeed,
      allowedFast: (host) =>
        AllowedFast.make({ infoHash: metainfo.infoHash, pieceCount: geometry.pieceCount, host }).pipe(
          Effect.provideService(PieceHasher, hasher)
        ),
      uploadSlots: options.uploadSlots,
      connections: options.connections,
      report: tell
    })
    running = { download, upload, swarm, storage }
    resumedBytes = PieceTable.storedBytes(download.table)
    keptPieces = stored.count
    state = { _tag: "Downloading" }
    const missingPieces = download.table.unstoredWanted
    tell({ _tag: "Started", storedPieces: stored.count, missingPieces, totalPieces: geometry.pieceCount })
    yield* Selection.catchUp(selection, selected()!, prepared)
    settle()
    const digestOf = (piece: PieceIndex) => Metainfo.pieceDigest(metainfo, piece)
    const verifier = yield* PieceVerifier.make({
      download,
      digestOf,
      storageVerifies: storage.verifies === true,
      toWrite,
      report: (verdict) => onVerdict(swarm, verdict)
    })
    yield* forkPart(
      PieceWriter.run({
        download,
        digestOf,
        storage,
        toWrite,
        verifier,
        report: (fact) => onWritten(noteStored, fact)
      })
    )
    yield* forkPart(verifier.run)
    const onRecovered = (piece: PieceIndex): void => {
      tell({ _tag: "ReadRecovered", piece })
      swarm.announce(piece)
    }
    yield* forkPart(Upload.recover(upload, { storage, digestOf, onRecovered }))
    yield* forkPart(BufferPool.sweep(download.pool, { isHeldUp: () => RateLimiter.isWaitedFor(limits.download) }))
    yield* forkPart(swarm.running)
    yield* swarm.add(waiting)
    const context: PeerSourceContext = {
      completed: Effect.ignore(Deferred.await(completed)),
      wantsMore: () => !PieceTable.isFinished(download.table) && swarm.counts().connected === 0,
      facts: () => ({
        downloaded: download.downloadedBytes,
        uploaded: upload.uploadedBytes,
        left: PieceTable.missingBytes(download.table)
      })
    }
    yield* forkPart(Sources.run(sources, { sources: options.sources, context, swarm, tell }))
    yield* forkPart(RateLimits.run(options.engineLimits))
    const { seed } = options
    if (typeof seed === "object") {
      yield* forkPart(Effect.repeat(checkGoal(seed, running), Schedule.spaced("1 second")))
    }
  })

  const status = Effect.sync((): TorrentStatus => {
    const torrent = { state, sources, limits, isSeeding, resumedBytes, rejectedPieces }
    return running === undefined
      ? StatusReport.early(torrent, geometry)
      : StatusReport.of(torrent, running, Monotonic.nowUnsafe(clock))
  })

  const scope = yield* Effect.scope
  const parts = yield* Scope.fork(scope)
  yield* start.pipe(
    Scope.provide(parts),
    // What was opened is closed at once: a torrent that failed holds nothing until somebody takes it away.
    Effect.tapError(() => Scope.close(parts, Exit.void)),
    Effect.catch((error) => {
      fail(error)
      return Deferred.fail(completed, error)
    }),
    forkPart
  )
  yield* Effect.exit(Deferred.await(completed)).pipe(
    Effect.flatMap((exit) => {
      if (Exit.isSuccess(exit) || !Cause.hasDies(exit.cause)) return Effect.void
      fail(new TorrentDefect({ cause: Cause.squash(exit.cause) }))
      return Scope.close(parts, Exit.void)
    }),
    Effect.forkScoped
  )

  const self: Torrent = {
    metainfo,
    events: Stream.fromPubSub(events),
    status,
    completed: Deferred.await(completed),
    addPeers: (addresses) =>
      Effect.suspend(() => {
        if (running !== undefined) return Effect.asVoid(running.swarm.add(addresses))
        waiting = [...waiting, ...addresses]
        return Effect.void
      }),
    setPriorities: (files) => Effect.suspend(() => Selection.setFiles(selection, selected(), files)),
    setDeadlines: (asked) =>
      Effect.map(Monotonic.now, (now) => {
        const deadlines = asked.map(({ piece, within }) => ({ piece, at: now + Duration.toMillis(within) }))
        Selection.setDeadlines(selection, running?.download, deadlines)
      }),
    setLimits: (asked) => Effect.map(Monotonic.now, (now) => RateLimits.set(limits, asked, now)),
    setPeerLimits: (asked) => Effect.map(Monotonic.now, (now) => RateLimits.setEachPeer(limits, asked, now)),
    accept: (connection, scope) =>
      Effect.suspend(() => {
        const isOver = state._tag === "Failed" || running === undefined
        return isOver ? Scope.close(scope, Exit.void) : running!.swarm.accept(connection, scope)
      })
  }
  return self
})
