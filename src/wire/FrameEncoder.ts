/**
 * Writes peer wire frames one after another into a batch (BEP 3, BEP 5, BEP 6, BEP 10). A session appends all frames of
 * a turn and passes the batch to its connection in one write, because a write costs a hundred times as much as a frame.
 *
 * It has no bound of its own: whoever appends blocks takes the batch before it grows large. Numbers are written as u32,
 * big-endian, unchecked.
 *
 * Hot path: `request` is called once a block and takes 32 ns, taking the batch included
 * (`test/bench/FrameDecoder.bench.ts`).
 */

/** Frames that wait to be sent. Owned by one session. */
export interface FrameEncoder {
  buffer: Uint8Array
  /** Bytes in the batch. */
  length: number
}

/** Room for 60 requests, more than a turn usually has. */
const initialCapacity = 1_024

/**
 * Up to this size a batch is copied and the buffer is kept; above it the buffer itself is returned. A copy of 16
 * KiB takes 0.4 us, and fresh memory costs more than that only for larger sizes.
 */
const copiedLength = 16_384

/**
 * Makes an empty batch; in `buffer` if that is given, as long as it has room.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { FrameEncoder } from "piecewise"
 *
 * const frames = FrameEncoder.make()
 * FrameEncoder.interested(frames)
 * FrameEncoder.have(frames, 7)
 * const batch = FrameEncoder.take(frames)
 * assert.deepEqual(batch, Uint8Array.of(0, 0, 0, 1, 2, 0, 0, 0, 5, 4, 0, 0, 0, 7))
 * assert(FrameEncoder.isEmpty(frames))
 * ```
 */
export const make = (buffer: Uint8Array = new Uint8Array(initialCapacity)): FrameEncoder => ({ buffer, length: 0 })

/** Whether the batch holds no frame. */
export const isEmpty = (self: FrameEncoder): boolean => self.length === 0

/** Returns the batch, as bytes that nothing else refers to. The encoder is empty afterwards. */
export const take = (self: FrameEncoder): Uint8Array => {
  const { buffer, length } = self
  self.length = 0
  if (length <= copiedLength) return buffer.slice(0, length)
  self.buffer = new Uint8Array(initialCapacity)
  return buffer.subarray(0, length)
}

/**
 * Makes room for `count` more bytes at once. Call it before several blocks are appended: growing to 256 KiB step by
 * step takes twice the fresh memory.
 */
export const ensureRoom = (self: FrameEncoder, count: number): void => {
  const wanted = self.length + count
  if (wanted <= self.buffer.length) return
  const grown = new Uint8Array(Math.max(wanted, self.buffer.length * 2))
  grown.set(self.buffer.subarray(0, self.length))
  self.buffer = grown
}

/** Discards the batch. */
export const clear = (self: FrameEncoder): void => {
  self.length = 0
}

/** Has no id and no payload: it keeps a connection open on which nothing else is sent. */
export const keepAlive = (self: FrameEncoder): void => {
  const at = reserve(self, 4)
  u32(self.buffer, at, 0)
}

/** We answer no more requests, and those that wait are dropped, unless both sides speak BEP 6. */
export const choke = (self: FrameEncoder): void => bare(self, 0)

/** We answer requests from now on. */
export const unchoke = (self: FrameEncoder): void => bare(self, 1)

/** The peer has a piece that we want. */
export const interested = (self: FrameEncoder): void => bare(self, 2)

/** The peer has no piece that we want. */
export const notInterested = (self: FrameEncoder): void => bare(self, 3)

/** Piece `index` is verified and stored. */
export const have = (self: FrameEncoder, index: number): void => indexed(self, 4, index)

/** The pieces that we have. `bits` is copied; it is as long as the torrent's bitfield, spare bits clear. */
export const bitfield = (self: FrameEncoder, bits: Uint8Array): void => {
  const at = header(self, 5, bits.length)
  self.buffer.set(bits, at)
}

/** Requests `length` bytes from `begin` in piece `index`. */
export const request = (self: FrameEncoder, index: number, begin: number, length: number): void =>
  blockRange(self, 6, index, begin, length)

/** Answers a request. `block` is copied. */
export const piece = (self: FrameEncoder, index: number, begin: number, block: Uint8Array): void => {
  const at = header(self, 7, 8 + block.length)
  u32(self.buffer, at, index)
  u32(self.buffer, at + 4, begin)
  self.buffer.set(block, at + 8)
}

/** Withdraws the same request. */
export const cancel = (self: FrameEncoder, index: number, begin: number, length: number): void =>
  blockRange(self, 8, index, begin, length)

/** UDP port of our DHT node (BEP 5). */
export const port = (self: FrameEncoder, udpPort: number): void => {
  const at = header(self, 9, 2)
  self.buffer[at] = udpPort >>> 8
  self.buffer[at + 1] = udpPort
}

/** We can send piece `index` cheaply (BEP 6). */
export const suggest = (self: FrameEncoder, index: number): void => indexed(self, 13, index)

/** We have every piece; instead of a bitfield (BEP 6). */
export const haveAll = (self: FrameEncoder): void => bare(self, 14)

/** We have no piece; instead of a bitfield (BEP 6). */
export const haveNone = (self: FrameEncoder): void => bare(self, 15)

/** BEP 6: the request will not be answered. */
export const reject = (self: FrameEncoder, index: number, begin: number, length: number): void =>
  blockRange(self, 16, index, begin, length)

/** The peer may request piece `index` while it is choked (BEP 6). */
export const allowedFast = (self: FrameEncoder, index: number): void => indexed(self, 17, index)

/**
 * BEP 10: `id` is 0 for the extension handshake, otherwise the id that the peer chose for the extension. `payload` is
 * copied.
 */
export const extended = (self: FrameEncoder, id: number, payload: Uint8Array): void => {
  const at = header(self, 20, 1 + payload.length)
  self.buffer[at] = id
  self.buffer.set(payload, at + 1)
}

/** Appends bytes as they are: frames that were encoded before, or, in tests, damaged ones. */
export const raw = (self: FrameEncoder, bytes: Uint8Array): void => {
  const at = reserve(self, bytes.length)
  self.buffer.set(bytes, at)
}

const bare = (self: FrameEncoder, id: number): void => {
  header(self, id, 0)
}

const indexed = (self: FrameEncoder, id: number, index: number): void => {
  const at = header(self, id, 4)
  u32(self.buffer, at, index)
}

const blockRange = (self: FrameEncoder, id: number, index: number, begin: number, length: number): void => {
  const at = header(self, id, 12)
  u32(self.buffer, at, index)
  u32(self.buffer, at + 4, begin)
  u32(self.buffer, at + 8, length)
}

/** Appends length and id of a frame and makes room for its payload. Returns the offset of the payload. */
const header = (self: FrameEncoder, id: number, payloadLength: number): number => {
  const at = reserve(self, 5 + payloadLength)
  u32(self.buffer, at, 1 + payloadLength)
  self.buffer[at + 4] = id
  return at + 5
}

const reserve = (self: FrameEncoder, count: number): number => {
  ensureRoom(self, count)
  const at = self.length
  self.length = at + count
  return at
}

const u32 = (buffer: Uint8Array, at: number, value: number): void => {
  buffer[at] = value >>> 24
  buffer[at + 1] = value >>> 16
  buffer[at + 2] = value >>> 8
  buffer[at + 3] = value
}
