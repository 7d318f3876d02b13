/**
 * How a torrent stands, as it follows from its parts: counters that are read where they are kept.
 */

import * as Assembly from "../assembly/Assembly.ts"
import * as BufferBudget from "../assembly/BufferBudget.ts"
import * as BufferPool from "../assembly/BufferPool.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import type { PieceGeometry, PieceIndex } from "../base/PieceGeometry.ts"
import type { Upload } from "../peer/Upload.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import type { RateLimits } from "../rate/RateLimits.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import type { TorrentStorage } from "../storage/Storage.ts"
import type { PieceSwarm } from "../swarm/PieceSwarm.ts"
import * as Bottleneck from "./Bottleneck.ts"
import * as SeedingGoal from "./SeedingGoal.ts"
import type { Sources } from "./Sources.ts"
import type { TorrentFiles } from "./TorrentFiles.ts"
import type { TorrentState, TorrentStatus } from "./TorrentStatus.ts"

/** What a torrent consists of once it is known what is stored. */
export interface Parts {
  readonly assembly: Assembly.Assembly
  readonly upload: Upload
  readonly swarm: PieceSwarm
  readonly storage: TorrentStorage
  readonly files: TorrentFiles
}

/** What a torrent keeps itself. */
export interface Torrent {
  readonly state: TorrentState
  readonly sources: Sources
  readonly limits: RateLimits
  /** Whether it gives to others once everything is stored. */
  readonly isSeeding: boolean
  readonly resumedBytes: number
  readonly rejectedPieces: number
}

/** What there is to say while it is not known what is stored. */
export const early = (torrent: Torrent, geometry: PieceGeometry): TorrentStatus => ({
  ...own(torrent),
  bottleneck: Bottleneck.of({
    ...ownFacts(torrent),
    connectedPeers: 0,
    knownPeers: 0,
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
  totalPieces: geometry.pieceCount,
  storedPieces: 0,
  totalBytes: geometry.totalLength,
  storedBytes: 0,
  wantedPieces: geometry.pieceCount,
  wantedBytes: geometry.totalLength,
  missingBytes: geometry.totalLength,
  downloadedBytes: 0,
  wastedBytes: 0,
  downloadBytesPerSecond: 0,
  uploadedBytes: 0,
  uploadBytesPerSecond: 0,
  shareRatio: 0,
  unreadablePieces: 0,
  bufferedBytes: 0,
  damagedPieces: [],
  connectedPeers: 0,
  unchokedPeers: 0,
  knownPeers: 0,
  bannedPeers: 0
})

/** What there is to say at `now`, in milliseconds. */
export const of = (torrent: Torrent, parts: Parts, now: number): TorrentStatus => {
  const { assembly, swarm, upload } = parts
  const { pool, table } = assembly
  const peers = swarm.counts()
  const wantedBytes = PieceTable.wantedBytes(table)
  const damagedPieces = Assembly.damagedPieces(assembly)
  return {
    ...own(torrent),
    bottleneck: bottleneckOf(torrent, parts, peers, damagedPieces),
    damagedPieces,
    totalPieces: table.geometry.pieceCount,
    storedPieces: table.counts.stored - parts.files.suspects.count,
    totalBytes: table.geometry.totalLength,
    storedBytes: PieceTable.storedBytes(table) - PieceTable.bytesIn(table, parts.files.suspects),
    wantedPieces: table.wanted.count,
    wantedBytes,
    missingBytes: PieceTable.missingBytes(table),
    downloadedBytes: assembly.downloadedBytes,
    wastedBytes: assembly.wastedBytes,
    downloadBytesPerSecond: RateMeter.bytesPerSecond(assembly.rate, now),
    uploadedBytes: upload.uploadedBytes,
    uploadBytesPerSecond: RateMeter.bytesPerSecond(upload.rate, now),
    shareRatio: SeedingGoal.ratioOf(upload.uploadedBytes, wantedBytes),
    unreadablePieces: upload.unreadable.count,
    bufferedBytes: BufferPool.lentCount(pool) * pool.account.bufferBytes,
    connectedPeers: peers.connected,
    unchokedPeers: peers.unchoked,
    knownPeers: peers.known,
    bannedPeers: peers.banned
  }
}

const own = ({ isSeeding, rejectedPieces, resumedBytes, state }: Torrent) => ({
  state,
  isSeeding,
  resumedBytes,
  rejectedPieces
})

const ownFacts = ({ limits, sources, state }: Torrent) => ({
  state: state._tag,
  storageError: state._tag === "StorageFailing" ? state.error : undefined,
  failedSources: sources.failed,
  answeringSources: sources.answered.size,
  isRateLimited: RateLimiter.isWaitedFor(limits.download)
})

/** Whether those who could send something else are left alone for now, as nothing but damaged pieces came from them. */
const areAllPaused = ({ suppliers }: Assembly.Assembly): boolean => {
  for (const { standing } of suppliers) if (!standing.isPaused) return false
  return true
}

const bottleneckOf = (
  torrent: Torrent,
  parts: Parts,
  peers: ReturnType<PieceSwarm["counts"]>,
  damagedPieces: ReadonlyArray<PieceIndex>
): Bottleneck.Bottleneck => {
  const { assembly, storage, swarm } = parts
  const { pool, table } = assembly
  const { active, complete, verified } = table.counts
  const prospects = swarm.prospects()
  const verifies = storage.verifies === true
  return Bottleneck.of({
    ...ownFacts(torrent),
    connectedPeers: peers.connected,
    knownPeers: peers.known,
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
