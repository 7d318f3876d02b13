import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as PeerSource from "../../src/discovery/PeerSource.ts"
import { peerSourceContext } from "./peerSourceContext.ts"

describe("PeerSource.fromAddresses", () => {
  it.effect("emits its addresses once and ends", () =>
    Effect.gen(function* () {
      const addresses = [{ host: "1.2.3.4", port: 6881 }]
      const source = PeerSource.fromAddresses(addresses, "command line")

      const events = yield* Stream.runCollect(source.peers(peerSourceContext()))

      assert.deepStrictEqual(events, [{ _tag: "Peers", source: "command line", addresses }])
    })
  )
})
