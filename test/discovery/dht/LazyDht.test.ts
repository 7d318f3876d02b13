import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, References, Stream } from "effect"
import type { InfoHash } from "../../../src/base/InfoHash.ts"
import { Dht } from "../../../src/discovery/dht/Dht.ts"
import * as LazyDht from "../../../src/discovery/dht/LazyDht.ts"
import * as FakeDht from "./fakeDht.ts"

const infoHash = new Uint8Array(20).fill(1) as InfoHash

/** A DHT that counts how often it was begun and ended. */
const counted = (dht: FakeDht.FakeDht) => {
  const counts = { begun: 0, ended: 0 }
  const layer = Layer.effect(
    Dht,
    Effect.acquireRelease(
      Effect.as(Effect.yieldNow, dht.service).pipe(Effect.tap(() => Effect.sync(() => counts.begun++))),
      () => Effect.sync(() => counts.ended++)
    )
  )
  return { counts, layer: LazyDht.layer(Effect.succeed(layer)) }
}

describe("LazyDht", () => {
  it.effect("begins nothing for who only wants to know its status and port", () =>
    Effect.gen(function* () {
      const { counts, layer } = counted(FakeDht.make())
      yield* Effect.gen(function* () {
        const dht = yield* Dht

        assert.deepStrictEqual(yield* dht.status, { isReadOnly: false })
        assert.isUndefined(dht.portUnsafe("ipv4"))
      }).pipe(Effect.provide(layer))

      assert.deepStrictEqual(counts, { begun: 0, ended: 0 })
    })
  )

  it.effect("begins once for all users, also if one is interrupted, and ends with its layer", () =>
    Effect.gen(function* () {
      const fake = FakeDht.make([{ host: "192.0.2.1", port: 1 }])
      const { counts, layer } = counted(fake)
      yield* Effect.gen(function* () {
        const dht = yield* Dht
        yield* Effect.timeoutOption(dht.addNode({ host: "192.0.2.9", port: 1 }), 0)
        const found = yield* Effect.all(
          [Stream.runCollect(dht.peers(infoHash)), dht.announce(infoHash, { port: 1 }), dht.scrape(infoHash)],
          { concurrency: "unbounded" }
        )

        assert.deepStrictEqual(found, [
          [{ peers: [{ host: "192.0.2.1", port: 1 }], from: FakeDht.node }],
          { nodes: 8 },
          { seeds: 3, downloaders: 2, nodes: 8, answered: 8 }
        ])
        assert.strictEqual((yield* dht.status).ipv4?.nodes, 8)
        assert.strictEqual(dht.portUnsafe("ipv4"), 6_881)
        assert.deepStrictEqual(counts, { begun: 1, ended: 0 })
      }).pipe(Effect.provide(layer))

      assert.deepStrictEqual(counts, { begun: 1, ended: 1 })
    })
  )

  it.effect("keeps nothing of the context of its first user", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const layer = Layer.effect(
        Dht,
        Effect.gen(function* () {
          seen.push(yield* References.CurrentLogAnnotations)
          return FakeDht.make().service
        })
      )
      yield* Effect.gen(function* () {
        const dht = yield* Dht
        yield* Effect.annotateLogs(dht.scrape(infoHash), { torrent: "the first" })
      }).pipe(Effect.provide(LazyDht.layer(Effect.succeed(layer))))

      assert.deepStrictEqual(seen, [{}])
    })
  )

  it.effect("begins again after it could not", () =>
    Effect.gen(function* () {
      let attempts = 0
      const load = Effect.suspend(() => {
        attempts++
        return attempts === 1
          ? Effect.die(new Error("no descriptors"))
          : Effect.succeed(Layer.succeed(Dht, FakeDht.make().service))
      })
      yield* Effect.gen(function* () {
        const dht = yield* Dht

        assert.isTrue(Exit.hasDies(yield* Effect.exit(dht.scrape(infoHash))))
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(dht.scrape(infoHash))))
      }).pipe(Effect.provide(LazyDht.layer(load)))

      assert.strictEqual(attempts, 2)
    })
  )
})
