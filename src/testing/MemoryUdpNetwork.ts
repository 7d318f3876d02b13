/**
 * UDP in memory: hosts that send each other datagrams, driven by Effect's `Clock`. Deterministic: losses follow from
 * one seed, and a datagram arrives after the latency, in order, or after a turn of the scheduler if there is none. No
 * queue can overflow: a port without a sink loses what arrives.
 *
 * Addresses are only names. Payloads passed to a sink are in one scratch buffer, at changing offsets, and are
 * overwritten when the sink returns, so a kept view or a forgotten `byteOffset` shows at once.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Prng from "../base/Prng.ts"
import type { DatagramSink, UdpSocket } from "../network/Transport.ts"
import * as Transport from "../network/Transport.ts"
import { ConnectionError, UdpPort } from "../network/Transport.ts"
import * as MemoryConnection from "./MemoryConnection.ts"
import * as Timeline from "./Timeline.ts"

/** What a network is like. */
export interface Options {
  /** Every random choice follows from it. Default 1. */
  readonly seed?: number | undefined
  /** From one host to another, one way. Default: none. */
  readonly latency?: Duration.Input | undefined
  /** Share of the datagrams that never arrive, from 0 to 1. Default 0. */
  readonly lossRate?: number | undefined
}

/** A simulated network of UDP ports. */
export class MemoryUdpNetwork extends Context.Service<
  MemoryUdpNetwork,
  {
    /**
     * The ports of the host at `address`, which binds at that address whatever `host` it is asked to bind at. If it has
     * another address, of another family, what is to be bound at a `host` of that family is bound there.
     */
    readonly host: (address: string, other?: string) => Context.Service.Shape<typeof UdpPort>
  }
>()("piecewise/testing/MemoryUdpNetwork") {}

/** The host of the plain `UdpPort` of `layer`. */
export const defaultHost = "127.0.0.1"

/** First of the ports that a host chooses by itself (RFC 6335, section 6). */
const firstEphemeralPort = 49_152

const make = Effect.fnUntraced(function* ({ latency = 0, lossRate = 0, seed = 1 }: Options) {
  const timeline = yield* Timeline.make
  const random = Prng.make(seed)
  const latencyMillis = Duration.toMillis(latency)
  const scratch = new Uint8Array(Transport.maxDatagramBytes + MemoryConnection.maxOffset)
  /** The sink of each bound address. */
  const ports = new Map<string, DatagramSink>()
  let nextPort = firstEphemeralPort

  const ephemeralPort = (host: string): number => {
    while (true) {
      const port = nextPort
      nextPort = port === 65_535 ? firstEphemeralPort : port + 1
      if (!ports.has(PeerAddress.format({ host, port }))) return port
    }
  }

  const bind = Effect.fnUntraced(function* (host: string, port: number) {
    const local: PeerAddress.PeerAddress = { host, port: port === 0 ? ephemeralPort(host) : port }
    const key = PeerAddress.format(local)
    if (ports.has(key)) return yield* new ConnectionError({ address: local, why: `port ${local.port} is in use` })
    const closed = Deferred.makeUnsafe<void, ConnectionError>()
    let isOpen = true
    let sink: DatagramSink | undefined

    const finish = (exit: Exit.Exit<void>) => {
      if (!isOpen) return
      isOpen = false
      ports.delete(key)
      // Last: a fiber that waits for it continues inside the call.
      Deferred.doneUnsafe(closed, exit)
    }

    const arrive: DatagramSink = (payload, from) => {
      const offset = Prng.between(random, 0, MemoryConnection.maxOffset)
      const view = scratch.subarray(offset, offset + payload.length)
      view.set(payload)
      try {
        sink?.(view, from)
      } catch (defect) {
        finish(Exit.die(defect))
      }
      view.fill(MemoryConnection.overwritten)
    }

    yield* Effect.acquireRelease(
      Effect.sync(() => ports.set(key, arrive)),
      () => Effect.sync(() => finish(Exit.void))
    )
    return {
      local,
      receiveUnsafe: (receiver) => {
        if (sink !== undefined) throw new Error("receiveUnsafe was called twice")
        sink = receiver
      },
      sendUnsafe: (payload, to) => {
        if (!isOpen || payload.length > Transport.maxDatagramBytes || random() < lossRate) return
        const deliver = () => ports.get(PeerAddress.format(to))?.(payload, local)
        timeline.scheduleUnsafe(timeline.nowUnsafe() + latencyMillis, deliver)
      },
      closed: Deferred.await(closed)
    } satisfies UdpSocket as UdpSocket
  })

  const isIpv6 = (host: string) => host.includes(":")

  return MemoryUdpNetwork.of({
    host: (address, other = address) =>
      UdpPort.of({
        bind: ({ host, port }) => bind(isIpv6(host) === isIpv6(other) ? other : address, port)
      })
  })
})

/** `UdpPort` of the host at `address`, and at `other` if it has two, in the current network. */
export const host = (address: string, other?: string): Layer.Layer<UdpPort, never, MemoryUdpNetwork> =>
  Layer.effect(
    UdpPort,
    Effect.map(MemoryUdpNetwork, (network) => network.host(address, other))
  )

/** A network of its own, with the `UdpPort` of `defaultHost`. */
export const layer = (options: Options = {}): Layer.Layer<UdpPort | MemoryUdpNetwork> =>
  Layer.provideMerge(host(defaultHost), Layer.effect(MemoryUdpNetwork, make(options)))
