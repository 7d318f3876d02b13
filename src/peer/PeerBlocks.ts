/**
 * What a peer answers to our requests: blocks, rejects (BEP 6), or a choke that withdraws them all. Only a block that
 * was requested is accepted, and it is copied straight to its place in the piece. Any other block touches no buffer; it
 * is counted, and a peer that sends more of them than useful ones, and a few, is disconnected.
 *
 * Hot path: a block costs one lookup of its request and one copy of its bytes (`test/bench/PeerProtocol.bench.ts`).
 */
import * as Assembly from "../assembly/Assembly.ts"
import * as Histogram from "../base/Histogram.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import type * as RateLimits from "../rate/RateLimits.ts"
import * as IncomingBlock from "../supply/IncomingBlock.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import type * as Supplier from "../supply/Supplier.ts"
import type * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as AllowedFast from "./AllowedFast.ts"
import * as BlockBounds from "./BlockBounds.ts"
import * as CancelledRequests from "./CancelledRequests.ts"
import * as PeerPatience from "./PeerPatience.ts"

/** The answers of one peer, which is a supplier of the assembly. */
export interface PeerBlocks extends Supplier.Supplier {
  readonly assembly: Assembly.Assembly
  /** How fast the peer may send and be sent to. */
  readonly limits: RateLimits.PeerLimits
  readonly patience: PeerPatience.PeerPatience
  /** Whether both sides speak the fast extension (BEP 6). */
  readonly isFast: boolean
  readonly receiving: IncomingBlock.IncomingBlock
  readonly cancelled: CancelledRequests.CancelledRequests
  /** The peer refused or lost a piece that was to come from it alone; the next tick frees that piece for others. */
  hasRefusedSole: boolean
  /** The time of the bytes that are being read, in milliseconds. */
  readonly now: number
  /** Payload bytes received. */
  downloadedBytes: number
  /** Of them, those of blocks that were requested and new. */
  usefulBytes: number
  /** When the last of these arrived, or the connection began. */
  lastUseful: number
  /** Where the seconds are recorded that a request takes, of one block a piece; absent: nowhere. */
  readonly requestSeconds: Histogram.Histogram | undefined
}

/** Reads the frames that answer our requests, and those that say which requests the peer would answer. */
export const sink = (
  self: PeerBlocks
): Pick<
  FrameDecoder.FrameSink,
  "choke" | "unchoke" | "suggest" | "allowedFast" | "reject" | "pieceBegin" | "pieceData" | "pieceEnd"
> => ({
  choke: () => choked(self),
  unchoke: () => Assembly.unchoked(self),
  suggest: (index) => {
    BlockBounds.requirePiece(self.assembly.geometry, index, "a suggestion")
  },
  allowedFast: (index) => {
    const piece = BlockBounds.requirePiece(self.assembly.geometry, index, "an allowed fast message")
    if (self.allowedFast.size < AllowedFast.maxTaken) self.allowedFast.add(piece)
  },
  reject: (index, begin, length) => {
    const piece = BlockBounds.requireBlock(self.assembly.geometry, index, begin, length, "a reject")
    const isRefusing = PeerPatience.reject(self.patience)
    CancelledRequests.remove(self.cancelled, piece, begin)
    const request = RequestPipeline.get(self.pipeline, piece, begin >>> PieceGeometry.blockShift)
    if (request === undefined) return
    if (!self.peerChoking && isRefusing) RequestPipeline.snub(self.pipeline)
    if (Assembly.refused(self.assembly, self, request, self.now)) self.hasRefusedSole = true
  },
  pieceBegin: (index, begin, length) => {
    const request = RequestPipeline.get(self.pipeline, index, begin >>> PieceGeometry.blockShift)
    self.downloadedBytes += length
    Assembly.arriving(self.assembly, length, self.now)
    if (request === undefined || !PieceBuffer.isBlock(request.buffer, begin, length)) {
      discard(self, index, begin, length)
      return
    }
    IncomingBlock.begin(self.receiving, request, self.id)
  },
  pieceData: (view, offset) => {
    const request = IncomingBlock.liveRequest(self.receiving)
    if (request === undefined) return
    RequestPipeline.progress(self.pipeline, self.now)
    IncomingBlock.write(self.receiving, request, offset, view)
  },
  pieceEnd: () => {
    const begun = self.receiving.request
    if (begun === undefined) return
    const size = PieceBuffer.sizeOf(begun.buffer, begun.block)
    const request = IncomingBlock.end(self.receiving, self.id)
    if (request === undefined) {
      Assembly.waste(self.assembly, size)
      return
    }
    PeerPatience.answer(self.patience)
    if (!Assembly.received(self.assembly, self, request, self.now)) {
      Assembly.waste(self.assembly, size)
      return
    }
    if (self.requestSeconds !== undefined && request.block === 0) {
      Histogram.add(self.requestSeconds, (self.now - request.sentAt) / 1_000)
    }
    PeerPatience.useful(self.patience)
    self.usefulBytes += size
    self.lastUseful = self.now
  }
})

/** The peer serves nothing for now. Under BEP 6 it still answers or rejects each request; otherwise it forgets them. */
const choked = (self: PeerBlocks): void => {
  if (!self.isFast) {
    for (const { block, buffer } of self.pipeline.requests.values()) {
      CancelledRequests.add(self.cancelled, buffer.piece, block * PieceGeometry.blockLength)
    }
  }
  Assembly.choked(self.assembly, self, { keepsRequests: self.isFast })
}

/** A block that was not requested begins, or one whose request was cancelled. Its bytes are skipped. */
const discard = (self: PeerBlocks, index: number, begin: number, length: number): void => {
  self.receiving.request = undefined
  Assembly.waste(self.assembly, length)
  RateLimiter.spend(self.limits.download, length)
  if (CancelledRequests.remove(self.cancelled, index, begin)) RequestPipeline.answer(self.pipeline)
  else PeerPatience.unaskedBlock(self.patience)
}
