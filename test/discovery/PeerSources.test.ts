import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as PeerSource from "../../src/discovery/PeerSource.ts"
import * as PeerSources from "../../src/discovery/PeerSources.ts"
import { peerSourceContext } from "./peerSourceContext.ts"

class Directory extends Context.Service<Directory, { readonly name: string }>()("test/Directory") {}

const first = PeerSource.fromAddresses([], "first")
const second = PeerSource.fromAddresses([], "second")

/** The names of the sources of a layer. */
const sourcesOf = <E>(layer: Layer.Layer<PeerSources.PeerSources, E>) =>
  PeerSources.PeerSources.pipe(
    Effect.flatMap((sources) => Effect.forEach(sources, ({ peers }) => Stream.runCollect(peers(peerSourceContext())))),
    Effect.map((events) => events.flat().map(({ source }) => source)),
    Effect.provide(layer)
  )

describe("PeerSources", () => {
  it.effect("contains the given sources in order, or none", () =>
    Effect.gen(function* () {
      const sources = yield* sourcesOf(PeerSources.layer([first, second]))
      const none = yield* sourcesOf(PeerSources.none)

      assert.deepStrictEqual(sources, ["first", "second"])
      assert.deepStrictEqual(none, [])
    })
  )

  it.effect("merges the sources of two layers, and fails if either fails", () =>
    Effect.gen(function* () {
      const broken = Layer.effect(PeerSources.PeerSources, Effect.fail("broken"))

      const sources = yield* sourcesOf(PeerSources.merge(PeerSources.layer([first]), PeerSources.layer([second])))
      const error = yield* Effect.flip(sourcesOf(PeerSources.merge(PeerSources.none, broken)))

      assert.deepStrictEqual(sources, ["first", "second"])
      assert.strictEqual(error, "broken")
    })
  )

  it.effect("provides what its sources need, once for all their runs", () =>
    Effect.gen(function* () {
      const source: PeerSource.PeerSource<"broken", Directory> = {
        peers: () =>
          Stream.fromEffect(Directory.useSync(({ name }) => ({ _tag: "Peers", source: name, addresses: [] })))
      }

      const layer: Layer.Layer<PeerSources.PeerSources, never, Directory> = PeerSources.layer([source, first])
      const sources = yield* sourcesOf(Layer.provide(layer, Layer.succeed(Directory, { name: "ours" })))

      assert.deepStrictEqual(sources, ["ours", "first"])
    })
  )
})
