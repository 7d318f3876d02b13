/**
 * All piece state of one torrent: the state of each piece, the buffers of those under way, what is requested from whom, and
 * what is held against whom. Only the files of this folder change it, each change by a function with a name. Others call these
 * functions, read the state, and take what became true from `facts`, in order.
 *
 * Here: what is wanted, who supplies, and the blocks that arrive. `Requests.ts` chooses what to request, `Completion.ts`
 * verifies and stores complete pieces. Plain functions, called by the torrent's fibers between two `yield*`; only borrowing
 * and returning a buffer are effects.
 *
 * Hot path: a block costs 0.4 to 0.7 us of book-keeping, from its request to its place in a complete piece of 1 MiB and
 * with its share of the loan, and 1.2 to 1.5 us in pieces of 64 KiB, with one seed or with fifty
 * (`test/bench/Pieces.bench.ts`, two shared x64 cores, Node 24).
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import * as Resting from "../supply/Resting.ts"
import * as Standing from "../supply/Standing.ts"
import * as Supplier from "../supply/Supplier.ts"
import type { SupplierIds } from "../supply/SupplierId.ts"
import * as SupplierId from "../supply/SupplierId.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Distrust from "./Distrust.ts"
import * as Facts from "./Facts.ts"
import * as PieceOrder from "./PieceOrder.ts"
import * as PiecePicker from "./PiecePicker.ts"
import * as PiecePriority from "./PiecePriority.ts"
import * as PieceTable from "./PieceTable.ts"

/** The piece state of a torrent. */
export interface Assembly {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly table: PieceTable.PieceTable
  readonly picker: PiecePicker.PiecePicker
  /** In what order pieces are started. */
  readonly order: PieceOrder.PieceOrder
  readonly pool: BufferPool.BufferPool
  /** Completed pieces that wait to be verified: as deep as there are buffers, so an offer always succeeds. */
  readonly completed: Queue.Queue<PieceBuffer.PieceBuffer>
  /** The numbers of its suppliers. */
  readonly ids: SupplierIds
  readonly suppliers: ReadonlySet<Supplier.Supplier>
  /** Suppliers with room for requests and nothing to request. */
  readonly idleSuppliers: ReadonlySet<Supplier.Supplier>
  readonly distrust: Distrust.Distrust
  /** What became true, for one fiber to read (`Facts.read`). */
  readonly facts: Facts.Facts
  /** Whether nothing but what is stored is wanted, and nothing is fetched. */
  readonly isReadOnly: boolean
  /** Whether no new piece is started, because the storage takes no writes. */
  readonly isPaused: boolean
  /** How fast payload arrives. */
  readonly rate: RateMeter.RateMeter
  /** Payload bytes that arrived, in time or not. */
  readonly downloadedBytes: number
  /** Of them, those of no use. */
  readonly wastedBytes: number
}

/** The same for the functions of this file, which change it. */
interface Owned extends Assembly {
  readonly suppliers: Set<Supplier.Supplier>
  readonly idleSuppliers: Set<Supplier.Supplier>
  isPaused: boolean
  downloadedBytes: number
  wastedBytes: number
}

const own = (self: Assembly): Owned => self as Owned

/** What an assembly is made of. */
export interface Options {
  readonly geometry: PieceGeometry.PieceGeometry
  /** The pieces that are there already. */
  readonly stored: Bitfield.Bitfield
  readonly random: Prng.Prng
  /** Pieces under way at once; default `BufferPool.capacityFor`. */
  readonly maxActivePieces?: number | undefined
  /** Starts pieces from the first on instead of the rarest; default no. */
  readonly isSequential?: boolean | undefined
  /** Wants nothing but what is stored, for a torrent that only uploads; default no. */
  readonly isReadOnly?: boolean | undefined
}

/** Makes the assembly of a torrent, without suppliers, until the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { geometry, isReadOnly = false, stored } = options
  const pool: BufferPool.BufferPool = yield* BufferPool.make(geometry, {
    maxActivePieces: options.maxActivePieces,
    onGrow: () => wakeIdle(self),
    isStuck: () => self.isPaused
  })
  const completed = yield* Effect.acquireRelease(Queue.bounded<PieceBuffer.PieceBuffer>(pool.capacity), Queue.shutdown)
  const self: Owned = {
    geometry,
    table: PieceTable.make(geometry),
    picker: PiecePicker.make(geometry.pieceCount, options.random),
    order: PieceOrder.make({ isSequential: options.isSequential }),
    pool,
    completed,
    ids: SupplierId.makeIds(),
    suppliers: new Set(),
    idleSuppliers: new Set(),
    distrust: Distrust.make(),
    facts: yield* Facts.make,
    isReadOnly,
    isPaused: isReadOnly,
    rate: RateMeter.make({ now: yield* Monotonic.now }),
    downloadedBytes: 0,
    wastedBytes: 0
  }
  regainStored(self, [...Bitfield.indices(stored)] as ReadonlyArray<number> as ReadonlyArray<PieceIndex>)
  const assembly: Assembly = self
  return assembly
})

/** Stored pieces are gone from the medium, or wrong there: they are fetched again, if they are wanted. */
export const loseStored = (self: Assembly, pieces: ReadonlyArray<PieceIndex>): void => {
  for (const piece of pieces) {
    PieceTable.lose(self.table, piece)
    PiecePicker.insert(self.picker, piece)
  }
  if (self.isReadOnly) wantStored(self)
  wakeIdle(self)
}

/** Missing pieces are stored, without being fetched. */
export const regainStored = (self: Assembly, pieces: ReadonlyArray<PieceIndex>): void => {
  for (const piece of pieces) {
    PieceTable.restore(self.table, piece)
    PiecePicker.remove(self.picker, piece)
  }
  if (self.isReadOnly) wantStored(self)
}

const wantStored = ({ table }: Assembly): void => PieceTable.setWanted(table, table.stored)

/** The storage confirmed the write of a verified piece. */
export const noteStored = (self: Assembly, piece: PieceIndex): void => {
  PieceTable.store(self.table, piece)
  PieceOrder.clearDeadline(self.order, piece)
}

/**
 * Sets how much each piece is wanted. One that is under way and not wanted any more goes on, as most of it may be here; it is
 * not started again. Suppliers that had nothing to request are woken; whether peers are of interest may have changed.
 */
export const setPriorities = (self: Assembly, priorities: ReadonlyArray<PiecePriority.PiecePriority>): void => {
  for (const [piece, priority] of priorities.entries()) {
    PiecePicker.setPriority(self.picker, piece as PieceIndex, priority)
  }
  if (self.isReadOnly) wantStored(self)
  else PieceTable.setWanted(self.table, PiecePriority.wanted(priorities))
  wakeIdle(self)
}

/** These pieces are needed by a time, instead of those that were. What is stored is left out. */
export const setDeadlines = (self: Assembly, deadlines: ReadonlyArray<PieceOrder.Deadline>): void =>
  PieceOrder.setDeadlines(
    self.order,
    deadlines.filter(({ piece }) => !Bitfield.has(self.table.stored, piece))
  )

/** These pieces come before all others, also those with a deadline. */
export const putFirst = (self: Assembly, pieces: ReadonlyArray<PieceIndex>): void =>
  PieceOrder.putFirst(self.order, pieces)

/** Whether no new piece is started from now on, because the storage takes no writes. */
export const setPaused = (self: Assembly, isPaused: boolean): void => {
  own(self).isPaused = isPaused
}

/** The supplier has room for requests, and nothing can be requested from it: it is woken when that may have changed. */
export const idle = (self: Assembly, supplier: Supplier.Supplier): void => void own(self).idleSuppliers.add(supplier)

/** The supplier has something to request after all. */
export const busy = (self: Assembly, supplier: Supplier.Supplier): void => void own(self).idleSuppliers.delete(supplier)

/** Wakes the suppliers that had nothing to request. */
export const wakeIdle = (self: Assembly): void => {
  if (self.idleSuppliers.size === 0) return
  const idle = [...self.idleSuppliers]
  own(self).idleSuppliers.clear()
  for (const supplier of idle) supplier.wake()
}

/** Whether a supplier has anything that is wanted and not stored yet. */
export const isInteresting = (self: Assembly, has: Bitfield.Bitfield): boolean => {
  if (PieceTable.isFinished(self.table)) return false
  if (Bitfield.isFull(has)) return true
  const { stored, wanted } = self.table
  for (let at = 0; at < stored.bytes.length; at++) {
    if ((has.bytes[at]! & wanted.bytes[at]! & ~stored.bytes[at]!) !== 0) return true
  }
  return false
}

/** What is held against the address of a supplier, which has it as its `standing`. */
export const standingOf = (self: Assembly, id: SupplierId.SupplierId): Standing.Standing =>
  Distrust.standingOf(self.distrust, id)

/** The wanted pieces of which a damaged copy came, and of which no connected supplier has another. */
export const damagedPieces = (self: Assembly): ReadonlyArray<PieceIndex> =>
  Distrust.damagedPieces(self.distrust, self.suppliers, self.table.wanted)

/** A supplier joins with the pieces it had so far (none, as a rule). */
export const join = (self: Assembly, supplier: Supplier.Supplier): void => {
  own(self).suppliers.add(supplier)
  if (!supplier.isSeed)
    for (const piece of Bitfield.indices(supplier.has)) PiecePicker.gain(self.picker, piece as PieceIndex)
}

/** The supplier has one more piece. */
export const gain = (self: Assembly, supplier: Supplier.Supplier, piece: PieceIndex): void => {
  if (!Bitfield.add(supplier.has, piece)) return
  supplier.searchedVersion = Supplier.neverSearched
  PiecePicker.gain(self.picker, piece)
  reviseWithheld(self)
}

/** The supplier reports at once which pieces it has (bitfield, have all); it had none before. */
export const gainAll = (self: Assembly, supplier: Supplier.Supplier, has: Bitfield.Bitfield): void => {
  supplier.searchedVersion = Supplier.neverSearched
  supplier.isSeed = Bitfield.isFull(has)
  Bitfield.replace(supplier.has, has)
  if (!supplier.isSeed) for (const piece of Bitfield.indices(has)) PiecePicker.gain(self.picker, piece as PieceIndex)
  reviseWithheld(self)
}

/**
 * The supplier does not have a piece any more: what was requested of it is free for others. Returns whether the piece has to
 * come from it alone, so that it should be abandoned.
 */
export const lose = (self: Assembly, supplier: Supplier.Supplier, piece: PieceIndex): boolean => {
  if (!Bitfield.has(supplier.has, piece)) return false
  if (supplier.isSeed) {
    supplier.isSeed = false
    for (const had of Bitfield.indices(supplier.has)) PiecePicker.gain(self.picker, had as PieceIndex)
  }
  Bitfield.remove(supplier.has, piece)
  PiecePicker.lose(self.picker, piece)
  // Also if it is not under way: it may have been left to this supplier.
  wakeIdle(self)
  const buffer = self.pool.loans.get(piece)?.buffer
  if (buffer === undefined || !buffer.isOpen) return false
  Supplier.cancelPiece(supplier, buffer)
  return buffer.soleSource === supplier.id
}

/** The supplier serves nothing for now. Its requests stay out if it answers or rejects each of them (BEP 6). */
export const choked = (
  self: Assembly,
  supplier: Supplier.Supplier,
  options: { readonly keepsRequests: boolean }
): void => {
  supplier.peerChoking = true
  if (!options.keepsRequests) RequestPipeline.releaseAll(supplier.pipeline)
  // Also if nothing was requested from it: a piece may have been left to it.
  wakeIdle(self)
}

/** The supplier serves us again, also what it refused before. */
export const unchoked = (supplier: Supplier.Supplier): void => {
  supplier.peerChoking = false
  Resting.forgetAll(supplier.refused)
  supplier.searchedVersion = Supplier.neverSearched
}

/**
 * The supplier refuses a block: it is free for others, and the piece rests with this supplier. Returns whether the piece has to
 * come from it alone, so that it should be abandoned.
 */
export const refused = (
  self: Assembly,
  supplier: Supplier.Supplier,
  { block, buffer }: RequestPipeline.Request,
  now: number
): boolean => {
  const { piece } = buffer
  RequestPipeline.release(supplier.pipeline, piece, block)
  // Requesting it again at once would be rejected again: others first, or this one after a while or its next unchoke. What it
  // rejects because it chokes means nothing, unless it had allowed that piece.
  const isRefusal = !supplier.peerChoking || supplier.allowedFast.has(piece)
  if (isRefusal) Resting.rest(supplier.refused, piece, Resting.afterRefusal, now)
  wakeIdle(self)
  return isRefusal && buffer.soleSource === supplier.id
}

/**
 * The supplier is gone. Its requests are free for others, and pieces that have to come from it alone are dropped, as another
 * supplier must not add to them. Harmless for one that has left.
 */
export const leave = Effect.fnUntraced(function* (self: Assembly, supplier: Supplier.Supplier) {
  if (!own(self).suppliers.delete(supplier)) return
  busy(self, supplier)
  RequestPipeline.releaseAll(supplier.pipeline)
  if (!supplier.isSeed)
    for (const piece of Bitfield.indices(supplier.has)) PiecePicker.lose(self.picker, piece as PieceIndex)
  yield* abandon(self, supplier)
  wakeIdle(self)
}, Effect.uninterruptible)

/** Drops the incomplete pieces that have to come from this supplier alone. */
export const abandon = Effect.fnUntraced(function* (self: Assembly, supplier: Supplier.Supplier) {
  for (const { buffer } of [...self.pool.loans.values()]) {
    if (buffer.soleSource === supplier.id && !PieceBuffer.isComplete(buffer)) {
      // From here on no late block can complete it.
      PieceBuffer.close(buffer)
      yield* BufferPool.close(self.pool, buffer.piece)
    }
  }
}, Effect.uninterruptible)

/** Drops incomplete pieces that have got no block for a while; runs until it is interrupted. */
export const sweep = (self: Assembly, options?: BufferPool.SweepOptions): Effect.Effect<void> =>
  BufferPool.sweep(self.pool, options)

/** Payload arrives, of whatever use it is. */
export const arriving = (self: Assembly, bytes: number, now: number): void => {
  own(self).downloadedBytes += bytes
  RateMeter.add(self.rate, bytes, now)
}

/** Payload that arrived is of no use. */
export const waste = (self: Assembly, bytes: number): void => {
  own(self).wastedBytes += bytes
}

/**
 * All bytes of a requested block are in its buffer. Releases the request, cancels those that others hold for the block,
 * and hands the piece on if it was the last one. Returns `false` for a duplicate.
 */
export const received = (
  self: Assembly,
  supplier: Supplier.Supplier,
  request: RequestPipeline.Request,
  now: number
): boolean => {
  const { block, buffer } = request
  const isNew = PieceBuffer.finish(buffer, block, supplier.id, now)
  RequestPipeline.arrive(supplier.pipeline, buffer.piece, block, now)
  if (!isNew) return false
  if (buffer.requests[block]! > 0) {
    for (const other of self.suppliers) {
      if (RequestPipeline.release(other.pipeline, buffer.piece, block) === undefined) continue
      other.cancel(buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
    }
  }
  if (PieceBuffer.isComplete(buffer)) {
    PieceTable.complete(self.table, buffer.piece)
    Queue.offerUnsafe(self.completed, buffer)
  }
  return true
}

/** Makes a missing piece a candidate, unless it has to wait. */
export const restart = (self: Assembly, piece: PieceIndex): void => {
  if (Distrust.isHeldBack(self.distrust, piece)) return
  if (PieceTable.stateOf(self.table, piece) === "missing") PiecePicker.insert(self.picker, piece)
}

/** Takes pieces that rest with everybody who has them from the candidates. Returns whether others are candidates again. */
const withhold = (self: Assembly): boolean => {
  const isMissing = (piece: PieceIndex) => PieceTable.stateOf(self.table, piece) === "missing"
  const { freed, held } = Distrust.withhold(self.distrust, self.suppliers, isMissing)
  for (const piece of held) PiecePicker.remove(self.picker, piece)
  for (const piece of freed) restart(self, piece)
  return freed.length > 0
}

/** A supplier has more pieces than before: some may not have to be withheld any more. */
const reviseWithheld = (self: Assembly): void => {
  if (self.distrust.withheld.size > 0) withhold(self)
}

/** Ends the waits of pieces and suppliers that are over. To be called once a second. */
export const tick = (self: Assembly, now: number): void => {
  const due = Distrust.endDelays(self.distrust, now)
  for (const piece of due) restart(self, piece)
  let isFreed = due.length > 0
  for (const supplier of self.suppliers) {
    const isRefusalOver = Resting.wake(supplier.refused, now)
    if (!Standing.wake(supplier.standing, now) && !isRefusalOver) continue
    supplier.searchedVersion = Supplier.neverSearched
    supplier.wake()
    isFreed = true
  }
  Distrust.endRests(self.distrust, self.suppliers, now)
  if (withhold(self)) isFreed = true
  if (isFreed) wakeIdle(self)
}
