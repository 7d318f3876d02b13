import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import * as Monotonic from "../../../src/base/Monotonic.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as DhtLimits from "../../../src/discovery/dht/DhtLimits.ts"
import * as DhtMachine from "../../../src/discovery/dht/DhtMachine.ts"
import * as DhtNode from "../../../src/discovery/dht/DhtNode.ts"
import * as Krpc from "../../../src/discovery/dht/Krpc.ts"
import * as NodeId from "../../../src/discovery/dht/NodeId.ts"
import { UdpPort } from "../../../src/network/Transport.ts"
import * as UdpHub from "../../../src/network/UdpHub.ts"
import * as MemoryUdpNetwork from "../../../src/testing/MemoryUdpNetwork.ts"
import { hostOf, port } from "./dhtHosts.ts"

const prng = Prng.make(8)
const bytes = (length: number) => Uint8Array.from({ length }, () => Prng.integer(prng, 256))

/** A ping of a node that is not known, which is asked in turn. */
const ping = () =>
  Krpc.encodeQuery({
    transaction: Uint8Array.of(1),
    id: NodeId.random(prng),
    isReadOnly: false,
    question: { _tag: "ping" }
  })

describe("DhtNode", () => {
  it.effect("fault 59: logs what it throws by a fault of its own, and keeps the socket and its work", () => {
    const logged: Array<string> = []
    const logger = Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])
    return Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
      const hub = yield* Effect.provideService(UdpHub.make({ port }), UdpPort, network.host(hostOf(0)))
      let isBroken = false
      const machine = DhtMachine.make({
        family: "ipv4",
        id: NodeId.random(prng),
        limits: DhtLimits.defaults,
        random: () => 0.5,
        // Every query needs some.
        entropy: (length) => {
          if (isBroken) throw new Error("no entropy")
          return bytes(length)
        },
        now: Monotonic.nowUnsafe(clock)
      })
      const own = { hub, machine, host: "0.0.0.0", clock }
      const node = yield* DhtNode.make({ ...own, others: () => {}, onFirst: () => {} })
      yield* hub.claim("dht", node.receiveUnsafe)
      const stranger = yield* network.host(hostOf(1)).bind({ host: "0.0.0.0", port })
      const answers: Array<Krpc.Message["_tag"]> = []
      stranger.receiveUnsafe((payload) => {
        const message = Krpc.decode(payload)
        if (message._tag === "Success") answers.push(message.success._tag)
      })
      const toNode = { host: hostOf(0), port }
      yield* TestClock.adjust("1 second")

      isBroken = true
      node.act((now) => DhtMachine.bootstrap(machine, [{ host: hostOf(2), port }], now))
      const search = yield* node.search({ target: NodeId.random(prng), wantsPeers: true }, () => {})
      for (let minute = 0; minute < 10; minute++) {
        stranger.sendUnsafe(ping(), toNode)
        yield* TestClock.adjust("1 minute")
      }
      const atFault = logged.length
      isBroken = false
      answers.length = 0
      stranger.sendUnsafe(ping(), toNode)
      yield* TestClock.adjust("1 minute")

      assert.isUndefined(search)
      assert.include(logged[0], "no entropy")
      assert.isAtLeast(atFault, 2)
      assert.isAtMost(atFault, 11)
      assert.isTrue(node.local() !== undefined)
      // Its answer, and its own question.
      assert.includeMembers(answers, ["Response", "Query"])
    }).pipe(Effect.scoped, Effect.provide([logger, MemoryUdpNetwork.layer()]))
  })
})
