/**
 * Peer wire frames after the handshake: BEP 3, the fast extension (BEP 6), the envelope of the extension protocol
 * (BEP 10) and the DHT port (BEP 5).
 *
 * Frame: length u32 (not counting itself), id u8, payload; big-endian. Length 0 is a keep-alive.
 *
 * Leaves to `peer/PeerProtocol.ts` whether a message is allowed now, an index is in range or a block was requested, and
 * to `wire/extension/` what is inside an `extended` frame.
 *
 * Whole frames are read in place. A frame that is cut is collected in a small buffer that is used again, which grows
 * with the bytes that arrived, never with the length that was announced. Blocks are not collected: they are passed on
 * in parts. Views passed to the sink are valid until it returns.
 *
 * Throws `WireError` on a frame or block above its limit or a wrong payload size, as soon as the length or the id has
 * arrived; a failed decoder is finished.
 *
 * Hot path: called for every chunk. Measured with `test/bench/FrameDecoder.bench.ts` (two shared x64 cores, Node 24): a
 * 16 KiB block takes 60 to 75 ns, two thirds of it for the view, and 750 to 860 ns with the copy to its place, which is
 * 1.2 million blocks a second; a `have` takes 15 ns, and 0.7 us if it arrives one byte at a time.
 */
import { WireError } from "./WireError.ts"

/**
 * Receives decoded frames, in order. `index`, `begin` and `length` are what the peer says, 0 to 2^32 - 1, unchecked.
 * What a sink throws is thrown by `push` and finishes the decoder. A sink may `stop` the decoder, but not `push` into
 * it.
 */
export interface FrameSink {
  readonly keepAlive: () => void
  readonly choke: () => void
  readonly unchoke: () => void
  readonly interested: () => void
  readonly notInterested: () => void
  readonly have: (index: number) => void
  /** `bits` is a view, valid until return; its length is not compared with the torrent. */
  readonly bitfield: (bits: Uint8Array) => void
  readonly request: (index: number, begin: number, length: number) => void
  /** A block of `length` bytes (0 up to the limit) begins. `pieceData` follows any number of times, then `pieceEnd`. */
  readonly pieceBegin: (index: number, begin: number, length: number) => void
  /**
   * The block's next bytes, at least one, at `offset` from the start of the block. `view` is valid until return. No
   * other frame comes between the parts of a block, so the receiver can copy each byte once, straight to its place.
   */
  readonly pieceData: (view: Uint8Array, offset: number) => void
  readonly pieceEnd: () => void
  readonly cancel: (index: number, begin: number, length: number) => void
  /** UDP port of the peer's DHT node (BEP 5). */
  readonly port: (port: number) => void
  readonly suggest: (index: number) => void
  readonly haveAll: () => void
  readonly haveNone: () => void
  readonly reject: (index: number, begin: number, length: number) => void
  readonly allowedFast: (index: number) => void
  /** An extension message (BEP 10): 0 is the extension handshake. `payload` is a view, valid until return. */
  readonly extended: (id: number, payload: Uint8Array) => void
  /** A frame of an unknown id. Its `length` bytes of payload are skipped, as clients do. */
  readonly unknown: (id: number, length: number) => void
}

const nothing = () => {}

/** A sink that does nothing, to be spread into one that needs only a few messages. */
export const ignoreAll: FrameSink = {
  keepAlive: nothing,
  choke: nothing,
  unchoke: nothing,
  interested: nothing,
  notInterested: nothing,
  have: nothing,
  bitfield: nothing,
  request: nothing,
  pieceBegin: nothing,
  pieceData: nothing,
  pieceEnd: nothing,
  cancel: nothing,
  port: nothing,
  suggest: nothing,
  haveAll: nothing,
  haveNone: nothing,
  reject: nothing,
  allowedFast: nothing,
  extended: nothing,
  unknown: nothing
}

/** Limits of a decoder. */
export interface Options {
  /** Longest frame, by its length field. If it is less than a torrent's bitfield, no seed can talk to us. */
  readonly maxFrameLength?: number | undefined
  /** Longest block. If it is less than 16 KiB, the blocks that we request ourselves fail. */
  readonly maxBlockLength?: number | undefined
}

/**
 * A frame of 1 MiB holds the bitfield of 8 million pieces and any extension message in use; 128 KiB is the longest
 * block that any known client requests.
 */
export const defaults = { maxFrameLength: 1_048_576, maxBlockLength: 131_072 } as const

/** A decoder of one direction of one connection. Owned by whoever feeds it. */
export interface FrameDecoder {
  readonly sink: FrameSink
  readonly maxFrameLength: number
  readonly maxBlockLength: number
  state: typeof betweenFrames | typeof inBlock | typeof inSkipped | typeof finished
  /** The first `carried` bytes are the start of a cut frame, which is read again once there are `needed`. */
  carry: Uint8Array
  carried: number
  needed: number
  /** Bytes of the block or of the skipped payload that have not arrived yet. */
  remaining: number
  /** Offset in the block of its next byte. */
  blockOffset: number
}

const betweenFrames = 0
const inBlock = 1
const inSkipped = 2
const finished = 3

/** Holds every frame of fixed length. A longer carry is replaced once its frame is done. */
const carryLength = 64

/**
 * Makes a decoder that calls `sink`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { FrameDecoder } from "piecewise"
 *
 * const pieces: Array<number> = []
 * const decoder = FrameDecoder.make({
 *   ...FrameDecoder.ignoreAll,
 *   have: (index) => {
 *     pieces.push(index)
 *   }
 * })
 * // A have of piece 7, cut anywhere.
 * FrameDecoder.push(decoder, Uint8Array.of(0, 0, 0, 5, 4, 0))
 * assert.deepEqual(pieces, [])
 * FrameDecoder.push(decoder, Uint8Array.of(0, 0, 7))
 * assert.deepEqual(pieces, [7])
 * ```
 */
export const make = (sink: FrameSink, options?: Options): FrameDecoder => ({
  sink,
  maxFrameLength: options?.maxFrameLength ?? defaults.maxFrameLength,
  maxBlockLength: options?.maxBlockLength ?? defaults.maxBlockLength,
  state: betweenFrames,
  carry: new Uint8Array(carryLength),
  carried: 0,
  needed: 0,
  remaining: 0,
  blockOffset: 0
})

/**
 * Decodes the next bytes of the connection, however they were cut, and calls the sink for everything in them. Throws
 * `WireError`. A stopped or failed decoder ignores all bytes.
 */
export const push = (self: FrameDecoder, chunk: Uint8Array): void => {
  try {
    let at = 0
    while (at < chunk.length) {
      switch (self.state) {
        case betweenFrames:
          at += self.carried > 0 ? gather(self, chunk, at) : frameOrCarry(self, chunk, at)
          break
        case inBlock:
          at += block(self, chunk, at)
          break
        case inSkipped:
          at += skip(self, chunk.length - at)
          break
        case finished:
          return
      }
    }
  } catch (error) {
    stop(self)
    throw error
  }
}

/** Finishes the decoder: the rest of the chunk in `push` and all later chunks are ignored. */
export const stop = (self: FrameDecoder): void => {
  self.state = finished
  self.carry = none
  self.carried = 0
}

/** Whether the decoder was stopped or has failed. */
export const isFinished = (self: FrameDecoder): boolean => self.state === finished

const none = new Uint8Array(0)

const idChoke = 0
const idUnchoke = 1
const idInterested = 2
const idNotInterested = 3
const idHave = 4
const idBitfield = 5
const idRequest = 6
const idPiece = 7
const idCancel = 8
const idPort = 9
const idSuggest = 13
const idHaveAll = 14
const idHaveNone = 15
const idReject = 16
const idAllowedFast = 17
const idExtended = 20

const unknownLength = 0
const variableLength = -1

/** By id: the only valid value of the length field. */
const lengths = new Int8Array(256).fill(unknownLength)
lengths[idChoke] = lengths[idUnchoke] = lengths[idInterested] = lengths[idNotInterested] = 1
lengths[idHaveAll] = lengths[idHaveNone] = 1
lengths[idHave] = lengths[idSuggest] = lengths[idAllowedFast] = 5
lengths[idRequest] = lengths[idCancel] = lengths[idReject] = 13
lengths[idPort] = 3
lengths[idBitfield] = lengths[idPiece] = lengths[idExtended] = variableLength

/** Bytes of a piece frame before its block: length, id, index, begin. */
const pieceHeaderLength = 13

const u32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0

/** Reads the frame at `at`, or moves it to the carry if it is incomplete. Returns how many bytes it consumed. */
const frameOrCarry = (self: FrameDecoder, chunk: Uint8Array, at: number): number => {
  const taken = frame(self, chunk, at, chunk.length - at)
  return taken > 0 ? taken : carryOn(self, chunk, at, chunk.length - at)
}

/** Adds to the carry what it needs, and reads it once that is there. Returns how many bytes it consumed. */
const gather = (self: FrameDecoder, chunk: Uint8Array, at: number): number => {
  const taken = carryOn(self, chunk, at, Math.min(self.needed - self.carried, chunk.length - at))
  if (self.carried < self.needed) return taken
  // `needed` grows from the length field to the id and from there to the whole frame (of a piece: its header), so a
  // frame that was read has used up the carry exactly.
  if (frame(self, self.carry, 0, self.carried) > 0) {
    self.carried = 0
    if (self.carry.length > carryLength && !isFinished(self)) self.carry = new Uint8Array(carryLength)
  }
  return taken
}

const carryOn = (self: FrameDecoder, chunk: Uint8Array, at: number, count: number): number => {
  const wanted = self.carried + count
  if (wanted > self.carry.length) {
    const grown = new Uint8Array(Math.max(wanted, Math.min(self.needed, self.carry.length * 2)))
    grown.set(self.carry.subarray(0, self.carried))
    self.carry = grown
  }
  self.carry.set(chunk.subarray(at, at + count), self.carried)
  self.carried = wanted
  return count
}

/**
 * Reads the frame at `at`, of which `available` bytes are there. Returns its length in bytes, or, of a piece or an
 * unknown frame, that of its header, whose payload follows in another state. Returns 0 and sets `needed` if bytes are
 * missing.
 */
const frame = (self: FrameDecoder, bytes: Uint8Array, at: number, available: number): number => {
  if (available < 4) return missing(self, 4)
  const length = u32(bytes, at)
  if (length === 0) {
    self.sink.keepAlive()
    return 4
  }
  if (length > self.maxFrameLength) {
    throw new WireError({ why: `a frame of ${length} bytes, more than ${self.maxFrameLength}` })
  }
  if (available < 5) return missing(self, 5)
  const id = bytes[at + 4]!
  const expected = lengths[id]!
  if (expected > 0) {
    if (length !== expected) throw wrongLength(id, length)
    if (available < 4 + length) return missing(self, 4 + length)
    fixed(self.sink, bytes, at + 5, id)
    return 4 + length
  }
  if (id === idPiece) {
    if (length < 9) throw wrongLength(id, length)
    if (length - 9 > self.maxBlockLength) {
      throw new WireError({ why: `a block of ${length - 9} bytes, more than ${self.maxBlockLength}` })
    }
    if (available < pieceHeaderLength) return missing(self, pieceHeaderLength)
    beginBlock(self, u32(bytes, at + 5), u32(bytes, at + 9), length - 9)
    return pieceHeaderLength
  }
  if (expected === unknownLength) {
    self.remaining = length - 1
    self.state = inSkipped
    self.sink.unknown(id, length - 1)
    return 5
  }
  if (id === idExtended && length < 2) throw wrongLength(id, length)
  if (available < 4 + length) return missing(self, 4 + length)
  if (id === idExtended) self.sink.extended(bytes[at + 5]!, bytes.subarray(at + 6, at + 4 + length))
  else self.sink.bitfield(bytes.subarray(at + 5, at + 4 + length))
  return 4 + length
}

const missing = (self: FrameDecoder, needed: number): 0 => {
  self.needed = needed
  return 0
}

const wrongLength = (id: number, length: number) => new WireError({ why: `a frame of id ${id} and length ${length}` })

/** Passes a frame of fixed length to the sink; its payload is at `at`. */
const fixed = (sink: FrameSink, bytes: Uint8Array, at: number, id: number) => {
  switch (id) {
    case idChoke:
      return sink.choke()
    case idUnchoke:
      return sink.unchoke()
    case idInterested:
      return sink.interested()
    case idNotInterested:
      return sink.notInterested()
    case idHave:
      return sink.have(u32(bytes, at))
    case idRequest:
      return sink.request(u32(bytes, at), u32(bytes, at + 4), u32(bytes, at + 8))
    case idCancel:
      return sink.cancel(u32(bytes, at), u32(bytes, at + 4), u32(bytes, at + 8))
    case idPort:
      return sink.port((bytes[at]! << 8) | bytes[at + 1]!)
    case idSuggest:
      return sink.suggest(u32(bytes, at))
    case idHaveAll:
      return sink.haveAll()
    case idHaveNone:
      return sink.haveNone()
    case idReject:
      return sink.reject(u32(bytes, at), u32(bytes, at + 4), u32(bytes, at + 8))
    case idAllowedFast:
      return sink.allowedFast(u32(bytes, at))
  }
}

const beginBlock = (self: FrameDecoder, index: number, begin: number, length: number): void => {
  self.remaining = length
  self.blockOffset = 0
  if (length > 0) self.state = inBlock
  self.sink.pieceBegin(index, begin, length)
  if (length === 0 && !isFinished(self)) self.sink.pieceEnd()
}

/** Passes on the block's bytes in the chunk. Returns how many these were. */
const block = (self: FrameDecoder, chunk: Uint8Array, at: number): number => {
  const taken = Math.min(self.remaining, chunk.length - at)
  const offset = self.blockOffset
  self.remaining -= taken
  self.blockOffset += taken
  self.sink.pieceData(chunk.subarray(at, at + taken), offset)
  if (self.remaining === 0 && !isFinished(self)) {
    self.state = betweenFrames
    self.sink.pieceEnd()
  }
  return taken
}

const skip = (self: FrameDecoder, available: number): number => {
  const taken = Math.min(self.remaining, available)
  self.remaining -= taken
  if (self.remaining === 0) self.state = betweenFrames
  return taken
}
