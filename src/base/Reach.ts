/**
 * From where a host can be reached, to decide whether a stranger may make us connect to it. Pure: whoever connects must
 * ask again for the addresses that a name resolves to.
 *
 * An IPv6 address may lead to an IPv4 address that the system or a gateway extracts from it. Then it reaches no farther
 * than that IPv4 address. The io-daemon refuses by the same table (native-host/io-daemon/src/sockets/address.rs); both
 * have the same test vectors.
 */
import * as Bytes from "./Bytes.ts"
import * as IpAddress from "./IpAddress.ts"

/** From where a host can be reached, see `of`. */
export type Reach = "public" | "private" | "loopback" | "none"

/** From the most public to the least. */
const order: ReadonlyArray<Reach> = ["public", "private", "loopback", "none"]

/** Whether `self` can be reached from fewer places than `that`. */
export const isLessPublic = (self: Reach, that: Reach): boolean => order.indexOf(self) > order.indexOf(that)

/**
 * From where a host can be reached.
 *
 * - `loopback`: this machine. 127.0.0.0/8, ::1, `localhost` and names below it (RFC 6761).
 * - `private`: the network around. RFC 1918, link-local, the shared space of carrier NAT (RFC 6598), and in IPv6 unique
 *   local (RFC 4193), link-local, site-local and local NAT64 (RFC 8215).
 * - `none`: nothing that a stranger may name. Unspecified (0.0.0.0/8, which systems treat as loopback, and ::),
 *   multicast, reserved, broadcast, and the services in which clouds keep the credentials of their machines.
 * - `public`: anything else, names included.
 *
 * `host` may have a zone or the brackets that IPv6 has in URLs.
 */
export const of = (host: string): Reach => {
  const address = IpAddress.ipv4(host)
  if (address >= 0) return reach4(address)
  const bytes = bytesOf(host)
  if (bytes === undefined) return /(?:^|\.)localhost\.?$/i.test(host) ? "loopback" : "public"
  return formsOf(bytes)
    .map(reachOf)
    .reduce((least, reach) => (isLessPublic(reach, least) ? reach : least))
}

/**
 * Whether a host is this machine and nothing else: `loopback` as in `of`, without the IPv6 addresses that a gateway may
 * turn into 127.0.0.0/8, because packets for those leave the machine. `of` is for refusing, this is for allowing.
 */
export const isThisMachine = (host: string): boolean => {
  const bytes = bytesOf(host)
  return bytes === undefined ? of(host) === "loopback" : reachOf(bytes) === "loopback"
}

/**
 * Whether a host is link-local (169.254.0.0/16, fe80::/10): the range of zero configuration, and of clouds' services.
 */
export const isLinkLocal = (host: string): boolean => {
  const bytes = bytesOf(host)
  return (
    bytes !== undefined && formsOf(bytes).some((form) => (form.length === 4 ? isLinkLocal4(form) : isLinkLocal6(form)))
  )
}

const bytesOf = (host: string): Uint8Array | undefined =>
  IpAddress.parse(IpAddress.withoutZone(host.replace(/^\[(.*)\]$/, "$1")))

/** An address of 4 or 16 bytes, and the IPv4 addresses to which a packet for it may be sent. */
export const formsOf = (bytes: Uint8Array): ReadonlyArray<Uint8Array> =>
  bytes.length === 4 ? [bytes] : [bytes, ...embedded(bytes)]

const reachOf = (bytes: Uint8Array): Reach =>
  bytes.length === 4 ? reach4(Bytes.readUint32Unsafe(bytes, 0)) : reach6(bytes)

const isLinkLocal4 = (bytes: Uint8Array): boolean => bytes[0] === 169 && bytes[1] === 254

const isLinkLocal6 = (bytes: Uint8Array): boolean => bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80

const hostsOf = (...hosts: ReadonlyArray<string>): ReadonlySet<string> => new Set(hosts)

/** Services of clouds, from which any program can get the machine's credentials. In the form of `IpAddress.format`. */
const metadata = hostsOf(
  // Amazon, Google, Azure, Oracle and others.
  "169.254.169.254",
  // Amazon, for containers.
  "169.254.170.2",
  // Alibaba.
  "100.100.100.200",
  // Azure, the platform's own.
  "168.63.129.16",
  // Oracle.
  "192.0.0.192",
  "fd00:c1::a9fe:a9fe",
  // Google.
  "fd20:ce::254",
  // Scaleway.
  "fd00:42::42"
)

/** `fd00:ec2::/32`, which has all such services of Amazon. */
const metadataPrefix = Uint8Array.of(0xfd, 0, 0x0e, 0xc2)

/** Those of them that are IPv4, as numbers. */
const metadata4: ReadonlySet<number> = new Set(Array.from(metadata, IpAddress.ipv4).filter((address) => address >= 0))

const isMetadata = (bytes: Uint8Array): boolean =>
  metadata.has(IpAddress.format(bytes)!) || startsWith(bytes, metadataPrefix)

const reach4 = (address: number): Reach => {
  const first = address >>> 24
  const second = (address >>> 16) & 0xff
  if (first === 0 || first >= 224 || metadata4.has(address)) return "none"
  if (first === 127) return "loopback"
  if (first === 10 || (first === 172 && second >= 16 && second < 32) || (first === 192 && second === 168))
    return "private"
  const isShared = first === 100 && second >= 64 && second < 128
  return isShared || (first === 169 && second === 254) ? "private" : "public"
}

const reach6 = (bytes: Uint8Array): Reach => {
  if (bytes[0] === 0xff || isMetadata(bytes)) return "none"
  if (startsWith(bytes, zeros.subarray(0, 15))) {
    if (bytes[15] === 0) return "none"
    if (bytes[15] === 1) return "loopback"
  }
  const isAround = (bytes[0]! & 0xfe) === 0xfc || (bytes[0] === 0xfe && bytes[1]! >= 0x80)
  return isAround || startsWith(bytes, localNat64) ? "private" : "public"
}

const startsWith = (bytes: Uint8Array, prefix: Uint8Array): boolean =>
  prefix.every((byte, index) => bytes[index] === byte)

const zeros = new Uint8Array(16)

/** `64:ff9b::/96`, the well-known prefix of NAT64 (RFC 6052 section 2.1). */
const nat64 = Uint8Array.of(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0)

/** `64:ff9b:1::/48`, the prefix for NAT64 within one network (RFC 8215). */
const localNat64 = Uint8Array.of(0, 0x64, 0xff, 0x9b, 0, 1)

/** `::ffff:0:0:0/96`, translated (RFC 2765 section 2.1); mapped addresses are already IPv4 after `IpAddress.parse`. */
const translated = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0)

const last = [12, 13, 14, 15]

/** The offset of the address behind a local NAT64 prefix of 48, 56, 64 and 96 bits (RFC 6052 section 2.2). */
const localNat64Places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], last]

/** The IPv4 addresses in an IPv6 address, by all transition mechanisms. */
const embedded = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  const at = (places: ReadonlyArray<number>) => Uint8Array.from(places, (place) => bytes[place]!)
  if (startsWith(bytes, zeros.subarray(0, 12))) {
    // Compatible (RFC 4291 section 2.5.5.1), except for the addresses of this host, which only look like one.
    return bytes[12] === 0 && bytes[13] === 0 && bytes[14] === 0 && bytes[15]! < 2 ? [] : [at(last)]
  }
  if (startsWith(bytes, nat64) || startsWith(bytes, translated)) return [at(last)]
  // The length of the network's prefix is unknown, so other offsets hold anything: only what is unmistakable counts.
  if (startsWith(bytes, localNat64)) {
    return localNat64Places.map(at).filter((form) => form[0] === 127 || isLinkLocal4(form) || isMetadata(form))
  }
  // 6to4 (RFC 3056 section 2).
  if (bytes[0] === 0x20 && bytes[1] === 0x02) return [at([2, 3, 4, 5])]
  // Teredo (RFC 4380 section 4): the server, and the client with its bits inverted.
  if (bytes[0] === 0x20 && bytes[1] === 0x01 && bytes[2] === 0 && bytes[3] === 0) {
    return [at([4, 5, 6, 7]), at(last).map((byte) => byte ^ 0xff)]
  }
  // ISATAP (RFC 5214 section 6.1), in any prefix.
  const isIsatap = (bytes[8]! & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe
  return isIsatap ? [at(last)] : []
}
