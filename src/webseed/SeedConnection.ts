/**
 * One connection to a web seed: a supplier that joins the assembly, fetches what is requested from it with one request
 * after the other, and puts the bytes to their places.
 *
 * A seed that serves no ranges sends each file from its first byte (`SeedBody.ts`).
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Assembly from "../assembly/Assembly.ts"
import * as Streaming from "../assembly/Streaming.ts"
import type { SupplierContext } from "../assembly/SupplierSource.ts"
import type * as Bitfield from "../base/Bitfield.ts"
import * as Destination from "../base/Destination.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as Version from "../base/Version.ts"
import * as Hops from "../network/Hops.ts"
import * as HttpFile from "../network/HttpFile.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import * as Supplier from "../supply/Supplier.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as Intake from "./Intake.ts"
import * as SeedAnswer from "./SeedAnswer.ts"
import * as SeedBody from "./SeedBody.ts"
import type { SeedFault } from "./SeedFault.ts"
import * as Fault from "./SeedFault.ts"
import * as SeedFetch from "./SeedFetch.ts"
import * as SeedProgress from "./SeedProgress.ts"

/**
 * How many seconds of data a request asks for, so that the wait for its answer is a small part of it; and the least and
 * the most bytes. What is asked for and not needed after all fills the buffers of the system in vain.
 */
const askedSeconds = 4
const leastAsked = 1 << 20
const mostAsked = 64 << 20

/** What a connection is made of. */
export interface Options {
  readonly client: HttpClient.HttpClient
  readonly context: SupplierContext
  /** The torrent, and how the seed is asked now. */
  readonly asked: () => SeedFetch.Asked
  /** The number of the seed, which all its connections share, so that blame is that of the seed. */
  readonly id: SupplierId
  /** The pieces that the seed has. */
  readonly has: Bitfield.Bitfield
  readonly name: string
  readonly notes: SeedBody.Notes
  /** Called when blocks arrived. */
  readonly onServed: () => void
  readonly onIgnoredRange: () => void
}

/** A connection that ended because of a fault of the seed, and the file that was asked for. */
export interface Failure {
  readonly fault: SeedFault
  readonly file: number | undefined
}

type Connection = Options & SeedBody.Reader

const nowOf = ({ clock }: Connection): number => Monotonic.nowUnsafe(clock)

/** Runs a connection until it is to leave (success), or the seed fails. Its requests are free for others then. */
export const run = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<void, Failure, Scope.Scope> {
  const { context, id } = options
  const { assembly } = context
  const clock = yield* Clock.Clock
  const now = Monotonic.nowUnsafe(clock)
  const awake = Latch.makeUnsafe(true)
  const expelled = yield* Deferred.make<never, Failure>()
  const wake = (): void => void Latch.openUnsafe(awake)
  const limits = yield* Effect.acquireRelease(
    Effect.sync(() => RateLimits.join(context.limits, { download: wake, upload: () => {} }, now)),
    (limits) => Effect.sync(() => RateLimits.leave(limits))
  )
  const supplier = Supplier.make({
    id,
    name: options.name,
    geometry: assembly.geometry,
    standing: Assembly.standingOf(assembly, id),
    limiter: limits.download,
    // What is requested is in its pipeline.
    request: () => {},
    cancel: () => {},
    wake,
    expel: (why) =>
      void Deferred.doneUnsafe(expelled, Effect.fail({ fault: Fault.make("Wrong", why), file: undefined })),
    now
  })
  const intake = Intake.make(assembly, supplier)
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      Assembly.join(assembly, supplier)
      Assembly.gainAll(assembly, supplier, options.has)
      Assembly.unchoked(supplier)
    }),
    () => {
      Intake.release(intake)
      return Assembly.leave(assembly, supplier)
    }
  )
  const progress = SeedProgress.make(now)
  const run = Streaming.make()
  const self: Connection = { ...options, assembly, supplier, run, intake, progress, clock, awake }
  yield* Effect.raceAllFirst([fetchAll(self), watch(self), Deferred.await(expelled)])
})

/** Ends the connection if the seed does not keep up, with or without requests that time out. */
const watch = Effect.fnUntraced(function* (self: Connection): Effect.fn.Return<never, Failure> {
  const { context, supplier } = self
  while (true) {
    yield* Effect.sleep("1 second")
    const now = nowOf(self)
    const expired = RequestPipeline.expire(supplier.pipeline, now)
    if (expired.length === 0 && !SeedProgress.isTooSlow(self.progress, now)) continue
    yield* Assembly.abandon(context.assembly, supplier)
    Assembly.wakeIdle(context.assembly)
    return yield* Effect.fail({ fault: Fault.make("Slow", "it sends nothing, or too little"), file: undefined })
  }
})

/** Fetches what is requested, until the connection is to leave. */
const fetchAll = Effect.fnUntraced(function* (self: Connection): Effect.fn.Return<void, Failure> {
  while (!self.notes.isLeaving) {
    Latch.closeUnsafe(self.awake)
    const offset = firstNeeded(self)
    if (offset === undefined) {
      yield* SeedBody.rest(self)
      continue
    }
    const { geometry } = self.context.assembly
    const until = Streaming.reach(self.context.assembly, self.supplier, offset, askedBytes(self))
    const found = SeedFetch.at(self.asked(), offset, Math.min(until, geometry.totalLength))
    if (found._tag === "Zeros") {
      if (!takeZeros(self, offset, found)) yield* SeedBody.rest(self)
    } else {
      yield* fetchOne(self, found.fetch).pipe(
        Effect.scoped,
        Effect.mapError((fault) => ({ fault, file: SeedFetch.fileOf(self.asked(), found.fetch) }))
      )
    }
  }
})

/** How many bytes one request asks for at most. */
const askedBytes = ({ supplier: { pipeline } }: Connection): number =>
  Math.min(mostAsked, Math.max(leastAsked, pipeline.blocksPerSecond * PieceGeometry.blockLength * askedSeconds))

/**
 * Where the first byte is in the torrent that is to be fetched; `undefined` if there is none. It is requested, unless
 * the seed sends whole files: then it may take long until that byte comes.
 */
const firstNeeded = (self: Connection): number | undefined => {
  const { asked, context, intake, run, supplier } = self
  const { assembly } = context
  if (asked().servesRanges || asked().seed.kind === "pieces") {
    Streaming.refill(assembly, supplier, run, nowOf(self))
    return Intake.needed(intake)
  }
  return Intake.needed(intake) ?? SeedBody.firstOffered(self, 0, assembly.geometry.totalLength)
}

const zeros = new Uint8Array(65_536)

/** Fills what is requested of padding, of which the byte at `at` is needed. Returns whether it has filled anything. */
const takeZeros = (self: Connection, at: number, { begin, end }: SeedFetch.Zeros): boolean => {
  const { context, intake, run, supplier } = self
  const now = nowOf(self)
  for (let isAny = false; ; isAny = true) {
    let next = Intake.needed(intake)
    if (next === undefined) {
      // A seed of whole files has requested nothing yet.
      const piece = Math.floor(at / context.assembly.geometry.pieceLength) as PieceIndex
      if (!self.asked().servesRanges) Streaming.refillPiece(context.assembly, supplier, run, piece, now)
      next = Intake.needed(intake)
    }
    if (next === undefined || next < begin || next >= end) return isAny
    if (Intake.take(intake, next, zeros.subarray(0, end - next), now) === 0) return isAny
    // A padding of many pieces is filled at once.
    if (self.asked().servesRanges) Streaming.refill(context.assembly, supplier, run, now)
  }
}

/** Sends one request, and reads its body as far as it is needed. */
const fetchOne = Effect.fnUntraced(function* (
  self: Connection,
  fetch: SeedFetch.SeedFetch
): Effect.fn.Return<void, SeedFault, Scope.Scope> {
  const { client } = self
  const { seed } = self.asked()
  const { range } = fetch
  const asking = Hops.get(client, fetch.url, {
    headers: {
      "user-agent": Version.userAgent,
      // A range of a compressed file would be of other bytes (RFC 9110 section 14.2).
      "accept-encoding": "identity",
      ...(range !== undefined && { range: `bytes=${range.first}-${range.last}` })
    },
    whyNot: seed.isTrusted ? () => undefined : Destination.whyNotWebSeed,
    // `SeedBody` copies a chunk to its places before it pulls the next one.
    lentChunks: true
  })
  const response = yield* SeedProgress.awaiting(self.progress, self.clock, asking).pipe(
    Effect.mapError((error) =>
      error._tag === "HopRefused"
        ? Fault.make("Forbidden", error.why)
        : Fault.make("Unreachable", HttpFile.describe(error))
    )
  )
  const verdict = SeedAnswer.judge(fetch, response)
  if (verdict._tag === "Fault") {
    return yield* seed.kind === "pieces" && response.status === 503
      ? Effect.flatMap(secondsIn(response), (millis) =>
          Effect.fail(Fault.make("Busy", verdict.fault.why, millis ?? verdict.fault.retryAfter))
        )
      : Effect.fail(verdict.fault)
  }
  if (verdict.body.ignoresRange) {
    self.onIgnoredRange()
    // What was requested may be far behind. The file comes from its first byte, so it is requested from there.
    Intake.release(self.intake)
    RequestPipeline.releaseAll(self.supplier.pipeline)
    Assembly.wakeIdle(self.context.assembly)
  }
  const isWhole = verdict.body.ignoresRange || (range === undefined && seed.kind === "files")
  yield* SeedBody.read(self, response, verdict.body, isWhole)
})

/** The most bytes that a body has which is a number, and how long it is waited for. */
const longestNumber = 32
const waitsFor = "2 seconds"

/** A server of pieces answers 503 with a body that says how many seconds to wait (BEP 17). Returns milliseconds. */
const secondsIn = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<number | undefined> =>
  response.stream.pipe(
    Stream.take(1),
    Stream.runCollect,
    Effect.map(([chunk]) => {
      const text = new TextDecoder().decode(chunk?.subarray(0, longestNumber)).trim()
      return /^\d{1,6}$/.test(text) ? Math.min(SeedAnswer.longestRetryAfter, Number(text) * 1_000) : undefined
    }),
    Effect.timeoutOrElse({ duration: waitsFor, orElse: () => Effect.undefined }),
    Effect.orElseSucceed(() => undefined)
  )
