import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import { FileChanged, type FlushedFile, StorageError, StorageUnavailable } from "../../src/storage/Storage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as FlushBehind from "../../src/torrent/FlushBehind.ts"
import * as KnownFiles from "../../src/torrent/KnownFiles.ts"
import { lasting } from "../base/lasting.ts"
import { draw, drawn } from "../resume/ResumeStore.suite.ts"
import { pieceOf, sliceOf } from "../storage/layouts.ts"
import { claim } from "../storage/openings.ts"
import * as DrawnTorrent from "./drawnTorrent.ts"
import * as KnownFilesView from "./knownFilesView.ts"

const test = <E>(name: string, program: () => Effect.Effect<void, E, PieceHasher | Scope.Scope>) =>
  it.effect(name, () => Effect.suspend(program).pipe(Effect.scoped, Effect.provide(NodePieceHasher.layer)))

const broken = new StorageUnavailable({ path: "t/a", why: "the disk reports an error" })

/** What a flush returns for each file, instead of flushing the medium. */
type Flush = (files: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<FlushedFile> | undefined, StorageError>

/** A torrent whose files are all claimed, and a log of its flushes. */
const make = Effect.fnUntraced(function* (
  drawing: string,
  disk: string,
  state: { readonly stored: string; readonly flushed: string },
  flush: Flush = () => Effect.undefined
) {
  const known = yield* DrawnTorrent.torrent(drawing)
  const { layout } = known
  const { look, medium, storage } = yield* DrawnTorrent.open(known, disk, { remembersFlushed: true })
  yield* claim(storage, layout)
  const facts = yield* look
  const stored = drawn(state.stored)
  const flushed = drawn(state.flushed)
  const unsaved = new Set<PieceIndex>()
  const files = KnownFiles.make(
    layout,
    facts,
    new Map(facts.flatMap((one) => (one ? [[one.file, "own"]] : []))),
    stored
  )
  const log: Array<string> = []
  const borrowed: Array<number> = []
  /** What was reported of pieces that may be lost, and after which step. */
  const unsafe: Array<string> = []
  const behaviour = { flush, kept: Effect.void as Effect.Effect<void>, again: [] as ReadonlyArray<number>, fails: "" }
  const self = FlushBehind.make({
    storage: {
      readBlock: storage.readBlock,
      look: storage.look,
      flush: (asked) =>
        Effect.gen(function* () {
          log.push(`flush ${asked.join(" ")}`)
          return (yield* behaviour.flush(asked)) ?? (yield* storage.flush(asked))
        })
    },
    geometry: layout.geometry,
    known: files,
    stored,
    flushed,
    unsaved,
    digestOf: known.digestOf,
    hasher: yield* PieceHasher,
    borrow: (bytes) =>
      Effect.acquireRelease(
        Effect.sync(() => void borrowed.push(bytes)),
        () => Effect.sync(() => void borrowed.push(-bytes))
      ),
    renew: (file) => {
      log.push(`renew ${file}`)
      return behaviour.fails === `renew ${file}` ? Effect.fail(StorageError.of("claim", [broken])) : Effect.void
    },
    rewrite: (piece, bytes) => {
      log.push(`rewrite ${piece}`)
      return behaviour.fails === `rewrite ${piece}`
        ? Effect.fail(StorageError.of("write", [broken]))
        : storage.writePiece(piece, bytes)
    },
    onUnsafe: (pieces, failed) =>
      Effect.sync(() => void unsafe.push(`unsafe ${pieces.join(" ")} of ${failed.join(" ")} after ${log.at(-1)}`)),
    onAway: () => void log.push("away"),
    onSaved: (piece) => unsafe.push(`saved ${piece} after ${log.at(-1)}`),
    onLost: (pieces) => {
      for (const piece of pieces) Bitfield.remove(stored, piece)
      log.push(`lost ${pieces.join(" ")}`)
    },
    onChanged: (changed) =>
      Effect.sync(() => {
        log.push(`changed ${changed.join(" ")}`)
        return behaviour.again
      }),
    onFlushed: (pieces, files) =>
      Effect.suspend(() => {
        log.push(`flushed ${pieces.join(" ")} of ${files.map(({ file }) => file).join(" ")}`)
        return behaviour.kept
      }),
    report: (fact) => log.push(fact._tag)
  })
  return {
    ...self,
    behaviour,
    borrowed,
    facts,
    files: KnownFilesView.viewOf(files),
    medium,
    unsafe,
    unsaved,
    flushed: () => draw(flushed),
    /** Stores a piece as a writer does. */
    write: Effect.fnUntraced(function* (index: number, bytes = DrawnTorrent.pieceLength) {
      const piece = pieceOf(layout, index)
      yield* self.admit(bytes)
      yield* storage.writePiece(piece, sliceOf(layout, known.content, piece))
      Bitfield.add(stored, piece)
      Bitfield.remove(flushed, piece)
      self.noteDirty(KnownFiles.filesOf(files, piece))
      self.end(bytes, true)
    }),
    /** The log since the last call. */
    heard: () => log.splice(0)
  }
})

const blank = { stored: "...", flushed: "..." }
const start = <A>(effect: Effect.Effect<A>) => Effect.forkChild(effect, { startImmediately: true })

describe("FlushBehind", () => {
  test("flushes what was written, and only those files", () =>
    Effect.gen(function* () {
      const { all, flushed, heard, isDirty, write } = yield* make("aaaa aabb cccc", "---- ---- ----", blank)
      const before = isDirty()
      yield* write(0)
      yield* write(1)
      const during = isDirty()

      yield* all

      assert.deepStrictEqual(heard(), ["flush 0 1", "flushed 0 1 of 0 1"])
      assert.strictEqual(flushed(), "**.")
      assert.deepStrictEqual([before, during, isDirty()], [false, true, false])
    }))

  test("has to flush files whose stored pieces are not flushed", () =>
    Effect.gen(function* () {
      const state = { stored: "***", flushed: "*.." }
      const { all, flushed, heard } = yield* make("aaaa bbbb cccc", "rrrr rrrr rrrr", state)

      yield* all

      assert.deepStrictEqual(heard(), ["flush 1 2", "flushed 1 2 of 1 2"])
      assert.strictEqual(flushed(), "***")
    }))

  test("costs nothing if nothing was written", () =>
    Effect.gen(function* () {
      const { all, heard, run } = yield* make("aaaa bbbb cccc", "rrrr ---- ----", { stored: "*..", flushed: "*.." })
      yield* start(lasting(run))

      yield* all
      yield* TestClock.adjust("1 hour")

      assert.deepStrictEqual(heard(), [])
    }))

  test("flushes in the background half a minute after a write, or once enough was written", () =>
    Effect.gen(function* () {
      const { heard, run, write } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      yield* start(lasting(run))
      yield* write(0)
      yield* TestClock.adjust("29 seconds")
      const early = heard()
      yield* TestClock.adjust("1 seconds")
      const late = heard()
      yield* write(1, FlushBehind.flushBytes - 1)
      yield* TestClock.adjust("1 millis")
      const few = heard()
      yield* write(2, 1)
      yield* TestClock.adjust("1 millis")

      assert.deepStrictEqual([early, few], [[], []])
      assert.deepStrictEqual(late, ["flush 0", "flushed 0 of 0"])
      assert.deepStrictEqual(heard(), ["flush 1", "flushed 1 of 1"])
    }))

  test("does not count as flushed what is written while a flush runs", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const { all, flushed, heard, write } = yield* make("aaaa aaaa aaaa", "---- ---- ----", blank, () =>
        Effect.as(gate.await, undefined)
      )
      yield* write(0)
      const fiber = yield* start(all)
      yield* write(1)
      yield* gate.open
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(heard(), ["flush 0", "flushed 0 of 0", "flush 0", "flushed 1 of 0"])
      assert.strictEqual(flushed(), "**.")
    }))

  test("after a failed flush admits nothing, verifies and writes again what may be lost, and recovers", () =>
    Effect.gen(function* () {
      const { admit, all, flushed, heard, medium, write } = yield* make("aaaa aaaa bbbb", "---- ---- ----", blank)
      yield* write(0)
      yield* write(1)
      yield* write(2)
      medium.failFlushes("t/a", broken)
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")
      const first = heard()
      const admitted = yield* start(admit(1))
      yield* TestClock.adjust(FlushBehind.firstRetryDelay)
      const second = heard()
      const isAdmitted = admitted.pollUnsafe() !== undefined
      medium.failFlushes("t/a", undefined)
      yield* TestClock.adjust(2 * FlushBehind.firstRetryDelay)
      yield* Fiber.join(fiber)
      yield* Fiber.join(admitted)
      medium.cutPower()

      assert.deepStrictEqual(first, ["flush 0 1", "FlushFailed", "flushed 2 of 1", "renew 0", "rewrite 0", "rewrite 1"])
      assert.deepStrictEqual(second, ["flush 0", "flushed  of ", "renew 0", "rewrite 0", "rewrite 1"])
      assert.isFalse(isAdmitted)
      assert.deepStrictEqual(heard(), ["flush 0", "flushed 0 1 of 0", "FlushRecovered"])
      assert.strictEqual(flushed(), "***")
      assert.strictEqual(medium.read("t/a")?.length, 8)
    }))

  test("after a failed flush drops the pieces that are wrong, and does not write them", () =>
    Effect.gen(function* () {
      const { all, borrowed, flushed, heard, medium, write } = yield* make("aaaa aaaa aaaa", "---- ---- ----", blank)
      for (const piece of [0, 1, 2]) yield* write(piece)
      medium.failFlushes("t/a", broken)
      medium.modify("t/a", 5, new Uint8Array([0]))
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")
      const first = heard()
      medium.failFlushes("t/a", undefined)
      yield* TestClock.adjust(FlushBehind.firstRetryDelay)
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(first.slice(-3), ["rewrite 0", "rewrite 2", "lost 1"])
      // Each piece is read into memory that was borrowed, one after the other.
      assert.deepStrictEqual(borrowed, [4, -4, 4, -4, 4, -4])
      assert.deepStrictEqual(heard(), ["flush 0", "flushed 0 2 of 0", "FlushRecovered"])
      assert.strictEqual(flushed(), "*.*")
    }))

  test("drops nothing while its files cannot even be looked at", () =>
    Effect.gen(function* () {
      const { all, flushed, heard, medium, write } = yield* make("aaaa aaaa aaaa", "---- ---- ----", blank)
      for (const piece of [0, 1, 2]) yield* write(piece)
      medium.failFlushes("t/a", broken)
      medium.move("t/a", "away")
      medium.failLooks(broken)
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")
      const during = heard()
      medium.move("away", "t/a")
      medium.failLooks(undefined)
      medium.failFlushes("t/a", undefined)
      yield* TestClock.adjust(FlushBehind.maxRetryDelay)
      yield* Fiber.join(fiber)

      assert.notInclude(during.join(), "lost")
      assert.include(during, "away")
      assert.strictEqual(flushed(), "***")
    }))

  test("does not flush again until everything that may be lost was written again", () =>
    Effect.gen(function* () {
      const { all, behaviour, flushed, heard, medium, write } = yield* make("aaaa aaaa aaaa", "---- ---- ----", blank)
      for (const piece of [0, 1, 2]) yield* write(piece)
      medium.failFlushes("t/a", broken)
      behaviour.fails = "rewrite 1"
      medium.modify("t/a", 0, new Uint8Array([0]))
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")
      medium.failFlushes("t/a", undefined)
      const first = heard()
      yield* TestClock.adjust(FlushBehind.firstRetryDelay)
      const second = heard()
      behaviour.fails = ""
      yield* TestClock.adjust(2 * FlushBehind.firstRetryDelay)
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(first, ["flush 0", "FlushFailed", "flushed  of ", "renew 0", "rewrite 1", "lost 0"])
      assert.deepStrictEqual(second, ["rewrite 1"])
      assert.deepStrictEqual(heard(), ["rewrite 1", "rewrite 2", "flush 0", "flushed 1 2 of 0", "FlushRecovered"])
      assert.strictEqual(flushed(), ".**")
    }))

  test("writes nothing again until the files of a failed flush lie on fresh blocks, once for each failure", () =>
    Effect.gen(function* () {
      const { all, behaviour, flushed, heard, medium, write } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      for (const piece of [0, 1, 2]) yield* write(piece)
      for (const path of ["t/a", "t/b"]) medium.failFlushes(path, broken)
      behaviour.fails = "renew 1"
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")
      for (const path of ["t/a", "t/b"]) medium.failFlushes(path, undefined)
      const first = heard()
      yield* TestClock.adjust(FlushBehind.firstRetryDelay)
      const second = heard()
      const isDone = fiber.pollUnsafe() !== undefined
      behaviour.fails = ""
      yield* TestClock.adjust(2 * FlushBehind.firstRetryDelay)
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(first, ["flush 0 1 2", "FlushFailed", "flushed 2 of 2", "renew 0", "renew 1", "away"])
      assert.deepStrictEqual(second, ["renew 1", "away"])
      assert.isFalse(isDone)
      const last = ["renew 1", "rewrite 0", "rewrite 1", "flush 0 1", "flushed 0 1 of 0 1", "FlushRecovered"]
      assert.deepStrictEqual(heard(), last)
      assert.strictEqual(flushed(), "***")
    }))

  test("flushes once before it ends, and remembers what that flush may have lost", () =>
    Effect.gen(function* () {
      const { files, flushed, heard, last, medium, unsafe, write } = yield* make(
        "aaaa bbbb cccc",
        "---- ---- ----",
        blank
      )
      yield* last
      for (const piece of [0, 1]) yield* write(piece)
      medium.failFlushes("t/b", broken)
      const before = heard()

      yield* last
      const first = heard()
      medium.failFlushes("t/b", undefined)
      yield* last

      assert.deepStrictEqual(before, [])
      assert.deepStrictEqual(first, ["flush 0 1", "FlushFailed", "flushed 0 of 0"])
      assert.deepStrictEqual(unsafe, ["unsafe 1 of 1 after flushed 0 of 0"])
      assert.deepStrictEqual(
        [0, 1].map((file) => files.get(file)!.isStale),
        [false, true]
      )
      assert.deepStrictEqual(heard(), [], "nothing is tried after failed flushes")
      assert.strictEqual(flushed(), "*..")
    }))

  test("retries at growing intervals, eight seconds at most, and reports the failure once", () =>
    Effect.gen(function* () {
      const { all, heard, medium, write } = yield* make("aaaa aaaa aaaa", "---- ---- ----", blank)
      yield* write(0)
      medium.failFlushes("t/a", broken)
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")
      const counts: Array<number> = []
      const log: Array<string> = []
      for (const seconds of [0.5, 1, 2, 4, 8, 8]) {
        yield* TestClock.adjust(seconds * 1_000 - 2)
        const early = heard()
        yield* TestClock.adjust(2)
        const late = heard()
        counts.push(early.filter((line) => line === "flush 0").length, late.filter((line) => line === "flush 0").length)
        log.push(...early, ...late)
      }
      yield* Fiber.interrupt(fiber)

      assert.deepStrictEqual(counts, [1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
      assert.strictEqual(log.filter((line) => line === "FlushFailed").length, 1)
    }))

  test("a flush that fails as a whole counts as failed for every file", () =>
    Effect.gen(function* () {
      const fails: Flush = () => Effect.fail(StorageError.of("flush", [broken]))
      const { all, behaviour, flushed, heard, write } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank, fails)
      yield* write(0)
      yield* write(1)
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")
      const first = heard()
      behaviour.flush = () => Effect.undefined
      yield* TestClock.adjust(FlushBehind.firstRetryDelay)
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(first, [
        "flush 0 1",
        "FlushFailed",
        "flushed  of ",
        "renew 0",
        "renew 1",
        "rewrite 0",
        "rewrite 1"
      ])
      assert.strictEqual(flushed(), "**.")
    }))

  test("a changed file is no failure: it is handled, and flushed again if it is still there", () =>
    Effect.gen(function* () {
      const { all, behaviour, facts, flushed, heard, medium, write } = yield* make(
        "aaaa aabb bbbb",
        "---- ---- ----",
        blank
      )
      for (const piece of [0, 1, 2]) yield* write(piece)
      medium.remove("t/b")
      behaviour.again = [1]
      behaviour.flush = (files) => {
        // The second time the file is back.
        const isBack = files.length === 1
        return Effect.succeed(isBack ? [{ file: 1, facts: facts[1]! }] : undefined)
      }

      yield* all

      assert.deepStrictEqual(heard(), ["flush 0 1", "flushed 0 of 0", "changed 1", "flush 1", "flushed 1 2 of 1"])
      assert.strictEqual(flushed(), "***")
    }))

  test("a changed file that is gone ends the flush", () =>
    Effect.gen(function* () {
      const { all, flushed, heard, medium, write } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      yield* write(0)
      yield* write(1)
      medium.remove("t/b")

      yield* all

      assert.deepStrictEqual(heard(), ["flush 0 1", "flushed 0 of 0", "changed 1"])
      assert.strictEqual(flushed(), "*..")
    }))

  test("stays dirty and not done while a flush runs, even one of bytes of an earlier run", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const state = { stored: "***", flushed: "..." }
      const { all, isDirty, run } = yield* make("aaaa bbbb cccc", "rrrr rrrr rrrr", state, () =>
        Effect.as(gate.await, undefined)
      )
      yield* start(lasting(run))
      yield* TestClock.adjust(FlushBehind.flushEvery)

      const fiber = yield* start(all)
      yield* TestClock.adjust("1 seconds")
      const during = [isDirty(), fiber.pollUnsafe() !== undefined]
      yield* gate.open
      yield* Fiber.join(fiber)

      assert.deepStrictEqual([during, isDirty()], [[true, false], false])
    }))

  test("can be stopped while it waits for room, and only then", () =>
    Effect.gen(function* () {
      const { admit, admitNow, end } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      const most = FlushBehind.maxUnflushedBytes
      admitNow(most)
      const waiting = yield* start(
        Effect.uninterruptible(
          Effect.andThen(
            admit(1),
            Effect.sync(() => end(1, false))
          )
        )
      )

      yield* Fiber.interrupt(waiting)
      end(most, false)

      assert.isTrue(admitNow(most) && !admitNow(1))
    }))

  test("admits nothing from the moment a flush fails, also while the failure is being recorded", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const { admit, all, behaviour, medium, write } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      behaviour.kept = gate.await
      yield* write(0)
      medium.failFlushes("t/a", broken)
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")

      const admitted = yield* start(admit(1))
      yield* TestClock.adjust("1 millis")
      const isAdmitted = admitted.pollUnsafe() !== undefined
      yield* Fiber.interrupt(admitted)
      yield* gate.open
      yield* Fiber.interrupt(fiber)

      assert.isFalse(isAdmitted)
    }))

  test("reports at once which pieces a failed flush may have lost, and each that was written again", () =>
    Effect.gen(function* () {
      const { all, behaviour, medium, unsafe, unsaved, write } = yield* make("aaaa aaaa bbbb", "---- ---- ----", blank)
      for (const piece of [0, 1, 2]) yield* write(piece)
      medium.failFlushes("t/a", broken)
      behaviour.fails = "rewrite 1"
      const fiber = yield* start(all)
      yield* TestClock.adjust("1 millis")
      const first = [unsafe.splice(0), [...unsaved]]

      medium.failFlushes("t/a", undefined)
      behaviour.fails = ""
      yield* TestClock.adjust(2 * FlushBehind.firstRetryDelay)
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(first, [["unsafe 0 1 of 0 after flushed 2 of 1", "saved 0 after rewrite 0"], [1]])
      assert.deepStrictEqual([unsafe, [...unsaved]], [["saved 1 after rewrite 1"], []])
    }))

  test("does not count a changed file as flushed when another file is flushed", () =>
    Effect.gen(function* () {
      const { all, behaviour, flushed, heard, write } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      const changed = new FileChanged({ path: "t/a", why: "it is another one" })
      behaviour.flush = (files) => Effect.succeed(files.map((file) => ({ file, reason: changed })))
      yield* write(0)
      yield* all
      const first = heard()

      behaviour.flush = () => Effect.undefined
      yield* write(1)
      yield* all

      assert.deepStrictEqual(first, ["flush 0", "flushed  of ", "changed 0"])
      assert.deepStrictEqual(heard(), ["flush 1", "flushed 1 of 1"])
      assert.strictEqual(flushed(), ".*.")
    }))

  for (const [first, second] of [
    [40, 40],
    [20, 50]
  ] as const) {
    test(`admits ${second} MiB as soon as a write of ${first} MiB has ended and is flushed`, () =>
      Effect.gen(function* () {
        const { admit, end, heard, noteWriting, noteWritten, run } = yield* make(
          "aaaa bbbb cccc",
          "---- ---- ----",
          blank
        )
        yield* start(lasting(run))
        noteWriting()
        yield* admit(first << 20)
        const fiber = yield* start(admit(second << 20))
        yield* TestClock.adjust("1 millis")
        const early = [fiber.pollUnsafe(), heard()]

        noteWritten([0])
        end(first << 20, true)
        yield* TestClock.adjust("1 millis")

        assert.deepStrictEqual(early, [undefined, []])
        assert.isDefined(fiber.pollUnsafe())
        assert.deepStrictEqual(heard(), ["flush 0", "flushed  of 0"])
      }))
  }

  test("admits a waiting write although the bytes before it touched no file and are never flushed", () =>
    Effect.gen(function* () {
      const { admit, end, heard, noteWriting, noteWritten, run } = yield* make(
        "aaaa bbbb cccc",
        "---- ---- ----",
        blank
      )
      yield* start(lasting(run))
      noteWriting()
      yield* admit(FlushBehind.maxUnflushedBytes)
      const fiber = yield* start(admit(1))
      yield* TestClock.adjust("1 hour")
      const early = fiber.pollUnsafe()

      noteWritten([])
      end(FlushBehind.maxUnflushedBytes, true)
      yield* TestClock.adjust("1 millis")

      assert.isUndefined(early)
      assert.isDefined(fiber.pollUnsafe())
      assert.deepStrictEqual(heard(), [])
    }))

  test("does not spin while somebody waits for a write that goes on", () =>
    Effect.gen(function* () {
      const { admit, noteWriting, run } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      yield* start(lasting(run))
      noteWriting()
      yield* admit(FlushBehind.maxUnflushedBytes)
      let looks = 0
      // A number that counts how often it is compared with the limit.
      const bytes = { valueOf: () => ++looks && 1 } as unknown as number

      yield* start(admit(bytes))
      for (let turn = 0; turn < 20; turn++) yield* TestClock.adjust("1 millis")

      assert.isAtLeast(looks, 1)
      assert.isAtMost(looks, 2)
    }))

  test("admits again bytes that were admitted and not written, however often", () =>
    Effect.gen(function* () {
      const { admit, end, run } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      yield* start(lasting(run))
      const attempt = Effect.andThen(
        admit(FlushBehind.flushBytes),
        Effect.sync(() => end(FlushBehind.flushBytes, false))
      )

      const fiber = yield* start(Effect.forEach(Array.from({ length: 10 }), () => attempt, { discard: true }))
      yield* TestClock.adjust("1 millis")

      assert.isDefined(fiber.pollUnsafe())
    }))

  test("admits a waiting write once the write of an admitted one has failed", () =>
    Effect.gen(function* () {
      const { admit, end } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      yield* admit(FlushBehind.maxUnflushedBytes)
      const fiber = yield* start(admit(1))
      yield* TestClock.adjust("1 millis")
      const early = fiber.pollUnsafe()
      end(FlushBehind.maxUnflushedBytes, false)
      yield* Fiber.join(fiber)

      assert.isUndefined(early)
    }))

  test("completes a flush that a stop interrupts, and flushes what was written meanwhile", () =>
    Effect.gen(function* () {
      const { behaviour, flushed, heard, last, run, write } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      const fiber = yield* start(lasting(run))
      behaviour.flush = () => Effect.as(Effect.sleep("10 seconds"), undefined)
      yield* write(0)
      yield* TestClock.adjust(FlushBehind.flushEvery)
      yield* write(1)

      const stop = yield* start(Effect.andThen(Fiber.interrupt(fiber), last))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(stop)

      assert.deepStrictEqual(heard(), ["flush 0", "flushed 0 of 0", "flush 1", "flushed 1 of 1"])
      assert.strictEqual(flushed(), "**.")
    }))

  test("remembers a failed flush although a stop comes while it waits for a write", () =>
    Effect.gen(function* () {
      const made = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      const { files, heard, last, medium, noteWriting, noteWritten, run, unsafe, write } = made
      const fiber = yield* start(lasting(run))
      yield* write(0)
      noteWriting()
      medium.failFlushes("t/a", broken)
      yield* TestClock.adjust(FlushBehind.flushEvery)
      const stop = yield* start(Effect.andThen(Fiber.interrupt(fiber), last))
      noteWritten([1])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(stop)

      assert.deepStrictEqual(heard(), ["flush 0", "FlushFailed", "flushed  of "])
      assert.deepStrictEqual([files.get(0)?.isStale, unsafe], [true, ["unsafe 0 of 0 after flushed  of "]])
    }))

  test("copies a file that was stale before this run to fresh blocks before it is flushed", () =>
    Effect.gen(function* () {
      const made = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      const { all, files, heard, last, write } = made
      files.setStale(0, true)
      yield* write(0)

      yield* last
      const atStop = heard()
      yield* all

      assert.deepStrictEqual(atStop, [], "nothing is flushed in place")
      assert.deepStrictEqual(heard(), ["renew 0", "flush 0", "flushed 0 of 0"])
    }))

  test("does not handle changed files any more once the torrent stops", () =>
    Effect.gen(function* () {
      const { behaviour, facts, heard, last, write } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      yield* write(0)
      const reason = new FileChanged({ path: "t/a", why: "it was deleted" })
      behaviour.flush = () => Effect.succeed([{ file: 0, reason }])

      yield* last

      assert.isDefined(facts[0])
      assert.deepStrictEqual(heard(), ["flush 0", "flushed  of "])
    }))

  test("does not spin while an admitted write waits for its files", () =>
    Effect.gen(function* () {
      const { admit, run } = yield* make("aaaa bbbb cccc", "---- ---- ----", blank)
      yield* start(lasting(run))
      yield* admit(FlushBehind.maxUnflushedBytes)
      let looks = 0
      // A number that counts how often it is compared with the limit.
      const bytes = { valueOf: () => ++looks && 1 } as unknown as number

      yield* start(admit(bytes))
      for (let turn = 0; turn < 20; turn++) yield* TestClock.adjust("1 millis")

      assert.isAtMost(looks, 2)
    }))

  it.effect(
    "law: no more bytes are unflushed than the limit, except of a single larger piece, and every write is admitted",
    () =>
      Property.check(
        fc.record({
          sizes: fc.array(fc.oneof(fc.nat(8 << 20), fc.nat(100 << 20)), { minLength: 1, maxLength: 30 }),
          writeMillis: fc.array(fc.nat(200), { minLength: 1, maxLength: 5 }),
          writers: fc.integer({ min: 1, max: 8 }),
          flushes: fc.array(fc.record({ millis: fc.nat(3_000), fails: fc.boolean() }), { minLength: 1, maxLength: 10 }),
          keptMillis: fc.nat(500)
        }),
        ({ flushes, keptMillis, sizes, writeMillis, writers }) =>
          Effect.gen(function* () {
            let admitted = 0
            let written = 0
            let safe = 0
            let turn = 0
            const flush: Flush = (files) =>
              Effect.gen(function* () {
                const begun = written
                const { fails, millis } = flushes[turn++ % flushes.length]!
                yield* Effect.sleep(millis)
                if (fails && turn < 40) return files.map((file) => ({ file, reason: broken }))
                safe = begun
                return undefined
              })
            const { admit, all, behaviour, end, noteWriting, noteWritten, run } = yield* make(
              "aaaa aaaa aaaa",
              "---- ---- ----",
              blank,
              flush
            )
            behaviour.kept = Effect.sleep(keptMillis)
            const left = [...sizes]
            const writer = Effect.whileLoop({
              while: () => left.length > 0,
              body: () =>
                Effect.suspend(() => {
                  const bytes = left.pop()!
                  const write = Effect.sync(() => {
                    const unflushed = admitted - safe
                    assert.isTrue(unflushed === 0 || unflushed + bytes <= FlushBehind.maxUnflushedBytes, `${unflushed}`)
                    admitted += bytes
                    noteWriting()
                    return writeMillis[admitted % writeMillis.length]!
                  }).pipe(
                    Effect.flatMap(Effect.sleep),
                    Effect.andThen(
                      Effect.sync(() => {
                        written += bytes
                        noteWritten([0])
                        end(bytes, true)
                      })
                    )
                  )
                  return Effect.andThen(admit(bytes), write)
                }),
              step: () => {}
            })
            yield* Effect.forkChild(run)
            const writing = yield* start(
              Effect.all(
                Array.from({ length: writers }, () => writer),
                { concurrency: "unbounded", discard: true }
              )
            )
            const flushing = yield* start(Effect.andThen(Fiber.join(writing), all))
            yield* TestClock.adjust("1 hour")
            yield* Fiber.join(flushing)

            assert.strictEqual(written, safe)
          }),
        { layer: NodePieceHasher.layer, testClock: true }
      )
  )
})
