/**
 * Reads the body of an answer as far as it is needed, and puts its bytes to their places.
 *
 * A buffer is borrowed before a block is requested, so a body may be asked for farther than blocks are requested, but is
 * not read farther: the bytes behind wait in the buffers of the system, and the server waits with them. So a run of
 * pieces costs one request and no pause. If what follows is not to be requested after all, the body is left unread.
 *
 * Of a body that is a whole file, because the seed serves no ranges, what is not needed is read and dropped.
 */
import type * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Latch from "effect/Latch"
import * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Assembly from "../assembly/Assembly.ts"
import * as Streaming from "../assembly/Streaming.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as HttpFile from "../network/HttpFile.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import type * as Supplier from "../supply/Supplier.ts"
import * as Intake from "./Intake.ts"
import type * as SeedAnswer from "./SeedAnswer.ts"
import type { SeedFault } from "./SeedFault.ts"
import * as Fault from "./SeedFault.ts"
import * as SeedProgress from "./SeedProgress.ts"

/** Bytes of a body that are dropped rather than asked for anew, because other suppliers sent them meanwhile. */
const mostPassed = 128 << 10

/** How long a body waits unread for requests, for example while there is no buffer, until it is given up. */
const holdsFor = "5 seconds"

/**
 * The same for a file that would have to be fetched from its first byte again, and while a rate limit allows no request:
 * what the system holds of the body would be sent again.
 */
const holdsLongFor = "60 seconds"

const isHeldByLimit = ({ supplier }: Reader): boolean => RateLimiter.isWaiting(supplier.pipeline.limiter)

/** How long the end of a body is waited for whose bytes have all arrived. Then the connection cannot be used again. */
const endsWithin = "2 seconds"

/** What is noted about a connection, for whoever decides how many there are. */
export interface Notes {
  /** Bytes that arrived since the owner set it to 0. */
  bytes: number
  /** Whether it had nothing to do at some time since the owner set it to `false`. */
  hasWaited: boolean
  /** Whether it has nothing to do now. */
  isWaiting: boolean
  /** Whether it is to end when it has done what was requested. */
  isLeaving: boolean
}

/** What reads the bodies of one connection. */
export interface Reader {
  readonly assembly: Assembly.Assembly
  readonly supplier: Supplier.Supplier
  readonly run: Streaming.Run
  readonly intake: Intake.Intake
  readonly notes: Notes
  readonly progress: SeedProgress.SeedProgress
  readonly clock: Clock.Clock
  /** Opened when something may be requested that could not be before. */
  readonly awake: Latch.Latch
  /** Called when a block of an answer arrived. */
  readonly onServed: () => void
}

const nowOf = ({ clock }: Reader): number => Monotonic.nowUnsafe(clock)

/** Waits until something may be requested, but not for longer than `most`. Returns whether it may. */
export const rest = (self: Reader, most?: Duration.Input): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    self.notes.hasWaited = true
    self.notes.isWaiting = true
    // The latch is opened in the middle of what others do, and runs its fiber within that: a buffer that ends its loan
    // has not returned its memory yet.
    const woken = Effect.as(Effect.andThen(self.awake.await, Effect.yieldNow), true)
    const rested =
      most === undefined ? woken : Effect.timeoutOrElse(woken, { duration: most, orElse: () => Effect.succeed(false) })
    return Effect.ensuring(
      rested,
      Effect.sync(() => {
        self.notes.isWaiting = false
        // The server's time counts from now on.
        SeedProgress.rest(self.progress, nowOf(self))
      })
    )
  })

/** Where the first piece begins, from the offset `at` on and before `end`, of which blocks may be requested. */
export const firstOffered = ({ assembly, supplier }: Reader, at: number, end: number): number | undefined => {
  const { pieceLength } = assembly.geometry
  if (!supplier.standing.isPaused) {
    for (let piece = Math.ceil(at / pieceLength); piece * pieceLength < end; piece++) {
      if (Streaming.mayFetch(assembly, supplier, piece as PieceIndex)) return piece * pieceLength
    }
  }
  // It is woken when that changes.
  Assembly.idle(assembly, supplier)
  return undefined
}

/** What is to be done with a body next. */
type Next =
  /** Read up to this offset of the torrent, and take the bytes from there on. */
  | number
  /** Wait until something is requested. */
  | "wait"
  /** Leave the rest of it. */
  | "leave"

/** Where the next byte is needed in a body that has been read up to `at`, and ends at `end`. */
const nextInRange = (self: Reader, at: number, end: number): Next => {
  const { assembly, intake, run, supplier } = self
  if (RequestPipeline.isLow(supplier.pipeline)) Streaming.refill(assembly, supplier, run, nowOf(self))
  const next = Intake.needed(intake)
  if (next === undefined) return self.notes.isLeaving ? "leave" : "wait"
  return next < at || next >= end || next - at > mostPassed ? "leave" : next
}

/** The same in a body that is a whole file: what is needed of it has to be requested in its order. */
const nextInFile = (self: Reader, at: number, end: number): Next => {
  const { assembly, intake, run, supplier } = self
  const { pieceLength } = assembly.geometry
  const needed = Intake.needed(intake)
  if (needed !== undefined && (needed < at || needed >= end)) return "leave"
  if (needed !== undefined && !RequestPipeline.isLow(supplier.pipeline)) return needed
  if (needed !== undefined) {
    requestBehind(self, needed, end)
    return needed
  }
  // A piece whose first bytes have passed cannot come from this body.
  const offered = firstOffered(self, at, end)
  if (offered === undefined) return supplier.standing.isPaused ? "wait" : "leave"
  // It is requested once it is near, because a request that is not answered soon looks as if the seed were slow.
  if (offered > at) return offered
  Streaming.refillPiece(assembly, supplier, run, Math.floor(at / pieceLength) as PieceIndex, nowOf(self))
  return Intake.needed(intake) ?? "wait"
}

/** Requests more of the piece at `needed`, and of those behind it. */
const requestBehind = ({ assembly, clock, run, supplier }: Reader, needed: number, end: number): void => {
  const { pieceLength } = assembly.geometry
  const now = Monotonic.nowUnsafe(clock)
  for (let piece = Math.floor(needed / pieceLength); piece * pieceLength < end; piece++) {
    if (RequestPipeline.room(supplier.pipeline) <= 0) return
    if (!Streaming.refillPiece(assembly, supplier, run, piece as PieceIndex, now)) return
  }
}

/** Drops bytes that nobody needs. Returns `false` if the limit of rate does not allow it yet. */
const pass = (self: Reader, bytes: number): boolean => {
  const { assembly, supplier } = self
  const now = nowOf(self)
  if (!RateLimiter.take(supplier.pipeline.limiter, bytes, now, bytes)) return false
  Assembly.arriving(assembly, bytes, now)
  Assembly.waste(assembly, bytes)
  RequestPipeline.progress(supplier.pipeline, now)
  return true
}

/** Reads a body as far as it is needed. `isWhole` says that it is a file, for which nothing may be requested yet. */
export const read = Effect.fnUntraced(function* (
  self: Reader,
  response: HttpClientResponse.HttpClientResponse,
  body: SeedAnswer.Body,
  isWhole: boolean
): Effect.fn.Return<void, SeedFault, Scope.Scope> {
  const { intake, notes } = self
  const { end } = body
  const pull = yield* Stream.toPull(
    Stream.mapError(response.stream, (error) => Fault.make("Unreachable", HttpFile.describe(error)))
  )
  let at = body.begin
  let chunks: ReadonlyArray<Uint8Array> = []
  let index = 0
  let used = 0
  const before = intake.blocks
  let isUseful = false

  while (at < end) {
    Latch.closeUnsafe(self.awake)
    const next = isWhole ? nextInFile(self, at, end) : nextInRange(self, at, end)
    if (next === "leave") break
    if (next === "wait") {
      if (yield* rest(self, isWhole || isHeldByLimit(self) ? holdsLongFor : holdsFor)) continue
      break
    }
    if (index === chunks.length) {
      const more = yield* SeedProgress.awaiting(
        self.progress,
        self.clock,
        Pull.catchDone(pull, () => Effect.undefined)
      )
      if (more === undefined) return yield* Fault.make("Unreachable", "its answer ended too early")
      chunks = more
      index = 0
      used = 0
      continue
    }
    const chunk = chunks[index]!
    if (chunk.length === 0) {
      index++
      continue
    }
    const part = chunk.subarray(used, used + end - at)
    let done = Math.min(part.length, next - at)
    if (done > 0) {
      if (!pass(self, done)) {
        yield* rest(self)
        continue
      }
    } else {
      done = Intake.take(intake, at, part, nowOf(self))
      // What is needed begins elsewhere after all.
      if (done === 0) break
      if (!isUseful && intake.blocks > before) {
        isUseful = true
        self.onServed()
      }
    }
    notes.bytes += done
    self.progress.bytes += done
    at += done
    used += done
    if (used === chunk.length) {
      index++
      used = 0
    }
  }
  if (at === end) yield* finish(pull, hasBytes(chunks.slice(index)))
  else if (isWhole && !isUseful && !notes.isLeaving) {
    return yield* Fault.make("Slow", "it sends whole files only, and nothing of this one is needed now")
  }
})

const hasBytes = (chunks: ReadonlyArray<Uint8Array>): boolean => chunks.some(({ length }) => length > 0)

/** Reads the end of a body, so that its connection can be used again. More bytes than were asked for are a fault. */
const finish = <R>(
  pull: Pull.Pull<ReadonlyArray<Uint8Array>, SeedFault, void, R>,
  isLeft: boolean
): Effect.Effect<void, SeedFault, R> => {
  const tooLong = Effect.fail(Fault.make("Strange", "it sends more than was asked for"))
  if (isLeft) return tooLong
  return Pull.catchDone(
    Effect.flatMap(pull, (more) => (hasBytes(more) ? tooLong : Effect.void)),
    () => Effect.void
  ).pipe(Effect.timeoutOrElse({ duration: endsWithin, orElse: () => Effect.void }))
}
