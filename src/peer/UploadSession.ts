/**
 * Answers the requests of a peer: takes runs of neighbouring blocks from its queue, reads them, and sends each run in
 * one write while the next in line is read. At most one run is under way, so a peer that does not read costs no more
 * than `maxRunBytes` and its requests.
 *
 * Hot path: works per run; a block costs its frame and one copy, from the shared cache into a buffer that is used again
 * (`test/bench/UploadSession.bench.ts`, `scripts/bench/upload.py`).
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type { Connection } from "../network/Transport.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as ReadCache from "../storage/ReadCache.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import type * as PeerProtocol from "./PeerProtocol.ts"
import * as PeerRequests from "./PeerRequests.ts"
import * as RunBuffers from "./RunBuffers.ts"
import * as Upload from "./Upload.ts"
import * as UploadQueue from "./UploadQueue.ts"

/** Payload of a run at most, in bytes: a span of the cache, which is one read and one write. */
export const maxRunBytes = ReadCache.spanLength

/**
 * A run that took longer than this to leave (milliseconds) is followed by one half as long: control frames wait behind
 * it.
 */
const slowMillis = 1_000

/** A run that left within this time (milliseconds) is followed by one twice as long. */
const quickMillis = 250

/** Answers requests until it is interrupted; `requested` is open when there may be some. */
export const run = Effect.fnUntraced(function* (
  connection: Connection,
  protocol: PeerProtocol.PeerProtocol,
  requested: Latch.Latch
) {
  const { upload, uploads } = protocol
  const limiter = protocol.limits.upload
  const clock = yield* Clock.Clock
  let runBytes = PieceGeometry.blockLength

  while (true) {
    const allowed = allowedBytes(limiter, uploads.waiting, runBytes, Monotonic.nowUnsafe(clock))
    if (allowed === 0) {
      Latch.closeUnsafe(requested)
      yield* requested.await
      // Whoever opens the latch runs this fiber within its call, and may be in the middle of reading from the peer.
      yield* Effect.yieldNow
      continue
    }
    // Asks the limiter for no more while these are read and sent, so that nothing is granted to a peer that does not
    // read.
    RateLimiter.pause(limiter)
    const { begin, piece } = uploads.ends.next
    const taken = UploadQueue.take(uploads, Math.min(allowed, ReadCache.lengthToSpanEnd(begin)))
    const last = taken[taken.length - 1]!
    const length = last.begin + last.length - begin
    const run: Run = { piece, begin, length, taken }
    const held = ReadCache.heldUnsafe(upload.reader, piece, begin, length)
    const batch =
      held === undefined
        ? yield* Upload.read(upload, piece, begin, length, (bytes) => encode(uploads, run, bytes))
        : encode(uploads, run, held)
    const payload = batch?.payload ?? 0
    settle(limiter, allowed, payload)
    const ahead = nextSpan(uploads, upload.reader, ReadCache.spanOf(upload.reader, piece, begin))
    if (ahead !== undefined) yield* ReadCache.readAhead(upload.reader, ahead.piece, ahead.begin)
    if (batch === undefined) refuseAll(protocol, taken)
    else if (payload === 0) RunBuffers.giveBack(batch.buffer)
    if (batch === undefined || payload === 0) continue
    const before = Monotonic.nowUnsafe(clock)
    PeerRequests.uploaded(protocol, piece, payload, before)
    if (!connection.writeUnsafe(batch.frames)) yield* connection.drained
    if (connection.writeUnsafe.isWrittenUnsafe?.() === true) RunBuffers.giveBack(batch.buffer)
    const millis = Monotonic.nowUnsafe(clock) - before
    if (millis > slowMillis) runBytes = Math.max(PieceGeometry.blockLength, runBytes / 2)
    else if (millis < quickMillis) runBytes = Math.min(maxRunBytes, runBytes * 2)
  }
})

/** Neighbouring requests of a piece: `length` bytes from `begin`. */
interface Run {
  readonly piece: PieceIndex
  readonly begin: number
  readonly length: number
  readonly taken: ReadonlyArray<UploadQueue.BlockRequest>
}

/** Finishes the requests of a run, whose bytes were read, and encodes the blocks. */
const encode = (uploads: UploadQueue.UploadQueue, { begin, length, piece, taken }: Run, bytes: Uint8Array) => {
  const buffer = RunBuffers.take(length + taken.length * RunBuffers.headerLength)
  const batch = FrameEncoder.make(buffer)
  let payload = 0
  for (const request of taken) {
    // A request that was cancelled or choked meanwhile has its answer.
    if (!UploadQueue.finish(uploads, request)) continue
    const at = request.begin - begin
    FrameEncoder.piece(batch, piece, request.begin, bytes.subarray(at, at + request.length))
    payload += request.length
  }
  return { buffer, frames: buffer.subarray(0, batch.length), payload }
}

/**
 * How many of the waiting bytes may be sent now, at most `most`; 0 if none wait or a limit holds them up. Then
 * `requested` opens when that has changed.
 */
const allowedBytes = (limiter: RateLimiter.RateLimiter, waiting: number, most: number, now: number): number => {
  if (waiting === 0) {
    RateLimiter.rest(limiter)
    return 0
  }
  const demand = waiting * PieceGeometry.blockLength
  const end = Math.min(demand, most)
  let allowed = 0
  while (allowed < end && RateLimiter.take(limiter, PieceGeometry.blockLength, now, demand - allowed)) {
    allowed += PieceGeometry.blockLength
  }
  return allowed
}

/**
 * Settles what was sent with what was allowed: less if requests were cancelled, more if a block is long. A peer that
 * cancels all of them loses its turn, so that it cannot keep others waiting.
 */
const settle = (limiter: RateLimiter.RateLimiter, allowed: number, sent: number): void => {
  if (sent === 0) RateLimiter.forfeit(limiter, allowed)
  else if (sent < allowed) RateLimiter.giveBack(limiter, allowed - sent)
  else if (sent > allowed) RateLimiter.spend(limiter, sent - allowed)
}

/**
 * Requests that are searched for one in another span: as many as lie in one span, which is as long as its read may
 * take.
 */
const lookAhead = ReadCache.spanLength / PieceGeometry.blockLength

/** The first request in line that is not in `span`, whose span should be read while this one is sent. */
const nextSpan = (
  { ends }: UploadQueue.UploadQueue,
  reader: ReadCache.Reader,
  span: number
): UploadQueue.BlockRequest | undefined => {
  let { next } = ends
  for (let seen = 0; seen < lookAhead && next !== ends; seen++) {
    if (ReadCache.spanOf(reader, next.piece, next.begin) !== span) return next
    next = next.next
  }
  return undefined
}

const refuseAll = (protocol: PeerProtocol.PeerProtocol, taken: ReadonlyArray<UploadQueue.BlockRequest>): void => {
  for (const request of taken) {
    if (!UploadQueue.finish(protocol.uploads, request)) continue
    PeerRequests.refuse(protocol, request.piece, request.begin, request.length)
  }
}
