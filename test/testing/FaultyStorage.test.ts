import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import { Storage, type StorageError } from "../../src/storage/Storage.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "../storage/layouts.ts"
import * as Memory from "../storage/memory.ts"
import { infoHashOf, openToWrite } from "../storage/openings.ts"
import { suite } from "../storage/Storage.suite.ts"

const faulty = FaultyStorage.layer({ seed: 7 }).pipe(Layer.provideMerge(Memory.layer()))

suite("faulty, with no faults", Layer.provideMerge(Memory.files, faulty))

const layout = layoutOf(4, ["f", 40])
const content = contentOf(layout)

const openTorrent = Effect.gen(function* () {
  const faults = yield* FaultyStorage.StorageFaults
  const { torrent: held } = yield* MemoryStorage.MemoryMedium
  const torrent = yield* openToWrite(layout)
  const write = (index: number) =>
    torrent.writePiece(pieceOf(layout, index), sliceOf(layout, content, pieceOf(layout, index)))
  return { faults, held: () => held(layout), torrent, write }
})

const outcome = (effect: Effect.Effect<unknown, StorageError>) =>
  Effect.match(effect, { onSuccess: () => "ok", onFailure: (error) => error.reason._tag })

describe("FaultyStorage", () => {
  it.effect("fails the chosen calls, counted from now", () =>
    Effect.gen(function* () {
      const { faults, held, write } = yield* openTorrent
      yield* write(0)
      faults.failNth("write", 1, FaultyStorage.diskFull)
      faults.failNth("write", 2, FaultyStorage.inputOutputError)

      const outcomes = yield* Effect.forEach([1, 2, 3, 4], (index) => outcome(write(index)))

      assert.deepStrictEqual(outcomes, ["ok", "DiskFull", "StorageUnavailable", "ok"])
      assert.deepStrictEqual(piecesOf(layout).map(held().writes), [1, 1, 0, 0, 1, 0, 0, 0, 0, 0])
      assert.deepInclude(faults.counts("write"), { calls: 5, faults: 2, active: 0 })
    }).pipe(Effect.provide(faulty))
  )

  it.effect("fails every call of an operation, and no other one, until it recovers", () =>
    Effect.gen(function* () {
      const { faults, torrent, write } = yield* openTorrent
      yield* write(0)
      faults.failAll("write", FaultyStorage.refused)
      faults.failAll("digest", FaultyStorage.notStored)

      const during = yield* Effect.forEach(
        [write(1), write(1), torrent.flush([0]), Stream.runDrain(torrent.digests([pieceOf(layout, 0)]))],
        outcome
      )
      faults.recover("write")
      const after = yield* Effect.forEach([write(1), Stream.runDrain(torrent.digests([pieceOf(layout, 0)]))], outcome)

      assert.deepStrictEqual(during, ["StorageRefused", "StorageRefused", "ok", "NotStored"])
      assert.deepStrictEqual(after, ["ok", "NotStored"])
    }).pipe(Effect.provide(faulty))
  )

  it.effect("fails the flush of one file, and not that of another", () =>
    Effect.gen(function* () {
      const { faults, held, torrent, write } = yield* openTorrent
      yield* write(0)
      faults.failNth("sync", 0, FaultyStorage.inputOutputError)

      const outcomes = yield* torrent.flush([0, 0])

      assert.deepStrictEqual(
        outcomes.map((each) => ("reason" in each ? each.reason._tag : each.facts.length)),
        ["StorageUnavailable", 4]
      )
      assert.strictEqual(held().writes(0), 1)
      assert.deepInclude(faults.counts("sync"), { calls: 2, faults: 1 })
    }).pipe(Effect.provide(faulty))
  )

  it.effect("fails at random, and alike with the same seed", () => {
    const run = (seed: number) =>
      Effect.gen(function* () {
        const { faults, write } = yield* openTorrent
        faults.failSometimes("write", 0.3, FaultyStorage.diskFull)
        const outcomes = yield* Effect.forEach(Array.from({ length: 200 }), () => outcome(write(0)))
        return outcomes.map((each) => (each === "ok" ? "." : "F")).join("")
      }).pipe(Effect.provide(FaultyStorage.layer({ seed }).pipe(Layer.provideMerge(Memory.layer()))))

    return Effect.gen(function* () {
      const [first, again, other] = yield* Effect.all([run(1), run(1), run(2)])

      assert.strictEqual(first, again)
      assert.notStrictEqual(first, other)
      assert.closeTo(first.split("F").length - 1, 60, 25)
    })
  })

  it.effect("fault 50: leaves half of a piece, which its digest shows", () =>
    Effect.gen(function* () {
      const { faults, held, torrent, write } = yield* openTorrent
      yield* write(1)
      const [before] = yield* Stream.runCollect(torrent.digests([pieceOf(layout, 1)]))
      faults.failNth("write", 0, { ...FaultyStorage.inputOutputError, left: "half" })

      const failed = yield* outcome(write(1))

      const [after] = yield* Stream.runCollect(torrent.digests([pieceOf(layout, 1)]))
      assert.strictEqual(failed, "StorageUnavailable")
      assert.deepStrictEqual(held().file("f")?.slice(4, 8), new Uint8Array([content[4]!, content[5]!, 0, 0]))
      assert.notDeepEqual(after!.sha1, before!.sha1)
    }).pipe(Effect.provide(faulty))
  )

  it.effect("fault 54: loses only the answer of a write", () =>
    Effect.gen(function* () {
      const { faults, held, write } = yield* openTorrent
      faults.failNth("write", 0, { ...FaultyStorage.inputOutputError, left: "all" })

      const failed = yield* outcome(write(0))

      assert.strictEqual(failed, "StorageUnavailable")
      assert.strictEqual(held().writes(0), 1)
    }).pipe(Effect.provide(faulty))
  )

  it.effect("delays by the clock, and counts waiting calls", () =>
    Effect.gen(function* () {
      const { faults, held, write } = yield* openTorrent
      faults.delay("write", "10 seconds")
      const writing = yield* Effect.forkChild(Effect.all([write(0), write(1)], { concurrency: 2 }))
      yield* TestClock.adjust("9 seconds")
      const { active } = faults.counts("write")
      const early = held().writes(0)
      yield* TestClock.adjust("1 second")

      yield* Fiber.join(writing)

      assert.strictEqual(active, 2)
      assert.strictEqual(early, 0)
      assert.strictEqual(held().writes(0), 1)
      assert.deepStrictEqual(faults.counts("write"), { calls: 2, faults: 0, active: 0, mostActive: 2 })
    }).pipe(Effect.provide(faulty))
  )

  it.effect("stores nothing when a delayed write is interrupted", () =>
    Effect.gen(function* () {
      const { faults, held, write } = yield* openTorrent
      faults.delay("write", "10 seconds")
      const writing = yield* Effect.forkChild(write(0))
      yield* TestClock.adjust("5 seconds")

      yield* Fiber.interrupt(writing)

      yield* TestClock.adjust("1 minute")
      assert.strictEqual(held().writes(0), 0)
      assert.strictEqual(faults.counts("write").active, 0)
    }).pipe(Effect.provide(faulty))
  )

  it.effect("fails to open a torrent", () =>
    Effect.gen(function* () {
      const faults = yield* FaultyStorage.StorageFaults
      const storage = yield* Storage
      faults.failNth("open", 0, FaultyStorage.refused)

      const outcomes = yield* Effect.forEach([1, 2], () =>
        outcome(Effect.scoped(storage.open({ infoHash: infoHashOf(layout), layout })))
      )

      assert.deepStrictEqual(outcomes, ["StorageRefused", "ok"])
    }).pipe(Effect.provide(faulty))
  )
})
