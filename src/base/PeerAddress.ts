/**
 * The host and TCP port of a peer. Addresses, not peer ids, are dialled, remembered and banned.
 *
 * Untrusted addresses are made by `make`, `parse` or `CompactPeers`, which give a host its one canonical form. The
 * swarm decides whether an address is banned or worth a connection.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as IpAddress from "./IpAddress.ts"
import * as Reach from "./Reach.ts"

export type { Reach } from "./Reach.ts"

/** A peer's address. `host` is an IPv4 or IPv6 address in its canonical text, or a name that a dialer resolves. */
export interface PeerAddress {
  readonly host: string
  readonly port: number
}

/** The longest name that DNS carries (RFC 1035 section 3.1), in characters. */
const maxNameLength = 253

/** What no host name has: blanks, control characters, the delimiters of URLs, and empty labels. */
const noName = /[\s[\]/@%\\?#]|\p{Cc}|^\.|\.\.|\.$/u

/** A label of only digits or `0x...` at the end: resolvers read such a name as an IPv4 address in disguise. */
const endsInNumber = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/

/** The zone of a link-local address (RFC 4007 section 11), `%eth0`. Interface names are case-sensitive. */
const zoned = /^([^%]+)%([0-9A-Za-z_.-]{1,32})$/

const canonicalHost = (host: string): string | undefined => {
  if (host.includes(":")) {
    const zone = zoned.exec(host)
    const bytes = IpAddress.parse(zone === null ? host : zone[1]!)
    if (bytes === undefined) return undefined
    // Only link-local addresses need a zone; on others it would make two keys of one address.
    const isLinkLocal = bytes.length === 16 && bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80
    return zone !== null && isLinkLocal ? `${IpAddress.format(bytes)}%${zone[2]}` : IpAddress.format(bytes)
  }
  const name = host.toLowerCase().replace(/\.$/, "")
  if (IpAddress.parse(name) !== undefined) return name
  const isName = name !== "" && name.length <= maxNameLength && !noName.test(name)
  return isName && !endsInNumber.test(name) ? name : undefined
}

/**
 * An address with its host in canonical form: IPv6 as RFC 5952 writes it, IPv4 inside IPv6 as IPv4, names in lower case
 * without the root's dot. `undefined` if the host is invalid or the port is not in 1 to 65,535.
 */
export const make = (host: string, port: number): PeerAddress | undefined => {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return undefined
  const canonical = canonicalHost(host)
  return canonical === undefined ? undefined : { host: canonical, port }
}

/** `host:port`, with an IPv6 host in brackets. Equal addresses have equal texts, so it serves as a key. */
export const format = (self: PeerAddress): string =>
  self.host.includes(":") ? `[${self.host}]:${self.port}` : `${self.host}:${self.port}`

/**
 * Reads `host:port` or `[ipv6]:port` into canonical form; `undefined` if there is no host or the port is not in 1 to
 * 65,535.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { PeerAddress } from "piecewise"
 *
 * const address = PeerAddress.parse("[2001:DB8:0:0::1]:6881")
 * assert.deepEqual(address, { host: "2001:db8::1", port: 6881 })
 * assert.equal(PeerAddress.format(address), "[2001:db8::1]:6881")
 * assert.equal(PeerAddress.parse("192.0.2.1"), undefined)
 * ```
 */
export const parse = (text: string): PeerAddress | undefined => {
  const match = /^(?:\[([^[\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  // Brackets are for IPv6 alone. That is no part of the expression, where a text of many colons costs quadratic time.
  if (match === null || match[1]?.includes(":") === false) return undefined
  return make(match[1] ?? match[2]!, Number(match[3]))
}

/** Whether two addresses, both canonical, are the same. */
export const equals = (self: PeerAddress, that: PeerAddress): boolean =>
  self.port === that.port && self.host === that.host

/** The 4 or 16 bytes of the host, without its zone; `undefined` if it is a name. */
export const ipBytes = (self: Pick<PeerAddress, "host">): Uint8Array<ArrayBuffer> | undefined =>
  IpAddress.parse(IpAddress.withoutZone(self.host))

/** From where it can be reached; `none` also if its port is outside 1 to 65,535. */
export const reachOf = ({ host, port }: PeerAddress): Reach.Reach =>
  port >= 1 && port <= 65_535 ? Reach.of(host) : "none"

/** Whether it can be dialled: it has a port, and a host that is not unspecified, multicast or broadcast. */
export const isDialable = (self: PeerAddress): boolean => reachOf(self) !== "none"

const expected = "an address as HOST:PORT or [IPV6]:PORT"

const fromText = {
  decode: SchemaGetter.transformEffect((text: string) => {
    const address = parse(text)
    return address === undefined ? Effect.fail(new SchemaIssue.InvalidValue({ expected })) : Effect.succeed(address)
  }),
  encode: SchemaGetter.transform(format)
}

const isPeerAddress = (value: unknown): value is PeerAddress =>
  typeof value === "object" &&
  value !== null &&
  "host" in value &&
  typeof value.host === "string" &&
  "port" in value &&
  typeof value.port === "number"

/**
 * The schema of an address: the text of `format` in JSON, which is one word to read, compare and group by, and the form
 * that command lines and other clients use. Decoding gives the host its canonical form, as `parse` does. A host that is
 * not canonical is encoded as it is.
 */
export const PeerAddress: Schema.Codec<PeerAddress, string> = Schema.String.annotate({ expected }).pipe(
  Schema.decodeTo(
    Schema.declare<PeerAddress>(isPeerAddress, {
      identifier: "piecewise/PeerAddress",
      expected: "an address",
      toCodecJson: () => Schema.link<PeerAddress>()(Schema.String, fromText),
      toCodecArbitrary: () =>
        Schema.link<PeerAddress>()(
          Schema.String.check(
            Schema.isPattern(
              /^(?:(?:[1-9]\d|1\d\d)(?:\.[1-9]\d){3}|\[2001:db8::[1-9a-f][0-9a-f]{0,3}\]|[a-z]{1,9}\.example):[1-9]\d{0,3}$/
            )
          ),
          fromText
        ),
      toEquivalence: () => equals
    }),
    fromText
  )
)

const asIs = { decode: SchemaGetter.passthrough<PeerAddress>(), encode: SchemaGetter.passthrough<PeerAddress>() }

const parts = Schema.Struct({ host: Schema.String, port: Schema.Number })

/**
 * The schema of an address that nobody has checked, such as one that a program asked for: the same object in memory,
 * and `{ host, port }` in JSON, because its text might not be read again.
 */
export const Unchecked: Schema.Codec<PeerAddress, PeerAddress> = Schema.declare<PeerAddress>(isPeerAddress, {
  identifier: "piecewise/UncheckedAddress",
  expected: "an address",
  toCodecJson: () => Schema.link<PeerAddress>()(parts, asIs),
  toCodecArbitrary: () => Schema.link<PeerAddress>()(parts, asIs),
  toEquivalence: () => equals
})
