/**
 * One run of a torrent, from the check of its files to the end of its scope. `open` puts its parts together, each from
 * parts made before it. `begin` has the files kept. `exchange` meets peers and other suppliers, until the torrent rests
 * (`rest`); it may exchange again later in the same run. A torrent whose files went away ends its run and begins
 * another one (`TorrentProgram.ts`).
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Assembly from "../assembly/Assembly.ts"
import { BufferBudget } from "../assembly/BufferBudget.ts"
import * as Completion from "../assembly/Completion.ts"
import * as Facts from "../assembly/Facts.ts"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Requests from "../assembly/Requests.ts"
import * as Rest from "../assembly/Rest.ts"
import { SupplierSources } from "../assembly/SupplierSource.ts"
import * as Bitfield from "../base/Bitfield.ts"
import * as Gate from "../base/Gate.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import * as Ticker from "../base/Ticker.ts"
import * as Encryption from "../connect/Encryption.ts"
import type { PeerSourceContext } from "../discovery/PeerSource.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as ListeningPort from "../network/ListeningPort.ts"
import * as AllowedFast from "../peer/AllowedFast.ts"
import * as Upload from "../peer/Upload.ts"
import { type ResumeError, ResumeStore } from "../resume/ResumeStore.ts"
import { Storage, type StorageError } from "../storage/Storage.ts"
import { PeerPolicy } from "../swarm/PeerPolicy.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as BudgetedDigests from "./BudgetedDigests.ts"
import * as FileRemoval from "./FileRemoval.ts"
import * as Finishing from "./Finishing.ts"
import * as Readers from "./Readers.ts"
import * as Seeding from "./Seeding.ts"
import * as Selection from "./Selection.ts"
import * as Sources from "./Sources.ts"
import * as StartCheck from "./StartCheck.ts"
import * as Supplying from "./Supplying.ts"
import * as TorrentFacts from "./TorrentFacts.ts"
import * as TorrentFiles from "./TorrentFiles.ts"
import * as TorrentLife from "./TorrentLife.ts"
import type { Lasting, TorrentParts } from "./TorrentParts.ts"
import type { ProgramOptions, Removed } from "./TorrentRecord.ts"
import type { TorrentError } from "./TorrentStatus.ts"
import * as Watch from "./Watch.ts"

/** How often a read-only torrent looks whether lost pieces were restored. */
const regainEvery = "5 seconds"

/**
 * Opens the storage, finds out which pieces are stored, and puts the parts together. Starts no fiber. If `distrusts`,
 * everything that is on the medium is verified, whatever is remembered of it.
 */
export const open = Effect.fnUntraced(function* (lasting: Lasting, distrusts = false) {
  const { hint, life, limits, options, random, selection } = lasting
  const { metainfo } = options
  const { infoHash, layout } = metainfo
  const { geometry } = layout
  const isReadOnly = options.readOnly === true
  const isRestart = life.last !== undefined || distrusts
  const digestOf = (piece: PieceIndex) => Metainfo.pieceDigest(metainfo, piece)

  const budget = yield* BufferBudget
  const storage = BudgetedDigests.make(yield* (yield* Storage).open({ infoHash, layout }), budget)
  const resume = yield* (yield* ResumeStore).open({
    infoHash,
    pieceCount: geometry.pieceCount,
    fileCount: layout.fileCount
  })
  const loaded = yield* Effect.match(resume.load, {
    onSuccess: (data) => ({ data }),
    onFailure: (error) => {
      TorrentFacts.onResumeFailure({ life }, error)
      return undefined
    }
  })
  const saved = loaded?.data ?? life.last
  const checked = yield* StartCheck.run({
    metainfo,
    storage,
    budget,
    resume: saved,
    hint,
    prepare: isReadOnly ? Effect.sync(() => selection.wanted) : Selection.prepare(selection, storage),
    overwrites: options.overwrite === true,
    startsOver: options.startOver === true && !isRestart,
    isReadOnly,
    isRestart,
    distrusts,
    report: (event) => TorrentLife.note(life, { _tag: "Checked", event })
  }).pipe(
    Effect.tap(({ found }) => Effect.annotateCurrentSpan("piecewise.stored_pieces", found.stored.count)),
    Effect.withSpan("piecewise.check", {
      attributes: { "piecewise.pieces": geometry.pieceCount, "piecewise.is_restart": isRestart }
    })
  )
  const { found, prepared } = checked
  // The check has found out about every piece.
  if (distrusts && hint !== undefined) Bitfield.clear(hint)

  const hasher = yield* PieceHasher
  const assembly = yield* Assembly.make({
    geometry,
    stored: found.stored,
    random,
    maxActivePieces: options.maxActivePieces,
    // A storage that verifies leaves nothing to digest.
    memory: storage.verifies === true ? undefined : hasher.memory,
    isSequential: options.order === "sequential",
    isReadOnly
  })
  Selection.begin(selection, assembly, prepared)

  const swarm = PieceSwarm.make(
    {
      assembly,
      infoHash,
      extensions: {
        info: metainfo.infoBytes,
        isPrivate: metainfo.isPrivate,
        port: () => ListeningPort.current(options.port)
      },
      dht: metainfo.isPrivate ? undefined : options.dht,
      peerId: options.peerId,
      random,
      maxConnections: options.maxConnections,
      seeds: () => life.machine.isSeeding,
      limits,
      superSeeds: options.superSeed,
      allowedFast: (host) =>
        Effect.provideService(
          AllowedFast.make({ infoHash, pieceCount: geometry.pieceCount, host }),
          PieceHasher,
          hasher
        ),
      uploadSlots: options.uploadSlots,
      callers: options.callers,
      own: options.own,
      encryption: yield* Encryption.current,
      places: options.places,
      policy: {
        policy: yield* PeerPolicy,
        onDefect: (defect) => TorrentLife.fail(life, Cause.die(defect))
      },
      requestSeconds: options.tally?.requestSeconds,
      report: (event) => TorrentLife.report(life, event)
    },
    yield* Clock.Clock
  )

  const facts = TorrentFacts.make({ life, assembly, swarm, suspects: found.doubtful })
  const files = yield* TorrentFiles.make({
    layout,
    storage,
    budget,
    resume,
    facts: checked.facts,
    standings: checked.standings,
    loaded,
    records: saved?.files,
    found,
    hint,
    background: options.background,
    stored: assembly.table.stored,
    digestOf,
    wanted: isReadOnly
      ? undefined
      : { files: PiecePriority.wantedFiles(layout, prepared), pieces: assembly.table.wanted },
    overwrites: options.overwrite === true,
    isReadOnly,
    drop: (pieces) => TorrentFacts.onDropped(facts, pieces),
    onKept: (piece) => TorrentFacts.onKept(facts, piece),
    onResumeFailure: (error) => TorrentFacts.onResumeFailure(facts, error),
    onSuspects: () => Watch.wake(life.watch),
    report: (fact) => TorrentFacts.onFiles(facts, fact)
  })
  Assembly.putFirst(assembly, files.deciding)

  const upload = yield* Upload.make({
    geometry,
    storage: files.reader,
    stored: assembly.table.stored,
    cache: options.readCache,
    onFailure: (piece, error, isLost) => TorrentFacts.onUnreadable(facts, piece, error, isLost)
  })

  const selected: Selection.Running = {
    assembly,
    select: files.select,
    onChange: () => TorrentFacts.onSelected(facts, files.lacksFiles())
  }
  const self: TorrentParts = {
    lasting,
    storage,
    assembly,
    swarm,
    facts,
    files,
    upload,
    prepared,
    isCaughtUp: Gate.make(selection.wanted === prepared),
    selected,
    resumedBytes: PieceTable.storedBytes(assembly.table)
  }
  return self
})

/** Has the files kept until the scope closes. */
export const begin = Effect.fnUntraced(function* (self: TorrentParts) {
  const { assembly, facts, files, lasting } = self
  const { life } = lasting
  const { stored, unstoredWanted: missingPieces } = assembly.table
  const totalPieces = assembly.geometry.pieceCount
  const storedPieces = stored.count - (files.hinted?.count ?? 0)
  const started = { _tag: "Started", storedPieces, missingPieces, totalPieces } as const
  TorrentLife.note(life, { _tag: "Started", event: started })

  if (self.isCaughtUp.isOpen) TorrentFacts.onMoved(facts)
  // The storage may take long to move files, and peers that connect to us need not wait for that.
  else yield* Effect.forkScoped(catchUp(self))
  yield* files.run
  yield* Readers.attach(lasting.readers, { assembly, storage: files.reader })
  yield* Finishing.run(self)
  if (assembly.isReadOnly) {
    const regain = Effect.map(files.regain, (pieces) => {
      TorrentFacts.onRegained(facts, pieces)
      if (pieces.length > 0) Readers.wakeAll(lasting.readers)
    })
    yield* forkPart(life, Effect.repeat(Effect.ignore(regain), Schedule.spaced(regainEvery)))
  }
})

/** Applies what was selected since the files were looked at. If that fails, so does the torrent. */
const catchUp = (self: TorrentParts): Effect.Effect<void> => {
  const { life, selection } = self.lasting
  return Selection.catchUp(selection, self.selected, self.prepared).pipe(
    Effect.andThen(
      Effect.sync(() => {
        Gate.open(self.isCaughtUp)
        TorrentFacts.onMoved(self.facts)
      })
    ),
    Effect.catchCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.void : failWith(life, cause)))
  )
}

/** Meets the peers at `addresses` and those that sources find, and other suppliers, until the scope closes. */
export const exchange = Effect.fnUntraced(function* (self: TorrentParts, addresses: ReadonlyArray<PeerAddress>) {
  const { assembly, lasting, swarm, upload } = self
  yield* PieceSwarm.serve(swarm, upload)
  PieceSwarm.add(swarm, addresses)
  // Peers may connect from now on.
  yield* Signal.once(assembly.isNeeded, work(self))
  yield* Ticker.join(lasting.options.ticker, (now) => PieceSwarm.tick(swarm, now))
  if (self.isCaughtUp.isOpen) yield* seek(self)
  else yield* Effect.forkScoped(Effect.andThen(Gate.pass(self.isCaughtUp), seek(self)))
})

/** Runs whatever finds peers or supplies pieces. */
const seek = Effect.fnUntraced(function* (self: TorrentParts) {
  const { assembly, lasting, swarm } = self
  const { life, limits, options, sources } = lasting
  yield* Sources.runWhileWanted(sources, life, {
    sources: options.sources,
    context: contextOf(self),
    swarm,
    ticker: options.ticker,
    tally: options.tally,
    report: (event) => TorrentLife.report(life, event)
  })
  yield* Supplying.run(yield* SupplierSources, life, {
    metainfo: options.metainfo,
    assembly,
    limits,
    webSeeds: options.webSeeds ?? [],
    report: (event) => Supplying.note(sources, event, (event) => TorrentLife.report(life, event))
  })
  if (typeof options.seed === "object") yield* Seeding.run(options.seed, self)
})

/**
 * Ends an exchange, whose scope is given. Pieces that are complete are stored before, unless the storage takes no
 * writes, and flushed, unless flushes fail. Nothing holds a connection or a buffer then.
 */
export const rest = Effect.fnUntraced(function* (
  { assembly, files, lasting, swarm }: TorrentParts,
  scope: Scope.Closeable
) {
  const { life } = lasting
  /** Gives up if the torrent has to end or start again, or while flushes fail. */
  const cannot = Watch.until(life.watch, () => {
    const { failing, phase } = life.machine
    return life.failure !== undefined || phase !== "running" || failing.flush !== undefined || undefined
  })
  yield* PieceSwarm.endSessions(swarm)
  yield* Effect.raceFirst(Rest.settled(assembly), cannot)
  yield* Scope.close(scope, Exit.void)
  yield* Rest.begin(assembly)
  yield* Effect.raceFirst(files.flush, cannot)
})

/**
 * Forgets a torrent that does not run, after its own files were deleted if `data`. Of one that is read-only nothing is
 * deleted. `lasting` is `undefined` if its metainfo is not known; an earlier run may have left files all the same, and
 * only resume data proves that they are its own, so it is kept if `data`.
 */
export const forget = Effect.fnUntraced(function* (
  { infoHash, readOnly }: Pick<ProgramOptions, "infoHash" | "readOnly">,
  lasting: Lasting | undefined,
  data: boolean
): Effect.fn.Return<Removed, ResumeError | StorageError, ResumeStore | Storage | Scope.Scope> {
  if (readOnly === true || (data && lasting === undefined)) return { keptPaths: [], isRemembered: true }
  const layout = lasting?.options.metainfo.layout
  const { pieceCount } = layout?.geometry ?? { pieceCount: 0 }
  const resume = yield* (yield* ResumeStore).open({ infoHash, pieceCount, fileCount: layout?.fileCount ?? 0 })
  const forgotten = { keptPaths: [], isRemembered: false }
  if (!data || lasting === undefined || layout === undefined) return yield* Effect.as(resume.remove, forgotten)
  const storage = yield* (yield* Storage).open({ infoHash, layout })
  return { ...forgotten, keptPaths: yield* FileRemoval.withoutRun(storage, resume, layout, lasting.life.last) }
}, Effect.scoped)

/** What a torrent does from its first peer or other supplier on. Most torrents rest without any. */
const work = Effect.fnUntraced(function* ({ assembly, facts, files, lasting, storage, swarm, upload }: TorrentParts) {
  const digestOf = (piece: PieceIndex) => Metainfo.pieceDigest(lasting.options.metainfo, piece)
  // What works is interrupted in reverse order, so the reader of facts ends after whoever reports them.
  yield* PieceSwarm.run(swarm)
  yield* Facts.read(assembly.facts, (fact) => {
    if (fact._tag === "Stored") {
      Upload.noteStored(upload, fact.piece)
      Readers.noteStored(lasting.readers, fact.piece)
    }
    TorrentFacts.onPiece(facts, fact)
  })
  const { tally, tracesPieces } = lasting.options
  yield* Completion.run(assembly, { storage: files.writer, digestOf, tally, tracesPieces })
  const onRecovered = (piece: PieceIndex): void => TorrentFacts.onRecovered(facts, piece)
  yield* Upload.recover(upload, { storage, digestOf, onRecovered })
  yield* Assembly.sweep(assembly, { isHeldUp: (buffer) => Requests.waitsForRate(assembly, buffer) })
})

const failWith = (life: TorrentLife.TorrentLife, cause: Cause.Cause<TorrentError>): Effect.Effect<void> =>
  Effect.sync(() => TorrentLife.fail(life, cause))

/** If a part of the run dies, the torrent fails. */
export const failing = (life: TorrentLife.TorrentLife) =>
  Effect.provideService(Signal.Defects, (defect: unknown) => failWith(life, Cause.die(defect)))

/** Starts a fiber that runs until the scope closes. If it dies, the torrent fails. */
const forkPart = <A, R>(life: TorrentLife.TorrentLife, part: Effect.Effect<A, never, R>) =>
  part.pipe(
    Effect.onError((cause) => (Cause.hasDies(cause) ? failWith(life, cause) : Effect.void)),
    Effect.forkScoped
  )

/** What sources need to know of the torrent that they find peers for. */
const contextOf = ({ assembly, files, lasting, swarm, upload }: TorrentParts): PeerSourceContext => ({
  infoHash: lasting.options.metainfo.infoHash,
  peerId: lasting.options.peerId,
  port: lasting.options.port,
  encryption: swarm.options.encryption?.policy,
  isPrivate: lasting.options.metainfo.isPrivate,
  trackers: lasting.options.metainfo.trackers,
  nodes: lasting.options.metainfo.nodes,
  completed: Effect.suspend(() =>
    PieceTable.isComplete(assembly.table) ? Effect.void : Deferred.await(lasting.life.whole)
  ),
  wantsMore: () => !PieceTable.isFinished(assembly.table) && PieceSwarm.counts(swarm).connected === 0,
  hasFew: () => !PieceTable.isFinished(assembly.table) && PieceSwarm.counts(swarm).connected < Sources.fewPeers,
  facts: () => ({
    downloaded: assembly.downloadedBytes,
    uploaded: upload.uploadedBytes,
    left:
      assembly.geometry.totalLength -
      PieceTable.storedBytes(assembly.table) +
      PieceTable.bytesIn(assembly.table, files.suspects)
  })
})
