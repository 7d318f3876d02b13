import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Overtaking from "../../src/supply/Overtaking.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import * as Resting from "../../src/supply/Resting.ts"
import { geometryOf, piece } from "../assembly/pieces.ts"
import type { ScriptedSupplier } from "./ScriptedSupplier.ts"
import { answer, ask, askAgain, asked, idOf, join } from "./ScriptedSupplier.ts"

/** Measures a supplier: it sends so many blocks a second (0: not measured), and waits for none of them. */
const measure = (supplier: ScriptedSupplier, blocksPerSecond: number) => {
  supplier.pipeline.blocksPerSecond = blocksPerSecond
  if (blocksPerSecond > 0) supplier.pipeline.delay = 1_000 / blocksPerSecond
}

/**
 * Two suppliers that hold both buffers of a torrent of pieces of two blocks, and a third that has nothing to do.
 */
const make = Effect.fnUntraced(function* (options: {
  readonly rates: readonly [number, number, number]
  readonly pieces?: number
  /** What the third has; default: every piece. */
  readonly has?: string
}) {
  const { pieces = 4 } = options
  const assembly = yield* Assembly.make({
    geometry: geometryOf(pieces, 2),
    stored: Bitfield.make(pieces),
    random: Prng.make(1),
    maxActivePieces: 2
  })
  const [one, two, idle] = options.rates.map((rate, key) => {
    const supplier = join(assembly, idOf(key), key === 2 ? options.has : undefined)
    measure(supplier, rate)
    return supplier
  }) as [ScriptedSupplier, ScriptedSupplier, ScriptedSupplier]
  for (const [index, supplier] of [one, two].entries()) {
    Requests.begin(assembly, supplier, piece(index))
    ask(assembly, supplier, 2)
  }
  /** What is requested from the idle one at a time. */
  const overtake = (now: number) => askAgain(assembly, idle, now)
  return { assembly, one, two, idle, overtake }
})

const budget = Effect.provide(BufferBudget.layer())

describe("Overtaking", () => {
  it.effect("requests from a faster peer what slower ones hold up, the latest block first, and each block once", () =>
    Effect.gen(function* () {
      const { overtake } = yield* make({ rates: [0.1, 0.2, 9] })

      const given = [overtake(999), overtake(1_000), overtake(2_000)]

      assert.deepStrictEqual(given, [[], ["0:1", "0:0", "1:1", "1:0"], []])
    }).pipe(budget)
  )

  it.effect("does so although others could start pieces that this peer does not have", () =>
    Effect.gen(function* () {
      const { overtake } = yield* make({ rates: [0.1, 0.2, 9], pieces: 9, has: "**" })

      assert.deepStrictEqual(overtake(1_000), ["0:1", "0:0", "1:1", "1:0"])
    }).pipe(budget)
  )

  it.effect("leaves alone peers that are as fast, and blocks that are expected within a second", () =>
    Effect.gen(function* () {
      const equal = yield* make({ rates: [0.5, 0.5, 0.5] })
      const fast = yield* make({ rates: [9, 9, 90] })
      for (const { one, two } of [fast]) for (const { pipeline } of [one, two]) pipeline.lastArrival = 950

      assert.deepStrictEqual([equal.overtake(1_000), fast.overtake(1_000)], [[], []])
    }).pipe(budget)
  )

  it.effect("takes from a peer of equal rate only blocks that it would not begin to send before", () =>
    Effect.gen(function* () {
      const assembly = yield* Assembly.make({
        geometry: geometryOf(1, 8),
        stored: Bitfield.make(1),
        random: Prng.make(1)
      }).pipe(budget)
      const [one, idle] = [join(assembly, idOf(0)), join(assembly, idOf(1))]
      for (const supplier of [one, idle]) measure(supplier, 1)
      Requests.begin(assembly, one, piece(0))
      ask(assembly, one, 8)
      one.pipeline.lastArrival = 1_000

      // The last one is begun after 7 s. The fourth would be expected after 4 s, and is begun by then.
      assert.deepStrictEqual(askAgain(assembly, idle, 1_000), ["0:7", "0:6", "0:5"])
    })
  )

  it.effect("expects a silent peer to stay silent as long again, and one that has sent nothing to be as slow", () =>
    Effect.gen(function* () {
      const dead = yield* make({ rates: [9, 9, 9] })
      const unknown = yield* make({ rates: [0, 9, 1] })
      unknown.two.pipeline.lastArrival = 950
      const early = unknown.overtake(1_000)
      unknown.two.pipeline.lastArrival = 3_950

      assert.deepStrictEqual(dead.overtake(1_000), ["0:1", "1:1", "0:0", "1:0"])
      assert.deepStrictEqual([early, unknown.overtake(4_000)], [[], ["0:1"]])
    }).pipe(budget)
  )

  it.effect("requests one block from a newcomer to measure it", () =>
    Effect.gen(function* () {
      const { overtake } = yield* make({ rates: [0.1, 0.1, 0] })

      assert.deepStrictEqual([overtake(999), overtake(1_000), overtake(2_000)], [[], ["0:1"], []])
    }).pipe(budget)
  )

  it.effect("fault 44: requests a block from a third peer only if both are silent, and from no fourth", () =>
    Effect.gen(function* () {
      const { assembly, idle, overtake } = yield* make({ rates: [0.1, 0.1, 9] })
      const [third, fourth] = [join(assembly, idOf(3)), join(assembly, idOf(4))]
      for (const supplier of [third, fourth]) measure(supplier, 9)
      const second = overtake(1_000).length
      const early = askAgain(assembly, third, 1_999)

      idle.pipeline.lastPart = 2_500
      const later = askAgain(assembly, third, 3_000)
      const given = askAgain(assembly, third, 3_500)

      assert.deepStrictEqual([second, early, later, given], [4, [], [], ["0:1", "1:1", "0:0", "1:0"]])
      assert.deepStrictEqual(askAgain(assembly, fourth, 9_000), [])
    }).pipe(budget)
  )

  it.effect("cancels the slower answer when the faster one has arrived", () =>
    Effect.gen(function* () {
      const { assembly, idle, one } = yield* make({ rates: [0.1, 0.2, 9] })
      const request = Requests.nextDuplicate(assembly, idle, 1_000)!

      Assembly.received(assembly, idle, request, 1_000)

      assert.deepStrictEqual([one.cancels, asked(one)], [["0:1"], ["0:0"]])
    }).pipe(budget)
  )

  it.effect("leaves alone sole-source pieces, refused ones, and peers that choke or are snubbed", () =>
    Effect.gen(function* () {
      const { assembly, idle, overtake } = yield* make({ rates: [0.1, 0.1, 9] })
      assembly.pool.loans.get(piece(0))!.buffer.soleSource = idOf(0)
      Resting.rest(idle.refused, piece(1), 5_000, 0)
      const refused = overtake(1_000)
      Resting.forgetAll(idle.refused)
      idle.peerChoking = true
      const choked = overtake(1_000)
      idle.peerChoking = false
      RequestPipeline.snub(idle.pipeline)

      assert.deepStrictEqual([refused, choked, overtake(1_000)], [[], [], []])
    }).pipe(budget)
  )

  it.effect("wakes idle peers only if another one is slow", () =>
    Effect.gen(function* () {
      const { assembly, idle, one, two } = yield* make({ rates: [9, 9, 9] })
      const wake = (now: number) => {
        Assembly.idle(assembly, idle)
        Requests.wakeOvertakers(assembly, now)
        return idle.woken
      }
      const early = wake(999)
      for (const { pipeline } of [one, two]) pipeline.lastArrival = 950
      const busy = wake(1_000)
      const late = wake(2_000)
      for (const supplier of [one, two]) answer(assembly, supplier)

      assert.deepStrictEqual([early, busy, late, wake(9_000)], [0, 0, 1, 1])
    }).pipe(budget)
  )

  it.effect("finds out once for all searches of a moment who is slow, and keeps nothing of who left", () =>
    Effect.gen(function* () {
      const { assembly, idle, one, two } = yield* make({ rates: [0.1, 0.2, 9] })
      let looks = 0
      const counted = new Set(assembly.suppliers)
      counted[Symbol.iterator] = function () {
        looks++
        return Set.prototype.values.call(this)
      }
      const search = (now: number) => Overtaking.nextBlock(assembly.slow, counted, idle, () => false, now)

      for (const now of [2_000, 2_000, 2_000, 2_001]) search(now)
      const slow = [...assembly.slow.suppliers]
      yield* Assembly.leave(assembly, one)

      assert.deepStrictEqual([looks, slow], [2, [one, two]])
      assert.deepStrictEqual(assembly.slow.suppliers, [])
    }).pipe(budget)
  )
})
