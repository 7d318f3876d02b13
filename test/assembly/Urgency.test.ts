import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Urgency from "../../src/assembly/Urgency.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import { answer, ask, asked, idOf, join } from "../supply/ScriptedSupplier.ts"
import { assemblyOf, begin, budget } from "./assemblies.ts"
import { geometryOf, piece } from "./pieces.ts"

const alice = idOf(1)
const bob = idOf(2)
const carol = idOf(3)

const reader = { name: "reader" }
const other = { name: "other" }

const due = (assembly: Assembly.Assembly, owner: object, ...times: ReadonlyArray<readonly [number, number]>) =>
  Assembly.setDeadlines(
    assembly,
    owner,
    times.map(([index, at]) => ({ piece: piece(index), at }))
  )

const stateOf = (assembly: Assembly.Assembly, index: number) => PieceTable.stateOf(assembly.table, piece(index))

describe("a piece with a deadline", () => {
  it.effect("has its blocks requested before those of other active pieces, by every supplier that has it", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 4))
      const [one, two, three] = [join(assembly, alice), join(assembly, bob), join(assembly, carol, "** ")]
      begin(assembly, one, 0)
      ask(assembly, one, 1)
      begin(assembly, two, 1)
      for (const { pipeline } of [one, two, three]) pipeline.depth = 2
      due(assembly, reader, [2, 0])

      Requests.refill(assembly, one, 0)
      Requests.refill(assembly, two, 0)
      Requests.refill(assembly, three, 0)

      assert.deepStrictEqual(
        [asked(one), asked(two)],
        [
          ["0:0", "2:0"],
          ["2:1", "2:2"]
        ]
      )
      assert.deepStrictEqual(asked(three), ["0:1", "0:2"])
    }).pipe(budget)
  )

  it.effect(
    "is the next to have a block requested although all buffers are lent: the least complete one is given up",
    () =>
      Effect.gen(function* () {
        const assembly = yield* assemblyOf(geometryOf(5, 4), { cap: 3 })
        const [one, two] = [join(assembly, alice), join(assembly, bob)]
        for (const [index, blocks] of [
          [0, 2],
          [1, 1],
          [2, 3]
        ] as const) {
          begin(assembly, one, index)
          ask(assembly, one, blocks)
          answer(assembly, one)
        }
        ask(assembly, two, 2)
        const before = asked(two)
        for (const { pipeline } of [one, two]) pipeline.depth = 3

        due(assembly, reader, [4, 0])
        Requests.refill(assembly, one, 0)

        assert.deepStrictEqual(before, ["0:2", "0:3"])
        assert.deepStrictEqual(one.requests, ["4:0", "4:1", "4:2"])
        assert.deepStrictEqual(
          [0, 1, 2, 4].map((index) => stateOf(assembly, index)),
          ["active", "missing", "active", "active"]
        )
        assert.strictEqual(assembly.pool.loans.size, 3)
      }).pipe(budget)
  )

  it.effect("cancels and releases the requests of the piece that gives up its buffer", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 4), { cap: 1 })
      const [one, two] = [join(assembly, alice), join(assembly, bob)]
      begin(assembly, one, 0)
      ask(assembly, one, 2)
      ask(assembly, two, 1)
      two.pipeline.depth = 2

      due(assembly, reader, [2, 0])
      Requests.refill(assembly, two, 0)

      assert.deepStrictEqual([one.cancels, two.cancels], [["0:0", "0:1"], ["0:2"]])
      assert.deepStrictEqual([asked(one), asked(two)], [[], ["2:0", "2:1"]])
    }).pipe(budget)
  )

  it.effect("takes no buffer from a piece that is complete, urgent itself, or put first", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(4, 1), { cap: 3 })
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      ask(assembly, one, 1)
      answer(assembly, one)
      begin(assembly, one, 1)
      begin(assembly, one, 2)
      Assembly.putFirst(assembly, [piece(1)])

      due(assembly, reader, [2, 0], [3, 1])
      Requests.refill(assembly, one, 0)

      assert.deepStrictEqual(
        [0, 1, 2, 3].map((index) => stateOf(assembly, index)),
        ["complete", "active", "active", "missing"]
      )
      assert.sameMembers(one.requests, ["1:0", "2:0"])
    }).pipe(budget)
  )

  it.effect("waits for a free buffer until it is urgent, and takes that of a piece that is due later before that", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(4, 2), { cap: 2 })
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      begin(assembly, one, 1)
      ask(assembly, one, 4)
      const later = Urgency.urgentWithin + 1
      due(assembly, reader, [1, later + 9], [2, later])

      Requests.refill(assembly, one, 0)
      const before = stateOf(assembly, 2)
      Requests.refill(assembly, one, 1)
      const urgent = [0, 1, 2].map((index) => stateOf(assembly, index))
      due(assembly, other, [3, 0], [0, 0])
      Requests.refill(assembly, one, 1)

      assert.strictEqual(before, "missing")
      // Without a deadline it can wait longer than with a late one.
      assert.deepStrictEqual(urgent, ["missing", "active", "active"])
      assert.deepStrictEqual(
        [0, 1, 2, 3].map((index) => stateOf(assembly, index)),
        ["missing", "missing", "active", "active"]
      )
    }).pipe(budget)
  )

  it.effect("wakes idle suppliers when it is set, and is taken by one that finds every buffer lent", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2), { cap: 1 })
      const [one, two] = [join(assembly, alice), join(assembly, bob)]
      begin(assembly, one, 0)
      ask(assembly, one, 2)
      Requests.refill(assembly, two, 0)
      const isIdle = assembly.idleSuppliers.has(two)
      const { woken } = two

      due(assembly, reader, [1, 0])
      Requests.refill(assembly, two, 0)

      assert.isTrue(isIdle)
      assert.strictEqual(two.woken, woken + 1)
      assert.deepStrictEqual(two.requests, ["1:0", "1:1"])
    }).pipe(budget)
  )

  it.effect("is neither started by nor requested from a supplier that must not: snubbed, choking, or on trial", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(4, 2), { cap: 2 })
      const [one, two, three] = [join(assembly, alice), join(assembly, bob), join(assembly, carol)]
      begin(assembly, one, 0)
      ask(assembly, one, 1)
      ask(assembly, two, 1)
      RequestPipeline.expire(two.pipeline, 10_000)
      three.peerChoking = true
      three.allowedFast.add(piece(3))
      due(assembly, reader, [2, 10_000])

      Requests.refill(assembly, two, 10_000)
      Requests.refill(assembly, three, 10_000)

      assert.strictEqual(stateOf(assembly, 2), "missing")
      assert.notInclude(two.requests, "2:0")
      assert.deepStrictEqual(three.requests, ["3:0", "3:1"])
    }).pipe(budget)
  )

  it.effect("starts no piece while the storage takes no writes, and leaves every buffer where it is", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2), { cap: 1 })
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      Assembly.setPaused(assembly, true)
      due(assembly, reader, [1, 0])

      Requests.refill(assembly, one, 0)

      assert.deepStrictEqual(
        [0, 1].map((index) => stateOf(assembly, index)),
        ["active", "missing"]
      )
      assert.deepStrictEqual(one.requests, ["0:0", "0:1"])
    }).pipe(budget)
  )

  it.effect("has a block that a slow supplier holds up requested from a faster one that has other blocks to send", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 4))
      const [slow, fast] = [join(assembly, alice), join(assembly, bob)]
      begin(assembly, slow, 0)
      ask(assembly, slow, 4)
      begin(assembly, fast, 1)
      ask(assembly, fast, 1)
      answer(assembly, fast, { now: 10 })
      const now = 5_000
      due(assembly, reader, [0, now])

      Requests.refill(assembly, fast, now)

      assert.match(fast.requests[0]!, /^0:/)
      assert.include(fast.requests, "1:1")
    }).pipe(budget)
  )

  it.effect("does not make its supplier the culprit if its own piece was to come from it alone", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2), { cap: 1 })
      const [one, two] = [join(assembly, alice), join(assembly, bob)]
      const unsent = new Map()
      Assembly.distrustOf(assembly).soleSourcePieces.set(piece(0), unsent)
      begin(assembly, one, 0)
      ask(assembly, one, 1)

      due(assembly, reader, [2, 0])
      Requests.refill(assembly, two, 0)

      assert.deepStrictEqual(
        [0, 2].map((index) => stateOf(assembly, index)),
        ["missing", "active"]
      )
      assert.strictEqual(unsent.size, 0)
    }).pipe(budget)
  )
})
