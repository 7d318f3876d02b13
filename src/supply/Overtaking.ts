/**
 * Requests a block that another supplier holds up from a faster supplier too. The faster supplier has nothing else to
 * do: what it could send is requested already (the end game of BEP 3), or every piece buffer is in use. Without this
 * rule a few slow suppliers, each with one block of a piece, would hold up the last pieces of a torrent, or all of its
 * buffers. The first answer wins, and the assembly cancels the other request.
 *
 * A block that arrives twice is wasted. So the second request is sent only if it is expected to be answered clearly
 * earlier: before the other supplier begins to send the block, so that the cancel still saves it, or so much earlier
 * that the time is worth a block. Suppliers of equal rate do not overtake each other. What is expected follows from the
 * measured rate and delay of a supplier and from the requests that are ahead in its pipeline.
 *
 * The functions are plain. A search looks at the first `maxLookedAt` requests of each supplier that is slow. It is
 * determined once a moment which ones are, because a returned buffer wakes every idle supplier, and each of them
 * searches.
 */
import type { PieceBuffer } from "./PieceBuffer.ts"
import * as RequestPipeline from "./RequestPipeline.ts"
import type { Supplier } from "./Supplier.ts"

/** Requests for one block that may be out at once; with more, most of what suppliers send is wasted. */
export const maxRequestsPerBlock = 3

/** How many requests of a slow supplier are looked at. So a search costs little, and few blocks are out twice. */
export const maxLookedAt = 64

/**
 * How long a request must have been out before another supplier may overtake it, in milliseconds. A shorter wait may
 * only show that the supplier is far away. A block that is expected within this time is not worth a second request.
 */
export const patience = 1_000

/**
 * How many times earlier than the other supplier would begin to send the block it must be expected. Less would waste
 * blocks whenever rates are a little uneven.
 */
export const timesEarlier = 1.5

/** How many times earlier than the other supplier's block it must be expected if that one may arrive too. */
export const timesFaster = 4

/** When the first block of a supplier that has sent none is expected, in milliseconds after its request. */
export const newcomerDelay = 2_000

/** Milliseconds from one block to the next; `undefined` if the supplier has sent no block since it was last silent. */
const periodOf = ({ blocksPerSecond, delay }: RequestPipeline.RequestPipeline): number | undefined => {
  if (blocksPerSecond > 0) return 1_000 / blocksPerSecond
  return Number.isFinite(delay) ? delay : undefined
}

/** What is expected of a supplier that has requests, in milliseconds from now. */
interface Expectation {
  /** When the oldest request is answered. */
  readonly first: number
  /** From one answer to the next. */
  readonly period: number
}

/**
 * Returns what is expected of a supplier that has requests. One that is silent for longer than it should be is expected
 * to stay silent for as long again.
 */
const expectationOf = (pipeline: RequestPipeline.RequestPipeline, now: number): Expectation => {
  const silence = now - pipeline.lastArrival
  const period = pipeline.isSnubbed ? undefined : periodOf(pipeline)
  if (period === undefined) return { first: silence, period: silence }
  const wait = Math.max(period, pipeline.delay)
  return { first: silence < wait ? wait - silence : silence, period }
}

/** Returns in how many milliseconds one more block is expected from a supplier; `undefined` if it should get none. */
const expectedNext = ({ pipeline }: Supplier): number | undefined => {
  const period = periodOf(pipeline)
  // One block at a time is requested from a newcomer, which also shows how fast it is.
  if (period === undefined) return pipeline.requests.size === 0 ? newcomerDelay : undefined
  return pipeline.requests.size * period + Math.max(period, pipeline.delay)
}

/** Whether a block that is expected after `mine` should be requested although it is expected after `theirs`. */
const isWorthIt = (mine: number, theirs: number, period: number): boolean =>
  theirs >= patience && (mine * timesEarlier <= theirs - period || mine * timesFaster <= theirs)

/** Whether every supplier that the block was requested from is silent, so that a third request may be sent. */
const areSilent = (suppliers: Iterable<Supplier>, { block, buffer }: RequestPipeline.Request, now: number): boolean => {
  for (const { pipeline } of suppliers) {
    const request = RequestPipeline.get(pipeline, buffer.piece, block)
    if (request !== undefined && now - Math.max(request.sentAt, pipeline.lastPart) < patience) return false
  }
  return true
}

/** Whether the last block of a supplier is so late that a faster one might overtake it. */
const isSlow = ({ pipeline }: Supplier, now: number): boolean => {
  if (!RequestPipeline.isAnyOutFor(pipeline, patience, now)) return false
  const { first, period } = expectationOf(pipeline, now)
  return first + (pipeline.requests.size - 1) * period >= patience
}

/** The suppliers of a torrent that were slow at one moment (milliseconds). */
export interface Slow {
  at: number
  readonly suppliers: Array<Supplier>
}

/** Makes it for no moment yet. */
export const makeSlow = (): Slow => ({ at: -1, suppliers: [] })

/** Forgets who is slow; the next search finds it out again. To be called when a supplier leaves, so that none is kept. */
export const forget = (self: Slow): void => {
  self.at = -1
  self.suppliers.length = 0
}

const slowAt = (slow: Slow, suppliers: Iterable<Supplier>, now: number): ReadonlyArray<Supplier> => {
  if (slow.at === now) return slow.suppliers
  slow.at = now
  slow.suppliers.length = 0
  for (const supplier of suppliers) if (isSlow(supplier, now)) slow.suppliers.push(supplier)
  return slow.suppliers
}

/** Whether any request may have to be overtaken. Costs one look at each supplier at each moment. */
export const isNeeded = (slow: Slow, suppliers: Iterable<Supplier>, now: number): boolean =>
  slowAt(slow, suppliers, now).length > 0

/**
 * Records a request to `supplier` for the block that is expected latest from another one, if it is worth it, and
 * returns the request; `undefined` if there is no such block. `mayAsk` returns whether blocks of a piece may be
 * requested from `supplier`. The caller sends the request.
 */
export const nextBlock = (
  slow: Slow,
  suppliers: ReadonlySet<Supplier>,
  supplier: Supplier,
  mayAsk: (buffer: PieceBuffer) => boolean,
  now: number
): RequestPipeline.Request | undefined => {
  if (supplier.pipeline.isSnubbed) return undefined
  const mine = expectedNext(supplier)
  if (mine === undefined) return undefined
  let latest: RequestPipeline.Request | undefined
  let latestAt = 0
  // A third request for a block is sent only if there is no block to request a second time.
  let again: RequestPipeline.Request | undefined
  let againAt = 0
  for (const other of slowAt(slow, suppliers, now)) {
    // Its requests may have been answered since that was found out.
    if (other === supplier || !isSlow(other, now)) continue
    const { first, period } = expectationOf(other.pipeline, now)
    let theirs = first - period
    let looks = maxLookedAt
    for (const request of other.pipeline.requests.values()) {
      theirs += period
      // The requests are in the order in which they were sent, so the following ones have been out for less time.
      if (--looks < 0 || now - request.sentAt < patience) break
      const { block, buffer } = request
      const count = buffer.requests[block]!
      if (theirs <= (count === 1 ? latestAt : againAt) || count >= maxRequestsPerBlock) continue
      // A piece with a sole source must come from that supplier alone, because a copy from several was wrong.
      if (!isWorthIt(mine, theirs, period) || buffer.soleSource !== undefined || !mayAsk(buffer)) continue
      if (RequestPipeline.get(supplier.pipeline, buffer.piece, block) !== undefined) continue
      if (count === 1) [latest, latestAt] = [request, theirs]
      else [again, againAt] = [request, theirs]
    }
  }
  if (latest === undefined && again !== undefined && areSilent(suppliers, again, now)) latest = again
  return latest && RequestPipeline.send(supplier.pipeline, latest.buffer, latest.block, now)
}
