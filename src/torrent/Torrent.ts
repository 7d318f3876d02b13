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
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Assembly from "../assembly/Assembly.ts"
import * as Completion from "../assembly/Completion.ts"
import * as Facts from "../assembly/Facts.ts"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"
import type { ConnectionLimit } from "../connect/ConnectionLimit.ts"
import type * as Incoming from "../connect/Incoming.ts"
import type { PeerSource, PeerSourceContext } from "../discovery/PeerSource.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as AllowedFast from "../peer/AllowedFast.ts"
import * as Upload from "../peer/Upload.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import { type ResumeData, ResumeStore } from "../resume/ResumeStore.ts"
import type * as ReadCache from "../storage/ReadCache.ts"
import type { StorageError } from "../storage/Storage.ts"
import { Storage } from "../storage/Storage.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as EventLog from "./EventLog.ts"
import * as SeedingGoal from "./SeedingGoal.ts"
import * as Selection from "./Selection.ts"
import * as Sources from "./Sources.ts"
import * as StartCheck from "./StartCheck.ts"
import * as StatusReport from "./StatusReport.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import * as TorrentFiles from "./TorrentFiles.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import type { TorrentOptions } from "./TorrentOptions.ts"
import type { TorrentError, TorrentStatus } from "./TorrentStatus.ts"
import { TorrentDefect } from "./TorrentStatus.ts"

/** How often a torrent that only uploads looks for pieces that it lost. */
const regainEvery = "5 seconds"

/** Addresses given to a torrent that are kept for a new start. */
const maxGiven = 1_000

/** How long the medium is left alone where files cannot be looked at, before it is tried again to complete the torrent. */
const finishAgainAfter = "5 seconds"

/** A running torrent. */
export interface Torrent {
  readonly metainfo: Metainfo.Metainfo
  /** What happens, beginning with the last 1,024 events; a reader that lags by 8,192 misses the oldest. */
  readonly events: Stream.Stream<TorrentEvent>
  /** How it stands now. */
  readonly status: Effect.Effect<TorrentStatus>
  /**
   * Completes when every wanted piece is stored and flushed, for good: what is wanted later is told by events. Fails when
   * the torrent could not be started, or met a file of somebody else's. Interrupts who waits when the torrent is stopped
   * before, and dies of our own bugs, which end all its parts.
   */
  readonly completed: Effect.Effect<void, TorrentError>
  /** Adds addresses to try. */
  readonly addPeers: (addresses: ReadonlyArray<PeerAddress>) => Effect.Effect<void>
  /**
   * Says how much each file is wanted, as `TorrentOptions.files`. Fails, and changes nothing but where bytes lie, where the
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
export interface Options extends TorrentOptions {
  readonly metainfo: Metainfo.Metainfo
  readonly peerId: PeerId
  /** Where peers can connect to us, if anywhere. */
  readonly port: number | undefined
  readonly sources: ReadonlyArray<PeerSource>
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
  const { events, tell } = yield* EventLog.make
  const completed = yield* Effect.acquireRelease(Deferred.make<void, TorrentError>(), Deferred.interrupt)
  let machine = TorrentMachine.make({ seeds: options.seed !== undefined && options.seed !== false })
  let running: StatusReport.Parts | undefined
  /** Addresses that were added, the last ones of many. */
  let given: ReadonlyArray<PeerAddress> = []
  const clock = yield* Clock.Clock
  const selection = Selection.make(layout, options.files ?? [])
  const sources = Sources.make()
  const limits = RateLimits.makeTorrent(
    options.engineLimits,
    { torrent: options.limits, eachPeer: options.peerLimits },
    Monotonic.nowUnsafe(clock)
  )
  let isRestart = false
  /** What was known when its files were gone, as resume data may have gone with them. */
  let last: ResumeData | undefined
  let resumedBytes = 0
  /** Stored pieces that a later run knows of too. */
  let kept = Bitfield.make(geometry.pieceCount)
  let rejectedPieces = 0
  const isReadOnly = options.readOnly === true
  /** Opens when everything that is wanted is stored, and what is left is to make sure of it. */
  const finishing = yield* Latch.make(false)
  /** What it was made of has to be taken apart, and put together anew. */
  const restarting = yield* Latch.make(false)
  /** Why it has to end. */
  const ended = yield* Deferred.make<never, TorrentError>()

  const onPiece = (parts: StatusReport.Parts, fact: Facts.Fact): void => {
    const { swarm, upload } = parts
    // What is left while it stops changes nothing any more: what is stored is remembered already.
    if (running !== parts) return
    switch (fact._tag) {
      case "Passed":
        return swarm.prove(fact.contributors)
      case "Guilty":
        return swarm.ban(fact.supplier, `it sent wrong bytes for piece ${fact.piece}`)
      case "Damaged":
        return tell({ _tag: "PieceDamaged", piece: fact.piece, address: swarm.addressOf(fact.supplier) })
      case "Rejected": {
        rejectedPieces++
        const contributors = [...fact.contributors].flatMap((id) => swarm.addressOf(id) ?? [])
        return tell({ _tag: "PieceRejected", piece: fact.piece, contributors })
      }
      case "Failed":
        return note({ ...fact, _tag: "WriteFailed" })
      case "Recovered":
        return note({ _tag: "Recovered", work: "write" })
      case "Stored":
        return void Bitfield.remove(upload.unreadable, fact.piece)
    }
  }

  const onFiles = (fact: TorrentFiles.Fact): void => {
    switch (fact._tag) {
      case "FlushFailed":
        return note(fact)
      case "FlushRecovered":
        return note({ _tag: "Recovered", work: "flush" })
      case "Foreign":
        return note(fact)
      case "AllGone": {
        if (running === undefined) return
        const { files, flushed, stored } = running.files.snapshot()
        last = { stored: Bitfield.copy(stored), flushed: Bitfield.copy(flushed), files, isSameBoot: false }
        return note(fact)
      }
      case "Verified":
        return noteStanding()
      case "FilesChanged":
        return tell(fact)
      case "PiecesLost":
        tell(fact)
        running?.swarm.retract(fact.pieces)
        running?.swarm.reconsider()
        return noteStanding()
    }
  }

  /** The world is told of a piece only when a kill at this instant would not lose it. */
  const onKept = (piece: PieceIndex): void => {
    // A piece that is appended while its files are waited for, or that was lost since.
    if (running === undefined || !Bitfield.has(running.assembly.table.stored, piece)) return
    Bitfield.add(kept, piece)
    running.swarm.announce(piece)
    tell({ _tag: "PieceStored", piece, storedPieces: kept.count })
    noteStanding()
  }

  const onDropped = (pieces: ReadonlyArray<PieceIndex>): void => {
    for (const piece of pieces) Bitfield.remove(kept, piece)
    if (running === undefined) return
    Assembly.loseStored(running.assembly, pieces)
  }

  const standingOf = ({ assembly, files }: StatusReport.Parts): TorrentMachine.Standing => ({
    isStored: PieceTable.isFinished(assembly.table) && kept.count === assembly.table.counts.stored,
    isDirty: files.isDirty() || files.suspects.count > 0,
    isPaused: assembly.isPaused
  })

  const noteStanding = (): void => {
    if (running !== undefined) note({ _tag: "Moved", standing: standingOf(running) })
  }

  /** Takes a step of its life, and does what follows from it. */
  const note = (fact: TorrentMachine.Fact): void => {
    const step = TorrentMachine.step(machine, fact)
    machine = step.machine
    for (const action of step.actions) {
      switch (action._tag) {
        case "Tell":
          tell(action.event)
          break
        case "Finish":
          Latch.openUnsafe(finishing)
          break
        case "Complete":
          Deferred.doneUnsafe(completed, Effect.void)
          break
        case "Restart":
          Latch.openUnsafe(restarting)
          break
        case "End":
          Deferred.doneUnsafe(ended, Effect.fail(action.error))
      }
    }
  }

  /** Makes sure of what is stored each time that is everything. */
  const finish = (parts: StatusReport.Parts) =>
    finishing.await.pipe(
      Effect.tap(() => Effect.sync(() => Latch.closeUnsafe(finishing))),
      Effect.andThen(
        Effect.matchEffect(parts.files.finish, {
          onSuccess: () =>
            Effect.map(Monotonic.now, (at) => note({ _tag: "Finished", standing: standingOf(parts), at })),
          // Files cannot be looked at, or an empty one cannot be made.
          onFailure: (error) => {
            note({ _tag: "FinishFailed", error })
            return Effect.andThen(Effect.sleep(finishAgainAfter), finishing.open)
          }
        })
      ),
      Effect.forever
    )

  /** What a change of the selection changes with it. */
  const selected = (): Selection.Running | undefined =>
    running && {
      assembly: running.assembly,
      select: running.files.select,
      onChange: () => {
        if (running!.files.lacksFiles()) note({ _tag: "FilesLacking" })
        running!.swarm.reconsider()
        noteStanding()
      }
    }

  /** Ends seeding where enough was given. */
  const checkGoal = Effect.fnUntraced(function* (goal: SeedingGoal.SeedingGoal, parts: StatusReport.Parts) {
    const { completedAt, isSeeding } = machine
    if (!isSeeding || completedAt === undefined) return
    const { assembly, swarm, upload } = parts
    const { uploadedBytes } = upload
    const wantedBytes = PieceTable.wantedBytes(assembly.table)
    const seedingMillis = Monotonic.nowUnsafe(clock) - completedAt
    const reached = SeedingGoal.reached(goal, { uploadedBytes, wantedBytes, seedingMillis })
    if (reached === undefined) return
    note({ _tag: "GoalReached" })
    yield* swarm.dismiss("it was seeded enough")
    note({ _tag: "Dismissed", reached })
  })

  /** Starts a part that runs until the torrent stops; one that dies takes the others with it. */
  const forkPart = <A, R>(part: Effect.Effect<A, never, R>) =>
    part.pipe(
      Effect.onError((cause) => (Cause.hasDies(cause) ? Deferred.failCause(ended, cause) : Effect.void)),
      Effect.forkScoped
    )

  const start = Effect.gen(function* () {
    const storage = yield* (yield* Storage).open({ infoHash: metainfo.infoHash, layout })
    const resume = yield* (yield* ResumeStore).open({
      infoHash: metainfo.infoHash,
      pieceCount: geometry.pieceCount,
      fileCount: layout.files.length
    })
    const onResumeFailure = (error: { readonly message: string }): void =>
      tell({ _tag: "ResumeFailed", why: error.message })
    const loaded = yield* Effect.catch(resume.load, (error) =>
      Effect.sync(() => {
        onResumeFailure(error)
        return undefined
      })
    )
    const saved = loaded ?? last
    const { facts, found, prepared, standings } = yield* StartCheck.run({
      metainfo,
      storage,
      resume: saved,
      prepare: isReadOnly ? Effect.sync(() => selection.files) : Selection.prepare(selection, storage),
      overwrites: options.overwrite === true,
      startsOver: options.startOver === true && !isRestart,
      isReadOnly,
      isRestart,
      report: (event) => note({ _tag: "Checked", event })
    })
    const { stored } = found
    const assembly = yield* Assembly.make({
      geometry,
      stored,
      random,
      maxActivePieces: options.maxActivePieces,
      isSequential: options.order === "sequential",
      isReadOnly
    })
    Selection.begin(selection, assembly, prepared)
    kept = Bitfield.copy(stored)
    const digestOf = (piece: PieceIndex) => Metainfo.pieceDigest(metainfo, piece)
    const files = yield* TorrentFiles.make({
      layout,
      storage,
      resume,
      facts,
      standings,
      records: saved?.files,
      found,
      stored: assembly.table.stored,
      digestOf,
      wanted: isReadOnly
        ? undefined
        : { files: PiecePriority.wantedFiles(layout, prepared), pieces: assembly.table.wanted },
      overwrites: options.overwrite === true,
      isReadOnly,
      drop: onDropped,
      onKept,
      onResumeFailure,
      report: onFiles
    })
    Assembly.putFirst(assembly, files.deciding)
    const hasher = yield* PieceHasher
    const upload: Upload.Upload = yield* Upload.make({
      geometry,
      storage: files.reader,
      cache: options.readCache,
      onFailure: (piece, error) => {
        // What is not stored any more is not given in any case.
        if (!Bitfield.has(assembly.table.stored, piece)) {
          Bitfield.remove(upload.unreadable, piece)
          return
        }
        tell({ _tag: "ReadFailed", piece, error })
        if (Bitfield.has(upload.unreadable, piece)) running?.swarm.retract([piece])
      }
    })
    const swarm = yield* PieceSwarm.make({
      assembly,
      upload,
      infoHash: metainfo.infoHash,
      extensions: { info: metainfo.infoBytes, isPrivate: metainfo.isPrivate, port: options.port },
      peerId: options.peerId,
      random,
      maxConnections: options.maxConnections,
      seeds: () => machine.isSeeding,
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
    const parts: StatusReport.Parts = { assembly, upload, swarm, storage, files }
    running = parts
    resumedBytes = PieceTable.storedBytes(assembly.table)
    const missingPieces = assembly.table.unstoredWanted
    const totalPieces = geometry.pieceCount
    note({ _tag: "Started", event: { _tag: "Started", storedPieces: stored.count, missingPieces, totalPieces } })
    yield* Selection.catchUp(selection, selected()!, prepared)
    noteStanding()
    // The reader first, so that it is interrupted last: nobody waits to report.
    yield* forkPart(Facts.read(assembly.facts, (fact) => onPiece(parts, fact)))
    yield* forkPart(Completion.run(assembly, { storage: files.writer, digestOf }))
    yield* forkPart(files.run)
    yield* forkPart(finish(parts))
    const onRecovered = (piece: PieceIndex): void => {
      tell({ _tag: "ReadRecovered", piece })
      swarm.announce(piece)
    }
    yield* forkPart(Upload.recover(upload, { storage, digestOf, onRecovered }))
    const regain = Effect.map(files.regain, (pieces) => {
      if (pieces.length === 0) return
      Assembly.regainStored(assembly, pieces)
      for (const piece of pieces) Bitfield.add(kept, piece)
      pieces.forEach(onRecovered)
      noteStanding()
    })
    if (isReadOnly) yield* forkPart(Effect.repeat(Effect.ignore(regain), Schedule.spaced(regainEvery)))
    yield* forkPart(Assembly.sweep(assembly, { isHeldUp: () => RateLimiter.isWaitedFor(limits.download) }))
    yield* forkPart(swarm.running)
    yield* swarm.add(given)
    const context: PeerSourceContext = {
      completed: Effect.ignore(Deferred.await(completed)),
      wantsMore: () => !PieceTable.isFinished(assembly.table) && swarm.counts().connected === 0,
      facts: () => ({
        downloaded: assembly.downloadedBytes,
        uploaded: upload.uploadedBytes,
        left: PieceTable.missingBytes(assembly.table)
      })
    }
    yield* forkPart(Sources.run(sources, { sources: options.sources, context, swarm, tell }))
    yield* forkPart(RateLimits.run(options.engineLimits))
    const { seed } = options
    if (typeof seed === "object") {
      yield* forkPart(Effect.repeat(checkGoal(seed, parts), Schedule.spaced("1 second")))
    }
  })

  const status = Effect.sync((): TorrentStatus => {
    const state = TorrentMachine.stateOf(machine)
    const torrent = { state, sources, limits, isSeeding: machine.isSeeding, resumedBytes, rejectedPieces }
    return running === undefined
      ? StatusReport.early(torrent, geometry)
      : StatusReport.of(torrent, running, Monotonic.nowUnsafe(clock))
  })

  const scope = yield* Effect.scope

  /** Runs it until its files are gone, and from its start again then. */
  const run = Effect.gen(function* () {
    const parts = yield* Scope.fork(scope)
    yield* start.pipe(
      Effect.andThen(restarting.await),
      Scope.provide(parts),
      Effect.raceFirst(Deferred.await(ended)),
      Effect.ensuring(
        Effect.suspend(() => {
          running = undefined
          isRestart = true
          note({ _tag: "Restarted" })
          Latch.closeUnsafe(restarting)
          return Scope.close(parts, Exit.void)
        })
      )
    )
  })
  yield* run.pipe(
    Effect.forever,
    // What was opened is closed by then: a torrent that failed holds nothing until somebody takes it away.
    Effect.catchCause((cause) => {
      const error = Cause.findErrorOption(cause)
      if (Option.isSome(error)) note({ _tag: "Broke", error: error.value })
      else if (Cause.hasDies(cause)) note({ _tag: "Broke", error: new TorrentDefect({ cause: Cause.squash(cause) }) })
      return Deferred.failCause(completed, cause)
    }),
    Effect.forkScoped
  )

  const self: Torrent = {
    metainfo,
    events,
    status,
    completed: Deferred.await(completed),
    addPeers: (addresses) =>
      Effect.suspend(() => {
        // Also while it runs: it may have to start anew.
        given = [...given, ...addresses].slice(-maxGiven)
        return running === undefined ? Effect.void : Effect.asVoid(running.swarm.add(addresses))
      }),
    setPriorities: (files) => Effect.suspend(() => Selection.setFiles(selection, selected(), files)),
    setDeadlines: (asked) =>
      Effect.map(Monotonic.now, (now) => {
        const deadlines = asked.map(({ piece, within }) => ({ piece, at: now + Duration.toMillis(within) }))
        Selection.setDeadlines(selection, running?.assembly, deadlines)
      }),
    setLimits: (asked) => Effect.map(Monotonic.now, (now) => RateLimits.set(limits, asked, now)),
    setPeerLimits: (asked) => Effect.map(Monotonic.now, (now) => RateLimits.setEachPeer(limits, asked, now)),
    accept: (caller, scope) =>
      Effect.suspend(() =>
        running === undefined ? Scope.close(scope, Exit.void) : running.swarm.accept(caller, scope)
      )
  }
  return self
})
