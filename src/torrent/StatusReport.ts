/**
 * Computes the status of a torrent from its parts. Counters are read from whoever keeps them.
 */
import * as Assembly from "../assembly/Assembly.ts"
import * as BufferBudget from "../assembly/BufferBudget.ts"
import * as BufferPool from "../assembly/BufferPool.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as Bottleneck from "./Bottleneck.ts"
import type { Progress } from "./MetadataFetch.ts"
import * as SeedingGoal from "./SeedingGoal.ts"
import * as Sources from "./Sources.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import type { Lasting, TorrentParts } from "./TorrentParts.ts"
import type { TorrentStatus } from "./TorrentStatus.ts"

/** What is known of a torrent whose metainfo may not be. */
export interface Known extends Pick<Lasting, "life" | "sources" | "limits" | "carried"> {
  readonly name: string
  /** `undefined` until the metainfo is known. */
  readonly layout: FileLayout | undefined
  /** How the fetch of its metadata is going. */
  readonly fetching?: Progress | undefined
}

/** The status before it is known what is stored. */
export const early = (known: Known): TorrentStatus => {
  const { pieceCount, totalLength } = known.layout?.geometry ?? { pieceCount: 0, totalLength: 0 }
  const { downloadedBytes, uploadedBytes, wastedBytes } = known.carried
  const { closedPeers = 0, encryption = "off", knownPeers = 0, peers: connectedPeers = 0 } = known.fetching ?? {}
  return {
    ...own(known),
    resumedBytes: 0,
    bottleneck: Bottleneck.of({
      ...ownFacts(known),
      connectedPeers,
      webSeeds: 0,
      knownPeers,
      hungUpPeers: closedPeers,
      encryption,
      interestingPeers: 0,
      unchokingPeers: 0,
      hungryPeers: 0,
      lentBuffers: 0,
      bufferCapacity: 0,
      isBudgetSpent: false,
      verifyingPieces: 0,
      writingPieces: 0,
      missingPieces: 0,
      damagedPieces: [],
      isOnlyDamagedLeft: false
    }),
    totalPieces: pieceCount,
    storedPieces: 0,
    totalBytes: totalLength,
    storedBytes: 0,
    wantedPieces: pieceCount,
    wantedBytes: totalLength,
    missingBytes: totalLength,
    unverifiedPieces: 0,
    unverifiedBytes: 0,
    downloadedBytes,
    wastedBytes,
    downloadBytesPerSecond: 0,
    uploadedBytes,
    uploadBytesPerSecond: 0,
    shareRatio: SeedingGoal.ratioOf(uploadedBytes, totalLength),
    unreadablePieces: 0,
    bufferedBytes: 0,
    damagedPieces: [],
    connectedPeers,
    webSeeds: 0,
    unchokedPeers: 0,
    knownPeers,
    bannedPeers: 0
  }
}

/** The status of a run. `now` is the monotonic time in milliseconds. */
export const of = (run: TorrentParts, now: number): TorrentStatus => {
  const { assembly, files, lasting, swarm, upload } = run
  const { pool, table } = assembly
  const peers = PieceSwarm.counts(swarm)
  const wantedBytes = PieceTable.wantedBytes(table)
  const damagedPieces = Assembly.damagedPieces(assembly)
  const { carried } = lasting
  const uploadedBytes = carried.uploadedBytes + upload.uploadedBytes
  // A meter goes on to show what there was a few seconds ago.
  const isResting = TorrentMachine.isResting(lasting.life.machine)
  return {
    ...own(knownOf(lasting)),
    resumedBytes: run.resumedBytes,
    bottleneck: bottleneckOf(run, peers, damagedPieces),
    damagedPieces,
    totalPieces: table.geometry.pieceCount,
    storedPieces: table.counts.stored - files.suspects.count,
    totalBytes: table.geometry.totalLength,
    storedBytes: PieceTable.storedBytes(table) - PieceTable.bytesIn(table, files.suspects),
    wantedPieces: table.wanted.count,
    wantedBytes,
    missingBytes: PieceTable.missingBytes(table, files.suspects),
    unverifiedPieces: files.suspects.count,
    unverifiedBytes: PieceTable.wantedBytesIn(table, files.suspects),
    downloadedBytes: carried.downloadedBytes + assembly.downloadedBytes,
    wastedBytes: carried.wastedBytes + assembly.wastedBytes,
    downloadBytesPerSecond: isResting ? 0 : RateMeter.bytesPerSecond(assembly.rate, now),
    uploadedBytes,
    uploadBytesPerSecond: isResting ? 0 : RateMeter.bytesPerSecond(upload.rate, now),
    shareRatio: SeedingGoal.ratioOf(uploadedBytes, wantedBytes),
    unreadablePieces: upload.unreadable.count,
    bufferedBytes: BufferPool.lentCount(pool) * pool.account.bufferBytes,
    connectedPeers: peers.connected,
    webSeeds: webSeedsOf(assembly),
    unchokedPeers: peers.unchoked,
    knownPeers: peers.known,
    bannedPeers: peers.banned
  }
}

/** The status of a run that has ended: what it had stored, and that nothing moves and nobody is connected any more. */
export const atEnd = (run: TorrentParts, now: number): TorrentStatus => ({
  ...of(run, now),
  downloadBytesPerSecond: 0,
  uploadBytesPerSecond: 0,
  bufferedBytes: 0,
  connectedPeers: 0,
  webSeeds: 0,
  unchokedPeers: 0
})

/** The status after a run, from its status at its end: the torrent may have failed or stopped since. */
export const after = (end: TorrentStatus, lasting: Lasting): TorrentStatus => {
  const now = own(knownOf(lasting))
  const { _tag } = now.state
  return { ...end, ...now, bottleneck: _tag === "Failed" || _tag === "Stopped" ? { _tag } : end.bottleneck }
}

/** What is known of a torrent whose metainfo is. */
export const knownOf = (lasting: Lasting): Known => {
  const { layout, name } = lasting.options.metainfo
  return { ...lasting, layout, name }
}

const own = ({ life, name }: Known) => ({
  state: TorrentMachine.stateOf(life.machine),
  name,
  isPaused: life.machine.isPaused,
  isSeeding: life.machine.isSeeding,
  rejectedPieces: life.rejectedPieces
})

const ownFacts = ({ life, limits, sources }: Known) => {
  const state = TorrentMachine.stateOf(life.machine)
  return {
    state: state._tag,
    storageError: state._tag === "StorageFailing" ? state.error : undefined,
    failedSources: Sources.reportsOf(sources).failed,
    answeringSources: Sources.reportsOf(sources).answered,
    haveTrackersRefused: Sources.haveRefused(sources),
    isRateLimited: RateLimiter.isWaitedFor(limits.download)
  }
}

/** Counts suppliers that are no peers. One may have several connections, each of which is a supplier. */
const webSeedsOf = ({ suppliers }: Assembly.Assembly): number => {
  const names = new Set<string>()
  for (const { name } of suppliers) if (name !== undefined) names.add(name)
  return names.size
}

/** Whether every supplier is paused, because only damaged pieces came from it. */
const areAllPaused = ({ suppliers }: Assembly.Assembly): boolean => {
  for (const { standing } of suppliers) if (!standing.isPaused) return false
  return true
}

const bottleneckOf = (
  { assembly, lasting, storage, swarm }: TorrentParts,
  peers: PieceSwarm.Counts,
  damagedPieces: ReadonlyArray<PieceIndex>
): Bottleneck.Bottleneck => {
  const { pool, table } = assembly
  const { active, complete, verified } = table.counts
  const prospects = PieceSwarm.prospects(swarm)
  const verifies = storage.verifies === true
  return Bottleneck.of({
    ...ownFacts(knownOf(lasting)),
    connectedPeers: peers.connected,
    webSeeds: webSeedsOf(assembly),
    knownPeers: peers.known,
    hungUpPeers: peers.hungUp,
    encryption: peers.encryption,
    interestingPeers: prospects.interesting,
    unchokingPeers: prospects.unchoking,
    hungryPeers: assembly.idleSuppliers.size,
    lentBuffers: BufferPool.lentCount(pool),
    bufferCapacity: pool.capacity,
    isBudgetSpent: BufferBudget.isSpent(pool.ledger, pool.account),
    verifyingPieces: verifies ? 0 : complete,
    writingPieces: verified + (verifies ? complete : 0),
    missingPieces: table.unstoredWanted - active - complete,
    damagedPieces,
    isOnlyDamagedLeft: table.unstoredWanted === damagedPieces.length || areAllPaused(assembly)
  })
}
