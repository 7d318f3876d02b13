/**
 * Requests blocks of pieces with a deadline (`PieceOrder.ts`) before all others, and starts such pieces. If no buffer is
 * free for one that is urgent, another active piece that is not gives up its buffer. So somebody who waits for a piece
 * does not wait for other pieces to be completed first. A torrent without deadlines never gets here.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Overtaking from "../supply/Overtaking.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import type * as Supplier from "../supply/Supplier.ts"
import * as Assembly from "./Assembly.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Eligibility from "./Eligibility.ts"
import type { Deadline } from "./PieceOrder.ts"
import * as PiecePicker from "./PiecePicker.ts"
import * as PieceTable from "./PieceTable.ts"

/** How a supplier starts a piece (`Requests.begin`), with the buffer of another active piece if there is `from`. */
type Begin = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  piece: PieceIndex,
  from?: PieceIndex
) => PieceBuffer.PieceBuffer | undefined

/** Within this time a piece is urgent, so that another one gives up its buffer for it (milliseconds). */
export const urgentWithin = 3_000

/** How many pieces are looked at for each request: more than a reader needs soon, and quickly passed. */
const maxLookedAt = 64

/**
 * Records a request for a block of a piece with a deadline, the earliest first, and returns it; `undefined` if there is
 * none for the supplier. Starts the piece if it is missing. A supplier that is snubbed would only delay it.
 */
export const nextBlock = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  begin: Begin,
  now: number
): RequestPipeline.Request | undefined => {
  const { due, first } = self.order
  if (due === undefined || supplier.pipeline.isSnubbed) return undefined
  const mayBegin = !self.isPaused && !Eligibility.mustNotStart(self, supplier)
  const request = (piece: PieceIndex, at: number): RequestPipeline.Request | undefined => {
    let buffer = self.pool.loans.get(piece)?.buffer
    if (buffer === undefined && mayBegin && Eligibility.isStartable(self, supplier, piece)) {
      buffer = start(self, supplier, begin, { piece, at }, now)
    }
    if (buffer === undefined || !buffer.isOpen || buffer.freeBlocks === 0) return undefined
    if (!Eligibility.mayAsk(self, supplier, buffer)) return undefined
    if (buffer.soleSource !== undefined) buffer.soleSource = supplier.id
    return RequestPipeline.send(supplier.pipeline, buffer, PieceBuffer.nextFree(buffer)!, now)
  }
  let looks = maxLookedAt
  // Pieces that are due may have to wait for those that were put first.
  for (const piece of first ?? none) {
    if (--looks < 0) break
    const found = request(piece, now)
    if (found !== undefined) return found
  }
  looks = maxLookedAt
  for (const [piece, at] of due) {
    if (--looks < 0) break
    const found = request(piece, at)
    if (found !== undefined) return found
  }
  return undefined
}

const none: ReadonlySet<PieceIndex> = new Set()

/** Starts a candidate, with the buffer of an active piece if none is free and the candidate is urgent. */
const start = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  begin: Begin,
  { at, piece }: Deadline,
  now: number
): PieceBuffer.PieceBuffer | undefined => {
  const free = BufferPool.mayLend(self.pool) ? begin(self, supplier, piece) : undefined
  if (free !== undefined || at > now + urgentWithin) return free
  const other = leastNeeded(self, now + urgentWithin)
  if (other === undefined) return undefined
  for (const block of Bitfield.indices(other.received)) Assembly.waste(self, PieceBuffer.sizeOf(other, block))
  // That it was not sent is no fault of its source.
  other.soleSource = undefined
  return begin(self, supplier, piece, other.piece)
}

/**
 * Returns the active piece that can wait longest, which is one without a deadline if there is any, and of those the
 * least complete; `undefined` if all are due by `urgentAt`. A piece that is verified or written is not active.
 */
const leastNeeded = (self: Assembly.Assembly, urgentAt: number): PieceBuffer.PieceBuffer | undefined => {
  let least: PieceBuffer.PieceBuffer | undefined
  let latest = urgentAt
  for (const { buffer } of self.pool.loans.values()) {
    const { piece } = buffer
    const at = self.order.due?.get(piece) ?? Number.POSITIVE_INFINITY
    if (at <= urgentAt || at < latest || self.order.first?.has(piece) === true) continue
    if (PieceTable.stateOf(self.table, piece) !== "active") continue
    if (least !== undefined && at === latest && buffer.received.count >= least.received.count) continue
    least = buffer
    latest = at
  }
  return least
}

/** Whether a piece that is urgent could be started, if a buffer were given up for it. */
export const isAnyLeft = ({ order: { due }, picker }: Assembly.Assembly, now: number): boolean => {
  if (due === undefined) return false
  let looks = maxLookedAt
  for (const [piece, at] of due) {
    if (--looks < 0 || at > now + urgentWithin) return false
    if (PiecePicker.isCandidate(picker, piece)) return true
  }
  return false
}

/** The same as `nextDuplicate` for blocks of pieces that are urgent, although the supplier has other blocks to send. */
export const nextDuplicate = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  now: number
): RequestPipeline.Request | undefined => {
  if (!Overtaking.isNeeded(self.slow, self.suppliers, now)) return undefined
  const isUrgent = ({ piece }: PieceBuffer.PieceBuffer) =>
    (self.order.due?.get(piece) ?? Number.POSITIVE_INFINITY) <= now + urgentWithin
  const mayOvertake = (buffer: PieceBuffer.PieceBuffer) =>
    isUrgent(buffer) && Eligibility.mayAsk(self, supplier, buffer)
  return Overtaking.nextBlock(self.slow, self.suppliers, supplier, mayOvertake, now)
}
