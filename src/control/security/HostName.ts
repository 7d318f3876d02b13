/**
 * The `Host` of requests, and which ones are answered. A page whose name is rebound to the address of this service (DNS
 * rebinding) can send requests here, as of the same origin. They carry the page's own name as `Host`, so a name that is
 * not ours is refused. An IP address cannot be rebound, and `localhost` is resolved by the browser itself (RFC 6761).
 */
import * as IpAddress from "../../base/IpAddress.ts"

/** A `Host` that was read: a name in lower case without a dot at its end, or an IP address in its canonical form. */
export interface Authority {
  readonly host: string
  readonly isAddress: boolean
  /** `undefined` if the port is the scheme's own. */
  readonly port: number | undefined
}

/** Characters of the longest name (RFC 1035 section 2.3.4). */
const maxNameLength = 253

const authority = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/
const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

/**
 * Reads a `Host` (RFC 9110 section 7.2); `undefined` if it is none. Other spellings of addresses, such as `127.1` or
 * `0x7f.0.0.1`, are names here.
 */
export const parse = (text: string): Authority | undefined => {
  // The longest name, a dot, a colon and a port.
  const match = text.length > maxNameLength + 7 ? null : authority.exec(text)
  if (match === null) return undefined
  const [, ipv6, other = "", digits] = match
  const port = digits === undefined ? undefined : Number(digits)
  if (port !== undefined && (port === 0 || port > 65_535)) return undefined
  const bytes = IpAddress.parse(ipv6 ?? other)
  if (bytes !== undefined) return { host: IpAddress.format(bytes)!, isAddress: true, port }
  const host = ipv6 === undefined ? nameOf(other) : undefined
  return host === undefined ? undefined : { host, isAddress: false, port }
}

/** The canonical form of a name; `undefined` if it is none. */
const nameOf = (text: string): string | undefined => {
  const name = text.toLowerCase().replace(/\.$/, "")
  return name.length <= maxNameLength && name.split(".").every((part) => label.test(part)) ? name : undefined
}

/** The names by which a service may be called, besides IP addresses and `localhost`. */
export interface AllowedNames {
  readonly names: ReadonlySet<string>
  /** Ends of names, with the dot before them: `.example.org` of `*.example.org`. */
  readonly domains: ReadonlyArray<string>
}

/**
 * Whether a text can be given to `allow`: a name such as `seedbox.example.org`, or `*.example.org` for all names below a
 * domain. `*` alone, ports and URLs cannot.
 */
export const isPattern = (text: string): boolean => nameOf(text.replace(/^\*\./, "")) !== undefined

/** Allows names, and all names below domains. Texts that are no patterns allow nothing. */
export const allow = (patterns: ReadonlyArray<string>): AllowedNames => {
  const valid = patterns.filter(isPattern)
  const isDomain = (text: string) => text.startsWith("*.")
  return {
    names: new Set(["localhost", ...valid.filter((text) => !isDomain(text)).map((text) => nameOf(text)!)]),
    domains: valid.filter(isDomain).map((text) => `.${nameOf(text.slice(2))!}`)
  }
}

/** Whether requests for a host are answered. */
export const isAllowed = ({ domains, names }: AllowedNames, { host, isAddress }: Authority): boolean =>
  isAddress || names.has(host) || domains.some((domain) => host.endsWith(domain))
