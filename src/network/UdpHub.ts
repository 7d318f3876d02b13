/**
 * One UDP socket a family for everything that speaks over UDP: trackers (BEP 15), the DHT (BEP 5) and uTP (BEP 29). So
 * others know us by one port, and one port needs to be opened or mapped. With an engine that listens it is the number of
 * its TCP port (`follow`). What arrives is told apart by its first byte, and goes to whoever has claimed that protocol;
 * what nobody has claimed is dropped and counted.
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
import type { DatagramSink, UdpSocket } from "./Transport.ts"
import { ConnectionError, UdpPort } from "./Transport.ts"

export type { Family } from "../base/CompactPeers.ts"

/** What datagrams belong to. */
export type Protocol = "tracker" | "dht" | "utp"

/** A socket that is shared: what it receives is handed out by the hub. */
export type HubSocket = Omit<UdpSocket, "receiveUnsafe">

/** How a hub binds its sockets. */
export interface UdpHubOptions {
  /** The port of both families, 0 for any free one; default the one that `follow` says. */
  readonly port?: number | undefined
  /** The only local address to use; default all of them. There is no socket of another family then. */
  readonly host?: string | undefined
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
    readonly claim: (protocol: Protocol, sink: DatagramSink) => Effect.Effect<void, never, Scope.Scope>
    /**
     * The socket of a family, until the scope closes. It is bound for its first user, and closes `idleTime` after the
     * last one has left. Fails if it cannot be bound. If no descriptor is left for it, others give one up. If it
     * breaks, its users see that by `closed`, and whoever asks next gets another socket.
     */
    readonly socket: (family: CompactPeers.Family) => Effect.Effect<HubSocket, ConnectionError, Scope.Scope>
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

/** A hub over the `UdpPort` at hand, until the scope closes. */
export const make = Effect.fnUntraced(function* ({
  host,
  port: ownPort
}: UdpHubOptions = {}): Effect.fn.Return<UdpHub["Service"], never, UdpPort | Scope.Scope> {
  const udp = yield* UdpPort
  const scope = yield* Effect.scope
  const sinks: Record<Protocol, Array<DatagramSink>> = { tracker: [], dht: [], utp: [] }
  const followed: Array<number> = []
  let unclaimed = 0

  const receive: DatagramSink = (payload, from) => {
    const protocol = protocolOf(payload)
    if (protocol === undefined || sinks[protocol].length === 0) unclaimed++
    else for (const sink of sinks[protocol]) sink(payload, from)
  }

  const open = Effect.fnUntraced(function* (family: CompactPeers.Family) {
    const every = family === "ipv6" ? "::" : "0.0.0.0"
    if (host !== undefined && host.includes(":") !== every.includes(":")) {
      const address = { host: every, port: ownPort ?? 0 }
      return yield* new ConnectionError({ address, why: `${host} has no connection to it` })
    }
    const ports = ownPort === undefined ? [...followed, 0] : [ownPort]
    const socket = yield* Effect.firstSuccessOf(
      ports.map((port) => Descriptors.retry(udp.bind({ host: host ?? every, port })))
    )
    const { local } = socket
    if (ports[0] !== 0 && local.port !== ports[0]) {
      yield* Effect.logInfo(`UDP port ${ports[0]} of ${local.host} is not free, so UDP port ${local.port} is used`)
    }
    socket.receiveUnsafe(receive)
    // Ends with the socket. In the scope of the hub, so that it can close the scope of a broken socket.
    yield* Effect.catchCause(socket.closed, () => RcMap.invalidate(sockets, family)).pipe(
      Effect.forkIn(scope, { startImmediately: true })
    )
    return socket
  })

  const sockets: RcMap.RcMap<CompactPeers.Family, UdpSocket, ConnectionError> = yield* RcMap.make({
    // Whoever asks after a failure gets another try. Here, because a user that hears of the failure later would drop the
    // socket that another one has got since.
    lookup: (family: CompactPeers.Family) => Effect.tapError(open(family), () => RcMap.invalidate(sockets, family)),
    idleTimeToLive: idleTime
  })

  return UdpHub.of({
    claim: (protocol, sink) =>
      Effect.acquireRelease(
        Effect.sync(() => void sinks[protocol].push(sink)),
        () => Effect.sync(() => void sinks[protocol].splice(sinks[protocol].indexOf(sink), 1))
      ),
    socket: (family) =>
      // The map measures how long a socket is idle by the clock of whoever returns it.
      Effect.acquireRelease(Scope.make(), (user, exit) =>
        Effect.updateService(Scope.close(user, exit), Clock.Clock, Monotonic.clock)
      ).pipe(Effect.flatMap((user) => Scope.provide(RcMap.get(sockets, family), user))),
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

/** Reads `PIECEWISE_UDP_PORT` and `PIECEWISE_BIND` (docs/configuration.md). */
export const fromEnvironment = (): Config.Config<UdpHubOptions> =>
  Config.all({
    port: Environment.optional(Environment.integer("PIECEWISE_UDP_PORT", 0, 65_535)),
    host: Environment.from()
  })

/** A hub with options as `config` says. Fails with `ConfigError` if a value is bad. */
export const layerConfig = (
  config: Config.Wrap<UdpHubOptions> = fromEnvironment()
): Layer.Layer<UdpHub, Config.ConfigError, UdpPort> =>
  Layer.effect(UdpHub, Effect.flatMap(Config.unwrap<UdpHubOptions>(config), make))
