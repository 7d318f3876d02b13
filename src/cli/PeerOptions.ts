/**
 * The options of commands that connect to peers: which peers, how many, how fast, and the port to listen on.
 */
import * as Effect from "effect/Effect"
import * as Environment from "../base/Environment.ts"
import * as IpAddress from "../base/IpAddress.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import type * as Engine from "../engine/Engine.ts"
import type { UdpHubOptions } from "../network/UdpHub.ts"
import type { Limits } from "../rate/RateLimits.ts"
import * as Arguments from "./Arguments.ts"
import * as DhtOptions from "./DhtOptions.ts"
import * as RateOption from "./RateOption.ts"

/** The parsed peer options. */
export interface PeerOptions {
  readonly peers: ReadonlyArray<PeerAddress.PeerAddress>
  readonly maxConnections: number | undefined
  readonly limits: Limits
  /** `undefined` with `--no-listen`. */
  readonly listen: Engine.ListenOptions | undefined
  /** Whether `--port` was given, so that peers may know where to connect. */
  readonly hasPort: boolean
  /** How connections to peers are encrypted; `undefined` for the default. */
  readonly encryption: Engine.EngineOptions["encryption"]
  /** The local address of all connections; `undefined` for the system's choice. */
  readonly from: string | undefined
  readonly dht: DhtOptions.DhtOptions
  /** The port and the local addresses of UDP. */
  readonly udp: UdpHubOptions
}

/** The ports that are tried first, which BEP 3 names and users open in their routers; then any free one. */
export const defaultPorts: ReadonlyArray<number> = [6881, 6882, 6883, 6884, 6885, 6886, 6887, 6888, 6889, 0]

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

const number = Effect.fnUntraced(function* (args: Arguments.Arguments, name: string, min: number, max: number) {
  const text = Arguments.get(args, name)
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  return yield* wrong(`--${name} ${text} is not a number from ${min} to ${max}`)
})

/** Reads `--bind`, a local address in its canonical form; `undefined` if neither it nor its variable is set. */
const readBind = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const given = Arguments.get(args, "bind")
  const text = given ?? (process.env[Environment.bindName] || undefined)
  if (text === undefined) return undefined
  const bytes = IpAddress.parse(text)
  if (bytes !== undefined) return IpAddress.format(bytes)!
  return yield* wrong(
    `${given === undefined ? Environment.bindName : "--bind"} ${text} is not an IP address of this machine`
  )
})

/** Reads `PIECEWISE_UDP_PORT` and, if there is no other local address, `PIECEWISE_UDP_BIND`. Fails with `WrongUsage`. */
export const readUdp = (from: string | undefined) =>
  Effect.map(
    Effect.mapError(Environment.udp(), ({ message }) => new Arguments.WrongUsage(message)),
    ({ hosts, port }): UdpHubOptions => ({ host: from ?? hosts, port })
  )

/**
 * Reads the local address of connections: `--bind`, or else its variable, also for a command without that option.
 * `undefined` for the system's choice. Fails with `WrongUsage`.
 */
export const readFrom = (args: Arguments.Arguments) => Effect.map(readBind(args), Environment.fromOf)

/**
 * Reads `--peer`, `--max-connections`, `--port`, `--no-listen`, `--bind`, `--encryption`, `--limit-down`, `--limit-up`,
 * what `DhtOptions` reads, and the variables of UDP. Fails with `WrongUsage`.
 */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const peers: Array<PeerAddress.PeerAddress> = []
  for (const text of Arguments.all(args, "peer")) {
    const peer = PeerAddress.parse(text)
    if (peer === undefined || !PeerAddress.isDialable(peer)) {
      return yield* wrong(`--peer ${text} is not an address: it must be HOST:PORT, or [IPV6]:PORT`)
    }
    peers.push(peer)
  }
  const maxConnections = yield* number(args, "max-connections", 1, 10_000)
  const port = yield* number(args, "port", 1, 65_535)
  const host = yield* readBind(args)
  const isSilent = Arguments.has(args, "no-listen")
  if (isSilent && port !== undefined) return yield* wrong("--port and --no-listen cannot be used together")
  const options: PeerOptions = {
    peers,
    maxConnections,
    limits: {
      downloadBytesPerSecond: yield* RateOption.read(args, "limit-down"),
      uploadBytesPerSecond: yield* RateOption.read(args, "limit-up")
    },
    listen: isSilent ? undefined : { host, port: port ?? defaultPorts },
    hasPort: port !== undefined,
    // `Arguments.read` accepts no other value.
    encryption: Arguments.get(args, "encryption") as PeerOptions["encryption"],
    from: Environment.fromOf(host),
    dht: yield* DhtOptions.read(args),
    udp: yield* readUdp(Environment.fromOf(host))
  }
  return options
})
