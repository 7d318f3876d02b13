/**
 * The requests that are out to one peer: which blocks, since when, and how many there should be.
 *
 * A request is released on arrival, reject, choke, timeout and when the peer is gone, each time here, so that the block
 * is free for another peer, and its bytes, unless it arrived, for a peer that the rate limit holds up. The depth
 * follows the measured rate and delay of the peer: enough to keep it busy for the delay and another half a second, so
 * that a fast peer never waits for us and a slow one holds few blocks. It is a quarter while somebody waits for pieces.
 *
 * Hot path: one call to send and one to release a block, 85 ns together (`test/bench/Pieces.bench.ts`, two shared x64
 * cores, Node 24). `now` is in milliseconds.
 */

import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as PieceBuffer from "./PieceBuffer.ts"

/** Requests to a peer whose rate is not known yet: a quarter of a MiB, what most clients start with. */
export const initialDepth = 16

/** Fewer would leave even a slow peer idle between two blocks. */
export const minDepth = 2

/** More than this many are dropped or rejected by many clients (libtorrent sends at most 500 itself). */
export const maxDepth = 500

/** A pipeline of so many requests need not be full all the time: 1 MiB. */
const deepDepth = 64

/** Seconds of data that should be requested beyond the peer's delay. */
export const reserveSeconds = 0.5

/**
 * The same while somebody waits for pieces of the torrent, such as a player. What is requested first is answered first,
 * so it is how long a piece waits that was not requested before.
 */
export const hurriedReserveSeconds = 0.25

/** Not fewer than so many requests because of that: what is requested of a slow peer is little, and keeps it busy. */
const hurriedDepth = 8

/** Milliseconds without any part of an answer after which a peer's requests time out. */
export const timeoutAfter = 10_000

/**
 * The same for a peer that sends parts of a block and no whole one (milliseconds): the slowest that is waited for sends
 * 546 bytes a second. Well below `BufferPool.staleAfter`, so that a peer that dribbles cannot hold up a piece until it
 * is dropped.
 */
export const slowestBlock = 30_000

/**
 * Milliseconds that requests may be out to a peer, in all, until a block arrives. A peer whose requests are cancelled,
 * because others send their blocks earlier, is found to be silent by that.
 */
export const snubbedAfter = 60_000

/** The shortest span a rate is measured over (milliseconds). */
const measureSpan = 100

/**
 * Value of `measuredSince` before the first block: the wait for it is the peer's delay and says nothing about its rate.
 */
const notYet = -1

/** A request that is out. */
export interface Request {
  readonly buffer: PieceBuffer.PieceBuffer
  readonly block: number
  readonly sentAt: number
  /** Whether its block has begun to arrive: its bytes count against the limit then, whatever becomes of it. */
  isArriving: boolean
  /** Whether it is still out. */
  isOut: boolean
}

/** The requests out to one peer, the oldest first. */
export interface RequestPipeline {
  readonly blocksPerPiece: number
  readonly requests: Map<number, Request>
  /** What the peer may send. */
  readonly limiter: RateLimiter.RateLimiter
  /** How many requests there should be. */
  depth: number
  /** How many there may be. */
  maxDepth: number
  /** Whether somebody waits for pieces of the torrent, so that less is requested ahead. Counts when the depth is set. */
  isHurried: boolean
  /** Whether the peer let requests time out and has sent nothing since (BEP 3 practice: snubbed). */
  isSnubbed: boolean
  /** When the last block arrived. */
  lastArrival: number
  /** When the last part of a requested block arrived. */
  lastPart: number
  /** For how long requests have been out since the last block, counted by `expire` up to `countedAt` (milliseconds). */
  unanswered: number
  countedAt: number
  /** When the newest answered request was sent: older ones that are still out were passed over. */
  answeredUpTo: number
  /** No request was sent earlier, so that most questions about the oldest one need no look at it. */
  oldestAt: number
  /** The shortest answer seen, in milliseconds. */
  delay: number
  blocksPerSecond: number
  /** Since when `measuredBlocks` arrived; moved on by the time in which nothing was requested. */
  measuredSince: number
  measuredBlocks: number
}

/** Makes an empty pipeline for pieces of up to `blocksPerPiece` blocks; without a `limiter` it has no limit. */
export const make = (blocksPerPiece: number, now: number, limiter = RateLimiter.make({ now })): RequestPipeline => ({
  blocksPerPiece,
  requests: new Map(),
  limiter,
  depth: initialDepth,
  maxDepth,
  isHurried: false,
  isSnubbed: false,
  lastArrival: now,
  lastPart: now,
  unanswered: 0,
  countedAt: now,
  answeredUpTo: -1,
  oldestAt: now,
  delay: Number.POSITIVE_INFINITY,
  blocksPerSecond: 0,
  measuredSince: notYet,
  measuredBlocks: 0
})

const key = (self: RequestPipeline, piece: number, block: number): number => piece * self.blocksPerPiece + block

/** Caps the pipeline at `most` requests (`reqq` of BEP 10), at least 1; `undefined` if the peer does not say. */
export const bound = (self: RequestPipeline, most = maxDepth): void => {
  self.maxDepth = Math.min(maxDepth, most)
  self.depth = Math.min(self.maxDepth, self.depth)
}

/** How many more requests should be sent now. */
export const room = (self: RequestPipeline): number => (self.isSnubbed ? 1 : self.depth) - self.requests.size

/**
 * Whether there is so much room that it is time to send requests. A deep pipeline waits until an eighth of it is empty:
 * a write costs a hundred times as much as a request (`wire/FrameEncoder.ts`), and wakes the peer.
 */
export const isLow = (self: RequestPipeline): boolean => {
  const free = room(self)
  return free > 0 && (self.isSnubbed || self.depth < deepDepth || free * 8 >= self.depth)
}

/**
 * Whether another request may be sent now: there is room, and the limiter grants a block. `send`, `postpone` or
 * `decline` must follow then. If the limiter does not, it wakes the peer when it may go on.
 */
export const admits = (self: RequestPipeline, now: number): boolean => {
  const free = room(self)
  if (free > 0) return RateLimiter.take(self.limiter, PieceGeometry.blockLength, now, free * PieceGeometry.blockLength)
  rest(self)
  return false
}

/** Keeps the block that was granted for the first request for a piece, which has to borrow a buffer before. */
export const postpone = (self: RequestPipeline): void => RateLimiter.keep(self.limiter, PieceGeometry.blockLength)

/** Returns the block that was granted, because there is nothing to request after all. The turn is lost. */
export const decline = (self: RequestPipeline): void => {
  RateLimiter.forfeit(self.limiter, PieceGeometry.blockLength)
  rest(self)
}

/** There is nothing to request now: the limiter serves others instead. */
export const rest = (self: RequestPipeline): void => RateLimiter.rest(self.limiter)

/** The request for a block, if it is out to this peer. */
export const get = (self: RequestPipeline, piece: number, block: number): Request | undefined =>
  self.requests.get(key(self, piece, block))

/** Whether a request has been out for so many milliseconds. */
export const isAnyOutFor = (self: RequestPipeline, millis: number, now: number): boolean => {
  if (now - self.oldestAt < millis) return false
  const { value: oldest } = self.requests.values().next()
  self.oldestAt = oldest?.sentAt ?? now
  return now - self.oldestAt >= millis
}

/** Notes a request for a block, which `admits` has allowed. */
export const send = (self: RequestPipeline, buffer: PieceBuffer.PieceBuffer, block: number, now: number): Request => {
  if (self.requests.size === 0) {
    // Time without requests does not count against the peer. A batch that answered them all at once leaves none.
    if (self.measuredSince !== notYet) self.measuredSince += now - self.lastArrival
    // The peer's silence counts from its first open request.
    self.lastArrival = now
    self.lastPart = now
  }
  PieceBuffer.request(buffer, block)
  const size = PieceBuffer.sizeOf(buffer, block)
  if (size < PieceGeometry.blockLength) RateLimiter.giveBack(self.limiter, PieceGeometry.blockLength - size)
  const request: Request = { buffer, block, sentAt: now, isArriving: false, isOut: true }
  self.requests.set(key(self, buffer.piece, block), request)
  return request
}

const forget = (self: RequestPipeline, piece: number, block: number): Request | undefined => {
  const id = key(self, piece, block)
  const request = self.requests.get(id)
  if (request === undefined) return undefined
  self.requests.delete(id)
  request.isOut = false
  PieceBuffer.release(request.buffer, request.block)
  return request
}

/** Returns the bytes of a request that will not be answered, and loses the turn for them. */
const forfeit = (self: RequestPipeline, { block, buffer, isArriving }: Request): void => {
  if (!isArriving) RateLimiter.forfeit(self.limiter, PieceBuffer.sizeOf(buffer, block))
}

/** Releases the request for a block that will not come; `undefined` if there was none. */
export const release = (self: RequestPipeline, piece: number, block: number): Request | undefined => {
  const request = forget(self, piece, block)
  if (request !== undefined) forfeit(self, request)
  return request
}

/** Notes that a requested block begins to arrive: its bytes count against the limit, whatever becomes of it. */
export const noteArriving = (request: Request): void => {
  request.isArriving = true
}

/** The peer does not answer: from now on one block at a time is requested from it, until it sends one. */
export const snub = (self: RequestPipeline): void => {
  self.isSnubbed = true
}

/** Notes that a part of a requested block arrived: the peer is slow, but not silent. */
export const progress = (self: RequestPipeline, now: number): void => {
  self.lastPart = now
}

/** Notes that a block arrives, even if its request was cancelled: the peer answers. */
export const answer = (self: RequestPipeline): void => {
  self.unanswered = 0
}

/** Releases the request for a block whose bytes have all arrived, and measures the peer by it. */
export const arrive = (self: RequestPipeline, piece: number, block: number, now: number): Request | undefined => {
  const request = forget(self, piece, block)
  if (request === undefined) return undefined
  self.isSnubbed = false
  self.unanswered = 0
  self.lastArrival = now
  self.lastPart = now
  if (request.sentAt > self.answeredUpTo) self.answeredUpTo = request.sentAt
  const delay = now - request.sentAt
  if (delay < self.delay) self.delay = delay
  if (self.measuredSince === notYet) {
    self.measuredSince = now
    return request
  }
  self.measuredBlocks++
  const span = now - self.measuredSince
  if (span >= measureSpan) {
    const rate = (self.measuredBlocks * 1000) / span
    // A longer memory on the way down than on the way up: one slow stretch does not empty the pipeline.
    self.blocksPerSecond = rate > self.blocksPerSecond ? rate : self.blocksPerSecond * 0.75 + rate * 0.25
    let wanted = Math.ceil(self.blocksPerSecond * (self.delay / 1000 + reserveSeconds))
    if (self.isHurried && wanted > hurriedDepth) {
      wanted = Math.max(hurriedDepth, Math.ceil(self.blocksPerSecond * (self.delay / 1000 + hurriedReserveSeconds)))
    }
    self.depth = Math.min(self.maxDepth, Math.max(minDepth, wanted))
    self.measuredSince = now
    self.measuredBlocks = 0
  }
  return request
}

/** Releases all requests: the peer choked or is gone, or the torrent stops. */
export const releaseAll = (self: RequestPipeline): void => {
  for (const request of self.requests.values()) {
    request.isOut = false
    PieceBuffer.release(request.buffer, request.block)
    forfeit(self, request)
  }
  self.requests.clear()
}

/**
 * Forgets the requests for a piece, whose buffer is going away. Returns their blocks, so that they can be cancelled.
 */
export const releasePiece = (self: RequestPipeline, buffer: PieceBuffer.PieceBuffer): ReadonlyArray<number> => {
  const blocks: Array<number> = []
  for (let block = 0; block < buffer.blockCount; block++) {
    if (buffer.requests[block]! > 0 && release(self, buffer.piece, block) !== undefined) blocks.push(block)
  }
  return blocks
}

/** Counts for how long requests have been out. Returns whether that is too long for a peer that has sent no block. */
const isSilentForLong = (self: RequestPipeline, now: number): boolean => {
  const { value: oldest } = self.requests.values().next()
  if (oldest !== undefined) self.unanswered += now - Math.max(self.countedAt, oldest.sentAt)
  self.countedAt = now
  return !self.isSnubbed && self.unanswered >= snubbedAfter
}

/**
 * Releases the requests that will not be answered, and returns them, so that they can be cancelled: those a peer passed
 * over 10 s ago, and all of a peer that sent nothing of a block for 10 s, or no whole block for 30 s, or none while
 * requests were out for 60 s in all. Such a peer is snubbed from then on. To be called once a second.
 */
export const expire = (self: RequestPipeline, now: number): ReadonlyArray<Request> => {
  const isSilent = now - self.lastPart >= timeoutAfter || now - self.lastArrival >= slowestBlock
  const isHopeless = isSilentForLong(self, now)
  const expired: Array<Request> = []
  for (const request of self.requests.values()) {
    if (!isHopeless && now - request.sentAt < timeoutAfter) break
    if (isHopeless || isSilent || request.sentAt < self.answeredUpTo) expired.push(request)
  }
  for (const request of expired) release(self, request.buffer.piece, request.block)
  if (isHopeless || (isSilent && expired.length > 0)) {
    self.isSnubbed = true
    self.unanswered = 0
    self.depth = Math.min(self.maxDepth, initialDepth)
    self.blocksPerSecond = 0
    self.measuredSince = notYet
    self.measuredBlocks = 0
  }
  return expired
}
