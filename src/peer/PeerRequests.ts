/**
 * What a peer requests from us (BEP 3): its interest, its requests and their cancels, and our choke that holds them
 * off. A request that is not answered is rejected if both sides speak BEP 6.
 *
 * Leaves to `UploadQueue.ts` the order of the requests, to `UploadSession.ts` the blocks, and to `swarm/Choker.ts` whom
 * to choke.
 */
import type * as Assembly from "../assembly/Assembly.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import { WireError } from "../wire/WireError.ts"
import * as BlockBounds from "./BlockBounds.ts"
import * as FastAllowance from "./FastAllowance.ts"
import type { Offer } from "./Offer.ts"
import * as PeerPatience from "./PeerPatience.ts"
import * as Upload from "./Upload.ts"
import * as UploadQueue from "./UploadQueue.ts"

/** The requests of one peer. */
export interface PeerRequests {
  readonly assembly: Assembly.Assembly
  readonly upload: Upload.Upload
  /** The requests that wait to be answered, and whether we choke the peer. */
  readonly uploads: UploadQueue.UploadQueue
  /** What the peer may request although we choke it (BEP 6). */
  readonly allowance: FastAllowance.FastAllowance
  /** Present if the peer is offered a few pieces at a time (BEP 16). */
  readonly offer: Offer | undefined
  /** Frames that wait to be sent. */
  readonly outbox: FrameEncoder.FrameEncoder
  readonly patience: PeerPatience.PeerPatience
  /** Whether both sides speak the fast extension (BEP 6). */
  readonly isFast: boolean
  peerInterested: boolean
  /** When we last sent anything, in milliseconds. */
  lastSent: number
  /** Payload bytes sent. */
  uploadedBytes: number
  /** When the last of them were sent, or the connection began. */
  lastServed: number
  /** The session should send the outbox soon. Called in the middle of what others do. */
  readonly wake: () => void
  /** The session should answer requests soon. */
  readonly serve: () => void
  /** The peer's interest in us has changed. */
  readonly interestChanged: () => void
}

/** Reads the frames in which the peer requests blocks or says whether it wants to. */
export const sink = (
  self: PeerRequests
): Pick<FrameDecoder.FrameSink, "interested" | "notInterested" | "request" | "cancel"> => ({
  interested: () => setInterest(self, true),
  notInterested: () => setInterest(self, false),
  request: (index, begin, length) => {
    const piece = BlockBounds.requireBlock(self.assembly.geometry, index, begin, length, "a request")
    if (!Bitfield.has(self.assembly.table.stored, piece) || self.offer?.isOffered(piece) === false) {
      PeerPatience.wrongRequest(self.patience)
      return refuse(self, piece, begin, length)
    }
    if (Bitfield.has(self.upload.unreadable, piece)) return refuse(self, piece, begin, length)
    switch (UploadQueue.request(self.uploads, piece, begin, length)) {
      case "queued":
        return self.serve()
      case "refused":
        if (UploadQueue.isFlooding(self.uploads)) throw new WireError({ why: "requests without end" })
        return refuse(self, piece, begin, length)
    }
  },
  cancel: (index, begin, length) => {
    const piece = BlockBounds.requireBlock(self.assembly.geometry, index, begin, length, "a cancel")
    if (UploadQueue.cancel(self.uploads, piece, begin, length)) refuse(self, piece, begin, length)
  }
})

const setInterest = (self: PeerRequests, isInterested: boolean): void => {
  if (self.peerInterested === isInterested) return
  self.peerInterested = isInterested
  self.interestChanged()
}

/** Lets the peer request blocks. */
export const unchoke = (self: PeerRequests): void => {
  if (!self.uploads.isChoking) return
  UploadQueue.unchoke(self.uploads)
  FrameEncoder.unchoke(self.outbox)
  self.wake()
}

/**
 * Answers no more requests. Those that wait are rejected under BEP 6; without it the peer knows that they are
 * forgotten.
 */
export const choke = (self: PeerRequests): void => {
  if (self.uploads.isChoking) return
  FrameEncoder.choke(self.outbox)
  for (const { begin, length, piece } of UploadQueue.choke(self.uploads)) refuse(self, piece, begin, length)
  self.wake()
}

/** Rejects a request. Without BEP 6 there is no such message, and the request is only left unanswered. */
export const refuse = (self: PeerRequests, piece: PieceIndex, begin: number, length: number): void => {
  if (!self.isFast) return
  FrameEncoder.reject(self.outbox, piece, begin, length)
  self.wake()
}

/** Blocks of a piece were sent to the peer, `bytes` of payload together. */
export const uploaded = (self: PeerRequests, piece: PieceIndex, bytes: number, now: number): void => {
  self.offer?.sent(piece)
  if (self.uploads.isChoking) FastAllowance.spend(self.allowance, bytes)
  self.uploadedBytes += bytes
  self.lastServed = now
  self.lastSent = now
  Upload.sent(self.upload, bytes, now)
}
