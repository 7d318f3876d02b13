/**
 * One peer connection after its handshake, as a plain machine and a supplier: bytes come in, blocks go to the assembly, frames to
 * the outbox. BEP 3 and the fast extension of BEP 6; what BEP 10 adds is `PeerExtensions.ts`'s. It reads no clock and does no
 * I/O; the session around it gives it the time, moves the bytes and ends it when it throws.
 *
 * Hot path: a block costs one lookup of its request and one copy of its bytes, straight to their place in the piece.
 * Only what was requested is accepted. What was not, or not any more, never touches a buffer; it is counted, and a peer
 * that goes on is disconnected.
 */
import * as Effect from "effect/Effect"
import * as Assembly from "../assembly/Assembly.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import * as Supplier from "../supply/Supplier.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import { WireError } from "../wire/WireError.ts"
import * as AllowedFast from "./AllowedFast.ts"
import * as BlockBounds from "./BlockBounds.ts"
import * as FastAllowance from "./FastAllowance.ts"
import * as IncomingBlock from "./IncomingBlock.ts"
import * as PeerExtensions from "./PeerExtensions.ts"
import * as PeerPatience from "./PeerPatience.ts"
import * as Upload from "./Upload.ts"
import * as UploadQueue from "./UploadQueue.ts"

/** Recently cancelled requests that are remembered, to tell a late block from an unasked one. */
const maxCancelled = 1_024

/** Milliseconds without a frame of ours after which a keep-alive goes out; peers hang up after 120,000 (BEP 3). */
export const keepAliveAfter = 100_000

/** Stands between a peer and what is stored, where it is told of one piece at a time (BEP 16). */
export interface Offer {
  /** Whether the peer may be given the piece. */
  readonly isTold: (piece: PieceIndex) => boolean
  /** The peer has the piece now. */
  readonly gained: (piece: PieceIndex) => void
  /** A part of the piece was sent to the peer. */
  readonly sent: (piece: PieceIndex) => void
}

/** The state of one connection. */
export interface PeerProtocol extends Supplier.Supplier {
  readonly assembly: Assembly.Assembly
  readonly upload: Upload.Upload
  /** How fast it may send, and be sent to. */
  readonly limits: RateLimits.PeerLimits
  /** What it asks us for, and whether we choke it. */
  readonly uploads: UploadQueue.UploadQueue
  /** What it may have although we choke it (BEP 6). */
  readonly allowance: FastAllowance.FastAllowance
  readonly offer: Offer | undefined
  readonly decoder: FrameDecoder.FrameDecoder
  /** Frames that wait to be sent. */
  readonly outbox: FrameEncoder.FrameEncoder
  /** Whether both sides speak the fast extension (BEP 6). */
  readonly isFast: boolean
  /** What is said beside the pieces, where both sides speak the extension protocol (BEP 10). */
  extensions: PeerExtensions.PeerExtensions | undefined
  amInterested: boolean
  peerInterested: boolean
  /** Whether it will not download any more (BEP 21). */
  readonly isUploadOnly: boolean
  /** Whether the peer has said which pieces it has; it may do so once, before any `have`. */
  hasToldPieces: boolean
  readonly receiving: IncomingBlock.IncomingBlock
  readonly cancelled: Set<number>
  /** It refused a piece that was to come from it alone, which the next tick frees for another. */
  hasRefusedSole: boolean
  /** When the handshake was done, in milliseconds. */
  readonly openedAt: number
  /** The time of the bytes being read, in milliseconds. */
  now: number
  lastSent: number
  /** What was borne of it so far. */
  readonly patience: PeerPatience.PeerPatience
  /** Payload bytes received. */
  downloadedBytes: number
  /** Of them, those of blocks that were asked for and new. */
  usefulBytes: number
  /** When the last of them came, or the connection began. */
  lastUseful: number
  /** Payload bytes sent. */
  uploadedBytes: number
  /** When the last of them went out, or the connection began. */
  lastServed: number
  /** There are requests to answer. */
  readonly serve: () => void
  /** The peer's interest in us has changed. */
  readonly interestChanged: () => void
}

/** What the extensions of one connection need to know. */
export interface ExtensionOptions {
  readonly torrent: PeerExtensions.TorrentExtensions
  /** The peer, as we see it. */
  readonly remote: PeerAddress
}

/** What a connection needs to begin. */
export interface Options {
  readonly assembly: Assembly.Assembly
  readonly upload: Upload.Upload
  /** Those of its torrent; absent: there are none. */
  readonly limits?: RateLimits.TorrentLimits | undefined
  /** Where it is told of nothing at first. */
  readonly offer?: Offer | undefined
  /** The number of the peer's address. */
  readonly id: SupplierId
  /** Whether both sides speak the fast extension. */
  readonly isFast: boolean
  /** The peer's allowed fast set (BEP 6); it is told of the pieces that we have, where it has few itself. */
  readonly allowedFast?: ReadonlyArray<PieceIndex> | undefined
  /** What the extensions need to know, where both sides speak the extension protocol (BEP 10). */
  readonly extensions?: ExtensionOptions | undefined
  /** The session should refill and flush, soon but not at once: called in the middle of what others do. */
  readonly wake: () => void
  /** The session should answer requests, soon but not at once. */
  readonly serve: () => void
  /** The swarm should see whom to unchoke, soon but not at once. */
  readonly interestChanged: () => void
  readonly now: number
}

/** A connection whose handshake is done. What we have goes to the outbox first, as it must (BEP 3, BEP 6). */
export const make = (options: Options): PeerProtocol => {
  const { allowedFast = [], assembly, now, upload } = options
  const { pieceCount, pieceLength } = assembly.geometry
  const outbox = FrameEncoder.make()
  const stored = options.offer === undefined ? Upload.offered(upload, assembly.table.stored) : Bitfield.make(pieceCount)
  const allowance = FastAllowance.make(
    options.isFast ? allowedFast.filter((piece) => Bitfield.has(stored, piece)) : [],
    pieceLength
  )
  const limits = RateLimits.join(
    options.limits ?? RateLimits.unlimited(now),
    { download: options.wake, upload: options.serve },
    now
  )
  const self: PeerProtocol = {
    ...Supplier.make({
      id: options.id,
      geometry: assembly.geometry,
      standing: Assembly.standingOf(assembly, options.id),
      limiter: limits.download,
      request: (piece, begin, length) => FrameEncoder.request(outbox, piece, begin, length),
      cancel: (piece, begin, length) => cancel(self, piece, begin, length),
      wake: options.wake,
      now
    }),
    assembly,
    upload,
    limits,
    uploads: UploadQueue.make({ pieceLength, allowedFast: allowance.pieces }),
    allowance,
    offer: options.offer,
    decoder: FrameDecoder.make(sink(() => self)),
    outbox,
    isFast: options.isFast,
    amInterested: false,
    peerInterested: false,
    extensions: undefined,
    get isUploadOnly() {
      return self.extensions?.isUploadOnly === true
    },
    hasToldPieces: false,
    receiving: IncomingBlock.make(),
    cancelled: new Set(),
    hasRefusedSole: false,
    openedAt: now,
    now,
    lastSent: now,
    patience: PeerPatience.make(now),
    downloadedBytes: 0,
    usefulBytes: 0,
    lastUseful: now,
    uploadedBytes: 0,
    lastServed: now,
    serve: options.serve,
    interestChanged: options.interestChanged
  }
  if (self.isFast && stored.count === 0) FrameEncoder.haveNone(outbox)
  else if (self.isFast && Bitfield.isFull(stored)) FrameEncoder.haveAll(outbox)
  else if (stored.count > 0 || self.isFast) FrameEncoder.bitfield(outbox, stored.bytes)
  if (options.extensions !== undefined) self.extensions = extend(self, options.extensions)
  Assembly.join(assembly, self)
  return self
}

/** Begins to speak BEP 10, behind what we have: that must come first (BEP 3, BEP 6). */
const extend = (self: PeerProtocol, options: ExtensionOptions): PeerExtensions.PeerExtensions =>
  PeerExtensions.make({
    ...options,
    outbox: self.outbox,
    lost: (index) => lose(self, BlockBounds.requirePiece(self.assembly.geometry, index, "a donthave"))
  })

/**
 * Reads what the peer sent, at `now` in milliseconds. Throws `WireError` when the peer broke the protocol and
 * `PeerDropped` when it is of no use; the connection is finished then. The session refills and flushes afterwards.
 */
export const receive = (self: PeerProtocol, chunk: Uint8Array, now: number): void => {
  self.now = now
  self.patience.lastReceived = now
  FrameDecoder.push(self.decoder, chunk)
}

/** Says whether we are interested, where that has changed. */
export const updateInterest = (self: PeerProtocol): void => {
  const isInteresting = self.pipeline.requests.size > 0 || Assembly.isInteresting(self.assembly, self.has)
  if (isInteresting === self.amInterested) return
  self.amInterested = isInteresting
  if (isInteresting) FrameEncoder.interested(self.outbox)
  else FrameEncoder.notInterested(self.outbox)
}

/** Tells the peer of a piece that is stored now, or, where it has that piece itself, if we lost interest with it. */
export const announce = (self: PeerProtocol, piece: PieceIndex): void => {
  if (self.offer?.isTold(piece) === false) return
  if (!Bitfield.has(self.has, piece)) {
    FrameEncoder.have(self.outbox, piece)
    self.wake()
  } else if (self.amInterested) {
    updateInterest(self)
    if (!self.amInterested) self.wake()
  }
}

/**
 * Tells the peer that a piece which it was told of cannot be read any more, unless it has the piece itself (BEP 54). Returns
 * `false` for a peer that believes we have the piece and cannot be told otherwise.
 */
export const retract = (self: PeerProtocol, piece: PieceIndex): boolean => {
  const isTold = self.offer === undefined || self.offer.isTold(piece)
  if (!isTold || Bitfield.has(self.has, piece)) return true
  if (self.extensions === undefined || !PeerExtensions.takesDontHave(self.extensions)) return false
  PeerExtensions.dontHave(self.extensions, piece)
  self.wake()
  return true
}

/** Lets the peer request blocks. */
export const unchoke = (self: PeerProtocol): void => {
  if (!self.uploads.isChoking) return
  UploadQueue.unchoke(self.uploads)
  FrameEncoder.unchoke(self.outbox)
  self.wake()
}

/** Answers no more requests; those that wait are rejected (BEP 6) or, as the peer knows, forgotten (BEP 3). */
export const choke = (self: PeerProtocol): void => {
  if (self.uploads.isChoking) return
  FrameEncoder.choke(self.outbox)
  for (const { begin, length, piece } of UploadQueue.choke(self.uploads)) refuse(self, piece, begin, length)
  self.wake()
}

/** Tells the peer that a request is not answered; without BEP 6 there is no way to say so. */
export const refuse = (self: PeerProtocol, piece: PieceIndex, begin: number, length: number): void => {
  if (!self.isFast) return
  FrameEncoder.reject(self.outbox, piece, begin, length)
  self.wake()
}

/** Blocks of a piece were sent to the peer, of so many bytes together. */
export const uploaded = (self: PeerProtocol, piece: PieceIndex, bytes: number, now: number): void => {
  self.offer?.sent(piece)
  if (self.uploads.isChoking) FastAllowance.spend(self.allowance, bytes)
  self.uploadedBytes += bytes
  self.lastServed = now
  self.lastSent = now
  Upload.sent(self.upload, bytes, now)
}

/**
 * Does what is due by time alone: lets requests time out and keeps the connection alive. Throws `PeerDropped` when the
 * peer is of no use any more. `true` when blocks became free for others, as requests timed out or were refused: what was
 * to come from this peer alone is to be abandoned then.
 */
export const tick = (self: PeerProtocol, now: number): boolean => {
  PeerPatience.check(self.patience, self.pipeline.isSnubbed, self.outbox.length, now)
  if (Bitfield.isFull(self.has) && PieceTable.isFinished(self.assembly.table)) {
    throw new PeerPatience.PeerDropped({ why: "neither side wants anything more" })
  }
  if (self.extensions !== undefined) {
    PeerExtensions.tick(self.extensions, now)
    if (!FrameEncoder.isEmpty(self.outbox)) self.wake()
  }
  if (now - self.lastSent >= keepAliveAfter) {
    FrameEncoder.keepAlive(self.outbox)
    self.lastSent = now
    self.wake()
  }
  const expired = RequestPipeline.expire(self.pipeline, now)
  for (const { block, buffer } of expired) {
    cancel(self, buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
  }
  PeerPatience.noteSnubbed(self.patience, self.pipeline.isSnubbed && !self.peerChoking, now)
  const isFreed = expired.length > 0 || self.hasRefusedSole
  self.hasRefusedSole = false
  return isFreed
}

const cancel = (self: PeerProtocol, piece: PieceIndex, begin: number, length: number): void => {
  rememberCancelled(self, piece, begin)
  FrameEncoder.cancel(self.outbox, piece, begin, length)
  self.wake()
}

const rememberCancelled = (self: PeerProtocol, piece: PieceIndex, begin: number): void => {
  if (self.cancelled.size >= maxCancelled) self.cancelled.delete(self.cancelled.values().next().value!)
  self.cancelled.add(blockId(self, piece, begin))
}

const blockId = (self: PeerProtocol, piece: number, begin: number): number =>
  piece * self.pipeline.blocksPerPiece + (begin >>> PieceGeometry.blockShift)

const requireFast = (self: PeerProtocol, what: string): void => {
  if (!self.isFast) throw new WireError({ why: `${what} without the fast extension` })
}

const tellPieces = (self: PeerProtocol, what: string, has: Bitfield.Bitfield): void => {
  if (self.hasToldPieces) throw new WireError({ why: `${what} after the peer had told its pieces` })
  self.hasToldPieces = true
  Assembly.gainAll(self.assembly, self, has)
  if (self.offer !== undefined) for (const piece of Bitfield.indices(has)) self.offer.gained(piece as PieceIndex)
  updateInterest(self)
  // Who has as much already needs no help to begin (BEP 6).
  if (has.count >= AllowedFast.defaultSize) return
  for (const piece of self.allowance.pieces) {
    if (!Bitfield.has(has, piece)) FrameEncoder.allowedFast(self.outbox, piece)
  }
}

/**
 * A bitfield or a have all that comes later stands for several haves, or for none: aria2 sends one where it is shorter,
 * and to a new peer it may send what it has just sent once more. It must name all that was told before.
 */
const tellMore = (self: PeerProtocol, what: string, has: Bitfield.Bitfield): void => {
  const takesBack = self.has.bytes.some((byte, at) => (byte & ~has.bytes[at]!) !== 0)
  if (takesBack) throw new WireError({ why: `${what} that takes back pieces that the peer had told` })
  for (const piece of Bitfield.indices(has)) if (!Bitfield.has(self.has, piece)) gain(self, piece as PieceIndex)
  if (!self.amInterested) updateInterest(self)
}

const gain = (self: PeerProtocol, piece: PieceIndex): void => {
  Assembly.gain(self.assembly, self, piece)
  self.offer?.gained(piece)
}

/** The peer has lost a piece (BEP 54): what it was asked for of it is asked of others. */
const lose = (self: PeerProtocol, piece: PieceIndex): void => {
  if (Assembly.lose(self.assembly, self, piece)) self.hasRefusedSole = true
}

const dropped = (self: PeerProtocol, index: number, begin: number): void => {
  if (self.cancelled.delete(blockId(self, index, begin))) return
  PeerPatience.unaskedBlock(self.patience)
}

/** The peer serves nothing for now. Under BEP 6 it answers or rejects each request by itself; otherwise it forgets them. */
const choked = (self: PeerProtocol): void => {
  if (!self.isFast) {
    for (const { block, buffer } of self.pipeline.requests.values()) {
      rememberCancelled(self, buffer.piece, block * PieceGeometry.blockLength)
    }
  }
  Assembly.choked(self.assembly, self, { keepsRequests: self.isFast })
}

const setInterest = (self: PeerProtocol, isInterested: boolean): void => {
  if (self.peerInterested === isInterested) return
  self.peerInterested = isInterested
  self.interestChanged()
}

const sink = (self_: () => PeerProtocol): FrameDecoder.FrameSink => ({
  ...FrameDecoder.ignoreAll,
  choke: () => choked(self_()),
  unchoke: () => Assembly.unchoked(self_()),
  interested: () => setInterest(self_(), true),
  notInterested: () => setInterest(self_(), false),
  have: (index) => {
    const self = self_()
    self.hasToldPieces = true
    gain(self, BlockBounds.requirePiece(self.assembly.geometry, index, "a have"))
    if (!self.amInterested) updateInterest(self)
  },
  bitfield: (bits) => {
    const self = self_()
    const has = Bitfield.fromBytes(bits, self.assembly.geometry.pieceCount)
    if (has === undefined) {
      throw new WireError({ why: `a bitfield of ${bits.length} bytes that does not fit the torrent` })
    }
    if (self.hasToldPieces) tellMore(self, "a bitfield", has)
    else tellPieces(self, "a bitfield", has)
  },
  haveAll: () => {
    const self = self_()
    requireFast(self, "have all")
    const has = Bitfield.full(self.assembly.geometry.pieceCount)
    if (self.hasToldPieces) tellMore(self, "have all", has)
    else tellPieces(self, "have all", has)
  },
  haveNone: () => {
    const self = self_()
    requireFast(self, "have none")
    tellPieces(self, "have none", Bitfield.make(self.assembly.geometry.pieceCount))
  },
  request: (index, begin, length) => {
    const self = self_()
    const piece = BlockBounds.requireBlock(self.assembly.geometry, index, begin, length, "a request")
    if (!Bitfield.has(self.assembly.table.stored, piece) || self.offer?.isTold(piece) === false) {
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
    const self = self_()
    const piece = BlockBounds.requireBlock(self.assembly.geometry, index, begin, length, "a cancel")
    if (UploadQueue.cancel(self.uploads, piece, begin, length)) refuse(self, piece, begin, length)
  },
  suggest: (index) => {
    const self = self_()
    requireFast(self, "a suggestion")
    BlockBounds.requirePiece(self.assembly.geometry, index, "a suggestion")
  },
  allowedFast: (index) => {
    const self = self_()
    requireFast(self, "an allowed fast message")
    const piece = BlockBounds.requirePiece(self.assembly.geometry, index, "an allowed fast message")
    if (self.allowedFast.size < AllowedFast.maxTaken) self.allowedFast.add(piece)
  },
  reject: (index, begin, length) => {
    const self = self_()
    requireFast(self, "a reject")
    const piece = BlockBounds.requireBlock(self.assembly.geometry, index, begin, length, "a reject")
    const isRefusing = PeerPatience.reject(self.patience)
    self.cancelled.delete(blockId(self, piece, begin))
    const request = RequestPipeline.get(self.pipeline, piece, begin >>> PieceGeometry.blockShift)
    if (request === undefined) return
    if (!self.peerChoking && isRefusing) RequestPipeline.snub(self.pipeline)
    if (Assembly.refused(self.assembly, self, request, self.now)) self.hasRefusedSole = true
  },
  extended: (id, payload) => {
    const self = self_()
    if (self.extensions === undefined) return
    PeerExtensions.receive(self.extensions, id, payload, self.now)
    RequestPipeline.bound(self.pipeline, PeerExtensions.maxRequests(self.extensions))
  },
  pieceBegin: (index, begin, length) => {
    const self = self_()
    const request = RequestPipeline.get(self.pipeline, index, begin >>> PieceGeometry.blockShift)
    self.downloadedBytes += length
    Assembly.arriving(self.assembly, length, self.now)
    if (request === undefined || !PieceBuffer.isBlock(request.buffer, begin, length)) {
      self.receiving.request = undefined
      Assembly.waste(self.assembly, length)
      RateLimiter.spend(self.limits.download, length)
      dropped(self, index, begin)
      return
    }
    IncomingBlock.begin(self.receiving, request, self.id)
  },
  pieceData: (view, offset) => {
    const self = self_()
    const request = IncomingBlock.liveRequest(self.receiving, self.pipeline)
    if (request === undefined) return
    RequestPipeline.progress(self.pipeline, self.now)
    IncomingBlock.write(self.receiving, request, offset, view)
  },
  pieceEnd: () => {
    const self = self_()
    const begun = self.receiving.request
    if (begun === undefined) return
    const size = PieceBuffer.sizeOf(begun.buffer, begun.block)
    const request = IncomingBlock.end(self.receiving, self.pipeline, self.id)
    if (request === undefined) {
      Assembly.waste(self.assembly, size)
      return
    }
    PeerPatience.answer(self.patience)
    if (!Assembly.received(self.assembly, self, request, self.now)) {
      Assembly.waste(self.assembly, size)
      return
    }
    self.usefulBytes += size
    self.lastUseful = self.now
  }
})

/** Ends the connection's part in the assembly: its blocks are free for others. */
export const close = (self: PeerProtocol) => {
  FrameDecoder.stop(self.decoder)
  IncomingBlock.release(self.receiving, self.id)
  return Effect.ensuring(
    Assembly.leave(self.assembly, self),
    Effect.sync(() => RateLimits.leave(self.limits))
  )
}
