/**
 * Chooses what to request from a supplier next: blocks of active pieces first, then a new piece, in the order of
 * `PieceOrder.ts`. If there is no piece left to start, it chooses blocks that were requested from others
 * (`EndGame.ts`). If no buffer is free, it chooses blocks for which slower suppliers are being waited for
 * (`Overtaking.ts`).
 *
 * Hot path: called once a request. Only `begin`, called once a piece, is an effect.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as EndGame from "../supply/EndGame.ts"
import * as Overtaking from "../supply/Overtaking.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import * as Supplier from "../supply/Supplier.ts"
import * as Assembly from "./Assembly.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Distrust from "./Distrust.ts"
import * as PieceOrder from "./PieceOrder.ts"
import * as PiecePicker from "./PiecePicker.ts"
import * as PieceTable from "./PieceTable.ts"

const isLeftToOthers = (self: Assembly.Assembly, supplier: Supplier.Supplier, piece: PieceIndex): boolean =>
  Distrust.isLeftToOthers(self.distrust, self.suppliers, supplier, piece)

/**
 * Whether this supplier may take over a piece from the one that was to send it alone: nothing came from that one, and
 * nothing is requested from it.
 */
const mayTakeOver = (self: Assembly.Assembly, supplier: Supplier.Supplier, buffer: PieceBuffer.PieceBuffer): boolean =>
  buffer.freeBlocks === buffer.blockCount && !isLeftToOthers(self, supplier, buffer.piece)

/**
 * Whether blocks of an active piece may be requested from the supplier: it has the piece, serves us, and no other
 * supplier is to send the piece alone.
 */
const mayAsk = (self: Assembly.Assembly, supplier: Supplier.Supplier, buffer: PieceBuffer.PieceBuffer): boolean =>
  Bitfield.has(supplier.has, buffer.piece) &&
  (!supplier.peerChoking || supplier.allowedFast.has(buffer.piece)) &&
  (buffer.soleSource === undefined || buffer.soleSource === supplier.id || mayTakeOver(self, supplier, buffer)) &&
  !Supplier.isResting(supplier, buffer.piece)

/**
 * Notes a request for the next block of an active piece, beginning with the piece of the last request. `undefined` if
 * no active piece has a free block that the supplier could send.
 */
export const nextBlock = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  now: number
): RequestPipeline.Request | undefined => {
  let buffer = supplier.current
  if (buffer === undefined || !buffer.isOpen || buffer.freeBlocks === 0 || !mayAsk(self, supplier, buffer)) {
    buffer = undefined
    for (const candidate of self.pool.partial) {
      if (!mayAsk(self, supplier, candidate)) continue
      buffer = candidate
      break
    }
    if (buffer === undefined) return undefined
    supplier.current = buffer
    if (buffer.soleSource !== undefined) buffer.soleSource = supplier.id
  }
  return RequestPipeline.send(supplier.pipeline, buffer, PieceBuffer.nextFree(buffer)!, now)
}

/** Pieces that the supplier must not start: those that rest with it, and those that are left to others. */
const exceptions = (self: Assembly.Assembly, supplier: Supplier.Supplier): ReadonlySet<PieceIndex> => {
  const { refused, standing } = supplier
  const { soleSourcePieces } = self.distrust
  if (soleSourcePieces.size === 0 && standing.damaged.resting.size === 0) return refused.resting
  const pieces = new Set([...refused.resting, ...standing.damaged.resting])
  for (const piece of soleSourcePieces.keys()) if (isLeftToOthers(self, supplier, piece)) pieces.add(piece)
  return pieces
}

const allowedPiece = (self: Assembly.Assembly, supplier: Supplier.Supplier): PieceIndex | undefined => {
  for (const piece of supplier.allowedFast) {
    const isStartable = PiecePicker.isCandidate(self.picker, piece) && !isLeftToOthers(self, supplier, piece)
    if (isStartable && Bitfield.has(supplier.has, piece) && !Supplier.isResting(supplier, piece)) return piece
  }
  return undefined
}

/** Whether blocks are requested from the supplier, or came from it for a piece that is not verified yet. */
const isOnTrial = (self: Assembly.Assembly, supplier: Supplier.Supplier): boolean => {
  if (supplier.pipeline.requests.size > 0) return true
  for (const { buffer } of self.pool.loans.values()) {
    const state = PieceTable.stateOf(self.table, buffer.piece)
    if ((state === "active" || state === "complete") && buffer.contributors.includes(supplier.id)) return true
  }
  return false
}

/** Returns the piece that the supplier should start once a buffer is borrowed for it; `undefined` if there is none. */
export const nextPiece = (self: Assembly.Assembly, supplier: Supplier.Supplier): PieceIndex | undefined => {
  if (self.isPaused || supplier.searchedVersion === self.picker.version || !BufferPool.mayLend(self.pool))
    return undefined
  // After a damaged piece, wait for the verdict on its next piece before it gets another one.
  if (supplier.standing.damagedInARow > 0 && isOnTrial(self, supplier)) return undefined
  // A supplier that lets requests time out starts no piece that it could delay.
  if (supplier.pipeline.isSnubbed && self.table.counts.active > 0) return undefined
  if (supplier.peerChoking) return allowedPiece(self, supplier)
  const begun = self.geometry.pieceCount - self.table.counts.missing
  const piece = PieceOrder.pick(self.order, self.picker, supplier.has, exceptions(self, supplier), begun)
  // A piece that is left to others may return to this supplier although no piece became a candidate meanwhile.
  if (piece === undefined && self.distrust.soleSourcePieces.size === 0) supplier.searchedVersion = self.picker.version
  return piece
}

/**
 * Borrows a buffer for a missing piece, which becomes active. Returns the existing buffer if another supplier was
 * faster. Returns `undefined` if no buffer is free; then the supplier is idle. The loan ends with `BufferPool.close`:
 * requests for the piece are cancelled, and the piece is missing again, unless it is verified.
 */
export const begin = Effect.fnUntraced(function* (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  piece: PieceIndex
) {
  // Before the loan, so that a buffer that becomes free right after it is not missed.
  Assembly.idle(self, supplier)
  const buffer = yield* BufferPool.lendNow(self.pool, piece, {
    isWanted: () => {
      // No other supplier was faster, and the piece was not skipped meanwhile.
      const isCandidate = PiecePicker.isCandidate(self.picker, piece)
      // There may be another piece for it.
      if (!isCandidate) supplier.wake()
      return isCandidate
    },
    onOpen: (buffer) => {
      PieceTable.start(self.table, piece)
      PiecePicker.remove(self.picker, piece)
      if (self.distrust.soleSourcePieces.has(piece)) buffer.soleSource = supplier.id
      supplier.current = buffer
      Assembly.busy(self, supplier)
      // The end game begins with the last piece to start, and other suppliers may help in it.
      if (self.picker.count === 0) Assembly.wakeIdle(self)
    },
    onClose: (buffer) => end(self, buffer)
  })
  if (buffer !== undefined) Assembly.busy(self, supplier)
  return buffer
}, Effect.uninterruptible)

/** Forgets all requests for a piece whose loan ends. Unless it is verified, it can be started again. */
const end = (self: Assembly.Assembly, buffer: PieceBuffer.PieceBuffer): void => {
  // A supplier that kept the buffer would keep its memory alive, although the budget may have granted it to others.
  for (const supplier of self.suppliers) if (supplier.current === buffer) supplier.current = undefined
  if (buffer.requests.some((count) => count > 0)) {
    for (const supplier of self.suppliers) Supplier.cancelPiece(supplier, buffer)
  }
  const state = PieceTable.stateOf(self.table, buffer.piece)
  if (state === "active" || state === "complete") {
    PieceTable.reset(self.table, buffer.piece)
    if (buffer.soleSource !== undefined) Distrust.noteUnsent(self.distrust, buffer.piece, buffer.soleSource)
    Assembly.restart(self, buffer.piece)
  }
  Assembly.wakeIdle(self)
}

/** Whether there are pieces to start and no buffer for one. */
const isHeldUp = (self: Assembly.Assembly): boolean => self.picker.count > 0 && !BufferPool.mayLend(self.pool)

/**
 * Notes a request for a block that is already requested from others, if there is nothing else to request: in the end
 * game, or if they are slow and hold every buffer. `undefined` if there is no such block.
 */
export const nextDuplicate = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  now: number
): RequestPipeline.Request | undefined => {
  const may = (buffer: PieceBuffer.PieceBuffer) => mayAsk(self, supplier, buffer)
  // Delayed and withheld pieces are not candidates, because they must not delay the end game of active pieces.
  if (self.picker.count === 0) return EndGame.nextBlock(self.pool.loans.values(), supplier, may, now)
  return isHeldUp(self) ? Overtaking.nextBlock(self.suppliers, supplier, may, now) : undefined
}

/**
 * Requests blocks from the supplier while its pipeline has room. If no block of an active piece is left and there is
 * still room, returns the piece to start with `begin`.
 */
export const refill = (self: Assembly.Assembly, supplier: Supplier.Supplier, now: number): PieceIndex | undefined => {
  const { pipeline } = supplier
  if (supplier.standing.isPaused || (supplier.peerChoking && supplier.allowedFast.size === 0)) {
    RequestPipeline.rest(pipeline)
    return undefined
  }
  while (RequestPipeline.admits(pipeline, now)) {
    const request = nextBlock(self, supplier, now)
    const piece = request === undefined ? nextPiece(self, supplier) : undefined
    const next = request ?? (piece === undefined ? nextDuplicate(self, supplier, now) : undefined)
    if (next === undefined) {
      RequestPipeline.decline(pipeline)
      if (piece === undefined) Assembly.idle(self, supplier)
      return piece
    }
    const { block, buffer } = next
    supplier.request(buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
  }
  return undefined
}

/** Wakes idle suppliers that may overtake others by now. To be called once a second, because only time allows it. */
export const wakeOvertakers = (self: Assembly.Assembly): void => {
  if (isHeldUp(self)) Assembly.wakeIdle(self)
}
