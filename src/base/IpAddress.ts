/**
 * IPv4 and IPv6 addresses as bytes (network order) and as text. `Reach.ts` says from where one can be reached.
 *
 * One address has one form: an IPv4 address inside IPv6 (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2) is the IPv4
 * address, so that a ban or a count cannot be evaded by another spelling. Names and ports are in `PeerAddress.ts`.
 */
import * as Bytes from "./Bytes.ts"

/** Characters of the longest text of an address: six groups of four digits and an IPv4 address. */
const maxTextLength = 45

const group = /^[0-9a-fA-F]{1,4}$/

/**
 * The 4 or 16 bytes of an address; `undefined` if `text` is none. IPv4 is four decimal numbers. Forms with fewer parts,
 * hexadecimal or leading zeros, which some resolvers accept, are refused, because they disguise an address.
 */
export const parse = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  // A longer text is refused before it is split, because each of its parts would cost far more memory than the text.
  if (text.length > maxTextLength) return undefined
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

/** The text without its zone (RFC 4007 section 11): `fe80::1` of `fe80::1%eth0`. */
export const withoutZone = (text: string): string => {
  const zone = text.indexOf("%")
  return zone < 0 ? text : text.slice(0, zone)
}

/**
 * What one host has: an IPv4 address, or the first 64 bits of an IPv6 address, as a host can choose the others (RFC
 * 4291 section 2.5.4). All hosts of a link share those of link-local addresses, so these are kept whole, as are names.
 */
export const network = (host: string): string => {
  if (!host.includes(":") || host.includes("%")) return host
  const bytes = parse(host)
  const isLinkLocal = bytes?.[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80
  return bytes?.length === 16 && !isLinkLocal ? `${format(bytes.fill(0, 8))}/64` : host
}

const code = { dot: 0x2e, zero: 0x30, nine: 0x39 } as const

/** The number of an IPv4 address in its four decimal numbers, 0 to 2^32 - 1; -1 if `text` is none. Allocates nothing. */
export const ipv4 = (text: string): number => {
  let address = 0
  let part = 0
  let digits = 0
  let dots = 0
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (character >= code.zero && character <= code.nine) {
      // A leading zero.
      if (digits > 0 && part === 0) return -1
      part = part * 10 + character - code.zero
      if (part > 255) return -1
      digits++
    } else {
      if (character !== code.dot || digits === 0 || ++dots > 3) return -1
      address = address * 256 + part
      part = 0
      digits = 0
    }
  }
  return dots === 3 && digits > 0 ? address * 256 + part : -1
}

const parse4 = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  const address = ipv4(text)
  if (address < 0) return undefined
  const bytes = new Uint8Array(4)
  Bytes.writeUint32Unsafe(bytes, 0, address)
  return bytes
}

/** The text of the IPv4 address at `at`. */
export const format4 = (bytes: Uint8Array, at: number): string =>
  `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`

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
  if (bytes.length === 4) return format4(bytes, 0)
  if (bytes.length !== 16) return undefined
  if (isMapped(bytes)) return format4(bytes, 12)
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

const isZero = (bytes: Uint8Array, end: number): boolean => {
  for (let index = 0; index < end; index++) if (bytes[index] !== 0) return false
  return true
}
