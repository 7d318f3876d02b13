import * as Dgram from "node:dgram"
import type { AddressInfo } from "node:net"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as DiffieHellman from "../../src/connect/mse/DiffieHellman.ts"
import { Dht } from "../../src/discovery/dht/Dht.ts"
import { Tracker } from "../../src/discovery/tracker/Tracker.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as NodeDht from "../../src/node/NodeDht.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"
import * as NodeUdpHub from "../../src/node/NodeUdpHub.ts"
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

describe("NodeEngine.layer", () => {
  const host = "127.0.0.1"

  /** The TCP port of an engine, and the UDP port of its DHT, which begins with its first use. */
  const portsOf = Effect.fnUntraced(function* (directory: string, port: number) {
    return yield* Effect.gen(function* () {
      const { listening } = yield* Engine.Engine
      const dht = Option.getOrThrow(yield* Effect.serviceOption(Dht))
      yield* dht.announce(InfoHash.fromHex("17".repeat(20))!, { port: 1 })
      const { ipv4 } = yield* dht.status
      assert.strictEqual(dht.portUnsafe("ipv4"), ipv4?.local.port)
      return { tcp: listening?.port, udp: ipv4?.local.port }
    }).pipe(Effect.provide(NodeEngine.layer({ directory, from: host, listen: { host, port }, dht: { bootstrap: [] } })))
  })

  it.live("BEP 45: has a node of its DHT at each local address of UDP, by one number, and each announces", () =>
    Effect.gen(function* () {
      const directory = yield* Disk.temporaryFolder
      const infoHash = InfoHash.fromHex("a3".repeat(20))!
      const ours = ["127.0.0.1", "127.0.0.2"]
      const hosts = Array.from({ length: 10 }, (_, index) => `127.0.4.${index + 1}`)
      const others = yield* Effect.forEach(hosts, (host) =>
        Effect.map(
          Layer.build(
            Layer.provide(
              NodeDht.layerHub({ bootstrap: host === hosts[0] ? [] : [{ host: hosts[0]!, port: 7_011 }] }),
              NodeUdpHub.layerPort({ host, port: 7_011 })
            )
          ),
          (context) => Context.get(context, Dht)
        )
      )
      const peersOf = (dht: Dht["Service"]) =>
        Effect.map(Stream.runCollect(dht.peers(infoHash)), (found) => found.flatMap(({ peers }) => peers))
      yield* Effect.forEach(others, peersOf, { concurrency: "unbounded" })

      const { found, port, status } = yield* Effect.gen(function* () {
        const { listening } = yield* Engine.Engine
        const dht = Option.getOrThrow(yield* Effect.serviceOption(Dht))
        yield* Stream.runDrain(dht.peers(infoHash, { announce: { port: listening!.port } }))
        return { found: yield* peersOf(others[9]!), port: listening!.port, status: yield* dht.status }
      }).pipe(
        Effect.provide(
          NodeEngine.layer({
            directory,
            listen: { host: "127.0.0.1", port: 0 },
            udp: { host: ours },
            dht: { bootstrap: [{ host: hosts[0]!, port: 7_011 }] }
          })
        )
      )

      const addresses = ours.map((host) => ({ host, port }))
      assert.deepStrictEqual(
        [status.ipv4!, ...status.others!].map(({ local }) => local),
        addresses
      )
      assert.sameDeepMembers(found, addresses)
    }).pipe(Effect.scoped)
  )

  /** A UDP port that another program uses until the scope closes. */
  const taken = Effect.acquireRelease(
    Effect.callback<Dgram.Socket>((resume) => {
      const socket = Dgram.createSocket("udp4")
      socket.bind(0, host, () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.close())
  ).pipe(Effect.map((socket) => (socket.address() as AddressInfo).port))

  it.live("has its DHT at the number of the TCP port, a chosen one or any", () =>
    Effect.gen(function* () {
      const directory = yield* Disk.temporaryFolder

      const any = yield* portsOf(directory, 0)
      const chosen = yield* portsOf(directory, any.tcp!)

      assert.isAbove(any.tcp!, 0)
      assert.strictEqual(any.udp, any.tcp)
      assert.deepStrictEqual(chosen, any)
    }).pipe(Effect.scoped)
  )

  it.live("has its DHT at another number if that is in use, and says at which", () =>
    Effect.gen(function* () {
      const directory = yield* Disk.temporaryFolder
      const port = yield* taken

      const { tcp, udp } = yield* portsOf(directory, port)

      assert.strictEqual(tcp, port)
      assert.isAbove(udp!, 0)
      assert.notStrictEqual(udp, port)
    }).pipe(Effect.scoped)
  )
})
