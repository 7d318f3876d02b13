/**
 * Reads settings from variables of the environment, or from whatever the `ConfigProvider` in the context reads. A
 * variable that is not set, or empty, is `undefined`, which stands for the default. One with a bad value fails with
 * `Config.ConfigError`, which names the variable and what was expected, and never falls to the default.
 *
 * The modules of the engine and of its providers say which variables they read; docs/configuration.md lists them all.
 */
import * as ByteSize from "effect/ByteSize"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as IpAddress from "./IpAddress.ts"
import * as PeerAddress from "./PeerAddress.ts"
import * as Size from "./Size.ts"

/** Makes the config of a variable whose text `read` understands. `expected` says what that is. */
const variable = <A>(name: string, expected: string, read: (text: string) => A | undefined): Config.Config<A> => {
  const value = Schema.String.annotate({ expected }).pipe(
    Schema.decodeTo(Schema.Unknown, {
      decode: SchemaGetter.transformEffect((text: string) => {
        const found = read(text.trim())
        return found === undefined
          ? Effect.fail(new SchemaIssue.InvalidValue({ expected }))
          : Effect.succeed(found as unknown)
      }),
      encode: SchemaGetter.transform(String)
    })
  )
  return Config.map(Config.schema(value, name), (found) => found as A)
}

/**
 * The URL of a service of this machine or another one, `http://HOST:PORT`. Returns its origin, without a slash at the
 * end.
 */
export const origin = (name: string): Config.Config<string> =>
  variable(name, "a URL such as http://127.0.0.1:4710", (text) => {
    const url = URL.parse(text)
    const isOrigin = url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`
    return isOrigin ? url.origin : undefined
  })

/** Returns `undefined` if the variable is not set, or if none of several is. */
export const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.withDefault(config, undefined)

const isSize = (bytes: bigint, min: number): boolean => bytes >= BigInt(min) && bytes <= BigInt(Size.maxBytes)

/** A size or a rate: a number of bytes with or without a unit, as in `64MiB`, `1.5 GB` or `65536`. */
export const size = (name: string, min: number): Config.Config<ByteSize.ByteSize> =>
  variable(name, `a size of at least ${min} bytes, such as 64MiB`, (text) => {
    const found = /^\d+$/.test(text) ? Option.some(ByteSize.bytes(BigInt(text))) : ByteSize.fromString(text)
    return Option.isSome(found) && isSize(found.value, min) ? found.value : undefined
  })

/** A whole number. */
export const integer = (name: string, min: number, max: number): Config.Config<number> =>
  variable(name, `a whole number from ${min} to ${max}`, (text) => {
    const number = Number(text)
    return /^\d{1,15}$/.test(text) && number >= min && number <= max ? number : undefined
  })

/** A text that is not empty, such as a path. */
export const text = (name: string): Config.Config<string> => Config.NonEmptyString(name)

/** A time, such as `15 seconds` or `2 minutes`. */
export const duration = (name: string): Config.Config<Duration.Duration> =>
  variable(name, "a time such as 15 seconds", (text) => {
    const found = Duration.fromInput(text as Duration.Input)
    return Option.isSome(found) && Duration.toMillis(found.value) > 0 ? found.value : undefined
  })

/** Texts with commas between them, none of them empty. */
export const list = (name: string): Config.Config<ReadonlyArray<string>> =>
  variable(name, "one or more texts with commas between them", (text) => {
    const found = text.split(",").map((part) => part.trim())
    return found.every((part) => part !== "") ? found : undefined
  })

/** Pairs `NAME=TEXT` with commas between them, no name twice. */
export const record = (name: string, expected: string): Config.Config<Readonly<Record<string, string>>> =>
  variable(name, expected, (text) => {
    const found = new Map<string, string>()
    for (const part of text.split(",")) {
      const at = part.indexOf("=")
      const [key, value] = [part.slice(0, Math.max(0, at)).trim(), part.slice(at + 1).trim()]
      if (key === "" || value === "" || found.has(key)) return undefined
      found.set(key, value)
    }
    return Object.fromEntries(found)
  })

/** Yes or no, as `Config.Boolean` reads it: `true`, `yes`, `on`, `1`, and their opposites. */
export const flag = (name: string): Config.Config<boolean> => Config.Boolean(name)

/** The IP address of this machine to listen on and to connect from, in its canonical form. */
export const ipAddress = (name: string): Config.Config<string> =>
  variable(name, "an IP address", (text) => {
    const bytes = IpAddress.parse(text)
    return bytes === undefined ? undefined : IpAddress.format(bytes)
  })

/** IP addresses of this machine in their canonical form, with commas between them, none of them twice. */
export const ipAddresses = (name: string): Config.Config<ReadonlyArray<string>> =>
  variable(name, "IP addresses with commas between them", (text) => {
    const found = text.split(",").map((part) => IpAddress.parse(part.trim()))
    return found.every((bytes) => bytes !== undefined)
      ? [...new Set(found.map((bytes) => IpAddress.format(bytes)!))]
      : undefined
  })

/** Addresses `HOST:PORT` or `[IPV6]:PORT` with commas between them, or `none`. */
export const addresses = (name: string): Config.Config<ReadonlyArray<PeerAddress.PeerAddress>> =>
  variable(name, "addresses as HOST:PORT with commas between them, or none", (text) => {
    if (text === "none") return []
    const found = text.split(",").map((part) => PeerAddress.parse(part.trim()))
    return found.every((address) => address !== undefined && PeerAddress.isDialable(address))
      ? found.filter((address) => address !== undefined)
      : undefined
  })

const maxPort = 65_535

/** Reads `6881` or `6881-6889`. */
const readPorts = (text: string): ReadonlyArray<number> | undefined => {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
  if (match === null) return undefined
  const first = Number(match[1])
  const last = Number(match[2] ?? match[1])
  if (first > last || last > maxPort || (first === 0 && last > 0)) return undefined
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

/** Ports in the order in which they are tried: `6881`, `6881-6889`, or several of these after commas. 0 is any port. */
export const ports = (name: string): Config.Config<ReadonlyArray<number>> =>
  variable(name, "a port from 0 to 65535, or a range such as 6881-6889", (text) => {
    const found: Array<number> = []
    for (const part of text.split(",")) {
      const ports = readPorts(part.trim())
      if (ports === undefined) return undefined
      for (const port of ports) found.push(port)
      if (found.length > maxPort) return undefined
    }
    return found
  })

/** The variable with the local address to listen on and to connect from. */
export const bindName = "PIECEWISE_BIND"

/** Addresses that stand for all of a family. A connection cannot be made from them. */
const unspecified: ReadonlySet<string> = new Set(["0.0.0.0", "::"])

/** Returns the local address of connections for one to listen on; `undefined` if that stands for all addresses. */
export const fromOf = (host: string | undefined): string | undefined =>
  host === undefined || unspecified.has(host) ? undefined : host

/** The local address of connections: `PIECEWISE_BIND`, unless that stands for all addresses. */
export const from = (): Config.Config<string | undefined> => Config.map(optional(ipAddress(bindName)), fromOf)

/** The variable with the local addresses of UDP. */
export const udpBindName = "PIECEWISE_UDP_BIND"

/** The port and the local addresses of UDP: `PIECEWISE_UDP_PORT` and `PIECEWISE_UDP_BIND`. */
export const udp = () =>
  Config.all({
    port: optional(integer("PIECEWISE_UDP_PORT", 0, maxPort)),
    hosts: optional(ipAddresses(udpBindName))
  })

/** How long one announce to a tracker may take: `PIECEWISE_TRACKER_TIMEOUT`. */
export const trackerTimeout = (): Config.Config<Duration.Duration | undefined> =>
  optional(duration("PIECEWISE_TRACKER_TIMEOUT"))

/** The folder that torrents are stored in: `PIECEWISE_DIRECTORY`, which must be set. */
export const directory = (): Config.Config<string> => text("PIECEWISE_DIRECTORY")

/** The folder for resume data of torrents in a folder, unless another one is chosen. */
export const resumeDirectoryIn = (directory: string): string => `${directory}/.piecewise`

/** The folder for resume data: `PIECEWISE_RESUME_DIRECTORY`; default `.piecewise` in `PIECEWISE_DIRECTORY`. */
export const resumeDirectory = (): Config.Config<string> =>
  Config.flatMap(optional(text("PIECEWISE_RESUME_DIRECTORY")), (found) =>
    found === undefined ? Config.map(directory(), resumeDirectoryIn) : Config.succeed(found)
  )
