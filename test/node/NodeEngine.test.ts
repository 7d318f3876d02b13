import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as DiffieHellman from "../../src/connect/mse/DiffieHellman.ts"
import { Tracker } from "../../src/discovery/tracker/Tracker.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"
import { request } from "../discovery/tracker/requests.ts"
import * as Disk from "../storage/disk.ts"

/** What an announce to a UDP tracker that is not there comes to: it must fail or wait, and not die. */
const announce = Effect.gen(function* () {
  const tracker = yield* Tracker
  const exit = yield* Effect.exit(Effect.timeoutOption(tracker.announce("udp://127.0.0.1:9/", request), "300 millis"))
  return Exit.isFailure(exit) && Cause.hasDies(exit.cause) ? Cause.pretty(exit.cause) : "well"
})

class First extends Context.Service<First, string>()("test/node/NodeEngine/First") {}
class Second extends Context.Service<Second, string>()("test/node/NodeEngine/Second") {}

describe("NodeEngine.layerServices", () => {
  it.live("of two engines in one tree of layers share the socket for UDP trackers", () =>
    Effect.gen(function* () {
      const directory = yield* Disk.temporaryFolder
      const servicesOf = (name: string) => NodeEngine.layerServices({ directory: Path.join(directory, name) })
      const both = Layer.merge(
        Layer.provide(Layer.effect(First, announce), servicesOf("a")),
        Layer.provide(Layer.effect(Second, announce), servicesOf("b"))
      )

      const outcomes = yield* Effect.provide(Effect.all([First, Second]), both)

      assert.deepStrictEqual(outcomes, ["well", "well"])
    }).pipe(Effect.scoped)
  )

  it.live("agree on keys by Node's own Diffie-Hellman", () =>
    Effect.gen(function* () {
      const directory = yield* Disk.temporaryFolder

      const used = yield* Effect.provide(DiffieHellman.DiffieHellman, NodeEngine.layerServices({ directory }))

      assert.notStrictEqual(used, DiffieHellman.bigInt)
    }).pipe(Effect.scoped)
  )
})
