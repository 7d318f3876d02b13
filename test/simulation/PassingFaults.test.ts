import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

const listen = { port: 6_881 }

const test = (name: string, program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.effect(name, () => Swarms.use({ seed, engine: { listen }, link: { latency: "10 millis" } }, program))

/** A seed of everything in this world, and a download from it in another. */
const pair = Effect.fnUntraced(function* (world: Swarms.World) {
  const stored = Bitfield.full(small.metainfo.layout.geometry.pieceCount)
  const giver = yield* world.download(small, { seed: true, from: { stored, resume: undefined } })
  yield* world.advance("1 second")
  const second = yield* world.beside()
  const taker = yield* second.download(small, { peers: [{ host: world.host, ...listen }] })
  return { giver, second, taker }
})

describe("a fault that passes", () => {
  for (const nth of [0, 1, 5, 11]) {
    test(`in read ${nth} of the only seed costs the download some seconds`, (world) =>
      Effect.gen(function* () {
        world.faults.failNth("read", nth, FaultyStorage.inputOutputError)
        const { second, taker } = yield* pair(world)

        const isComplete = yield* world.until(taker.isComplete, "20 seconds")

        assert.isTrue(isComplete)
        assert.isTrue((yield* second.summary(taker)).isRight)
      }))
  }

  test("of the only seed that lasts an hour costs the download at most ten minutes more", (world) =>
    Effect.gen(function* () {
      world.faults.failAll("read", FaultyStorage.inputOutputError)
      const { taker } = yield* pair(world)
      yield* world.advance("1 hour")
      world.faults.recover()

      const isComplete = yield* world.until(taker.isComplete, "12 minutes")

      assert.isTrue(isComplete)
    }))

  test("that made the only seed lose its files ends when they are back, and pieces are announced again", (world) =>
    Effect.gen(function* () {
      world.faults.failAll("read", FaultyStorage.notStored)
      const { giver, taker } = yield* pair(world)
      yield* world.advance("1 hour")
      const before = yield* giver.torrent.status
      world.faults.recover()

      const isComplete = yield* world.until(taker.isComplete, "12 minutes")

      assert.isAbove(before.unreadablePieces, 0)
      assert.isTrue(isComplete)
      assert.strictEqual((yield* giver.torrent.status).unreadablePieces, 0)
      const recovered = giver.events.flatMap((event) => (event._tag === "ReadRecovered" ? [event.piece] : []))
      assert.strictEqual(new Set(recovered).size, before.unreadablePieces)
    }))
})
