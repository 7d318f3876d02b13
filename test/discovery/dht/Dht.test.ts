import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as MemoryUdpNetwork from "../../../src/testing/MemoryUdpNetwork.ts"
import { hostOf, port, start, startMany } from "./dhtHosts.ts"

const infoHash = InfoHash.fromHex("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")!

/** Runs an effect while time passes. */
const during = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

const network = MemoryUdpNetwork.layer({ latency: "50 millis" })

describe("Dht", () => {
  it.effect("finds the peer that another node announced", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(20)

      const announced = yield* during(nodes[3]!.announce(infoHash, { port: 7000 }))
      const found = yield* during(Stream.runCollect(nodes[15]!.peers(infoHash)))

      assert.strictEqual(announced.nodes, 8)
      assert.deepStrictEqual(
        found.flatMap(({ peers }) => peers),
        [{ host: hostOf(3), port: 7000 }]
      )
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("announces at the end of a search, with the port that the datagrams come from", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(12)

      yield* during(Stream.runDrain(nodes[1]!.peers(infoHash, { announce: { port: 1, impliedPort: true } })))
      const found = yield* during(Stream.runCollect(nodes[2]!.peers(infoHash)))

      assert.deepStrictEqual(
        found.flatMap(({ peers }) => peers),
        [{ host: hostOf(1), port }]
      )
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("estimates how many seeds and downloaders there are", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(30)
      for (const [index, node] of nodes.entries()) {
        if (index < 20) yield* during(node.announce(infoHash, { port: 7000, isSeed: index < 5 }))
      }

      const { downloaders, nodes: answers, seeds } = yield* during(nodes[25]!.scrape(infoHash))

      assert.strictEqual(seeds, 5)
      assert.strictEqual(downloaders, 15)
      assert.isAtLeast(answers, 8)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("ends at once, with nothing, if it knows nobody", () =>
    Effect.gen(function* () {
      const node = yield* start(hostOf(0), { bootstrap: [] })

      const found = yield* during(Stream.runCollect(node.peers(infoHash)))
      const announced = yield* during(node.announce(infoHash, { port: 7000 }))
      const scraped = yield* during(node.scrape(infoHash))

      assert.deepStrictEqual(found, [])
      assert.deepStrictEqual(announced, { nodes: 0 })
      assert.deepStrictEqual(scraped, { seeds: 0, downloaders: 0, nodes: 0 })
    }).pipe(Effect.scoped, Effect.provide(network))
  )
})
