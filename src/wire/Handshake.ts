/**
 * The handshake that opens a peer connection (BEP 3): 68 bytes.
 *
 * Length of the protocol name u8 (19), protocol name, reserved bits (8 bytes), info hash (20 bytes), peer id (20
 * bytes).
 *
 * Leaves to `connect/Introduction.ts` whether we have a torrent of that info hash, whether the peer id is our own, and
 * how long a peer may take for its 68 bytes.
 */
import * as Result from "effect/Result"
import type { InfoHash } from "../base/InfoHash.ts"
import { WireError } from "./WireError.ts"

/** Bytes in a handshake. */
export const length = 68

/** What a handshake starts with: the length of the protocol's name and the name (BEP 3). */
const prefix = new TextEncoder().encode("\u0013BitTorrent protocol")

const reservedOffset = prefix.length
const infoHashOffset = reservedOffset + 8
const peerIdOffset = infoHashOffset + 20

/** What one side of a connection supports beyond BEP 3. A feature is used only if both sides have it. */
export interface Features {
  /** Speaks the extension protocol: `extended` frames (BEP 10, bit 20 from the right, 0x10 in byte 5). */
  readonly extensionProtocol: boolean
  /** Speaks the fast extension (BEP 6, 0x04 in byte 7). */
  readonly fast: boolean
  /** Is a DHT node and will send its UDP port in a `port` frame (BEP 5, 0x01 in byte 7). */
  readonly dht: boolean
}

/** Plain BEP 3. */
export const noFeatures: Features = { extensionProtocol: false, fast: false, dht: false }

/** A decoded handshake. */
export interface Handshake {
  readonly features: Features
  readonly infoHash: InfoHash
  /** 20 bytes that the peer chose for itself. */
  readonly peerId: Uint8Array
}

/** Returns the features that both sides have. */
export const common = (ours: Features, theirs: Features): Features => ({
  extensionProtocol: ours.extensionProtocol && theirs.extensionProtocol,
  fast: ours.fast && theirs.fast,
  dht: ours.dht && theirs.dht
})

/**
 * Encodes the 68 bytes. Throws a `RangeError` unless `infoHash` and `peerId` are 20 bytes long (a defect of the
 * caller).
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Result } from "effect"
 * import { Handshake, InfoHash, PeerId } from "piecewise"
 *
 * const infoHash = InfoHash.fromHex("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")
 * assert(infoHash !== undefined)
 * const peerId = PeerId.make((bytes) => crypto.getRandomValues(bytes))
 * const bytes = Handshake.encode({ features: { ...Handshake.noFeatures, fast: true }, infoHash, peerId })
 * assert.equal(bytes.length, Handshake.length)
 *
 * const decoded = Result.getOrThrow(Handshake.decode(bytes))
 * assert.deepEqual(decoded.infoHash, infoHash)
 * assert.deepEqual(decoded.features, { extensionProtocol: false, fast: true, dht: false })
 * ```
 */
export const encode = (handshake: Handshake): Uint8Array => {
  if (handshake.infoHash.length !== 20) throw new RangeError(`info hash of ${handshake.infoHash.length} bytes`)
  if (handshake.peerId.length !== 20) throw new RangeError(`peer id of ${handshake.peerId.length} bytes`)
  const bytes = new Uint8Array(length)
  bytes.set(prefix)
  if (handshake.features.extensionProtocol) bytes[reservedOffset + 5]! |= 0x10
  if (handshake.features.fast) bytes[reservedOffset + 7]! |= 0x04
  if (handshake.features.dht) bytes[reservedOffset + 7]! |= 0x01
  bytes.set(handshake.infoHash, infoHashOffset)
  bytes.set(handshake.peerId, peerIdOffset)
  return bytes
}

/**
 * Reads exactly 68 bytes; the result holds copies. Reserved bits without a name in `Features` are ignored (BEP 3).
 * Fails with `WireError` on another length or another protocol.
 */
export const decode = (bytes: Uint8Array): Result.Result<Handshake, WireError> => {
  const mismatch = firstMismatch(bytes, 0)
  if (mismatch !== undefined) return Result.fail(mismatch)
  if (bytes.length !== length) return Result.fail(new WireError({ why: `a handshake of ${bytes.length} bytes` }))
  return Result.succeed(read(bytes))
}

/**
 * Collects a handshake from chunks as the connection delivers them. It never holds more than 68 bytes, and it fails at
 * the first byte of another protocol (for a web browser, the first of all).
 */
export interface HandshakeDecoder {
  readonly bytes: Uint8Array
  received: number
}

/** Makes a decoder that has seen nothing. */
export const makeDecoder = (): HandshakeDecoder => ({ bytes: new Uint8Array(length), received: 0 })

/**
 * Copies what the handshake still lacks from the start of `chunk`. Returns how many bytes these were; the rest of the
 * chunk belongs to the `FrameDecoder`. Throws `WireError` if the protocol is another one.
 */
export const push = (self: HandshakeDecoder, chunk: Uint8Array): number => {
  const taken = Math.min(length - self.received, chunk.length)
  const mismatch = firstMismatch(chunk, self.received)
  if (mismatch !== undefined) throw mismatch
  self.bytes.set(chunk.subarray(0, taken), self.received)
  self.received += taken
  return taken
}

/** The handshake, once all its bytes have arrived; `undefined` before. */
export const result = (self: HandshakeDecoder): Handshake | undefined =>
  self.received === length ? read(self.bytes) : undefined

/** Whether `bytes` may be the first bytes of a handshake, as far as they go. */
export const couldBegin = (bytes: Uint8Array): boolean => firstMismatch(bytes, 0) === undefined

/** Whether `bytes` are the first bytes of a handshake, with the whole name of the protocol. */
export const isBeginning = (bytes: Uint8Array): boolean => bytes.length >= prefix.length && couldBegin(bytes)

/** Compares `chunk`, which starts at byte `offset` of a handshake, with the protocol's name as far as both reach. */
const firstMismatch = (chunk: Uint8Array, offset: number): WireError | undefined => {
  for (let at = 0; at < chunk.length && offset + at < prefix.length; at++) {
    if (chunk[at] !== prefix[offset + at]) {
      return new WireError({ why: `the handshake names another protocol (byte ${offset + at})` })
    }
  }
  return undefined
}

const read = (bytes: Uint8Array): Handshake => ({
  features: {
    extensionProtocol: (bytes[reservedOffset + 5]! & 0x10) !== 0,
    fast: (bytes[reservedOffset + 7]! & 0x04) !== 0,
    dht: (bytes[reservedOffset + 7]! & 0x01) !== 0
  },
  infoHash: bytes.slice(infoHashOffset, peerIdOffset) as InfoHash,
  peerId: bytes.slice(peerIdOffset, length)
})
