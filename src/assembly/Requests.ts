/**
 * Chooses what to request from a supplier next. It prefers blocks of active pieces, which are the pieces that have a
 * buffer and lack blocks. If there is none, it starts a new piece, in the order of `PieceOrder.ts`. If the supplier has
 * no piece left to start, or no buffer is free for one, it chooses blocks that slower suppliers hold up
 * (`Overtaking.ts`).
 *
 * Pieces with a deadline come before all that (`Urgency.ts`). Which piece may come from whom is in `Eligibility.ts`.
 *
 * Hot path: the functions run once for each request or piece, and they are plain.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as Overtaking from "../supply/Overtaking.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import * as Supplier from "../supply/Supplier.ts"
import * as Assembly from "./Assembly.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Distrust from "./Distrust.ts"
import * as Eligibility from "./Eligibility.ts"
import * as PieceOrder from "./PieceOrder.ts"
import * as PiecePicker from "./PiecePicker.ts"
import * as PieceTable from "./PieceTable.ts"
import * as Urgency from "./Urgency.ts"

/**
 * Records a request for the next free block of an active piece, and returns it; `undefined` if no active piece has a
 * free block that may be requested from the supplier. A block is free if it has neither arrived nor been requested. The
 * piece of the supplier's last request comes first, so that few suppliers share a piece.
 */
export const nextBlock = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  now: number
): RequestPipeline.Request | undefined => {
  let buffer = supplier.current
  if (
    buffer === undefined ||
    !buffer.isOpen ||
    buffer.freeBlocks === 0 ||
    !Eligibility.mayAsk(self, supplier, buffer)
  ) {
    buffer = undefined
    for (const candidate of self.pool.partial) {
      if (!Eligibility.mayAsk(self, supplier, candidate)) continue
      buffer = candidate
      break
    }
    if (buffer === undefined) return undefined
    supplier.current = buffer
    if (buffer.soleSource !== undefined) buffer.soleSource = supplier.id
  }
  return RequestPipeline.send(supplier.pipeline, buffer, PieceBuffer.nextFree(buffer)!, now)
}

/** Returns the pieces that the supplier must not start: those that rest with it, and those that are left to others. */
const exceptions = (self: Assembly.Assembly, supplier: Supplier.Supplier): ReadonlySet<PieceIndex> => {
  const { refused, standing } = supplier
  const { soleSourcePieces } = Assembly.distrustOf(self)
  if (soleSourcePieces.size === 0 && standing.damaged.resting.size === 0) return refused.resting
  const pieces = new Set([...refused.resting, ...standing.damaged.resting])
  for (const piece of soleSourcePieces.keys()) if (Eligibility.isLeftToOthers(self, supplier, piece)) pieces.add(piece)
  return pieces
}

/** Returns a piece that a choking supplier allows (BEP 6) and may start; `undefined` if there is none. */
const allowedPiece = (self: Assembly.Assembly, supplier: Supplier.Supplier): PieceIndex | undefined => {
  for (const piece of supplier.allowedFast) if (Eligibility.isStartable(self, supplier, piece)) return piece
  return undefined
}

/**
 * Returns the piece that the supplier should start next, with `begin`; `undefined` if there is none. Does not search
 * if no buffer is free. If the last search found none and no piece has become a candidate since, looks only at the
 * pieces that the supplier got since.
 */
export const nextPiece = (self: Assembly.Assembly, supplier: Supplier.Supplier): PieceIndex | undefined => {
  if (self.isPaused || !BufferPool.mayLend(self.pool)) return undefined
  const isSearched = supplier.searchedVersion === self.picker.version
  if (isSearched && supplier.gained.size === 0) return undefined
  const isSuspect = supplier.standing.damagedInARow > 0 || supplier.pipeline.isSnubbed
  if (isSuspect && Eligibility.mustNotStart(self, supplier)) return undefined
  if (supplier.peerChoking) return allowedPiece(self, supplier)
  const begun = self.geometry.pieceCount - self.table.counts.missing
  const except = exceptions(self, supplier)
  let piece: PieceIndex | undefined
  if (isSearched) piece = gainedPiece(self, supplier, except)
  // A search of all candidates takes long, and would find none in a supplier that is not interesting.
  else if (Assembly.isInteresting(supplier)) {
    piece = PieceOrder.pick(self.order, self.picker, supplier.has, except, begun)
  }
  if (piece !== undefined) return piece
  supplier.gained.clear()
  // A piece that is left to others may return to this supplier although no piece became a candidate meanwhile.
  supplier.searchedVersion =
    Assembly.distrustOf(self).soleSourcePieces.size === 0 ? self.picker.version : Supplier.neverSearched
  return undefined
}

/** Returns a piece to start that the supplier got since its last search. Forgets those that it need not start. */
const gainedPiece = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  except: ReadonlySet<PieceIndex>
): PieceIndex | undefined => {
  for (const piece of supplier.gained) {
    if (PiecePicker.isCandidate(self.picker, piece) && !except.has(piece)) return piece
    supplier.gained.delete(piece)
  }
  return undefined
}

/**
 * Borrows a buffer for a candidate, which becomes active. Returns `undefined` and leaves the supplier idle if no buffer
 * is free, or if the buffer of an earlier loan of the piece has not been returned yet. The loan ends with
 * `BufferPool.close`. Then the requests for the piece are cancelled, and the piece is missing again unless it has been
 * verified. With `from`, that active piece gives up its buffer.
 */
export const begin = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  piece: PieceIndex,
  from?: PieceIndex
): PieceBuffer.PieceBuffer | undefined => {
  const borrower: BufferPool.Borrower = {
    onOpen: (buffer) => {
      PieceTable.start(self.table, piece)
      PiecePicker.remove(self.picker, piece)
      if (Assembly.distrustOf(self).soleSourcePieces.has(piece)) buffer.soleSource = supplier.id
      supplier.current = buffer
    },
    onClose: (buffer) => end(self, buffer)
  }
  const buffer = self.pool.loans.has(piece) ? undefined : BufferPool.lendNow(self.pool, piece, borrower, from)
  if (buffer === undefined) {
    RequestPipeline.rest(supplier.pipeline)
    Assembly.idle(self, supplier)
  } else Assembly.busy(self, supplier)
  return buffer
}

/** Cancels all requests for a piece whose loan ends. Makes the piece missing again, unless it has been verified. */
const end = (self: Assembly.Assembly, buffer: PieceBuffer.PieceBuffer): void => {
  // A supplier that still referred to the buffer would keep its memory alive. The budget counts that memory as free and
  // may already have granted as much to another torrent.
  for (const supplier of self.suppliers) if (supplier.current === buffer) supplier.current = undefined
  if (buffer.requests.some((count) => count > 0)) {
    for (const supplier of self.suppliers) Supplier.cancelPiece(supplier, buffer)
  }
  const state = PieceTable.stateOf(self.table, buffer.piece)
  if (state === "active" || state === "complete") {
    PieceTable.reset(self.table, buffer.piece)
    if (buffer.soleSource !== undefined) Distrust.noteUnsent(Assembly.distrustOf(self), buffer.piece, buffer.soleSource)
    Assembly.restart(self, buffer.piece)
  }
  Assembly.wakeIdle(self)
}

/**
 * Records a request for a block that a slower supplier holds up, and returns it; `undefined` if there is no such block.
 * Call it only if the supplier has nothing else to request. What others could still start does not matter.
 */
export const nextDuplicate = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  now: number
): RequestPipeline.Request | undefined =>
  Overtaking.nextBlock(self.slow, self.suppliers, supplier, (buffer) => Eligibility.mayAsk(self, supplier, buffer), now)

/**
 * Whether no block can be requested, whoever asks: none is free, no piece can be started, none is urgent, and nobody is
 * slow.
 */
const isNothingLeft = (self: Assembly.Assembly, now: number): boolean =>
  self.pool.partial.size === 0 &&
  !BufferPool.mayLend(self.pool) &&
  !Overtaking.isNeeded(self.slow, self.suppliers, now) &&
  (self.order.due === undefined || !Urgency.isAnyLeft(self, now))

/**
 * Sends requests to the supplier while its pipeline has room: for pieces with a deadline, then for blocks of active
 * pieces, then for a piece that it starts, then for blocks that slower suppliers hold up. Marks the supplier idle if
 * there is none of those, or no buffer for the piece. Sends nothing if the rate limit is reached, or if nothing may be
 * requested from the supplier now.
 */
export const refill = (self: Assembly.Assembly, supplier: Supplier.Supplier, now: number): void => {
  const { pipeline } = supplier
  pipeline.isHurried = self.order.due !== undefined
  if (supplier.standing.isPaused || (supplier.peerChoking && supplier.allowedFast.size === 0)) {
    RequestPipeline.rest(pipeline)
    return
  }
  // A returned buffer wakes every idle supplier, and the first of them takes it.
  if (RequestPipeline.room(pipeline) > 0 && isNothingLeft(self, now)) {
    RequestPipeline.rest(pipeline)
    Assembly.idle(self, supplier)
    return
  }
  let mayOvertake = self.order.due !== undefined
  while (RequestPipeline.admits(pipeline, now)) {
    let request = self.order.due === undefined ? undefined : Urgency.nextBlock(self, supplier, begin, now)
    if (request === undefined && mayOvertake) {
      request = Urgency.nextDuplicate(self, supplier, now)
      mayOvertake = request !== undefined
    }
    request ??= nextBlock(self, supplier, now)
    const piece = request === undefined ? nextPiece(self, supplier) : undefined
    if (piece !== undefined) {
      RequestPipeline.postpone(pipeline)
      if (begin(self, supplier, piece) === undefined) return
      continue
    }
    const next = request ?? nextDuplicate(self, supplier, now)
    if (next === undefined) {
      RequestPipeline.decline(pipeline)
      Assembly.idle(self, supplier)
      return
    }
    const { block, buffer } = next
    supplier.request(buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
  }
}

/**
 * Whether a supplier waits for the rate limit that may send blocks of the piece. The piece is not stale because of that
 * wait. A limit that holds up other suppliers only is no excuse.
 */
export const waitsForRate = (self: Assembly.Assembly, buffer: PieceBuffer.PieceBuffer): boolean => {
  if (buffer.freeBlocks === 0) return false
  for (const supplier of self.suppliers) {
    if (RateLimiter.isWaiting(supplier.pipeline.limiter) && Eligibility.mayAsk(self, supplier, buffer)) return true
  }
  return false
}

/**
 * Wakes idle suppliers that may overtake slower ones. Call it once a second, because a request becomes slow by the mere
 * passing of time.
 */
export const wakeOvertakers = (self: Assembly.Assembly, now: number): void => {
  if (self.idleSuppliers.size > 0 && Overtaking.isNeeded(self.slow, self.suppliers, now)) Assembly.wakeIdle(self)
}
