/**
 * Nodes of the DHT as a program runs them, on hosts of a network in memory.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { Dht } from "../../../src/discovery/dht/Dht.ts"
import * as DhtProgram from "../../../src/discovery/dht/DhtProgram.ts"
import * as DhtStore from "../../../src/discovery/dht/DhtStore.ts"
import { UdpPort } from "../../../src/network/Transport.ts"
import * as UdpHub from "../../../src/network/UdpHub.ts"
import * as MemoryUdpNetwork from "../../../src/testing/MemoryUdpNetwork.ts"

/** The port of every node. */
export const port = 6881

/** A host for each number, each in a network of its own. */
export const hostOf = (number: number): string => `${20 + number}.${(number * 7) % 256}.${(number * 13) % 256}.9`

/** Starts the node of a host in the current network and scope. */
export const start = Effect.fnUntraced(function* (
  host: string,
  options: DhtProgram.DhtOptions & { readonly other?: string; readonly store?: Layer.Layer<DhtStore.DhtStore> } = {}
) {
  const { other, store = DhtStore.layerMemory(), ...rest } = options
  const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
  const hub = UdpHub.layer({ port }).pipe(
    Layer.provide(MemoryUdpNetwork.host(host, other)),
    Layer.provide(Layer.succeed(MemoryUdpNetwork.MemoryUdpNetwork, network))
  )
  const families = other === undefined ? ([host.includes(":") ? "ipv6" : "ipv4"] as const) : undefined
  const layer = DhtProgram.layer({ families, ...rest }).pipe(Layer.provide(store), Layer.provide(hub))
  return Context.get(yield* Layer.build(layer), Dht)
})

/**
 * Starts the DHT of a program that binds UDP to several local addresses. `passes` hears of each datagram, with the local
 * address that it is sent from, and says whether it leaves the machine.
 */
export const startAt = Effect.fnUntraced(function* (
  hosts: ReadonlyArray<string>,
  options: DhtProgram.DhtOptions & {
    readonly passes?: (host: string, payload: Uint8Array) => boolean
    readonly store?: Layer.Layer<DhtStore.DhtStore>
  } = {}
) {
  const { passes = () => true, store = DhtStore.layerMemory(), ...rest } = options
  const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
  const ports = Layer.succeed(
    UdpPort,
    UdpPort.of({
      bind: (address) =>
        Effect.map(network.host(address.host).bind(address), (socket) => ({
          ...socket,
          sendUnsafe: (payload, to) => {
            if (passes(address.host, payload)) socket.sendUnsafe(payload, to)
          }
        }))
    })
  )
  const hub = Layer.provide(UdpHub.layer({ port, host: hosts }), ports)
  const layer = DhtProgram.layer(rest).pipe(Layer.provide(store), Layer.provide(hub))
  return Context.get(yield* Layer.build(layer), Dht)
})

/** Starts `count` nodes that know the first one, and lets them join and take ids that suit their hosts. */
export const startMany = Effect.fnUntraced(function* (count: number, options: DhtProgram.DhtOptions = {}) {
  const bootstrap = [{ host: hostOf(0), port }]
  const nodes = yield* Effect.forEach(
    Array.from({ length: count }, (_, index) => index),
    (index) => start(hostOf(index), { bootstrap: index === 0 ? [] : bootstrap, ...options })
  )
  yield* TestClock.adjust("3 minutes")
  return nodes
})
