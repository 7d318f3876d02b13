/**
 * One peer connection after its handshake, as a plain machine that is a supplier of the assembly: bytes come in, blocks
 * go to the assembly, frames to the outbox. It reads no clock and does no I/O; the session around it passes the time,
 * moves the bytes, and ends it when it throws.
 *
 * Here: the record of a connection, what we say about our pieces, and what is due by time. What the peer says is read
 * by `PeerPieces.ts` (its pieces), `PeerBlocks.ts` (its answers to our requests), `PeerRequests.ts` (its requests) and
 * `PeerExtensions.ts` (BEP 10).
 */
import * as Effect from "effect/Effect"
import * as Assembly from "../assembly/Assembly.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import * as IncomingBlock from "../supply/IncomingBlock.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import * as Supplier from "../supply/Supplier.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import { WireError } from "../wire/WireError.ts"
import * as CancelledRequests from "./CancelledRequests.ts"
import * as DhtContact from "./DhtContact.ts"
import * as FastAllowance from "./FastAllowance.ts"
import type { Offer } from "./Offer.ts"
import * as PeerBlocks from "./PeerBlocks.ts"
import * as PeerExtensions from "./PeerExtensions.ts"
import * as PeerPatience from "./PeerPatience.ts"
import * as PeerPieces from "./PeerPieces.ts"
import * as PeerRates from "./PeerRates.ts"
import * as PeerRequests from "./PeerRequests.ts"
import * as Upload from "./Upload.ts"
import * as UploadQueue from "./UploadQueue.ts"

/** Milliseconds without a frame of ours after which a keep-alive is sent; peers hang up after 120,000 (BEP 3). */
export const keepAliveAfter = 100_000

/**
 * The state of one connection, without what reads its bytes. One record, because the assembly sees it as a supplier and
 * the choker as a peer.
 */
interface State extends PeerPieces.PeerPieces, PeerBlocks.PeerBlocks, PeerRequests.PeerRequests {
  readonly assembly: Assembly.Assembly
  readonly outbox: FrameEncoder.FrameEncoder
  readonly wake: () => void
  /** Present if both sides speak the extension protocol (BEP 10). */
  extensions: PeerExtensions.PeerExtensions | undefined
  /** Present if both sides have a node of the DHT (BEP 5). */
  readonly dht: DhtContact.DhtContact | undefined
  /** Whether the peer says that it will not download any more (BEP 21). */
  readonly isUploadOnly: boolean
  /** When the handshake was done, in milliseconds. */
  readonly openedAt: number
  readonly rates: PeerRates.PeerRates
  now: number
}

/** The state of one connection. */
export interface PeerProtocol extends State {
  readonly decoder: FrameDecoder.FrameDecoder
}

/** What the extensions of one connection need to know. */
export interface ExtensionOptions {
  readonly torrent: PeerExtensions.TorrentExtensions
  /** The peer's address, as we see it. */
  readonly remote: PeerAddress
}

/** What a connection is made of. */
export interface Options {
  readonly assembly: Assembly.Assembly
  readonly upload: Upload.Upload
  /** The limits of its torrent; absent: none. */
  readonly limits?: RateLimits.TorrentLimits | undefined
  /** Present if the peer is offered a few pieces at a time (BEP 16); it hears of no piece at first. */
  readonly offer?: Offer | undefined
  /** The number of the peer's address. */
  readonly id: SupplierId
  /** Whether both sides speak the fast extension. */
  readonly isFast: boolean
  /** The peer's allowed fast set (BEP 6). A peer with few pieces is sent those of the set that we have. */
  readonly allowedFast?: ReadonlyArray<PieceIndex> | undefined
  /** Present if both sides speak the extension protocol (BEP 10). */
  readonly extensions?: ExtensionOptions | undefined
  /** Present if both sides have a node of the DHT (BEP 5). */
  readonly dht?: DhtContact.DhtContact | undefined
  /** The session should refill and flush, soon but not at once: called in the middle of what others do. */
  readonly wake: () => void
  /** The session should answer requests, soon but not at once. */
  readonly serve: () => void
  /** The swarm should choose anew whom to unchoke, soon but not at once. */
  readonly interestChanged: () => void
  /** As in `PeerBlocks`. */
  readonly requestSeconds?: PeerBlocks.PeerBlocks["requestSeconds"]
  readonly now: number
}

/**
 * Makes a connection whose handshake is done, and lets it join the assembly. The outbox begins with the pieces that we
 * have, which must come first (BEP 3, BEP 6).
 */
export const make = (options: Options): PeerProtocol => {
  const { allowedFast = [], assembly, isFast, now, offer, serve, upload, wake } = options
  const { geometry, table } = assembly
  const outbox = FrameEncoder.make()
  const cancelled = CancelledRequests.make(Math.ceil(geometry.pieceLength / PieceGeometry.blockLength))
  const announced = offer === undefined ? Upload.offered(upload, table.stored) : Bitfield.make(geometry.pieceCount)
  const allowance = FastAllowance.make(
    isFast ? allowedFast.filter((piece) => Bitfield.has(announced, piece)) : [],
    geometry.pieceLength
  )
  const limits = RateLimits.join(options.limits ?? RateLimits.unlimited(now), { download: wake, upload: serve }, now)
  const supplier = Supplier.make({
    id: options.id,
    geometry,
    standing: Assembly.standingOf(assembly, options.id),
    limiter: limits.download,
    request: (piece, begin, length) => FrameEncoder.request(outbox, piece, begin, length),
    cancel: (piece, begin, length) => {
      CancelledRequests.add(cancelled, piece, begin)
      FrameEncoder.cancel(outbox, piece, begin, length)
      wake()
    },
    wake,
    now
  })
  const state: State = {
    ...supplier,
    assembly,
    upload,
    limits,
    uploads: UploadQueue.make({ pieceLength: geometry.pieceLength, allowedFast: allowance.pieces }),
    allowance,
    offer,
    outbox,
    isFast,
    amInterested: false,
    peerInterested: false,
    extensions: undefined,
    dht: options.dht,
    get isUploadOnly() {
      return this.extensions?.isUploadOnly === true
    },
    hasReportedPieces: false,
    receiving: IncomingBlock.make(),
    cancelled,
    hasRefusedSole: false,
    openedAt: now,
    rates: PeerRates.make(now),
    now,
    lastSent: now,
    patience: PeerPatience.make(now),
    downloadedBytes: 0,
    usefulBytes: 0,
    lastUseful: now,
    requestSeconds: options.requestSeconds,
    uploadedBytes: 0,
    largerShareEnd: Number.POSITIVE_INFINITY,
    lastServed: now,
    serve,
    interestChanged: options.interestChanged
  }
  reportPieces(outbox, announced, isFast)
  if (options.extensions !== undefined) state.extensions = extend(state, options.extensions)
  if (state.dht !== undefined) DhtContact.send(state.dht, outbox)
  const self = Object.assign(state, { decoder: FrameDecoder.make(sink(state)) })
  Assembly.join(assembly, self)
  return self
}

/** Writes which pieces we have, in the shortest form. BEP 6 wants one of them, BEP 3 nothing if there are none. */
const reportPieces = (outbox: FrameEncoder.FrameEncoder, has: Bitfield.Bitfield, isFast: boolean): void => {
  if (isFast && has.count === 0) FrameEncoder.haveNone(outbox)
  else if (isFast && Bitfield.isFull(has)) FrameEncoder.haveAll(outbox)
  else if (has.count > 0 || isFast) FrameEncoder.bitfield(outbox, has.bytes)
}

const extend = (self: State, options: ExtensionOptions): PeerExtensions.PeerExtensions =>
  PeerExtensions.make({
    ...options,
    outbox: self.outbox,
    lost: (index) => {
      if (PeerPieces.lose(self, index)) self.hasRefusedSole = true
    }
  })

const sink = (self: State): FrameDecoder.FrameSink => ({
  ...FrameDecoder.ignoreAll,
  ...PeerPieces.sink(self),
  ...PeerBlocks.sink(self),
  ...PeerRequests.sink(self),
  ...(self.isFast ? {} : notFast),
  port: (port) => {
    if (self.dht !== undefined) DhtContact.receive(self.dht, port)
  },
  extended: (id, payload) => {
    if (self.extensions === undefined) return
    PeerExtensions.receive(self.extensions, id, payload, self.now)
    RequestPipeline.bound(self.pipeline, PeerExtensions.maxRequests(self.extensions))
  }
})

const withoutFast = (what: string) => (): never => {
  throw new WireError({ why: `${what} without the fast extension` })
}

/** The frames of BEP 6, from a peer with which it was not agreed. */
const notFast = {
  haveAll: withoutFast("have all"),
  haveNone: withoutFast("have none"),
  suggest: withoutFast("a suggestion"),
  allowedFast: withoutFast("an allowed fast message"),
  reject: withoutFast("a reject")
}

/**
 * Reads what the peer sent, at `now` in milliseconds. Throws `WireError` if the peer broke the protocol and
 * `PeerDropped` if it is of no use; the connection is finished then. The session refills and flushes afterwards.
 */
export const receive = (self: PeerProtocol, chunk: Uint8Array, now: number): void => {
  self.now = now
  self.patience.lastReceived = now
  FrameDecoder.push(self.decoder, chunk)
}

/** Whether what was received leaves something to do for the session: to request more, or to send what is written. */
export const hasTurn = (self: PeerProtocol): boolean =>
  self.peerChoking || RequestPipeline.isLow(self.pipeline) || !FrameEncoder.isEmpty(self.outbox)

/**
 * A piece is stored now: sends a have to every peer but a seed, and also to one that has the piece itself. A peer that
 * super-seeds learns from it that the piece has arrived (BEP 16). To a seed, sends that we lost interest if we did.
 */
export const announce = (self: PeerProtocol, piece: PieceIndex): void => {
  if (self.offer?.isOffered(piece) === false) return
  if (!Bitfield.isFull(self.has)) {
    FrameEncoder.have(self.outbox, piece)
    self.wake()
  }
  if (self.amInterested && Bitfield.has(self.has, piece)) {
    PeerPieces.updateInterest(self)
    if (!self.amInterested) self.wake()
  }
}

/**
 * A piece that was announced cannot be read any more: takes it back (BEP 54), unless the peer has the piece itself.
 * Returns `false` for a peer that believes that we have the piece and does not understand the message.
 */
export const retract = (self: PeerProtocol, piece: PieceIndex): boolean => {
  const isAnnounced = self.offer === undefined || self.offer.isOffered(piece)
  if (!isAnnounced || Bitfield.has(self.has, piece)) return true
  if (self.extensions === undefined || !PeerExtensions.takesDontHave(self.extensions)) return false
  PeerExtensions.dontHave(self.extensions, piece)
  self.wake()
  return true
}

/**
 * Does what is due by time alone: releases requests that timed out and keeps the connection alive. Throws `PeerDropped`
 * if the peer is of no use any more. Returns whether blocks became free for others because requests timed out or were
 * refused: what was to come from this peer alone should be abandoned then.
 */
export const tick = (self: PeerProtocol, now: number): boolean => {
  PeerRates.measure(self.rates, self.downloadedBytes, self.uploadedBytes, now)
  PeerPatience.check(self.patience, self.pipeline.isSnubbed, self.outbox.length, now)
  if (Bitfield.isFull(self.has) && PieceTable.isFinished(self.assembly.table)) {
    throw new PeerPatience.PeerDropped({ why: "neither side wants anything more" })
  }
  if (self.extensions !== undefined) PeerExtensions.tick(self.extensions, now)
  // Our node may have begun since, or may have another port.
  if (self.dht !== undefined) DhtContact.send(self.dht, self.outbox)
  if ((self.extensions ?? self.dht) !== undefined && !FrameEncoder.isEmpty(self.outbox)) self.wake()
  if (now - self.lastSent >= keepAliveAfter) {
    FrameEncoder.keepAlive(self.outbox)
    self.lastSent = now
    self.wake()
  }
  const expired = RequestPipeline.expire(self.pipeline, now)
  for (const { block, buffer } of expired) {
    self.cancel(buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
  }
  PeerPatience.noteSnubbed(self.patience, self.pipeline.isSnubbed && !self.peerChoking, now)
  const isFreed = expired.length > 0 || self.hasRefusedSole
  self.hasRefusedSole = false
  return isFreed
}

/** Ends the connection's part in the assembly: its blocks are free for others. */
export const close = (self: PeerProtocol) => {
  FrameDecoder.stop(self.decoder)
  IncomingBlock.release(self.receiving, self.id)
  return Effect.ensuring(
    Assembly.leave(self.assembly, self),
    Effect.sync(() => RateLimits.leave(self.limits))
  )
}
