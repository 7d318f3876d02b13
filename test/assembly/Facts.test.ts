import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Facts from "../../src/assembly/Facts.ts"
import * as Signal from "../../src/base/Signal.ts"
import { lasting } from "../base/lasting.ts"
import { piece } from "./pieces.ts"

const stored = (index: number): Facts.Fact => ({ _tag: "Stored", piece: piece(index) })

const settle = Effect.repeat(Effect.yieldNow, { times: 20 })

/** Reads facts in its own fiber, and notes their pieces. */
const reading = Effect.fnUntraced(function* (facts: Facts.Facts, act: (index: number) => void = () => {}) {
  const read: Array<number> = []
  const defects: Array<unknown> = []
  const reader = Facts.read(facts, (fact) => {
    if (fact._tag !== "Stored") return
    act(fact.piece)
    read.push(fact.piece)
  })
  const fiber = yield* Effect.forkChild(
    Effect.provideService(lasting(reader), Signal.Defects, (defect) => Effect.sync(() => void defects.push(defect)))
  )
  return { fiber, read, defects }
})

describe("Facts", () => {
  it.effect("are read in the order in which they happened, including those before the reader began", () =>
    Effect.gen(function* () {
      const facts = Facts.make()
      yield* Facts.offer(facts, stored(3))
      yield* Facts.offer(facts, stored(1))

      const { read } = yield* reading(facts)
      yield* settle
      yield* Facts.offer(facts, stored(2))
      yield* settle

      assert.deepStrictEqual(read, [3, 1, 2])
    })
  )

  it.effect("wait for room while the queue is full, and none is lost", () =>
    Effect.gen(function* () {
      const facts = Facts.make()
      const all = Array.from({ length: Facts.capacity + 3 }, (_, index) => index)
      const reports = yield* Effect.forkChild(
        Effect.forEach(all, (index) => Facts.offer(facts, stored(index)), { discard: true })
      )
      yield* settle
      const wasWaiting = reports.pollUnsafe() === undefined

      const { read } = yield* reading(facts)
      yield* Fiber.join(reports)
      yield* settle

      assert.isTrue(wasWaiting)
      assert.deepStrictEqual(read, all)
    })
  )

  it.effect("are all read when their reader is interrupted, including those that wait for room", () =>
    Effect.gen(function* () {
      const facts = Facts.make()
      const { fiber, read } = yield* reading(facts)
      yield* settle
      const all = Array.from({ length: Facts.capacity + 2 }, (_, index) => index)
      // In one turn, so that the reader has not seen any of them yet.
      for (const index of all) yield* Effect.forkChild(Facts.offer(facts, stored(index)), { startImmediately: true })
      const before = read.length

      yield* Fiber.interrupt(fiber)

      assert.strictEqual(before, 0)
      assert.deepStrictEqual(read, all)
    })
  )

  it.effect("make nobody wait once their reader has ended, even if it died", () =>
    Effect.gen(function* () {
      const facts = Facts.make()
      const { defects, fiber } = yield* reading(facts, () => {
        throw new Error("a bug")
      })
      yield* Facts.offer(facts, stored(0))
      yield* settle
      yield* Fiber.interrupt(fiber)

      for (let index = 0; index <= Facts.capacity; index++) yield* Facts.offer(facts, stored(index))

      assert.strictEqual(defects.length, 1)
    })
  )
})
