import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Resting from "../../src/supply/Resting.ts"
import { geometryOf, piece } from "../assembly/pieces.ts"
import type { ScriptedSupplier } from "./ScriptedSupplier.ts"
import { ask, askAgain, asked, idOf, join } from "./ScriptedSupplier.ts"

/**
 * Two slow suppliers that hold both buffers of a torrent of four pieces of two blocks, and a third that has nothing to
 * do.
 */
const make = Effect.fnUntraced(function* (options: {
  readonly rates: readonly [number, number, number]
  readonly cap?: number
}) {
  const assembly = yield* Assembly.make({
    geometry: geometryOf(4, 2),
    stored: Bitfield.make(4),
    random: Prng.make(1),
    maxActivePieces: options.cap ?? 2
  })
  const [one, two, idle] = options.rates.map((rate, key) => {
    const supplier = join(assembly, idOf(key))
    supplier.pipeline.blocksPerSecond = rate
    return supplier
  }) as [ScriptedSupplier, ScriptedSupplier, ScriptedSupplier]
  for (const [index, supplier] of [one, two].entries()) {
    yield* Requests.begin(assembly, supplier, piece(index))
    ask(assembly, supplier, 2)
  }
  /** What is requested from the idle one at a time. */
  const overtake = (now: number) => askAgain(assembly, idle, now)
  return { assembly, one, two, idle, overtake }
})

const budget = Effect.provide(BufferBudget.layer())

describe("Overtaking", () => {
  it.effect("requests from a faster peer what slower ones hold up, after a second, and each block once", () =>
    Effect.gen(function* () {
      const { overtake } = yield* make({ rates: [1, 2, 9] })

      const given = [overtake(999), overtake(1_000), overtake(2_000)]

      assert.deepStrictEqual(given, [[], ["0:0", "0:1", "1:0", "1:1"], []])
    }).pipe(budget)
  )

  it.effect("leaves alone a peer unless the other is four times as fast", () =>
    Effect.gen(function* () {
      const { overtake } = yield* make({ rates: [1, 3, 9] })

      assert.deepStrictEqual(overtake(5_000), ["0:0", "0:1"])
    }).pipe(budget)
  )

  it.effect("rates a peer that has not been measured at what it has sent since the request", () =>
    Effect.gen(function* () {
      const { overtake } = yield* make({ rates: [0, 9, 1] })

      const given = [overtake(3_999), overtake(4_000)]

      assert.deepStrictEqual(given, [[], ["0:0", "0:1"]])
    }).pipe(budget)
  )

  it.effect("requests one block from a newcomer to measure it", () =>
    Effect.gen(function* () {
      const { overtake } = yield* make({ rates: [1, 1, 0] })

      const given = [overtake(4_999), overtake(5_000)]

      assert.deepStrictEqual(given, [[], ["0:0"]])
    }).pipe(budget)
  )

  it.effect("cancels the slower answer when the faster one has arrived", () =>
    Effect.gen(function* () {
      const { assembly, idle, one } = yield* make({ rates: [1, 1, 9] })
      const request = Requests.nextDuplicate(assembly, idle, 1_000)!

      Assembly.received(assembly, idle, request, 1_000)

      assert.deepStrictEqual([one.cancels, asked(one)], [["0:0"], ["0:1"]])
    }).pipe(budget)
  )

  it.effect("leaves alone sole-source pieces, refused ones, and peers that choke or are snubbed", () =>
    Effect.gen(function* () {
      const { assembly, idle, overtake } = yield* make({ rates: [1, 1, 9] })
      assembly.pool.loans.get(piece(0))!.buffer.soleSource = idOf(0)
      Resting.rest(idle.refused, piece(1), 5_000, 0)
      const refused = overtake(1_000)
      Resting.forgetAll(idle.refused)
      idle.peerChoking = true
      const choked = overtake(1_000)
      idle.peerChoking = false
      idle.pipeline.isSnubbed = true

      assert.deepStrictEqual([refused, choked, overtake(1_000)], [[], [], []])
    }).pipe(budget)
  )

  it.effect("wakes a peer that has nothing to request, but not while a buffer is free", () =>
    Effect.gen(function* () {
      const woken: Array<number> = []
      for (const cap of [2, 3]) {
        const { assembly, idle, overtake } = yield* make({ rates: [1, 1, 9], cap })
        Assembly.idle(assembly, idle)
        Requests.wakeOvertakers(assembly)
        woken.push(idle.woken, overtake(1_000).length)
      }

      assert.deepStrictEqual(woken, [1, 4, 0, 0])
    }).pipe(budget)
  )
})
