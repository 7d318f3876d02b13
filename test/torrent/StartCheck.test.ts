import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as PiecePriority from "../../src/assembly/PiecePriority.ts"
import type { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import type { ResumeData } from "../../src/resume/ResumeStore.ts"
import { StorageError, StorageUnavailable } from "../../src/storage/Storage.ts"
import * as StartCheck from "../../src/torrent/StartCheck.ts"
import { draw } from "../resume/ResumeStore.suite.ts"
import * as DrawnTorrent from "./drawnTorrent.ts"

const test = <E>(name: string, program: () => Effect.Effect<void, E, PieceHasher | Scope.Scope>) =>
  it.effect(name, () => Effect.suspend(program).pipe(Effect.scoped, Effect.provide(NodePieceHasher.layer)))

interface Start {
  readonly resume?: ResumeData
  readonly files?: ReadonlyArray<PiecePriority.PiecePriority>
  readonly overwrites?: boolean
  readonly startsOver?: boolean
  readonly isReadOnly?: boolean
  readonly isRestart?: boolean
  /** The result of moving files to their places, instead of moving them. */
  readonly prepared?: Effect.Effect<ReadonlyArray<PiecePriority.PiecePriority>, StorageError>
}

/** A torrent and its disk, a way to start it, and a log of its reports. */
const make = Effect.fnUntraced(function* (drawing: string, disk: string) {
  const known = yield* DrawnTorrent.torrent(drawing)
  const { look, medium, storage } = yield* DrawnTorrent.open(known, disk)
  const log: Array<string> = []
  const writes = () => Effect.die(new Error("nothing is written before a torrent has started"))
  const start = ({
    files = [],
    isReadOnly = false,
    isRestart = false,
    overwrites = false,
    prepared,
    resume,
    startsOver = false
  }: Start = {}) =>
    StartCheck.run({
      metainfo: known.metainfo,
      storage: { ...storage, claim: writes, reserve: writes, writePiece: writes, remove: writes, rename: writes },
      resume,
      prepare: prepared ?? Effect.as(storage.prepare(PiecePriority.wantedFiles(known.metainfo.layout, files)), files),
      overwrites,
      startsOver,
      isReadOnly,
      isRestart,
      report: (event) =>
        log.push(
          event._tag === "Checking"
            ? `checking ${event.checkedPieces}/${event.totalPieces}`
            : `${event.missingFiles} missing: ${event.paths.join(" ")}`
        )
    }).pipe(
      Effect.map(({ facts, found, standings }) => ({
        stored: draw(found.stored),
        standings: Object.fromEntries(standings),
        there: facts.flatMap((one) => (one ? [one.file] : []))
      }))
    )
  return { log, look, medium, start }
})

const torrent = "aaaa aabb bbbb"

describe("StartCheck", () => {
  test("finds the stored pieces and whose each file is", () =>
    Effect.gen(function* () {
      const { log, start } = yield* make(torrent, "rrrr rrrr 0000")

      const checked = yield* start()

      assert.deepStrictEqual(checked, { stored: "**.", standings: { 0: "own", 1: "own" }, there: [0, 1] })
      assert.deepStrictEqual([log[0], log.at(-1)], ["checking 0/3", "checking 3/3"])
    }))

  test("starts at once on an empty disk", () =>
    Effect.gen(function* () {
      const { log, start } = yield* make(torrent, "---- ---- ----")

      assert.deepStrictEqual(yield* start(), { stored: "...", standings: {}, there: [] })
      assert.deepStrictEqual(log, [])
    }))

  test("fails for a foreign file that it would write to, and writes nothing", () =>
    Effect.gen(function* () {
      const { medium, start } = yield* make(torrent, "xxxx rr-- ----")
      const before = medium.read("t/a")

      const error = yield* Effect.flip(start())

      assert.deepStrictEqual(error._tag === "piecewise/ContentExists" && error.files.map(({ path }) => path), ["t/a"])
      assert.deepStrictEqual(medium.read("t/a"), before)
      assert.deepStrictEqual(medium.paths(), ["t/a"])
    }))

  test("overwrites foreign files if it may, and takes undecided ones for foreign", () =>
    Effect.gen(function* () {
      const { start } = yield* make("aaaa aabb bbbb", "xxxx rr-- ----")
      const undecided = yield* make("aaaa aabb bbbb", "---- --rr r---")

      assert.deepStrictEqual((yield* start({ overwrites: true })).standings, { 0: "foreign" })
      assert.deepStrictEqual((yield* undecided.start()).standings, { 1: "undecided" })
      assert.deepStrictEqual((yield* undecided.start({ overwrites: true })).standings, { 1: "foreign" })
    }))

  test("ignores foreign files to which no wanted piece would be written", () =>
    Effect.gen(function* () {
      const { start } = yield* make("aaaa bbbb bbbb", "xxxx ---- ----")

      const skipping = yield* start({ files: ["skip", "normal"] })
      const wanting = yield* Effect.flip(start({ files: ["normal", "skip"] }))

      assert.deepStrictEqual(skipping.standings, { 0: "foreign" })
      assert.strictEqual(wanting._tag, "piecewise/ContentExists")
    }))

  test("finds the right pieces of foreign files if nothing will be written", () =>
    Effect.gen(function* () {
      const { start } = yield* make("aaaa aaaa bbbb", "rrrr xxxx ----")

      const checked = yield* start({ isReadOnly: true })

      assert.deepStrictEqual(checked, { stored: "*..", standings: { 0: "foreign" }, there: [0] })
    }))

  test("fails for a wanted file that is too long even if nothing will be written", () =>
    Effect.gen(function* () {
      const { medium, start } = yield* make("aaaa aaaa bbbb", "rrrr rrrr rrrr")
      const right = medium.read("t/a")!
      medium.put("t/a", Uint8Array.of(...right, 1, 2, 3))

      const error = yield* Effect.flip(start({ isReadOnly: true }))

      assert.strictEqual(error._tag, "piecewise/ContentExists")
      assert.deepStrictEqual(
        error._tag === "piecewise/ContentExists" && error.files.map(({ excessBytes }) => excessBytes),
        [3]
      )
    }))

  describe("if every file with stored pieces is gone", () => {
    const gone = Effect.gen(function* () {
      const made = yield* make("aaaa aabb cccc", "rrrr rrrr ----")
      const resume = DrawnTorrent.resumeOf("**.", yield* made.look)
      made.medium.remove("t/a")
      made.medium.remove("t/b")
      return { ...made, resume }
    })

    test("waits until one is back, and reports once which are missing", () =>
      Effect.gen(function* () {
        const { log, medium, resume, start } = yield* gone
        const fiber = yield* Effect.forkChild(start({ resume }), { startImmediately: true })
        yield* TestClock.adjust("1 hour")
        const during = [...log, fiber.pollUnsafe() === undefined]
        medium.put("t/b", new Uint8Array())
        yield* TestClock.adjust(StartCheck.lookEvery)
        const checked = yield* Fiber.join(fiber)

        assert.deepStrictEqual(during, ["2 missing: t/a t/b", true])
        assert.deepStrictEqual(checked, { stored: "...", standings: { 1: "own" }, there: [1] })
      }))

    test("starts over if it may, as if nothing had been remembered", () =>
      Effect.gen(function* () {
        const { log, resume, start } = yield* gone

        const checked = yield* start({ resume, startsOver: true })

        assert.deepStrictEqual([checked.stored, log], ["...", []])
      }))

    test("waits although a file without stored pieces is there", () =>
      Effect.gen(function* () {
        const { log, medium, resume, start } = yield* gone
        medium.put("t/c", new Uint8Array())
        const fiber = yield* Effect.forkChild(start({ resume }), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        yield* Fiber.interrupt(fiber)

        assert.deepStrictEqual(log, ["2 missing: t/a t/b"])
      }))

    test("names ten of many files", () =>
      Effect.gen(function* () {
        const letters = "abcdefghijkl"
        const { log, look, medium, start } = yield* make(letters, "r".repeat(letters.length))
        const resume = DrawnTorrent.resumeOf("***", yield* look)
        for (const letter of letters) medium.remove(`t/${letter}`)
        const fiber = yield* Effect.forkChild(start({ resume }), { startImmediately: true })
        yield* TestClock.adjust("1 millis")
        yield* Fiber.interrupt(fiber)

        assert.deepStrictEqual(log, [`12 missing: ${[..."abcdefghij"].map((letter) => `t/${letter}`).join(" ")}`])
      }))
  })

  describe("a torrent that ran before its medium went away", () => {
    test("waits for files without a flushed byte, which a new torrent would make again", () =>
      Effect.gen(function* () {
        const { log, look, medium, start } = yield* make(torrent, "rr-- ---- ----")
        const resume = DrawnTorrent.resumeOf("...", yield* look, { writing: [0] })
        const content = medium.read("t/a")!
        medium.remove("t/a")

        const first = yield* start({ resume })
        const fiber = yield* Effect.forkChild(start({ isRestart: true, resume }), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        const during = [...log, fiber.pollUnsafe() === undefined]
        medium.put("t/a", content)
        yield* TestClock.adjust(StartCheck.lookEvery)
        const { there } = yield* Fiber.join(fiber)

        assert.deepStrictEqual(first.there, [])
        assert.deepStrictEqual(during, ["1 missing: t/a", true])
        assert.deepStrictEqual(there, [0])
      }))

    test("waits for a medium that cannot even move files to their places", () =>
      Effect.gen(function* () {
        const { log, look, medium, start } = yield* make(torrent, "rrrr rrrr rrrr")
        const resume = DrawnTorrent.resumeOf("***", yield* look)
        let isAway = true
        const away = StorageError.of("prepare", [new StorageUnavailable({ path: "t", why: "it is away" })])
        const prepared = Effect.suspend(() => (isAway ? Effect.fail(away) : Effect.succeed([])))
        medium.failLooks(new StorageUnavailable({ path: "t", why: "it is away" }))

        const error = yield* Effect.flip(start({ prepared, resume }))
        const fiber = yield* Effect.forkChild(start({ isRestart: true, prepared, resume }), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        const during = [...log, fiber.pollUnsafe() === undefined]
        isAway = false
        medium.failLooks(undefined)
        yield* TestClock.adjust(StartCheck.lookEvery)
        const { stored } = yield* Fiber.join(fiber)

        assert.strictEqual(error, away)
        assert.deepStrictEqual(during, ["2 missing: t/a t/b", true])
        assert.strictEqual(stored, "***")
      }))

    test("fails if files can be seen and cannot be moved to their places", () =>
      Effect.gen(function* () {
        const { log, look, start } = yield* make(torrent, "rrrr rrrr rrrr")
        const resume = DrawnTorrent.resumeOf("***", yield* look)
        const broken = StorageError.of("prepare", [new StorageUnavailable({ path: "t", why: "too many open files" })])

        const error = yield* Effect.flip(start({ isRestart: true, prepared: Effect.fail(broken), resume }))

        assert.strictEqual(error, broken)
        assert.deepStrictEqual(log, [])
      }))

    test("waits for a medium that cannot be looked at", () =>
      Effect.gen(function* () {
        const { log, look, medium, start } = yield* make(torrent, "rrrr rrrr rrrr")
        const resume = DrawnTorrent.resumeOf("***", yield* look)
        medium.failLooks(new StorageUnavailable({ path: "t", why: "it is away" }))
        const fiber = yield* Effect.forkChild(start({ isRestart: true, resume }), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        const during = [...log, fiber.pollUnsafe() === undefined]
        medium.failLooks(undefined)
        yield* TestClock.adjust(StartCheck.lookEvery)

        const { stored } = yield* Fiber.join(fiber)

        assert.deepStrictEqual(during, ["2 missing: t/a t/b", true])
        assert.strictEqual(stored, "***")
      }))
  })

  test("starts without the pieces of missing files if only some files are gone", () =>
    Effect.gen(function* () {
      const { log, look, medium, start } = yield* make(torrent, "rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("***", yield* look)
      medium.remove("t/b")

      const checked = yield* start({ resume })

      assert.deepStrictEqual(checked, { stored: "*..", standings: { 0: "own" }, there: [0] })
      assert.deepStrictEqual(log, [])
    }))

  test("does not start over if its files are there, although it may", () =>
    Effect.gen(function* () {
      const { log, look, start } = yield* make(torrent, "rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("***", yield* look)

      const checked = yield* start({ resume, startsOver: true })

      assert.deepStrictEqual([checked.stored, log], ["***", []])
    }))

  test("fails if the medium cannot be looked at", () =>
    Effect.gen(function* () {
      const { medium, start } = yield* make(torrent, "rrrr rrrr rrrr")
      medium.failLooks(new StorageUnavailable({ path: "t", why: "it is away" }))

      const error = yield* Effect.flip(start())

      assert.strictEqual(error._tag === "piecewise/StorageError" && error.reason._tag, "StorageUnavailable")
    }))
})
