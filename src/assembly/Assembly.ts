/**
 * All piece state of one torrent: the state of each piece, the buffers of active pieces, what is requested from whom,
 * and what is held against whom. Only the files of this folder change it, each change by a named function. Others call
 * these functions, read the state, and read what happened from `facts`, in order.
 *
 * This file handles which pieces are wanted, who supplies them, and the blocks that arrive. `Requests.ts` chooses what
 * to request, and `Completion.ts` verifies and stores complete pieces. The functions are plain and called by the fibers
 * and tasks of the torrent, between two suspensions; only returning a buffer is an effect.
 *
 * Hot path. Book-keeping of a block, from its request to its place in a complete piece, costs 0.4 to 0.7 us in pieces
 * of 1 MiB and 1.2 to 1.5 us in pieces of 64 KiB (`test/bench/Pieces.bench.ts`, two shared x64 cores, Node 24).
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"
import * as Signal from "../base/Signal.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import * as Overtaking from "../supply/Overtaking.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import * as Resting from "../supply/Resting.ts"
import * as Standing from "../supply/Standing.ts"
import * as Supplier from "../supply/Supplier.ts"
import * as SupplierId from "../supply/SupplierId.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Demand from "./Demand.ts"
import * as Distrust from "./Distrust.ts"
import * as Facts from "./Facts.ts"
import * as Holdings from "./Holdings.ts"
import * as PieceLine from "./PieceLine.ts"
import * as PieceOrder from "./PieceOrder.ts"
import * as PiecePicker from "./PiecePicker.ts"
import * as PiecePriority from "./PiecePriority.ts"
import * as PieceTable from "./PieceTable.ts"

/** The piece state of a torrent. */
export interface Assembly {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly table: PieceTable.PieceTable
  readonly picker: PiecePicker.PiecePicker
  /** The order in which pieces are started. */
  readonly order: PieceOrder.PieceOrder
  readonly pool: BufferPool.BufferPool
  /** Complete pieces that wait to be verified: at most as many as there are buffers. */
  readonly completed: PieceLine.PieceLine
  /** Set when a supplier joins: there is something to do for the torrent now. */
  readonly isNeeded: Signal.Signal
  /** The ids of its suppliers. */
  readonly ids: SupplierId.SupplierIds
  readonly suppliers: ReadonlySet<Supplier.Supplier>
  readonly slow: Overtaking.Slow
  /** Suppliers that have room for requests and nothing to request. */
  readonly idleSuppliers: ReadonlySet<Supplier.Supplier>
  /** Absent until it is first needed; see `distrustOf`. */
  readonly distrust: Distrust.Distrust | undefined
  /** What happened, for one party to read (`Facts.read`). */
  readonly facts: Facts.Facts
  /** Whether only stored pieces are wanted, so that nothing is fetched. */
  readonly isReadOnly: boolean
  /** Whether no new piece is started, because the storage takes no writes. */
  readonly isPaused: boolean
  /** How fast payload arrives. */
  readonly rate: RateMeter.RateMeter
  /** Payload bytes that arrived, also late or duplicate ones. */
  readonly downloadedBytes: number
  /** Of these bytes, those that were of no use. */
  readonly wastedBytes: number
}

/** The same with mutable fields, for the functions of this file. */
interface Owned extends Assembly {
  distrust: Distrust.Distrust | undefined
  readonly suppliers: Set<Supplier.Supplier>
  readonly idleSuppliers: Set<Supplier.Supplier>
  isPaused: boolean
  downloadedBytes: number
  wastedBytes: number
}

const own = (self: Assembly): Owned => self as Owned

/** What an assembly is made from. */
export interface Options extends BufferPool.Buffers {
  readonly geometry: PieceGeometry.PieceGeometry
  /** The pieces that are stored already. */
  readonly stored: Bitfield.Bitfield
  readonly random: Prng.Prng
  /** Whether pieces are started in the order of their indices instead of rarest first; default false. */
  readonly isSequential?: boolean | undefined
  /** Whether only stored pieces are wanted, for a torrent that only uploads; default false. */
  readonly isReadOnly?: boolean | undefined
}

/** Makes an assembly without suppliers, until the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { geometry, isReadOnly = false, stored } = options
  const pool: BufferPool.BufferPool = yield* BufferPool.make(geometry, {
    maxActivePieces: options.maxActivePieces,
    memory: options.memory,
    onGrow: () => wakeIdle(self),
    isStuck: () => self.isPaused,
    isUsable: () => Demand.canStart(self)
  })
  const self: Owned = {
    geometry,
    table: PieceTable.make(geometry),
    picker: PiecePicker.make(geometry.pieceCount, options.random),
    order: PieceOrder.make({ isSequential: options.isSequential }),
    pool,
    completed: PieceLine.make(),
    isNeeded: Signal.make(),
    ids: SupplierId.makeIds(),
    suppliers: new Set(),
    slow: Overtaking.makeSlow(),
    idleSuppliers: new Set(),
    distrust: undefined,
    facts: Facts.make(),
    isReadOnly,
    isPaused: isReadOnly,
    rate: RateMeter.make({ now: yield* Monotonic.now }),
    downloadedBytes: 0,
    wastedBytes: 0
  }
  regainStored(self, [...Bitfield.indices(stored)] as ReadonlyArray<number> as ReadonlyArray<PieceIndex>)
  return self as Assembly
})

/** What is held against pieces and suppliers. Made when it is first asked for: a torrent without peers needs none. */
export const distrustOf = (self: Assembly): Distrust.Distrust => (own(self).distrust ??= Distrust.make())

/** Notes that stored pieces are gone from the medium, or wrong there. They are fetched again if they are wanted. */
export const loseStored = (self: Assembly, pieces: ReadonlyArray<PieceIndex>): void => {
  for (const piece of pieces) {
    PieceTable.lose(self.table, piece)
    PiecePicker.insert(self.picker, piece)
  }
  if (self.isReadOnly) wantStored(self)
  wakeIdle(self)
}

/** Notes that missing pieces are stored without having been fetched. */
export const regainStored = (self: Assembly, pieces: ReadonlyArray<PieceIndex>): void => {
  for (const piece of pieces) {
    PieceTable.restore(self.table, piece)
    PiecePicker.remove(self.picker, piece)
  }
  if (self.isReadOnly) wantStored(self)
}

const wantStored = ({ table }: Assembly): void => PieceTable.setWanted(table, table.stored)

/** Notes that the storage confirmed the write of a verified piece. */
export const noteStored = (self: Assembly, piece: PieceIndex): void => {
  PieceTable.store(self.table, piece)
  PieceOrder.clearDeadline(self.order, piece)
}

/**
 * Sets how much each piece is wanted. An active piece that is not wanted any more is still completed, because most of
 * it may be here, but it is not started again. Wakes idle suppliers. The caller has to update its interest in peers.
 */
export const setPriorities = (self: Assembly, priorities: ReadonlyArray<PiecePriority.PiecePriority>): void => {
  for (const [piece, priority] of priorities.entries()) {
    PiecePicker.setPriority(self.picker, piece as PieceIndex, priority)
  }
  if (self.isReadOnly) wantStored(self)
  else PieceTable.setWanted(self.table, PiecePriority.wanted(priorities))
  wakeIdle(self)
}

/** Sets the times by which an owner needs pieces, instead of its earlier ones. Leaves stored pieces out. */
export const setDeadlines = (self: Assembly, owner: PieceOrder.Owner, all: Iterable<PieceOrder.Deadline>): void => {
  const missing = Array.from(all).filter(({ piece }) => !Bitfield.has(self.table.stored, piece))
  PieceOrder.setDeadlines(self.order, owner, missing)
  // A piece that is urgent may begin although no buffer is free.
  if (missing.length > 0) wakeIdle(self)
}

/** Starts these pieces before all others, even before those with a deadline. */
export const putFirst = (self: Assembly, pieces: ReadonlyArray<PieceIndex>): void =>
  PieceOrder.putFirst(self.order, pieces)

/** Sets whether no new piece is started, because the storage takes no writes. */
export const setPaused = (self: Assembly, isPaused: boolean): void => {
  own(self).isPaused = isPaused
}

/** Notes that the supplier has room for requests and nothing to request. It is woken when that may have changed. */
export const idle = (self: Assembly, supplier: Supplier.Supplier): void => void own(self).idleSuppliers.add(supplier)

/** Notes that the supplier has something to request. */
export const busy = (self: Assembly, supplier: Supplier.Supplier): void => void own(self).idleSuppliers.delete(supplier)

/** Wakes all idle suppliers. */
export const wakeIdle = (self: Assembly): void => {
  if (self.idleSuppliers.size === 0) return
  const idle = [...self.idleSuppliers]
  own(self).idleSuppliers.clear()
  for (const supplier of idle) supplier.wake()
}

/** Whether a supplier has a piece that is wanted and not stored yet. */
export const isInteresting = (supplier: Supplier.Supplier): boolean => supplier.interesting > 0

/** Returns what is held against the address of a supplier. The supplier keeps it as its `standing`. */
export const standingOf = (self: Assembly, id: SupplierId.SupplierId): Standing.Standing =>
  Distrust.standingOf(distrustOf(self), id)

/** Returns the wanted pieces of which a damaged copy was received and no connected supplier has a better one. */
export const damagedPieces = (self: Assembly): ReadonlyArray<PieceIndex> =>
  self.distrust === undefined ? [] : Distrust.damagedPieces(self.distrust, self.suppliers, self.table.wanted)

/** Adds a supplier with the pieces that it has so far (usually none). */
export const join = (self: Assembly, supplier: Supplier.Supplier): void => {
  own(self).suppliers.add(supplier)
  Signal.set(self.isNeeded)
  Holdings.enter(self, supplier)
}

/** Notes that the supplier has one more piece. Returns `false` if it had the piece. */
export const gain = (self: Assembly, supplier: Supplier.Supplier, piece: PieceIndex): boolean => {
  if (!Holdings.add(self, supplier, piece)) return false
  if (Distrust.supply(distrustOf(self), supplier, piece)) restart(self, piece)
  return true
}

/** Notes all pieces of a supplier that had none before. */
export const gainAll = (self: Assembly, supplier: Supplier.Supplier, has: Bitfield.Bitfield): void => {
  Holdings.addAll(self, supplier, has)
  restartSupplied(self, supplier)
}

/** Notes that the supplier has every piece, whatever it had before. Costs as much as it lost since it had them all. */
export const gainEverything = (self: Assembly, supplier: Supplier.Supplier): void => {
  Holdings.addEverything(self, supplier)
  restartSupplied(self, supplier)
}

const restartSupplied = (self: Assembly, supplier: Supplier.Supplier): void => {
  for (const piece of [...distrustOf(self).withheld]) {
    if (Bitfield.has(supplier.has, piece) && Distrust.supply(distrustOf(self), supplier, piece)) restart(self, piece)
  }
}

/**
 * Notes that the supplier does not have a piece any more. Its requests for the piece are released. Returns whether the
 * piece was to come from this supplier alone, so that it should be abandoned.
 */
export const lose = (self: Assembly, supplier: Supplier.Supplier, piece: PieceIndex): boolean => {
  if (!Holdings.remove(self, supplier, piece)) return false
  // Even if the piece is not active: it may have been left to this supplier.
  wakeIdle(self)
  const buffer = self.pool.loans.get(piece)?.buffer
  if (buffer === undefined || !buffer.isOpen) return false
  Supplier.cancelPiece(supplier, buffer)
  return buffer.soleSource === supplier.id
}

/**
 * Notes that the supplier serves nothing for now. With the fast extension (BEP 6) its requests stay, because it answers
 * or rejects each.
 */
export const choked = (
  self: Assembly,
  supplier: Supplier.Supplier,
  options: { readonly keepsRequests: boolean }
): void => {
  supplier.peerChoking = true
  if (!options.keepsRequests) RequestPipeline.releaseAll(supplier.pipeline)
  Demand.returnUnused(self)
  // Even if nothing was requested from it: a piece may have been left to it.
  wakeIdle(self)
}

/** Notes that the supplier serves us again, also what it refused before. */
export const unchoked = (supplier: Supplier.Supplier): void => {
  supplier.peerChoking = false
  // Otherwise the last search is as good as another one.
  if (supplier.refused.resting.size > 0) Supplier.searchAgain(supplier)
  Resting.forgetAll(supplier.refused)
}

/**
 * Notes that the supplier refused a block. The block is released, and the piece is not requested from this supplier for
 * a while. Returns whether the piece was to come from this supplier alone, so that it should be abandoned.
 */
export const refused = (
  self: Assembly,
  supplier: Supplier.Supplier,
  { block, buffer }: RequestPipeline.Request,
  now: number
): boolean => {
  const { piece } = buffer
  RequestPipeline.release(supplier.pipeline, piece, block)
  // If it were requested again at once, it would be rejected again. So others are asked first, or this supplier after a
  // while or after its next unchoke. A rejection because of a choke means nothing, unless the piece was allowed fast.
  const isRefusal = !supplier.peerChoking || supplier.allowedFast.has(piece)
  if (isRefusal) Resting.rest(supplier.refused, piece, Resting.afterRefusal, now)
  wakeIdle(self)
  return isRefusal && buffer.soleSource === supplier.id
}

/**
 * Removes a supplier. Its requests are released, and pieces that were to come from it alone are dropped, because no
 * other supplier may add to them. Does nothing for a supplier that was already removed.
 */
export const leave = Effect.fnUntraced(function* (self: Assembly, supplier: Supplier.Supplier) {
  if (!own(self).suppliers.delete(supplier)) return
  Overtaking.forget(self.slow)
  busy(self, supplier)
  RequestPipeline.releaseAll(supplier.pipeline)
  Holdings.exit(self, supplier)
  yield* abandon(self, supplier)
  if (self.suppliers.size === 0) yield* BufferPool.closeEmpty(self.pool)
  Demand.returnUnused(self)
  wakeIdle(self)
}, Effect.uninterruptible)

/** Drops the incomplete pieces that were to come from this supplier alone. */
export const abandon = Effect.fnUntraced(function* (self: Assembly, supplier: Supplier.Supplier) {
  for (const { buffer } of [...self.pool.loans.values()]) {
    if (buffer.soleSource === supplier.id && !PieceBuffer.isComplete(buffer)) {
      // Closed first, so that no late block can complete it.
      PieceBuffer.close(buffer)
      yield* BufferPool.close(self.pool, buffer.piece)
    }
  }
}, Effect.uninterruptible)

/** Drops incomplete pieces that have received no block for a while, until the scope closes. */
export const sweep = (self: Assembly, options?: BufferPool.SweepOptions): Effect.Effect<void, never, Scope.Scope> =>
  BufferPool.sweep(self.pool, options)

/** Notes that payload arrives, whether it is of use or not. */
export const arriving = (self: Assembly, bytes: number, now: number): void => {
  own(self).downloadedBytes += bytes
  RateMeter.add(self.rate, bytes, now)
}

/** Notes that payload that arrived is of no use. */
export const waste = (self: Assembly, bytes: number): void => {
  own(self).wastedBytes += bytes
}

/**
 * Notes that all bytes of a requested block are in its buffer. Releases the request, cancels the same request at other
 * suppliers, and offers the piece to the verifier if this was its last block. Returns `false` for a duplicate.
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
    PieceLine.add(self.completed, buffer)
  }
  return true
}

/** Makes a missing piece a candidate, unless it has to wait. */
export const restart = (self: Assembly, piece: PieceIndex): void => {
  if (self.distrust !== undefined && Distrust.isHeldBack(self.distrust, piece)) return
  if (PieceTable.stateOf(self.table, piece) === "missing") PiecePicker.insert(self.picker, piece)
}

/** Ends waits of pieces and suppliers that are over. To be called once a second. */
export const tick = (self: Assembly, now: number): void => {
  const due = Distrust.endDelays(distrustOf(self), now)
  for (const piece of due) restart(self, piece)
  let isFreed = due.length > 0
  for (const supplier of self.suppliers) {
    const isRefusalOver = Resting.wake(supplier.refused, now)
    if (!Standing.wake(supplier.standing, now) && !isRefusalOver) continue
    Supplier.searchAgain(supplier)
    supplier.wake()
    isFreed = true
  }
  Distrust.endRests(distrustOf(self), self.suppliers, now)
  const isMissing = (piece: PieceIndex) => PieceTable.stateOf(self.table, piece) === "missing"
  const { freed, held } = Distrust.withhold(distrustOf(self), self.suppliers, isMissing)
  for (const piece of held) PiecePicker.remove(self.picker, piece)
  for (const piece of freed) restart(self, piece)
  if (isFreed || freed.length > 0) wakeIdle(self)
}
