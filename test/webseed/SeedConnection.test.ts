import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as RateLimits from "../../src/rate/RateLimits.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import type * as SeedBody from "../../src/webseed/SeedBody.ts"
import * as SeedConnection from "../../src/webseed/SeedConnection.ts"
import type { SeedUrl } from "../../src/webseed/SeedUrl.ts"
import { assemblyOf, budget } from "../assembly/assemblies.ts"
import { piece } from "../assembly/pieces.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import * as Bodies from "./bodies.ts"

/** A file of two pieces of two blocks, the last of which is short. Nothing stores them: they stay in their buffers. */
const known = await Effect.runPromise(
  KnownTorrent.make({ files: [{ path: [], length: 49_252 }], pieceLength: 32_768 }).pipe(
    Effect.provide(WebCryptoPieceHasher.layer)
  )
)
const content = known.fileContent(0)
const { infoHash, layout } = known.metainfo
const { geometry } = layout
const { length } = content

/** What a server answers, and how its body is cut. */
interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: ReadonlyArray<ReadonlyArray<Uint8Array>>
  readonly end?: Bodies.End
}

/** The right answer to a request for the whole file as a range. */
const right: Answer = {
  status: 206,
  headers: { "content-length": `${length}`, "content-range": `bytes 0-${length - 1}/${length}` },
  body: [[content]]
}

/** The right answer with other headers; `undefined` leaves one out. */
const withHeaders = (headers: Readonly<Record<string, string | undefined>>): Answer => {
  const all = Object.entries({ ...right.headers, ...headers })
  return {
    ...right,
    headers: Object.fromEntries(all.flatMap(([name, text]) => (text === undefined ? [] : [[name, text]])))
  }
}

/**
 * A connection to a server that gives these answers one after the other, and then none. After `seconds` it returns what
 * has become of it.
 */
const connect = Effect.fnUntraced(function* (
  answers: ReadonlyArray<Answer>,
  { kind = "files", seconds = 1 }: { readonly kind?: SeedUrl["kind"]; readonly seconds?: number } = {}
) {
  const assembly = yield* assemblyOf(geometry, { isSequential: true })
  const asked: Array<HttpClientRequest.HttpClientRequest> = []
  let [joined, ignoredRanges, servesRanges] = [0, 0, true]
  const client = HttpClient.make((request) => {
    const answer = answers[asked.length]
    asked.push(request)
    if (answer === undefined) return Effect.never
    const { body = [], end, headers = {}, status } = answer
    return Effect.succeed(Bodies.make(body, end, { status, headers: { ...headers } }, request).response)
  })
  const notes: SeedBody.Notes = { bytes: 0, hasWaited: false, isWaiting: false, isLeaving: false }
  const running = SeedConnection.run({
    client,
    context: {
      metainfo: known.metainfo,
      assembly,
      limits: RateLimits.unlimited(0),
      webSeeds: [],
      report: () => {}
    },
    asked: () => ({
      seed: { kind, url: new URL("http://seed.example/"), isTrusted: false },
      layout,
      infoHash,
      servesRanges
    }),
    id: idOf(1),
    has: Bitfield.full(geometry.pieceCount),
    name: "web seed",
    notes,
    onServed: () => void joined++,
    onIgnoredRange: () => {
      ignoredRanges++
      servesRanges = false
    }
  })
  const fiber = yield* Effect.forkChild(Effect.result(Effect.scoped(running)))
  for (let second = 0; second < seconds; second++) yield* TestClock.adjust("1 second")
  const exit = fiber.pollUnsafe()
  const result = exit === undefined ? undefined : yield* exit
  const complete = [0, 1].filter((index) => {
    const buffer = assembly.pool.loans.get(piece(index))?.buffer
    return buffer?.freeBlocks === 0 && Buffer.from(buffer.bytes).equals(known.content(piece(index)))
  })
  yield* Fiber.interrupt(fiber)
  return {
    asked,
    complete,
    counts: { joined, ignoredRanges },
    failure: result?._tag === "Failure" ? result.failure.fault : undefined,
    isRunning: exit === undefined,
    suppliers: assembly.suppliers.size
  }
})

/** The same, in a world of its own for a property. */
const connectAlone = (...parameters: Parameters<typeof connect>) =>
  Effect.runPromise(connect(...parameters).pipe(budget, Effect.provide(TestClock.layer()), Effect.scoped))

describe("SeedConnection", () => {
  it.effect("asks for a range that is not compressed, and takes it", () =>
    Effect.gen(function* () {
      const { asked, complete, counts, isRunning, suppliers } = yield* connect([right])

      const [first, ...others] = asked
      assert.deepInclude(first?.headers, { range: `bytes=0-${length - 1}`, "accept-encoding": "identity" })
      assert.strictEqual(first?.url, "http://seed.example/known")
      assert.deepStrictEqual([others.length, complete, isRunning, suppliers], [0, [0, 1], true, 0])
      assert.deepStrictEqual(counts, { joined: 1, ignoredRanges: 0 })
    }).pipe(budget)
  )

  it.effect("takes a body however it is cut, as a range and as a whole file", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(Bodies.cuts, fc.boolean(), async ({ lengths, together }, isRange) => {
          const head = isRange ? right : { status: 200, headers: { "content-length": `${length}` } }

          const { complete, failure } = await connectAlone([{ ...head, body: Bodies.cut(content, lengths, together) }])

          assert.isUndefined(failure)
          assert.deepStrictEqual(complete, [0, 1])
        }),
        { numRuns: 50 }
      )
    )
  )

  it.effect("asks again from where a short range ended", () =>
    Effect.gen(function* () {
      const [first, second] = [content.subarray(0, 20_000), content.subarray(20_000)]
      const answers = [
        { status: 206, headers: { "content-range": `bytes 0-19999/${length}` }, body: [[first]] },
        { status: 206, headers: { "content-range": `bytes 20000-${length - 1}/${length}` }, body: [[second]] }
      ]

      const { asked, complete } = yield* connect(answers)

      assert.deepStrictEqual(
        asked.map(({ headers: { range } }) => range),
        [`bytes=0-${length - 1}`, `bytes=20000-${length - 1}`]
      )
      assert.deepStrictEqual(complete, [0, 1])
    }).pipe(budget)
  )

  it.effect("takes a whole file in place of a range, and notes that", () =>
    Effect.gen(function* () {
      // Of a range from the first byte to the last, nobody can say that it was ignored.
      const part = {
        status: 206,
        headers: { "content-range": `bytes 0-32767/${length}` },
        body: [[content.subarray(0, 32_768)]]
      }
      const { asked, complete, counts } = yield* connect([part, { status: 200, body: [[content]] }])

      assert.strictEqual(asked.length, 2)
      assert.deepStrictEqual([complete, counts.ignoredRanges], [[0, 1], 1])
    }).pipe(budget)
  )

  const wrong: ReadonlyArray<readonly [what: string, kind: string, answer: Answer]> = [
    ["a range that begins elsewhere", "Strange", withHeaders({ "content-range": `bytes 1-${length}/${length}` })],
    ["a range that ends elsewhere", "Strange", withHeaders({ "content-range": `bytes 0-${length}/${length}` })],
    ["a range of a longer file", "Missing", withHeaders({ "content-range": `bytes 0-${length - 1}/${length + 1}` })],
    ["a range without saying which", "Strange", withHeaders({ "content-range": undefined })],
    ["a range that is no range", "Strange", withHeaders({ "content-range": "bytes */1" })],
    ["a range of another length than it says", "Strange", withHeaders({ "content-length": `${length - 1}` })],
    ["a range that is compressed", "Strange", withHeaders({ "content-encoding": "gzip" })],
    ["a file of another length", "Missing", { status: 200, headers: { "content-length": "1" }, body: [[content]] }],
    ["a file that is compressed", "Strange", { status: 200, headers: { "content-encoding": "br" }, body: [[content]] }],
    ["no file", "Missing", { status: 404 }],
    ["a file that is too short", "Missing", { status: 416 }],
    ["an error", "Unreachable", { status: 500 }],
    ["a status of no meaning", "Strange", { status: 204 }],
    ["a redirect to this machine", "Forbidden", { status: 302, headers: { location: "http://127.0.0.1/known" } }]
  ]
  for (const [what, kind, answer] of wrong) {
    it.effect(`fault 88: takes nothing of ${what}`, () =>
      Effect.gen(function* () {
        const { asked, complete, counts, failure, suppliers } = yield* connect([answer])

        assert.strictEqual(failure?.kind, kind)
        assert.strictEqual(asked.length, 1)
        assert.deepStrictEqual([complete, counts.joined, suppliers], [[], 0, 0])
      }).pipe(budget)
    )
  }

  it.effect("keeps the pieces of a body that ends too early, breaks, or goes on", () =>
    Effect.gen(function* () {
      const [piece, longer] = [content.subarray(0, 40_000), new Uint8Array(length + 1)]
      longer.set(content)

      const early = yield* connect([{ ...right, body: [[piece]] }])
      const broken = yield* connect([{ ...right, body: [[piece]], end: "broken" }])
      const long = yield* connect([{ ...right, body: [[longer]] }])

      assert.deepStrictEqual([early.failure?.kind, early.complete], ["Unreachable", [0]])
      assert.deepStrictEqual([broken.failure?.kind, broken.complete], ["Unreachable", [0]])
      assert.deepStrictEqual([long.failure?.kind, long.complete], ["Strange", [0, 1]])
    }).pipe(budget)
  )

  it.effect("fault 89: stays away for as long as a server asks, in its head or in its body", () =>
    Effect.gen(function* () {
      const busy = { status: 503, headers: { "retry-after": "7" } }
      const number = { status: 503, body: [[new TextEncoder().encode(" 20\n")]] }

      const inHead = yield* connect([busy])
      const inBody = yield* connect([number], { kind: "pieces" })
      const ofFiles = yield* connect([number])

      assert.deepInclude(inHead.failure, { kind: "Busy", retryAfter: 7_000 })
      assert.deepInclude(inBody.failure, { kind: "Busy", retryAfter: 20_000 })
      assert.strictEqual(ofFiles.failure?.kind, "Busy")
      assert.isUndefined(ofFiles.failure?.retryAfter)
    }).pipe(budget)
  )

  it.effect("fault 86: ends if the server sends no head, or stops in its body", () =>
    Effect.gen(function* () {
      const silent = yield* connect([], { seconds: 12 })
      const stopping = yield* connect([{ ...right, body: [[content.subarray(0, 40_000)]], end: "open" }], {
        seconds: 12
      })

      assert.deepStrictEqual([silent.failure?.kind, silent.suppliers], ["Slow", 0])
      assert.deepStrictEqual([stopping.failure?.kind, stopping.complete], ["Slow", [0]])
    }).pipe(budget)
  )
})
