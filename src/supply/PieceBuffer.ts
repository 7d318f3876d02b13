/**
 * A piece while it is in memory: its bytes in one array, and for each block how many requests are out, which supplier
 * is sending it and which one sent it. Hot path: a few calls a block, plain and without allocation; 40 ns a block, and
 * 320 ns with the copy of its 16 KiB (`test/bench/Pieces.bench.ts`, two shared x64 cores, Node 24).
 *
 * The array is borrowed from a `BufferPool`; the assembled piece is the buffer itself. A buffer whose loan has ended is
 * not `open`, and nothing writes to it any more: its memory may already belong to another piece.
 *
 * One supplier at a time writes straight into a block. Two would mix their bytes, and blame for the mixture would fall
 * on whoever finished first; so a second sender of the same block assembles it elsewhere (`IncomingBlock.ts`).
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as PieceMemory from "../hash/PieceMemory.ts"
import type { SupplierId } from "./SupplierId.ts"

/** No supplier: the contributor of a block that is not there, the writer of a block that nobody is sending. */
export const nobody = -1

/** A piece in memory. Its arrays name suppliers by their ids. */
export interface PieceBuffer {
  readonly piece: PieceIndex
  /** The whole piece, exactly as long as the piece; bytes of a block count once `received` says so. */
  readonly bytes: Uint8Array
  /** How bytes get there. */
  readonly memory: PieceMemory.PieceMemory
  readonly blockCount: number
  readonly received: Bitfield.Bitfield
  /** How many requests for each block are out. */
  readonly requests: Uint8Array
  /** The supplier that is sending each block straight into `bytes`. */
  readonly writers: Int32Array
  /** The supplier that sent each block. */
  readonly contributors: Int32Array
  /** The only supplier that this piece may be requested from, if an earlier copy from several was bad. */
  soleSource: SupplierId | undefined
  /** The buffers that have free blocks, which this one joins and leaves by itself. */
  readonly partial: Set<PieceBuffer>
  /** Blocks that are neither there nor asked for. */
  freeBlocks: number
  /** No block below this one is free. */
  firstFree: number
  /** When the loan began or the last block arrived, in milliseconds. */
  lastActivity: number
  isOpen: boolean
}

/**
 * A buffer for `piece` over `bytes`, which must be as long as the piece; `now` in milliseconds. `partial` is shared by
 * the buffers of a torrent: whoever looks for a block to request looks there first. `memory` has made the bytes.
 */
export const make = (
  piece: PieceIndex,
  bytes: Uint8Array,
  now: number,
  partial: Set<PieceBuffer> = new Set(),
  memory: PieceMemory.PieceMemory = PieceMemory.plain
): PieceBuffer => {
  const blockCount = Math.ceil(bytes.length / PieceGeometry.blockLength)
  const self: PieceBuffer = {
    piece,
    bytes,
    memory,
    blockCount,
    received: Bitfield.make(blockCount),
    requests: new Uint8Array(blockCount),
    writers: new Int32Array(blockCount).fill(nobody),
    contributors: new Int32Array(blockCount).fill(nobody),
    soleSource: undefined,
    partial,
    freeBlocks: blockCount,
    firstFree: 0,
    lastActivity: now,
    isOpen: true
  }
  partial.add(self)
  return self
}

/** Ends the buffer: nothing is requested for it or written to it from now on. */
export const close = (self: PieceBuffer): void => {
  self.isOpen = false
  self.partial.delete(self)
}

const takeFree = (self: PieceBuffer): void => {
  if (--self.freeBlocks === 0) self.partial.delete(self)
}

/** Bytes in block `block`. */
export const sizeOf = (self: PieceBuffer, block: number): number => PieceGeometry.blockSize(self.bytes.length, block)

/** Whether `begin` and `length` are exactly those of one of the piece's blocks. */
export const isBlock = (self: PieceBuffer, begin: number, length: number): boolean =>
  (begin & (PieceGeometry.blockLength - 1)) === 0 &&
  begin < self.bytes.length &&
  length === sizeOf(self, begin >>> PieceGeometry.blockShift)

const isFree = (self: PieceBuffer, block: number): boolean =>
  self.requests[block] === 0 && !Bitfield.has(self.received, block)

/** The first block that is neither there nor asked for; `undefined` if there is none. */
export const nextFree = (self: PieceBuffer): number | undefined => {
  if (self.freeBlocks === 0) return undefined
  while (!isFree(self, self.firstFree)) self.firstFree++
  return self.firstFree
}

/** Notes one more request for a block. */
export const request = (self: PieceBuffer, block: number): void => {
  if (isFree(self, block)) takeFree(self)
  self.requests[block]!++
}

/** Notes that a request for a block is over, because it was answered or will not be. */
export const release = (self: PieceBuffer, block: number): void => {
  self.requests[block]!--
  if (!isFree(self, block)) return
  self.freeBlocks++
  if (block < self.firstFree) self.firstFree = block
  if (self.isOpen) self.partial.add(self)
}

/** Lets a supplier write straight into a block. Returns `false` if another one is doing so. */
export const beginWrite = (self: PieceBuffer, block: number, writer: SupplierId): boolean => {
  if (self.writers[block] !== nobody) return false
  self.writers[block] = writer
  return true
}

/** The supplier writes no more into a block; harmless if it did not. */
export const endWrite = (self: PieceBuffer, block: number, writer: SupplierId): void => {
  if (self.writers[block] === writer) self.writers[block] = nobody
}

/** Copies a part of a block that is not there yet to its place. `offset` counts from the start of the piece. */
export const write = ({ bytes, memory }: PieceBuffer, offset: number, part: Uint8Array): void =>
  memory.copy(bytes, offset, part)

/** Notes that all bytes of `block` are written. `false` for a duplicate, which changes nothing. */
export const finish = (self: PieceBuffer, block: number, contributor: SupplierId, now: number): boolean => {
  const wasFree = isFree(self, block)
  if (!Bitfield.add(self.received, block)) return false
  if (wasFree) takeFree(self)
  self.contributors[block] = contributor
  self.writers[block] = nobody
  self.lastActivity = now
  return true
}

/**
 * Stores a whole block at `begin`: the one copy. `false` for a duplicate or a closed buffer, and nothing is copied
 * then.
 */
export const put = (
  self: PieceBuffer,
  begin: number,
  block: Uint8Array,
  contributor: SupplierId,
  now: number
): boolean => {
  const index = begin >>> PieceGeometry.blockShift
  if (!self.isOpen || Bitfield.has(self.received, index)) return false
  write(self, begin, block)
  return finish(self, index, contributor, now)
}

/** Whether every block is there. */
export const isComplete = (self: PieceBuffer): boolean => Bitfield.isFull(self.received)

/** The blocks that are not there, ascending. */
export const missing = (self: PieceBuffer): ReadonlyArray<number> => {
  const blocks: Array<number> = []
  for (let block = 0; block < self.blockCount; block++) if (!Bitfield.has(self.received, block)) blocks.push(block)
  return blocks
}

/** Every supplier that sent a block of the piece. */
export const contributorsOf = (self: PieceBuffer): ReadonlySet<SupplierId> => {
  const ids = new Set<SupplierId>()
  let last = nobody
  for (let block = 0; block < self.blockCount; block++) {
    const id = self.contributors[block] as SupplierId
    if (id === last) continue
    last = id
    if (id !== nobody) ids.add(id)
  }
  return ids
}

/** The supplier that sent a block which is there. */
export const contributorOf = (self: PieceBuffer, block: number): SupplierId => self.contributors[block] as SupplierId

/** The bytes of block `block`, a view into the piece. */
export const blockBytes = (self: PieceBuffer, block: number): Uint8Array =>
  self.bytes.subarray(block * PieceGeometry.blockLength, block * PieceGeometry.blockLength + sizeOf(self, block))
