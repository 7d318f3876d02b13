/**
 * IPv4 and IPv6 addresses as bytes (network order) and as text, and what kind of address one is.
 *
 * One address has one form: an IPv4 address that travels inside IPv6 (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2) is
 * the IPv4 address, so that a ban or a count cannot be evaded by writing it differently. Names and ports are
 * `PeerAddress.ts`'s.
 */

const decimal = /^(?:0|[1-9]\d{0,2})$/
const group = /^[0-9a-fA-F]{1,4}$/

/**
 * The 4 or 16 bytes of an address; `undefined` where `text` is none. IPv4 is four decimal numbers: the forms with
 * fewer parts, hexadecimal or leading zeros that some resolvers take are refused, as they disguise an address.
 */
export const parse = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  if (!text.includes(":")) return parse4(text)
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0]!, halves.length === 1)
  const tail = halves.length === 1 ? [] : parseGroups(halves[1]!, true)
  if (head === undefined || tail === undefined) return undefined
  const given = head.length + tail.length
  if (halves.length === 1 ? given !== 16 : given > 14) return undefined
  const bytes = new Uint8Array(16)
  bytes.set(head)
  bytes.set(tail, 16 - tail.length)
  return isMapped(bytes) ? bytes.slice(12) : bytes
}

const parse4 = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  const parts = text.split(".")
  if (parts.length !== 4) return undefined
  const bytes = new Uint8Array(4)
  for (const [index, part] of parts.entries()) {
    if (!decimal.test(part) || Number(part) > 255) return undefined
    bytes[index] = Number(part)
  }
  return bytes
}

/** The bytes of one side of a `::`; only the end of an address may be written as IPv4. */
const parseGroups = (text: string, isEnd: boolean): Array<number> | undefined => {
  const bytes: Array<number> = []
  if (text === "") return bytes
  const parts = text.split(":")
  for (const [index, part] of parts.entries()) {
    if (group.test(part)) {
      const value = Number.parseInt(part, 16)
      bytes.push(value >>> 8, value & 0xff)
      continue
    }
    const embedded = isEnd && index === parts.length - 1 ? parse4(part) : undefined
    if (embedded === undefined) return undefined
    bytes.push(...embedded)
  }
  return bytes
}

const isMapped = (bytes: Uint8Array): boolean => bytes[10] === 0xff && bytes[11] === 0xff && isZero(bytes, 10)

/**
 * The canonical text of 4 or 16 bytes: dotted decimal, or RFC 5952 (lower case, the first longest run of zeros cut);
 * `undefined` for another number of bytes.
 */
export const format = (bytes: Uint8Array): string | undefined => {
  if (bytes.length === 4) return bytes.join(".")
  if (bytes.length !== 16) return undefined
  if (isMapped(bytes)) return bytes.subarray(12).join(".")
  const groups: Array<number> = []
  for (let index = 0; index < 16; index += 2) groups.push((bytes[index]! << 8) | bytes[index + 1]!)
  let cutStart = 0
  let cutLength = 0
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (groups[start + length] === 0) length++
    if (length > cutLength) {
      cutStart = start
      cutLength = length
    }
  }
  const text = (part: ReadonlyArray<number>) => part.map((value) => value.toString(16)).join(":")
  // RFC 5952 section 4.2.2: a single group of zeros is not cut.
  if (cutLength < 2) return text(groups)
  return `${text(groups.slice(0, cutStart))}::${text(groups.slice(cutStart + cutLength))}`
}

/** From where a host can be reached, see `reach`. */
export type Reach = "public" | "private" | "loopback" | "none"

/**
 * From where a host can be reached, for the decision whether a stranger may make us connect to it.
 *
 * - `loopback`: this machine. 127.0.0.0/8, ::1, `localhost` and names below it (RFC 6761).
 * - `private`: the network around. RFC 1918, link-local, the shared space of carrier NAT (RFC 6598), and in IPv6 unique
 *   local (RFC 4193), link-local, site-local and local NAT64 (RFC 8215).
 * - `none`: no single host has it. Unspecified (0.0.0.0/8, ::), multicast, reserved, broadcast.
 * - `public`: anything else, names included; what a name resolves to must be asked again.
 *
 * An address of NAT64 (RFC 6052) leads a gateway to the IPv4 address at its end, and so reaches what that one does.
 *
 * `host` may have a zone or the brackets that IPv6 has in URLs.
 */
export const reach = (host: string): Reach => {
  const bytes = parse(host.replace(/^\[(.*)\]$/, "$1").replace(/%.*$/, ""))
  if (bytes !== undefined) return bytes.length === 4 ? reach4(bytes[0]!, bytes[1]!) : reach6(bytes)
  return /(?:^|\.)localhost\.?$/i.test(host) ? "loopback" : "public"
}

const reach4 = (first: number, second: number): Reach => {
  if (first === 0 || first >= 224) return "none"
  if (first === 127) return "loopback"
  if (first === 10 || (first === 172 && second >= 16 && second < 32) || (first === 192 && second === 168))
    return "private"
  if ((first === 169 && second === 254) || (first === 100 && second >= 64 && second < 128)) return "private"
  return "public"
}

/** `64:ff9b::/96`, the well-known prefix of NAT64 (RFC 6052 section 2.1). */
const nat64 = Uint8Array.of(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0)

/** `64:ff9b:1::/48`, the prefix for NAT64 within one network (RFC 8215). */
const localNat64 = Uint8Array.of(0, 0x64, 0xff, 0x9b, 0, 1)

const startsWith = (bytes: Uint8Array, prefix: Uint8Array): boolean =>
  prefix.every((byte, index) => bytes[index] === byte)

const reach6 = (bytes: Uint8Array): Reach => {
  if (startsWith(bytes, nat64)) return reach4(bytes[12]!, bytes[13]!)
  if (startsWith(bytes, localNat64)) return "private"
  if (isZero(bytes, 15)) {
    if (bytes[15] === 0) return "none"
    if (bytes[15] === 1) return "loopback"
  }
  const first = bytes[0]!
  if (first === 0xff) return "none"
  return (first & 0xfe) === 0xfc || (first === 0xfe && bytes[1]! >= 0x80) ? "private" : "public"
}

const isZero = (bytes: Uint8Array, end: number): boolean => {
  for (let index = 0; index < end; index++) if (bytes[index] !== 0) return false
  return true
}
