import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import { blockLength, piece } from "../assembly/pieces.ts"
import { asked, idOf } from "./ScriptedSupplier.ts"
import * as ScriptedTorrent from "./ScriptedTorrent.ts"

describe.each([
  ["", false],
  [" and a storage that verifies", true]
] as const)("Suppliers without a wire%s", (_, verifies) => {
  const world = Effect.provide(ScriptedTorrent.world({ verifies }))

  it.effect("bring a torrent to its end, each with the pieces that it has", () =>
    Effect.gen(function* () {
      const torrent = yield* ScriptedTorrent.make(6, 3)
      const one = yield* torrent.join(1, "*** *")
      const two = yield* torrent.join(2, "  ** *")

      while (!PieceTable.isComplete(torrent.assembly.table)) {
        yield* torrent.answer(one, { count: 2 })
        yield* torrent.answer(two, { count: 1 })
      }

      assert.strictEqual(torrent.facts.filter((fact) => fact.startsWith("Stored")).length, 6)
      assert.isTrue(torrent.isRight())
      assert.isTrue(one.requests.every((name) => "0124".includes(name[0]!)))
      assert.isTrue(two.requests.every((name) => "235".includes(name[0]!)))
      assert.strictEqual(BufferPool.lentCount(torrent.assembly.pool), 0)
    }).pipe(world)
  )

  it.effect("get requests for the rarest piece that they have", () =>
    Effect.gen(function* () {
      const torrent = yield* ScriptedTorrent.make(8, 16, { stored: "****    " })
      yield* torrent.join(1, "      **")
      yield* torrent.join(2, "     ***")

      const seed = yield* torrent.join(3)

      assert.strictEqual(seed.requests.length, 16)
      assert.isTrue(seed.requests.every((name) => name.startsWith("4:")))
    }).pipe(world)
  )

  it.effect("get requests for the last blocks if they are faster, and the slower answer is cancelled", () =>
    Effect.gen(function* () {
      const torrent = yield* ScriptedTorrent.make(1, 3)
      const slow = yield* torrent.join(1)
      const fast = yield* torrent.join(2)
      Object.assign(fast.pipeline, { blocksPerSecond: 90, delay: 10 })
      yield* torrent.advance(1)

      yield* torrent.answer(fast, { count: 3 })

      assert.deepStrictEqual(fast.requests, ["0:2", "0:1", "0:0"])
      assert.deepStrictEqual(slow.cancels, ["0:2", "0:1", "0:0"])
      assert.deepStrictEqual(asked(slow), [])
      assert.deepStrictEqual(torrent.facts, ["Passed 0", "Stored 0"])
    }).pipe(world)
  )

  it.effect("are overtaken if they hold every buffer and are slow", () =>
    Effect.gen(function* () {
      const torrent = yield* ScriptedTorrent.make(4, 2, { cap: 1 })
      const slow = yield* torrent.join(1)
      const fast = yield* torrent.join(2)
      Object.assign(fast.pipeline, { blocksPerSecond: 9, delay: 10 })
      const before = [...fast.requests]

      yield* torrent.advance(1)
      yield* torrent.answer(fast)

      assert.deepStrictEqual(before, [])
      assert.deepStrictEqual(slow.cancels, slow.requests.slice(0, 2).reverse())
      assert.deepStrictEqual(fast.requests.slice(0, 2), slow.cancels)
      assert.strictEqual(torrent.assembly.table.counts.stored, 1)
    }).pipe(world)
  )

  it.effect("are blamed by name if they alone sent a wrong piece, and others have it", () =>
    Effect.gen(function* () {
      const torrent = yield* ScriptedTorrent.make(1, 2)
      const liar = yield* torrent.join(7)
      yield* torrent.join(8)

      yield* torrent.answer(liar, { wrong: true })

      assert.deepStrictEqual(torrent.facts, ["Rejected 0", "Guilty 0 of 7"])
      assert.strictEqual(torrent.assembly.wastedBytes, 2 * blockLength)
    }).pipe(world)
  )

  it.effect("are kept if nobody else has the piece that they sent damaged, which is requested again after 30 s", () =>
    Effect.gen(function* () {
      const torrent = yield* ScriptedTorrent.make(1, 2)
      const only = yield* torrent.join(7)

      yield* torrent.answer(only, { wrong: true })
      const damaged = Assembly.damagedPieces(torrent.assembly)
      yield* torrent.advance(29)
      const early = asked(only)
      yield* torrent.advance(1)
      yield* torrent.answer(only)

      assert.deepStrictEqual([damaged, early], [[0], []])
      assert.deepStrictEqual(torrent.facts, ["Rejected 0", "Damaged 0 of 7", "Passed 0", "Stored 0"])
    }).pipe(world)
  )

  it.effect("fault 40: of several, only the liar is blamed, and only once one of them has sent the right piece", () =>
    Effect.gen(function* () {
      const torrent = yield* ScriptedTorrent.make(1, 2)
      const liar = yield* torrent.join(1)
      const honest = yield* torrent.join(2)
      yield* torrent.answer(liar, { count: 1, wrong: true })
      Object.assign(honest.pipeline, { blocksPerSecond: 9, delay: 10 })
      yield* torrent.advance(1)
      yield* torrent.answer(honest)
      const before = [...torrent.facts]
      yield* torrent.leave(liar)

      yield* torrent.answer(honest)

      assert.deepStrictEqual(before, ["Rejected 0"])
      assert.deepStrictEqual(torrent.facts.slice(1), ["Passed 0", "Guilty 0 of 1", "Stored 0"])
    }).pipe(world)
  )

  it.effect("leave their requests to others", () =>
    Effect.gen(function* () {
      const torrent = yield* ScriptedTorrent.make(2, 2)
      const first = yield* torrent.join(1)
      const second = yield* torrent.join(2, "  ")
      Assembly.gain(torrent.assembly, second, piece(0))
      second.wake()
      yield* torrent.settle
      const before = [...second.requests]

      yield* torrent.leave(first)
      yield* torrent.settle

      assert.deepStrictEqual(first.id, idOf(1))
      assert.deepStrictEqual([before.length, asked(second)], [0, ["0:0", "0:1"]])
    }).pipe(world)
  )
})
