/**
 * The handshake of the extension protocol (BEP 10): a dictionary in an `extended` frame of id 0. In it a peer names the
 * extensions that it knows with the ids under which it wants to receive them, and describes itself (BEP 9
 * `metadata_size`, BEP 21 `upload_only`).
 *
 * Every field is checked on its own. An invalid value counts as absent, because clients differ. An absent field keeps
 * its value from an earlier handshake, see `merge`.
 *
 * Leaves to the sessions which extensions there are, and whether they believe the peer. A peer that names `infoHashV2`
 * expects a v2 torrent; the session of a v1 torrent ends then.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import type { InfoHashV2 } from "../../base/InfoHash.ts"
import * as InfoHash from "../../base/InfoHash.ts"
import * as IpAddress from "../../base/IpAddress.ts"
import * as Reach from "../../base/Reach.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import { WireError } from "../WireError.ts"

/** The id of the `extended` frame that carries a handshake. */
export const id = 0

/** What a peer said in one handshake, or in all so far. A field that it did not send is `undefined`. */
export interface ExtensionHandshake {
  /** `m`: by name of the extension, the id (1 to 255) of frames to this peer; 0 if it does not accept them any more. */
  readonly ids: ReadonlyMap<string, number>
  /** `v`: client and version, at most `maxClientLength` characters that are safe to show. */
  readonly client: string | undefined
  /** `p`: the TCP port at which the peer can be dialled, 1 to 65,535. */
  readonly port: number | undefined
  /** `yourip`: the address under which the peer sees the other side, in canonical text. A hint that may be a lie. */
  readonly externalHost: string | undefined
  /** `ipv4`: the peer's IPv4 address, in canonical text. */
  readonly ipv4Host: string | undefined
  /** `ipv6`: the peer's IPv6 address, in canonical text. */
  readonly ipv6Host: string | undefined
  /** `reqq`: how many requests the peer accepts before it drops some, at least 1. */
  readonly maxRequests: number | undefined
  /** `metadata_size`: bytes of the info dict, at least 1. */
  readonly metadataSize: number | undefined
  /** `upload_only`: the peer wants nothing more (BEP 21). */
  readonly uploadOnly: boolean | undefined
  /** `e`: whether the peer prefers encrypted connections. BEP 10 does not name it; BEP 11 refers to it. */
  readonly prefersEncryption: boolean | undefined
  /**
   * `info_hash2`: the v2 info hash whose first 20 bytes opened the connection, as libtorrent sends it; 32 bytes, a
   * copy.
   */
  readonly infoHashV2: InfoHashV2 | undefined
}

/** The handshake of a peer that has said nothing. */
export const empty: ExtensionHandshake = {
  ids: new Map(),
  client: undefined,
  port: undefined,
  externalHost: undefined,
  ipv4Host: undefined,
  ipv6Host: undefined,
  maxRequests: undefined,
  metadataSize: undefined,
  uploadOnly: undefined,
  prefersEncryption: undefined,
  infoHashV2: undefined
}

/** Extensions of one peer that are kept; about a dozen are in use. */
export const maxExtensions = 64

/** Characters of an extension's name. */
export const maxNameLength = 64

/** Characters of a client's name that are shown. */
export const maxClientLength = 64

/** Bytes of a whole handshake; real ones have about 300. */
export const maxLength = 16_384

/**
 * Reads the payload of an `extended` frame of id 0. Bytes after the dictionary are ignored. Nothing in the result
 * refers to `payload`. Fails with `WireError` only if it is not a dictionary, or longer than `maxLength`.
 */
export const decode = (payload: Uint8Array): Result.Result<ExtensionHandshake, WireError> => {
  const decoded = Bencode.decode(payload, { maxBytes: maxLength, maxDepth: 16, maxTokens: 4_096, trailing: "ignore" })
  if (Result.isFailure(decoded)) {
    return Result.fail(new WireError({ why: "an extension handshake that is not bencoded" }))
  }
  const root = decoded.success.value
  if (!Bencode.isDictionary(root)) {
    return Result.fail(new WireError({ why: "an extension handshake that is no dictionary" }))
  }
  return Result.succeed({
    ids: readIds(Bencode.getDictionary(root, "m")),
    client: readClient(Bencode.getBytes(root, "v")),
    port: readInt(root, "p", 65_535),
    externalHost: readHost(root, "yourip", [4, 16]),
    ipv4Host: readHost(root, "ipv4", [4]),
    ipv6Host: readHost(root, "ipv6", [16]),
    maxRequests: readInt(root, "reqq", Number.MAX_SAFE_INTEGER),
    metadataSize: readInt(root, "metadata_size", Number.MAX_SAFE_INTEGER),
    uploadOnly: readFlag(root, "upload_only"),
    prefersEncryption: readFlag(root, "e"),
    infoHashV2: InfoHash.v2FromBytes(Bencode.getBytes(root, "info_hash2")?.slice() ?? new Uint8Array())
  })
}

const readIds = (entries: Bencode.Dictionary | undefined): ReadonlyMap<string, number> => {
  const ids = new Map<string, number>()
  for (const [name, value] of entries ?? []) {
    if (ids.size === maxExtensions) break
    const isId = typeof value === "number" && value >= 0 && value <= 255
    if (isId && name !== "" && name.length <= maxNameLength) ids.set(name, value)
  }
  return ids
}

/** An integer of 1 to `max`. */
const readInt = (root: Bencode.Dictionary, key: string, max: number): number | undefined => {
  const value = Bencode.getInt(root, key)
  return value !== undefined && value >= 1 && value <= max ? value : undefined
}

const readFlag = (root: Bencode.Dictionary, key: string): boolean | undefined => {
  const value = Bencode.getInt(root, key)
  return value === undefined ? undefined : value !== 0
}

/** The host of an address that has one of `lengths` bytes and could belong to a peer. */
const readHost = (root: Bencode.Dictionary, key: string, lengths: ReadonlyArray<number>): string | undefined => {
  const bytes = Bencode.getBytes(root, key)
  if (bytes === undefined || !lengths.includes(bytes.length)) return undefined
  const host = IpAddress.format(bytes)!
  return Reach.of(host) === "none" ? undefined : host
}

/**
 * Text for a terminal or a page: characters that could control either become spaces, what is not UTF-8 becomes U+FFFD.
 */
const readClient = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Bytes.toShownText(bytes, maxClientLength)

/**
 * What a peer has said in all after another handshake: the fields of `later` replace those of `self` if they are
 * present, and its `m` holds only changes (BEP 10). At most `maxExtensions` names are kept.
 */
export const merge = (self: ExtensionHandshake, later: ExtensionHandshake): ExtensionHandshake => {
  const ids = new Map(self.ids)
  for (const [name, value] of later.ids) if (ids.size < maxExtensions || ids.has(name)) ids.set(name, value)
  return {
    ids,
    client: later.client ?? self.client,
    port: later.port ?? self.port,
    externalHost: later.externalHost ?? self.externalHost,
    ipv4Host: later.ipv4Host ?? self.ipv4Host,
    ipv6Host: later.ipv6Host ?? self.ipv6Host,
    maxRequests: later.maxRequests ?? self.maxRequests,
    metadataSize: later.metadataSize ?? self.metadataSize,
    uploadOnly: later.uploadOnly ?? self.uploadOnly,
    prefersEncryption: later.prefersEncryption ?? self.prefersEncryption,
    infoHashV2: later.infoHashV2 ?? self.infoHashV2
  }
}

/**
 * The id under which the peer wants to receive an extension, 1 to 255; `undefined` if it does not know the extension.
 */
export const idOf = (self: ExtensionHandshake, name: string): number | undefined => self.ids.get(name) || undefined

/** Encodes the payload of an `extended` frame of id 0. Fields that are `undefined` are left out. */
export const encode = (handshake: Partial<ExtensionHandshake>): Uint8Array =>
  Bencode.encode({
    m: handshake.ids ?? new Map<string, number>(),
    v: handshake.client,
    p: handshake.port,
    yourip: ipBytes(handshake.externalHost),
    ipv4: ipBytes(handshake.ipv4Host),
    ipv6: ipBytes(handshake.ipv6Host),
    reqq: handshake.maxRequests,
    metadata_size: handshake.metadataSize,
    upload_only: flagOf(handshake.uploadOnly),
    e: flagOf(handshake.prefersEncryption),
    info_hash2: handshake.infoHashV2
  })

const flagOf = (flag: boolean | undefined): number | undefined => (flag === undefined ? undefined : Number(flag))

const ipBytes = (host: string | undefined): Uint8Array | undefined =>
  host === undefined ? undefined : IpAddress.parse(IpAddress.withoutZone(host))
