/**
 * Chooses what to request from a supplier that sends bytes in the order of the torrent, such as a body over HTTP. A run
 * of pieces that follow each other costs one request, and each jump another one, with a wait for its answer. So such a
 * supplier finishes the piece of its last request, and goes on with the piece behind it. It begins elsewhere only if
 * nothing is out. Then it takes up a piece that others began and left, or starts one in the order of `PieceOrder.ts`,
 * and as a last choice shares a piece with others.
 *
 * Pieces with a deadline come before all that, as for every supplier.
 *
 * Hot path: runs once for each request, and is plain.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import type * as Supplier from "../supply/Supplier.ts"
import * as Assembly from "./Assembly.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Eligibility from "./Eligibility.ts"
import * as PieceSearch from "./PieceSearch.ts"
import * as Requests from "./Requests.ts"
import * as Urgency from "./Urgency.ts"

/** Where a supplier is in the torrent. Kept by whoever runs the supplier, and changed only here. */
export interface Run {
  /** The piece of the last request; `undefined` before the first. */
  piece: PieceIndex | undefined
}

/** Makes a run that has not begun. */
export const make = (): Run => ({ piece: undefined })

/** Whether any supplier has requests out for the piece. */
const isRequested = ({ requests }: PieceBuffer.PieceBuffer): boolean => requests.some((count) => count > 0)

/** An active piece with blocks that may be requested from the supplier. */
const openPiece = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  piece: PieceIndex | undefined
): PieceBuffer.PieceBuffer | undefined => {
  const buffer = piece === undefined ? undefined : self.pool.loans.get(piece)?.buffer
  if (buffer === undefined || !buffer.isOpen || buffer.freeBlocks === 0) return undefined
  return Eligibility.mayAsk(self, supplier, buffer) ? buffer : undefined
}

/** Records a request for the first free block of an active piece, with which the run goes on. */
const sendNext = (
  supplier: Supplier.Supplier,
  run: Run,
  buffer: PieceBuffer.PieceBuffer,
  now: number
): RequestPipeline.Request => {
  run.piece = buffer.piece
  supplier.current = buffer
  if (buffer.soleSource !== undefined) buffer.soleSource = supplier.id
  return RequestPipeline.send(supplier.pipeline, buffer, PieceBuffer.nextFree(buffer)!, now)
}

/** Whether the supplier may start pieces now: its last one was not wrong, and it answers. */
const mayStart = (self: Assembly.Assembly, supplier: Supplier.Supplier): boolean =>
  !self.isPaused &&
  ((supplier.standing.damagedInARow === 0 && !supplier.pipeline.isSnubbed) || !Eligibility.mustNotStart(self, supplier))

/** Whether another piece than the next one of the run has to come first. */
const isOutranked = ({ order, picker }: Assembly.Assembly, piece: PieceIndex): boolean =>
  (order.first !== undefined && order.first.size > 0 && !order.first.has(piece)) ||
  (picker.high.count > 0 && picker.priorities[piece] !== PieceSearch.highCode)

/** What is to be done about the piece behind the run. */
const nextOfRun = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  run: Run
): { readonly taken: PieceBuffer.PieceBuffer } | { readonly start: PieceIndex } | undefined => {
  const next = (run.piece === undefined ? -1 : run.piece + 1) as PieceIndex
  if (next < 0 || next >= self.geometry.pieceCount || isOutranked(self, next)) return undefined
  const left = openPiece(self, supplier, next)
  if (left !== undefined) return isRequested(left) ? undefined : { taken: left }
  return mayStart(self, supplier) && Eligibility.isStartable(self, supplier, next) ? { start: next } : undefined
}

/** An active piece that others began and left, so that nobody is sending it. */
const leftPiece = (self: Assembly.Assembly, supplier: Supplier.Supplier): PieceBuffer.PieceBuffer | undefined => {
  for (const buffer of self.pool.partial) {
    if (!isRequested(buffer) && Eligibility.mayAsk(self, supplier, buffer)) return buffer
  }
  return undefined
}

const beginElsewhere = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  run: Run,
  now: number
): RequestPipeline.Request | { readonly start: PieceIndex } | undefined => {
  const left = leftPiece(self, supplier)
  if (left !== undefined) return sendNext(supplier, run, left, now)
  const start = Requests.nextPiece(self, supplier)
  if (start !== undefined) return { start }
  const shared = Requests.nextBlock(self, supplier, now)
  if (shared !== undefined) run.piece = shared.buffer.piece
  return shared ?? Requests.nextDuplicate(self, supplier, now)
}

/**
 * Sends requests to the supplier while its pipeline has room. Marks the supplier idle if there is nothing to request,
 * or no buffer for the next piece. The requests are answered in the order in which they are sent.
 */
export const refill = (self: Assembly.Assembly, supplier: Supplier.Supplier, run: Run, now: number): void => {
  const { pipeline } = supplier
  if (supplier.standing.isPaused || supplier.peerChoking) {
    RequestPipeline.rest(pipeline)
    return
  }
  while (RequestPipeline.admits(pipeline, now)) {
    let request = self.order.due === undefined ? undefined : Urgency.nextBlock(self, supplier, Requests.begin, now)
    if (request !== undefined) run.piece = request.buffer.piece
    let start: PieceIndex | undefined
    if (request === undefined) {
      const current = openPiece(self, supplier, run.piece)
      const next = current === undefined ? nextOfRun(self, supplier, run) : { taken: current }
      if (next !== undefined && "taken" in next) request = sendNext(supplier, run, next.taken, now)
      else start = next?.start
    }
    if (request === undefined && start === undefined && pipeline.requests.size === 0) {
      const other = beginElsewhere(self, supplier, run, now)
      if (other !== undefined && "start" in other) start = other.start
      else request = other
    }
    if (start !== undefined) {
      if (!startPiece(self, supplier, run, start)) return
      continue
    }
    if (request === undefined) {
      RequestPipeline.decline(pipeline)
      Assembly.idle(self, supplier)
      return
    }
    sendRequest(supplier, request)
  }
}

/** Borrows a buffer for the piece, with which the run goes on. Leaves the supplier idle if there is none. */
const startPiece = (self: Assembly.Assembly, supplier: Supplier.Supplier, run: Run, piece: PieceIndex): boolean => {
  if (!BufferPool.mayLend(self.pool)) {
    RequestPipeline.decline(supplier.pipeline)
    Assembly.idle(self, supplier)
    return false
  }
  RequestPipeline.postpone(supplier.pipeline)
  if (Requests.begin(self, supplier, piece) === undefined) return false
  run.piece = piece
  return true
}

const sendRequest = (supplier: Supplier.Supplier, { block, buffer }: RequestPipeline.Request): void =>
  supplier.request(buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))

/** Whether blocks of a piece could be requested from the supplier, sooner or later. Requests nothing. */
export const mayFetch = (self: Assembly.Assembly, supplier: Supplier.Supplier, piece: PieceIndex): boolean =>
  openPiece(self, supplier, piece) !== undefined || (!self.isPaused && Eligibility.isStartable(self, supplier, piece))

/**
 * Requests the free blocks of one piece while the pipeline has room, for a supplier that can only send what comes next
 * in its body. Returns whether blocks of the piece are out to it or may be soon; otherwise the supplier has to pass
 * over the piece.
 */
export const refillPiece = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  run: Run,
  piece: PieceIndex,
  now: number
): boolean => {
  const { pipeline } = supplier
  const isOut = (): boolean => pipeline.requests.values().some(({ buffer }) => buffer.piece === piece)
  if (supplier.standing.isPaused || supplier.peerChoking) {
    RequestPipeline.rest(pipeline)
    return isOut()
  }
  while (true) {
    const buffer = openPiece(self, supplier, piece)
    const startable = buffer === undefined && Eligibility.isStartable(self, supplier, piece)
    if (buffer === undefined && !startable) return isOut()
    if (startable && !mayStart(self, supplier)) {
      Assembly.idle(self, supplier)
      return true
    }
    if (!RequestPipeline.admits(pipeline, now)) return true
    if (buffer !== undefined) sendRequest(supplier, sendNext(supplier, run, buffer, now))
    else if (!startPiece(self, supplier, run, piece)) return true
  }
}

/**
 * How far the bytes from `begin` on may be expected to be requested from the supplier one after the other, at most
 * `most` bytes: an offset in the torrent. Looks at whole pieces, and does not request anything.
 */
export const reach = (self: Assembly.Assembly, supplier: Supplier.Supplier, begin: number, most: number): number => {
  const { pieceCount, pieceLength, totalLength } = self.geometry
  let piece = Math.floor(begin / pieceLength) as PieceIndex
  const isExpected = (next: PieceIndex): boolean => {
    if (RequestPipeline.get(supplier.pipeline, next, 0) !== undefined) return true
    const left = openPiece(self, supplier, next)
    return left === undefined ? Eligibility.isStartable(self, supplier, next) : !isRequested(left)
  }
  do piece++
  while (piece < pieceCount && piece * pieceLength < begin + most && isExpected(piece))
  return Math.min(totalLength, piece * pieceLength)
}
