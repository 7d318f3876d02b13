import * as Dgram from "node:dgram"
import * as Os from "node:os"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import * as NodeUdpPort from "../../src/network/provider/node/NodeUdpPort.ts"
import * as Transport from "../../src/network/Transport.ts"
import { UdpPort } from "../../src/network/Transport.ts"
import * as Suite from "./Transport.suite.ts"
import * as UdpSuite from "./UdpPort.suite.ts"

const medium = (host: string): UdpSuite.UdpMedium => ({ layer: NodeUdpPort.layer, hosts: [host, host], test: it.live })

UdpSuite.suite("Node, IPv4", medium("127.0.0.1"))

const hasLoopback6 = Object.values(Os.networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"))
if (hasLoopback6) UdpSuite.suite("Node, IPv6", medium("::1"))

/** UDP sockets of this process. */
const handles = Effect.sync(() => process.getActiveResourcesInfo().filter((name) => name === "UDPWrap").length)

describe("NodeUdpPort", () => {
  it.live.each([
    [{ host: "192.0.2.1", port: 0 }, "address is not available on this machine"],
    [{ host: "127.0.0.1", port: 70_000 }, "port is not valid"],
    [{ host: "no-such-host.invalid", port: 0 }, /^host not found$|^host name lookup failed$/]
  ] as const)("says why it cannot bind %o, and leaves no socket", ([address, why]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip((yield* UdpPort).bind(address))

      assert.match(error.message, typeof why === "string" ? new RegExp(`^${why}$`) : why)
      yield* Suite.eventually(Effect.map(handles, (now) => now === 0))
    }).pipe(Effect.provide(NodeUdpPort.layer))
  )

  it.live("leaves no socket when its scope closes", () =>
    Effect.gen(function* () {
      const bind = Effect.flatMap(UdpPort, (udp) => udp.bind({ host: "127.0.0.1", port: 0 }))
      const whileOpen = yield* Effect.scoped(Effect.andThen(bind, handles))

      yield* Suite.eventually(Effect.map(handles, (now) => now === 0))
      assert.strictEqual(whileOpen, 1)
    }).pipe(Effect.provide(NodeUdpPort.layer))
  )

  it.live("drops what would wait beyond its queue, until the queue has been sent", () =>
    Effect.gen(function* () {
      const send = vi.spyOn(Dgram.Socket.prototype, "send")
      yield* Effect.addFinalizer(() => Effect.sync(() => send.mockRestore()))
      const socket = yield* (yield* UdpPort).bind({ host: "127.0.0.1", port: 0 })
      const payload = new Uint8Array(60_000)
      const burst = () => {
        send.mockClear()
        for (let index = 0; index < 1000; index++) socket.sendUnsafe(payload, socket.local)
        return send.mock.calls.length
      }
      const most = Math.floor(Transport.maxQueuedBytes / payload.length)

      const first = burst()
      yield* Suite.eventually(Effect.sync(() => burst() === most))

      assert.strictEqual(first, most)
    }).pipe(Effect.provide(NodeUdpPort.layer))
  )
})
