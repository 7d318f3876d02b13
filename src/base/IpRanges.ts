/**
 * Sets of IP addresses: subnets, single addresses and ranges of both families, such as a block list of half a million
 * ranges. `make` sorts them once. Whether a set has an address then takes a binary search: about a microsecond.
 *
 * IPv4 inside IPv6 is IPv4 here as everywhere (`IpAddress.ts`), in ranges too: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
 */
import * as Bytes from "./Bytes.ts"
import * as IpAddress from "./IpAddress.ts"

/** A range of addresses of one family, both ends included: numbers for IPv4, bigints for IPv6. */
export type IpRange =
  | { readonly first: number; readonly last: number }
  | { readonly first: bigint; readonly last: bigint }

/** Ranges of one family that do not overlap, in ascending order. */
export interface Ranges<N> {
  readonly firsts: ArrayLike<N>
  readonly lasts: ArrayLike<N>
}

/** The same while they are gathered. */
interface Gathered<N> {
  readonly firsts: Array<N>
  readonly lasts: Array<N>
}

/** A set of addresses. */
export interface IpRanges {
  readonly ipv4: Ranges<number>
  readonly ipv6: Ranges<bigint>
}

const prefixText = /^\d{1,3}$/

/**
 * Reads a subnet (`10.0.0.0/8`, `fd00::/8`), an address, or a range (`10.0.0.1-10.0.0.9`); `undefined` if `text` is
 * none. Bits behind the prefix count for nothing: `10.1.2.3/8` is `10.0.0.0/8`.
 */
export const parse = (text: string): IpRange | undefined => {
  const dash = text.indexOf("-")
  if (dash >= 0) return between(text.slice(0, dash).trim(), text.slice(dash + 1).trim())
  const slash = text.indexOf("/")
  if (slash < 0) return between(text.trim(), text.trim())
  const prefix = text.slice(slash + 1).trim()
  return prefixText.test(prefix) ? subnet(text.slice(0, slash).trim(), Number(prefix)) : undefined
}

const between = (from: string, to: string): IpRange | undefined => {
  const first = valueOf(from)
  const last = valueOf(to)
  if (typeof first === "number" && typeof last === "number") return first <= last ? { first, last } : undefined
  return typeof first === "bigint" && typeof last === "bigint" && first <= last ? { first, last } : undefined
}

/** The number of an address; `undefined` if `text` is none. Without its zone. */
const valueOf = (text: string): number | bigint | undefined => {
  const address = IpAddress.ipv4(text)
  if (address >= 0) return address
  const bytes = IpAddress.parse(IpAddress.withoutZone(text))
  return bytes && valueOfBytes(bytes)
}

const valueOfBytes = (bytes: Uint8Array): number | bigint => {
  if (bytes.length === 4) return Bytes.readUint32Unsafe(bytes, 0)
  let value = 0n
  for (let at = 0; at < 16; at += 4) value = (value << 32n) | BigInt(Bytes.readUint32Unsafe(bytes, at))
  return value
}

/** The bits that IPv4 inside IPv6 has before the IPv4 address (RFC 4291 section 2.5.5.2). */
const mappedBits = 96

/** `::ffff:0:0`. */
const mapped = 0xffff_0000_0000n

const subnet = (text: string, prefix: number): IpRange | undefined => {
  const value = valueOf(text)
  if (typeof value === "number") {
    const bits = text.includes(":") ? prefix - mappedBits : prefix
    if (bits > 32) return undefined
    if (bits < 0) return around(mapped | BigInt(value), prefix)
    const size = 2 ** (32 - bits)
    const first = Math.floor(value / size) * size
    return { first, last: first + size - 1 }
  }
  return value === undefined || prefix > 128 ? undefined : around(value, prefix)
}

const around = (value: bigint, prefix: number): IpRange => {
  const hosts = (1n << BigInt(128 - prefix)) - 1n
  const last = value | hosts
  return { first: last ^ hosts, last }
}

/** What a block list holds. */
export interface List {
  readonly ranges: ReadonlyArray<IpRange>
  /** How many lines are neither a range, nor empty, nor a comment. If there are many, it is no block list. */
  readonly invalidLines: number
  /** The first of them: its number, from 1, and its text, cut to 80 characters. */
  readonly firstInvalid?: { readonly line: number; readonly text: string }
}

/** How many characters of an invalid line are kept. */
const maxShownLine = 80

/** In a list of eMule, a range of this level or above is not blocked. */
const allowedLevel = 128

/**
 * Reads a block list, whose lines are ranges as `parse` reads them, or of the forms of eMule
 * (`001.002.003.000 - 001.002.003.255 , 000 , name`) and PeerGuardian (`name:1.2.3.0-1.2.3.255`). Takes time in
 * proportion to the text.
 */
export const parseList = (text: string): List => {
  const ranges: Array<IpRange> = []
  let invalidLines = 0
  let firstInvalid: List["firstInvalid"]
  let number = 0
  for (let start = 0; start < text.length; ) {
    number++
    const newline = text.indexOf("\n", start)
    const end = newline < 0 ? text.length : newline
    const line = text.slice(start, end).trim()
    start = end + 1
    if (line === "" || line.startsWith("#") || line.startsWith("//")) continue
    const range = parseLine(line)
    if (range === undefined) {
      invalidLines++
      firstInvalid ??= { line: number, text: line.slice(0, maxShownLine) }
    } else if (range !== "allowed") ranges.push(range)
  }
  return { ranges, invalidLines, ...(firstInvalid && { firstInvalid }) }
}

const parseLine = (line: string): IpRange | "allowed" | undefined => {
  const comma = line.indexOf(",")
  const emule = comma < 0 ? undefined : parse(withoutZeros(line.slice(0, comma)))
  if (emule !== undefined) return Number.parseInt(line.slice(comma + 1), 10) >= allowedLevel ? "allowed" : emule
  // A range of IPv4 behind a name. Of IPv6, the last colon is in the last address.
  const colon = line.lastIndexOf(":")
  return line.indexOf("-", colon + 1) < 0 ? parse(line) : parse(withoutZeros(line.slice(colon + 1)))
}

/** Lists pad the numbers of an IPv4 address with zeros, which elsewhere disguise an address. */
const withoutZeros = (range: string): string => range.replace(/\b0+(?=\d)/g, "")

/** Makes a set of addresses. */
export const make = (ranges: Iterable<IpRange>): IpRanges => {
  const ipv4: Gathered<number> = { firsts: [], lasts: [] }
  const ipv6: Gathered<bigint> = { firsts: [], lasts: [] }
  for (const { first, last } of ranges) {
    if (typeof first === "number") {
      ipv4.firsts.push(first)
      ipv4.lasts.push(last as number)
    } else {
      ipv6.firsts.push(first)
      ipv6.lasts.push(last as bigint)
    }
  }
  const { firsts, lasts } = sorted(ipv4)
  return { ipv4: { firsts: Uint32Array.from(firsts), lasts: Uint32Array.from(lasts) }, ipv6: sorted(ipv6) }
}

/** The same addresses in ranges that are in order and do not overlap. */
const sorted = <N extends number | bigint>({ firsts, lasts }: Gathered<N>): Gathered<N> => {
  const order = Uint32Array.from(firsts.keys())
  order.sort((one, other) => (firsts[one]! < firsts[other]! ? -1 : firsts[one]! > firsts[other]! ? 1 : 0))
  const merged: Gathered<N> = { firsts: [], lasts: [] }
  for (const index of order) {
    const end = merged.lasts.length - 1
    if (end < 0 || firsts[index]! > merged.lasts[end]!) {
      merged.firsts.push(firsts[index]!)
      merged.lasts.push(lasts[index]!)
    } else if (lasts[index]! > merged.lasts[end]!) merged.lasts[end] = lasts[index]!
  }
  return merged
}

const find = <N extends number | bigint>({ firsts, lasts }: Ranges<N>, value: N): boolean => {
  let low = 0
  let high = firsts.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (firsts[middle]! <= value) low = middle + 1
    else high = middle
  }
  return low > 0 && value <= lasts[low - 1]!
}

/** Whether a host is in the set. A name is in none. */
export const has = (self: IpRanges, host: string): boolean => hasValue(self, valueOf(host))

/** Whether an address of 4 or 16 bytes is in the set. */
export const hasBytes = (self: IpRanges, address: Uint8Array): boolean => hasValue(self, valueOfBytes(address))

const hasValue = ({ ipv4, ipv6 }: IpRanges, value: number | bigint | undefined): boolean =>
  typeof value === "number" ? find(ipv4, value) : value !== undefined && find(ipv6, value)

/** Whether the set has no address. */
export const isEmpty = ({ ipv4, ipv6 }: IpRanges): boolean => ipv4.firsts.length === 0 && ipv6.firsts.length === 0
