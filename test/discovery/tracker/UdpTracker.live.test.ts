import { assert, layer } from "@effect/vitest"
import type Server from "bittorrent-tracker/server"
import * as Effect from "effect/Effect"
import { Tracker } from "../../../src/discovery/tracker/Tracker.ts"
import * as NodeTracker from "../../../src/node/NodeTracker.ts"
import * as Suite from "./Tracker.suite.ts"

const server = { udp: { type: "udp4" } } as const
const portOf = (server: Server) => Suite.portOf(server.udp4)

Suite.suite("UdpTracker against a real tracker", NodeTracker.layer, {
  server,
  urlOf: (server) => `udp://127.0.0.1:${portOf(server)}/announce?passkey=x`
})

layer(NodeTracker.layer, { excludeTestServices: true })("UdpTracker over sockets", (it) => {
  it.effect("announces to a tracker given by name", () =>
    Effect.gen(function* () {
      const port = portOf(yield* Suite.realTracker(server))
      const tracker = yield* Tracker

      const response = yield* tracker.announce(`udp://localhost:${port}`, Suite.announceOf(1, "started"))

      assert.deepStrictEqual(response.peers, [{ host: "127.0.0.1", port: 7001 }])
    })
  )
})
