import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PeerSource from "../../src/discovery/PeerSource.ts"
import * as PeerSources from "../../src/discovery/PeerSources.ts"

const first = PeerSource.fromAddresses([], "first")
const second = PeerSource.fromAddresses([], "second")

const sourcesOf = <E>(layer: Layer.Layer<PeerSources.PeerSources, E>) => Effect.provide(PeerSources.PeerSources, layer)

describe("PeerSources", () => {
  it.effect("contains the given sources in order, or none", () =>
    Effect.gen(function* () {
      const sources = yield* sourcesOf(PeerSources.layer([first, second]))
      const none = yield* sourcesOf(PeerSources.none)

      assert.deepStrictEqual(sources, [first, second])
      assert.deepStrictEqual(none, [])
    })
  )

  it.effect("merges the sources of two layers, and fails if either fails", () =>
    Effect.gen(function* () {
      const broken = Layer.effect(PeerSources.PeerSources, Effect.fail("broken"))

      const sources = yield* sourcesOf(PeerSources.merge(PeerSources.layer([first]), PeerSources.layer([second])))
      const error = yield* Effect.flip(sourcesOf(PeerSources.merge(PeerSources.none, broken)))

      assert.deepStrictEqual(sources, [first, second])
      assert.strictEqual(error, "broken")
    })
  )
})
