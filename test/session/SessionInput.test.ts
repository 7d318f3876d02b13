import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import * as SessionInput from "../../src/session/SessionInput.ts"
import { SessionStore } from "../../src/session/SessionStore.ts"
import { SeedingGoal } from "../../src/torrent/SeedingGoal.ts"
import { small } from "../simulation/torrents.ts"
import { fileOf, session, test } from "./sessions.ts"

const isRefused = (check: Effect.Effect<unknown, SessionInput.OptionRefused>): string | undefined =>
  Effect.runSync(Effect.match(check, { onSuccess: () => undefined, onFailure: ({ option }) => option }))

describe("SessionInput", () => {
  it.each<[string, unknown]>([
    ["goal.ratio", { goal: { ratio: 0 } }],
    ["goal.ratio", { goal: { ratio: Number.NaN } }],
    ["goal.ratio", { goal: { ratio: -1 } }],
    ["goal.ratio", { goal: { ratio: Number.POSITIVE_INFINITY } }],
    ["goal.time", { goal: { time: Duration.millis(-1) } }],
    ["goal.time", { goal: { time: "1 day" } }],
    ["goal.time", { goal: { time: Duration.minutes(Number.MAX_SAFE_INTEGER) } }],
    ["imported.addedAtMillis", { imported: { addedAtMillis: 8_640_000_000_000_001 } }],
    ["imported.completedAtMillis", { imported: { completedAtMillis: Number.MAX_SAFE_INTEGER } }],
    ["folder", { folder: "" }],
    ["folder", { folder: ".." }],
    ["folder", { folder: "../films" }],
    ["folder", { folder: "/srv/films/../../etc" }],
    ["folder", { folder: "films\\..\\.." }],
    ["folder", { folder: "films\u0000" }],
    ["folder", { folder: "a".repeat(4_097) }],
    ["labels.1", { labels: ["a", ""] }],
    ["labels.0", { labels: ["a/b"] }],
    ["labels.0", { labels: ["a\nb"] }],
    ["labels.0", { labels: ["\u009b31m"] }],
    ["labels.0", { labels: ["\ud800"] }],
    ["labels.0", { labels: ["a".repeat(129)] }],
    ["labels", { labels: Array(101).fill("a") }],
    ["order", { order: "backwards" }],
    ["maxConnections", { maxConnections: 0 }],
    ["limits.uploadBytesPerSecond", { limits: { uploadBytesPerSecond: Number.NaN } }],
    ["peerLimits.downloadBytesPerSecond", { peerLimits: { downloadBytesPerSecond: 0 } }],
    ["files.0", { files: ["low"] }],
    ["isPaused", { isPaused: "no" }]
  ])("refuses a %s: %j", (option, given) => {
    assert.strictEqual(isRefused(SessionInput.addOptions(given)), option)
  })

  it.each<[string, unknown]>([
    ["nothing", {}],
    [
      "an absolute folder",
      { folder: "/srv/films", labels: ["films", "..", "it's\\"], goal: { ratio: 0.1, time: Duration.zero } }
    ],
    ["a relative folder", { folder: "films/..new", isPaused: true, files: ["skip"], webSeeds: false, limits: {} }],
    ["a size", { limits: { uploadBytesPerSecond: ByteSize.mebibytes(1) }, goal: undefined }]
  ])("takes %s as it is", (_, given) => {
    assert.deepStrictEqual(Effect.runSync(SessionInput.addOptions(given)), given as never)
  })

  it.each<[unknown]>([
    [{ downloads: -1 }],
    [{ seeds: 1.5 }],
    [{ downloadBytesPerSecond: 0 }],
    [{ seeds: Number.NaN }],
    ["3"]
  ])("refuses limits of %j", (given) => {
    assert.isDefined(isRefused(SessionInput.limits(given)))
  })

  it.each<[unknown]>([
    [{ host: "a.example:80", goal: { ratio: 1 } }],
    [{ host: "", goal: { ratio: 1 } }],
    [{ host: "a.example", goal: { ratio: 0 } }],
    [{ host: "a.example" }]
  ])("refuses a tracker goal of %j", (given) => {
    assert.isDefined(isRefused(SessionInput.trackerGoal(given)))
  })

  it("takes no goal that cannot be saved", () => {
    const numbers = fc.oneof(fc.double({ noNaN: true }), fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER))
    const times = fc.oneof(
      fc.tuple(fc.constantFrom(Duration.millis, Duration.minutes, Duration.weeks), numbers).map(([of, n]) => of(n)),
      fc.bigInt().map(Duration.nanos)
    )
    const goals = Schema.fromJsonString(Schema.toCodecJson(SeedingGoal))
    fc.assert(
      fc.property(fc.record({ ratio: numbers, time: times }, { requiredKeys: [] }), (goal) => {
        fc.pre(isRefused(SessionInput.options({ goal })) === undefined)
        const { ratio, time } = Schema.decodeSync(goals)(Schema.encodeSync(goals)(goal))
        assert.strictEqual(ratio, goal.ratio)
        if (goal.time !== undefined) assert.isTrue(Duration.equals(time!, goal.time))
      })
    )
  })

  it("drops what it does not know, and says nothing of a value", () => {
    const error = Effect.runSync(Effect.flip(SessionInput.label({ name: "\u001b[2J" })))

    assert.strictEqual(error.message, "label.name cannot be used: Expected text without control characters")
    assert.deepStrictEqual(Effect.runSync(SessionInput.label({ name: "a", colour: "red" })), { name: "a" } as never)
  })
})

describe("a session that is given what it cannot keep", () => {
  test(
    "refuses it, whatever its type says, and saves nothing",
    session((session) =>
      Effect.gen(function* () {
        const store = yield* SessionStore
        const torrent = yield* session.add(fileOf(small), { isPaused: true })
        const before = yield* store.load
        const errors = yield* Effect.forEach(
          [
            session.add(fileOf(small), { goal: { ratio: 0 } }),
            session.setLabel({ name: "a/b" }),
            session.setLabel({ name: "a", folder: "../b" }),
            session.setLimits({ uploadBytesPerSecond: Number.NaN }),
            torrent.setOptions({ goal: { ratio: Number.NaN } }),
            torrent.setLabels(["a\u0000"]),
            torrent.setFiles(["none" as never])
          ],
          (refused) => Effect.flip(refused as Effect.Effect<unknown, { readonly _tag: string }>)
        )

        assert.deepStrictEqual(new Set(errors.map(({ _tag }) => _tag)), new Set(["piecewise/OptionRefused"]))
        assert.deepStrictEqual(yield* store.load, before)
        assert.deepStrictEqual([yield* session.labels, yield* session.limits], [[], {}])
      })
    )
  )
})
