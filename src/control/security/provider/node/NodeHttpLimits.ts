/**
 * Makes the HTTP server of a service, with limits for clients that are slow, greedy or hostile. Node closes what exceeds
 * them by itself: with 408 for a head or body that is not complete in time, and with 431 for a head that is too long.
 */
import * as Http from "node:http"
import type * as Net from "node:net"
import * as Duration from "effect/Duration"
import * as IpAddress from "../../../../base/IpAddress.ts"
import * as IpRanges from "../../../../base/IpRanges.ts"
import * as Reach from "../../../../base/Reach.ts"

/** The limits. What is smaller than a client needs breaks it; what is larger lets fewer clients hold the service up. */
export interface Limits {
  /** How long a request may take to send its head; default 10 seconds. */
  readonly headTimeout?: Duration.Input | undefined
  /** How long a request may take to arrive, with its body; default 5 minutes, in which 64 MiB need 1.8 Mbit/s. */
  readonly requestTimeout?: Duration.Input | undefined
  /** How often Node looks for requests that take longer; default 5 seconds. */
  readonly checkInterval?: Duration.Input | undefined
  /** How long a connection may be idle between two requests; default 30 seconds. */
  readonly idleTimeout?: Duration.Input | undefined
  /** Bytes of the longest head; default 16 KiB. */
  readonly maxHeadBytes?: number | undefined
  /** Connections at a time; default 1,024. Another one is closed at once. */
  readonly maxConnections?: number | undefined
  /**
   * Connections at a time from one IPv4 address, or one /64 of IPv6; default 64. Those of this machine and of
   * `unlimited` are not counted.
   */
  readonly maxConnectionsPerAddress?: number | undefined
  /** Addresses and subnets of proxies, whose connections are those of many clients. */
  readonly unlimited?: ReadonlyArray<string> | undefined
}

/** Requests over one connection, after which it is closed: so that one is not kept for ever. */
const maxRequestsPerConnection = 10_000

/** Headers of a request. */
const maxHeaders = 100

/** Makes the server, for `NodeHttpServer.layer`. It does not listen yet. */
export const createServer = (limits: Limits = {}): Http.Server => {
  const { maxConnections = 1_024, maxConnectionsPerAddress = 64, maxHeadBytes = 16_384 } = limits
  const server = Http.createServer({
    headersTimeout: Duration.toMillis(limits.headTimeout ?? "10 seconds"),
    requestTimeout: Duration.toMillis(limits.requestTimeout ?? "5 minutes"),
    connectionsCheckingInterval: Duration.toMillis(limits.checkInterval ?? "5 seconds"),
    keepAliveTimeout: Duration.toMillis(limits.idleTimeout ?? "30 seconds"),
    maxHeaderSize: maxHeadBytes,
    requireHostHeader: true,
    insecureHTTPParser: false
  })
  server.maxConnections = maxConnections
  server.maxHeadersCount = maxHeaders
  server.maxRequestsPerSocket = maxRequestsPerConnection
  const unlimited = IpRanges.make((limits.unlimited ?? []).flatMap((text) => IpRanges.parse(text) ?? []))
  server.on("connection", countByAddress(maxConnectionsPerAddress, unlimited))
  return server
}

/** Closes the connections of an address beyond `most`. */
export const countByAddress = (most: number, unlimited: IpRanges.IpRanges) => {
  const counts = new Map<string, number>()
  return (socket: Pick<Net.Socket, "remoteAddress" | "once" | "destroy">): void => {
    const bytes = IpAddress.parse(IpAddress.withoutZone(socket.remoteAddress ?? ""))
    const address = bytes && IpAddress.format(bytes)
    if (address === undefined || Reach.isThisMachine(address) || IpRanges.has(unlimited, address)) return
    const key = IpAddress.network(address)
    const count = (counts.get(key) ?? 0) + 1
    if (count > most) return void socket.destroy()
    counts.set(key, count)
    socket.once("close", () => {
      const left = counts.get(key)! - 1
      if (left === 0) counts.delete(key)
      else counts.set(key, left)
    })
  }
}
