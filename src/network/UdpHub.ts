/**
 * One UDP socket a family, or one for each of the local addresses that are to be used, for everything that speaks over
 * UDP: trackers (BEP 15), the DHT (BEP 5) and uTP (BEP 29). So others know us by one port, and one port needs to be opened
 * or mapped. With an engine that listens it is the number of its TCP port (`follow`). What arrives is told apart by its
 * first byte, and goes to whoever has claimed that protocol; what nobody has claimed is dropped and counted.
 *
 * Leaves to the protocols to look whether a datagram is what it seems to be.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RcMap from "effect/RcMap"
import * as Scope from "effect/Scope"
import type * as CompactPeers from "../base/CompactPeers.ts"
import * as Descriptors from "../base/Descriptors.ts"
import * as Environment from "../base/Environment.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { UdpSocket } from "./Transport.ts"
import { ConnectionError, UdpPort } from "./Transport.ts"

export type { Family } from "../base/CompactPeers.ts"

/** What datagrams belong to. */
export type Protocol = "tracker" | "dht" | "utp"

/** A socket that is shared: what it receives is handed out by the hub. */
export type HubSocket = Omit<UdpSocket, "receiveUnsafe">

/**
 * Receives a datagram as a `DatagramSink` does, and the local address, one of `hosts`, whose socket it has arrived at.
 */
export type HubSink = (payload: Uint8Array, from: PeerAddress, host: string) => void

/** How a hub binds its sockets. */
export interface UdpHubOptions {
  /** The port of both families, 0 for any free one; default the one that `follow` says. */
  readonly port?: number | undefined
  /**
   * The only local address to use, or several; default all of them. There is no socket of another family then. Of
   * several, each has a socket of its own, and the first of its family is the one for trackers.
   */
  readonly host?: string | ReadonlyArray<string> | undefined
}

/**
 * How long a socket stays open after its last user has left: as long as the connection id of a tracker is used (BEP
 * 15), which is only valid for the address it was sent to.
 */
export const idleTime: Duration.Input = "60 seconds"

/** Shares sockets. */
export class UdpHub extends Context.Service<
  UdpHub,
  {
    /**
     * Hands the datagrams of a protocol, from both families, to `sink` until the scope closes. Opens no socket. If a
     * protocol has several claims, as with two clients of trackers, each gets every datagram, so a claim must ignore
     * what it did not ask for. What a sink throws closes the socket for all protocols.
     */
    readonly claim: (protocol: Protocol, sink: HubSink) => Effect.Effect<void, never, Scope.Scope>
    /**
     * The local addresses of a family that have a socket: those of the options, or the one that stands for all. Empty if
     * the options only have addresses of the other family.
     */
    readonly hosts: (family: CompactPeers.Family) => ReadonlyArray<string>
    /**
     * The socket of a family, at one of its `hosts` (default the first), until the scope closes. It is bound for its
     * first user, and closes `idleTime` after the last one has left. Fails if it cannot be bound. If no descriptor is
     * left for it, others give one up. If it breaks, its users see that by `closed`, and whoever asks next gets another
     * socket.
     */
    readonly socket: (
      family: CompactPeers.Family,
      host?: string
    ) => Effect.Effect<HubSocket, ConnectionError, Scope.Scope>
    /**
     * Binds sockets to `port` until the scope closes, unless the hub has a port of its own. The engine calls it with the
     * port at which peers connect to it, because users forward one number, and other clients expect one. If the port is
     * in use, those of other callers are tried, in the order of their calls, and then any free one. A socket that is
     * open keeps its port.
     */
    readonly follow: (port: number) => Effect.Effect<void, never, Scope.Scope>
    /** How many datagrams were dropped because nobody had claimed their protocol, or because they have none. */
    readonly unclaimed: Effect.Effect<number>
  }
>()("piecewise/network/UdpHub") {}

/** The protocol that a datagram seems to belong to. Called for each datagram. */
export const protocolOf = (payload: Uint8Array): Protocol | undefined => {
  switch (payload[0]) {
    // The first byte of an action, a u32 from 0 to 3 (BEP 15).
    case 0x00:
      return "tracker"
    // The `d` of a bencoded dictionary (BEP 5).
    case 0x64:
      return "dht"
    // A type from 0 to 4, and version 1 (BEP 29).
    case 0x01:
    case 0x11:
    case 0x21:
    case 0x31:
    case 0x41:
      return "utp"
    default:
      return undefined
  }
}

/** The address that stands for all of a family. */
const every: { readonly [family in CompactPeers.Family]: string } = { ipv4: "0.0.0.0", ipv6: "::" }

/** A hub over the `UdpPort` at hand, until the scope closes. */
export const make = Effect.fnUntraced(function* ({
  host: own,
  port: ownPort
}: UdpHubOptions = {}): Effect.fn.Return<UdpHub["Service"], never, UdpPort | Scope.Scope> {
  const udp = yield* UdpPort
  const scope = yield* Effect.scope
  const ownHosts = typeof own === "string" ? [own] : own && [...new Set(own)]
  const sinks: Record<Protocol, Array<HubSink>> = { tracker: [], dht: [], utp: [] }
  const followed: Array<number> = []
  let unclaimed = 0

  const hosts = (family: CompactPeers.Family): ReadonlyArray<string> =>
    ownHosts === undefined ? [every[family]] : ownHosts.filter((host) => host.includes(":") === (family === "ipv6"))

  const receive: HubSink = (payload, from, host) => {
    const protocol = protocolOf(payload)
    if (protocol === undefined || sinks[protocol].length === 0) unclaimed++
    else for (const sink of sinks[protocol]) sink(payload, from, host)
  }

  const open = Effect.fnUntraced(function* (host: string) {
    const ports = ownPort === undefined ? [...followed, 0] : [ownPort]
    const socket = yield* Effect.firstSuccessOf(ports.map((port) => Descriptors.retry(udp.bind({ host, port }))))
    const { local } = socket
    if (ports[0] !== 0 && local.port !== ports[0]) {
      yield* Effect.logInfo(`UDP port ${ports[0]} of ${local.host} is not free, so UDP port ${local.port} is used`)
    }
    socket.receiveUnsafe((payload, from) => receive(payload, from, host))
    // Ends with the socket. In the scope of the hub, so that it can close the scope of a broken socket.
    yield* Effect.catchCause(socket.closed, () => RcMap.invalidate(sockets, host)).pipe(
      Effect.forkIn(scope, { startImmediately: true })
    )
    return socket
  })

  /** By their local addresses. */
  const sockets: RcMap.RcMap<string, UdpSocket, ConnectionError> = yield* RcMap.make({
    // Whoever asks after a failure gets another try. Here, because a user that hears of the failure later would drop the
    // socket that another one has got since.
    lookup: (host: string) => Effect.tapError(open(host), () => RcMap.invalidate(sockets, host)),
    idleTimeToLive: idleTime
  })

  return UdpHub.of({
    claim: (protocol, sink) =>
      Effect.acquireRelease(
        Effect.sync(() => void sinks[protocol].push(sink)),
        () => Effect.sync(() => void sinks[protocol].splice(sinks[protocol].indexOf(sink), 1))
      ),
    hosts,
    socket: Effect.fnUntraced(function* (family, asked) {
      const host = asked ?? hosts(family)[0]
      if (host === undefined || !hosts(family).includes(host)) {
        const address = { host: host ?? every[family], port: ownPort ?? 0 }
        return yield* new ConnectionError({ address, why: `${ownHosts?.join(" and ")} has no connection to it` })
      }
      // The map measures how long a socket is idle by the clock of whoever returns it.
      const user = yield* Effect.acquireRelease(Scope.make(), (user, exit) =>
        Effect.updateService(Scope.close(user, exit), Clock.Clock, Monotonic.clock)
      )
      return yield* Scope.provide(RcMap.get(sockets, host), user)
    }),
    follow: (port) =>
      Effect.acquireRelease(
        Effect.sync(() => void followed.push(port)),
        () => Effect.sync(() => void followed.splice(followed.indexOf(port), 1))
      ),
    unclaimed: Effect.sync(() => unclaimed)
  })
})

/** A hub over the `UdpPort` at hand. */
export const layer = (options?: UdpHubOptions): Layer.Layer<UdpHub, never, UdpPort> =>
  Layer.effect(UdpHub, make(options))

/** Reads `PIECEWISE_UDP_PORT`, `PIECEWISE_BIND` and, if that is not set, `PIECEWISE_UDP_BIND` (docs/configuration.md). */
export const fromEnvironment = (): Config.Config<UdpHubOptions> =>
  Config.map(Config.all({ from: Environment.from(), udp: Environment.udp() }), ({ from, udp: { hosts, port } }) => ({
    port,
    host: from ?? hosts
  }))

/** A hub with options as `config` says. Fails with `ConfigError` if a value is bad. */
export const layerConfig = (
  config: Config.Wrap<UdpHubOptions> = fromEnvironment()
): Layer.Layer<UdpHub, Config.ConfigError, UdpPort> =>
  Layer.effect(UdpHub, Effect.flatMap(Config.unwrap<UdpHubOptions>(config), make))
