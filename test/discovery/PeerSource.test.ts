import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as PeerSource from "../../src/discovery/PeerSource.ts"

describe("PeerSource.fromAddresses", () => {
  it.effect("tells its addresses once and ends", () =>
    Effect.gen(function* () {
      const addresses = [{ host: "1.2.3.4", port: 6881 }]
      const source = PeerSource.fromAddresses(addresses, "command line")
      const context = { facts: () => ({ uploaded: 0, downloaded: 0, left: 1 }), completed: Effect.never }

      const events = yield* Stream.runCollect(source.peers(context))

      assert.deepStrictEqual(events, [{ _tag: "Peers", source: "command line", addresses }])
    })
  )
})
