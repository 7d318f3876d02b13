import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SupplierSources } from "../../src/assembly/SupplierSource.ts"
import * as NodeWebSeeds from "../../src/node/NodeWebSeeds.ts"

describe("NodeWebSeeds", () => {
  it.effect("makes a source for each engine, so that engines share no places", () =>
    Effect.gen(function* () {
      const build = Effect.map(Layer.build(Layer.fresh(NodeWebSeeds.layer)), Context.get(SupplierSources))

      const [[one], [other]] = [yield* build, yield* build]

      assert.isDefined(one)
      assert.isDefined(other)
      assert.isTrue(one !== other)
    })
  )
})
