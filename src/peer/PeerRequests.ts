/**
 * Handles what a peer requests from us (BEP 3). Reads whether it is interested in our pieces, its requests, and the
 * cancels of them. Chokes the peer, which means that we answer no requests from it, and unchokes it. Rejects each
 * request that will not be answered, if both sides speak the fast extension (BEP 6).
 *
 * `UploadQueue.ts` keeps the order of the requests, `UploadSession.ts` reads and sends the blocks, and
 * `swarm/Choker.ts` decides which peers are choked.
 */
import type * as Assembly from "../assembly/Assembly.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import type * as RateLimits from "../rate/RateLimits.ts"
import type * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import { WireError } from "../wire/WireError.ts"
import * as BlockBounds from "./BlockBounds.ts"
import * as FastAllowance from "./FastAllowance.ts"
import type { Offer } from "./Offer.ts"
import * as PeerPatience from "./PeerPatience.ts"
import * as Upload from "./Upload.ts"
import * as UploadQueue from "./UploadQueue.ts"

/** The state of what one peer requests. */
export interface PeerRequests {
  readonly assembly: Assembly.Assembly
  readonly upload: Upload.Upload
  /** The requests that have not been answered yet, and whether we choke the peer. */
  readonly uploads: UploadQueue.UploadQueue
  /** The pieces that the peer may request although we choke it (BEP 6). */
  readonly allowance: FastAllowance.FastAllowance
  /** The pieces that were offered to the peer; `undefined` unless we offer it a few pieces at a time (BEP 16). */
  readonly offer: Offer | undefined
  /** The frames that have not been sent yet. */
  readonly outbox: FrameEncoder.FrameEncoder
  /** How many mistakes the peer has made. It is dropped when it passes a limit. */
  readonly patience: PeerPatience.PeerPatience
  /** Whether both sides speak the fast extension (BEP 6). */
  readonly isFast: boolean
  /** Whether the peer wants to request blocks (BEP 3). */
  peerInterested: boolean
  /** When we last sent anything, in milliseconds. */
  lastSent: number
  /** How many bytes of blocks we have sent. */
  uploadedBytes: number
  /** How fast blocks are sent to it, and until how many `uploadedBytes` it has a larger share. */
  readonly limits: RateLimits.PeerLimits
  largerShareEnd: number
  /** When we last sent a block, in milliseconds. Until the first one, it is when the connection began. */
  lastServed: number
  /** Lets the session send the outbox soon. It only sets a flag, because callers are in the middle of other work. */
  readonly wake: () => void
  /** Lets the session answer requests soon. */
  readonly serve: () => void
  /** Reports that `peerInterested` has changed. */
  readonly interestChanged: () => void
}

/**
 * Returns the functions that read the peer's requests and cancels, and the frames in which it says whether it is
 * interested. They throw if the peer breaks the protocol, which ends its session.
 */
export const sink = (
  self: PeerRequests
): Pick<FrameDecoder.FrameSink, "interested" | "notInterested" | "request" | "cancel"> => ({
  interested: () => setInterest(self, true),
  notInterested: () => setInterest(self, false),
  request: (index, begin, length) => {
    const piece = BlockBounds.requireBlock(self.assembly.geometry, index, begin, length, "a request")
    // The peer cannot know that we have this piece.
    if (!Bitfield.has(self.assembly.table.stored, piece) || self.offer?.isOffered(piece) === false) {
      PeerPatience.wrongRequest(self.patience)
      return refuse(self, piece, begin, length)
    }
    // We announced the piece but cannot read it now, which is no mistake of the peer.
    if (Bitfield.has(self.upload.unreadable, piece)) return refuse(self, piece, begin, length)
    switch (UploadQueue.request(self.uploads, piece, begin, length)) {
      case "queued":
        return self.serve()
      case "refused":
        if (UploadQueue.isFlooding(self.uploads)) throw new WireError({ why: "requests without end", isFlood: true })
        return refuse(self, piece, begin, length)
    }
  },
  cancel: (index, begin, length) => {
    const piece = BlockBounds.requireBlock(self.assembly.geometry, index, begin, length, "a cancel")
    if (UploadQueue.cancel(self.uploads, piece, begin, length)) refuse(self, piece, begin, length)
  }
})

/** Records whether the peer is interested, and reports it if that has changed. */
const setInterest = (self: PeerRequests, isInterested: boolean): void => {
  if (self.peerInterested === isInterested) return
  self.peerInterested = isInterested
  self.interestChanged()
}

/** Lets the peer request blocks. Does nothing if it is not choked. */
export const unchoke = (self: PeerRequests): void => {
  if (!self.uploads.isChoking) return
  UploadQueue.unchoke(self.uploads)
  FrameEncoder.unchoke(self.outbox)
  self.wake()
}

/**
 * Chokes the peer and drops its requests, except those for pieces that it may request while it is choked. With BEP 6,
 * each dropped request is rejected. Without it, the peer knows that a choke drops them. Does nothing if the peer is
 * already choked.
 */
export const choke = (self: PeerRequests): void => {
  if (self.uploads.isChoking) return
  FrameEncoder.choke(self.outbox)
  for (const { begin, length, piece } of UploadQueue.choke(self.uploads)) refuse(self, piece, begin, length)
  self.wake()
}

/** Rejects a request. Does nothing without BEP 6, which defines the message, and the request remains unanswered. */
export const refuse = (self: PeerRequests, piece: PieceIndex, begin: number, length: number): void => {
  if (!self.isFast) return
  FrameEncoder.reject(self.outbox, piece, begin, length)
  self.wake()
}

/** Sets how many times the share of others the peer has of the upload limit, for so many bytes if it is larger. */
export const setWeight = (self: PeerRequests, weight: number, bytes = Number.POSITIVE_INFINITY): void => {
  self.largerShareEnd = self.uploadedBytes + bytes
  RateLimiter.setWeight(self.limits.upload, weight)
}

/** Records that blocks of a piece were sent to the peer, `bytes` bytes together. */
export const uploaded = (self: PeerRequests, piece: PieceIndex, bytes: number, now: number): void => {
  self.offer?.sent(piece, bytes)
  if (self.uploads.isChoking) FastAllowance.spend(self.allowance, bytes)
  self.uploadedBytes += bytes
  if (self.uploadedBytes >= self.largerShareEnd) setWeight(self, 1)
  self.lastServed = now
  self.lastSent = now
  Upload.sent(self.upload, bytes, now)
}
