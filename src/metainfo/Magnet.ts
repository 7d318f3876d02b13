/**
 * Magnet links (BEP 9, with file selection of BEP 53 and v2 hashes of BEP 52): a torrent's identity and its sources.
 *
 * Everything in a link is a stranger's suggestion. Lists are bounded, and URLs of unsupported schemes are dropped.
 * Whoever connects to a URL checks where it leads, even after a redirect; `SafePath.ts` makes a name a file name.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "../base/Bytes.ts"
import * as InfoHash from "../base/InfoHash.ts"
import * as Naming from "../base/Naming.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import type { Reach } from "../base/Reach.ts"
import * as SourceUrl from "../base/SourceUrl.ts"

/** The schema of file indices from `first` to `last`, both included. */
export const FileRange = Schema.Struct({ first: Schema.Natural, last: Schema.Natural })

/** File indices from `first` to `last`, both included. */
export type FileRange = typeof FileRange.Type

/** The schema of what a magnet link says. */
export const Magnet = Schema.Struct({
  infoHash: Schema.UndefinedOr(InfoHash.InfoHash),
  infoHashV2: Schema.UndefinedOr(InfoHash.InfoHashV2),
  /** `dn`: a name to show until the metainfo is known. Not yet safe as a file name. */
  name: Schema.UndefinedOr(Schema.String),
  /** `tr`: tracker URLs (http, https, udp, ws, wss) in the order of the link, without duplicates. */
  trackers: Schema.Array(Schema.String),
  /** `ws`: web seed URLs (http, https; BEP 19). */
  webSeeds: Schema.Array(Schema.String),
  /** `xs`: URLs of the torrent file (http, https). */
  exactSources: Schema.Array(Schema.String),
  /** `as`: URLs that may have the torrent file too, to be tried after the exact ones. */
  acceptableSources: Schema.Array(Schema.String),
  /** `x.pe`: addresses to dial at once. */
  peers: Schema.Array(PeerAddress.PeerAddress),
  /**
   * `so`: the files to download, ascending ranges that do not touch; `undefined` for all. The indices may not exist.
   */
  select: Schema.UndefinedOr(Schema.Array(FileRange))
})

/** What a magnet link says. It has at least one of the two hashes. */
export type Magnet = typeof Magnet.Type

/** A text is no magnet link for a torrent. `why` is a clause about the link. */
export class MagnetError extends Schema.TaggedError<MagnetError>()("piecewise/MagnetError", { why: Schema.String }) {
  override get message() {
    return `Bad magnet link: ${this.why}.`
  }
}

/** Characters in a link. Real ones have a few thousand at most. */
export const maxLength = 65_536

/** Entries that are kept of each of the trackers, web seeds, sources and peers; further ones are dropped. */
export const maxEntries = 200

/** The largest file index in `so`. A torrent of this many files is larger than metainfo may be. */
export const maxFileIndex = 999_999

/**
 * Reads a magnet link. Accepts keys and hashes in either case, numbered keys (`tr.1`), and `magnet:///?` for
 * `magnet:?`. Drops unknown keys, and invalid URLs and peers. Fails for an invalid hash or selection, because a guess
 * would download something that was not meant.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Result } from "effect"
 * import { InfoHash, Magnet } from "piecewise"
 *
 * const link = "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&dn=A+film&x.pe=192.0.2.1:6881&so=0,2-4"
 * const magnet = Result.getOrThrow(Magnet.parse(link))
 * assert(magnet.infoHash !== undefined)
 * assert.equal(InfoHash.toHex(magnet.infoHash), "c12fe1c06bba254a9dc9f519b335aa7c1367a88a")
 * assert.equal(magnet.name, "A film")
 * assert.deepEqual(magnet.peers, [{ host: "192.0.2.1", port: 6881 }])
 * assert.equal(Magnet.selects(magnet, 1), false)
 * ```
 */
export const parse = (text: string): Result.Result<Magnet, MagnetError> => {
  const fail = (why: string) => Result.fail(new MagnetError({ why }))
  if (text.length > maxLength) return fail(`it is longer than ${maxLength} characters`)
  const start = /^\s*magnet:\/*\?/i.exec(text)
  if (start === null) return fail("it does not begin with magnet:?")
  const fields = readFields(text.slice(start[0].length).trimEnd())

  const hashes = readHashes(fields.xt)
  if (Result.isFailure(hashes)) return Result.fail(hashes.failure)
  const select = readSelection(fields.so)
  if (Result.isFailure(select)) return Result.fail(select.failure)
  return Result.succeed({
    ...hashes.success,
    name: fields.dn.find((name) => name !== ""),
    trackers: readUrls(fields.tr, SourceUrl.parseTracker),
    webSeeds: readUrls(fields.ws, SourceUrl.parseWebSeed),
    exactSources: readUrls(fields.xs, SourceUrl.parseTorrentFile),
    acceptableSources: readUrls(fields.as, SourceUrl.parseTorrentFile),
    peers: readPeers(fields["x.pe"]),
    select: select.success
  })
}

type Fields = { readonly [key in "xt" | "dn" | "tr" | "ws" | "xs" | "as" | "x.pe" | "so"]: Array<string> }

const readFields = (query: string): Fields => {
  const fields: Fields = { xt: [], dn: [], tr: [], ws: [], xs: [], as: [], "x.pe": [], so: [] }
  for (const parameter of query.split("&")) {
    const equals = parameter.indexOf("=")
    if (equals < 0) continue
    // "amp;" remains of a link that was copied out of HTML source.
    const key = parameter
      .slice(0, equals)
      .toLowerCase()
      .replace(/^amp;/, "")
      .replace(/\.\d+$/, "")
    if (!Object.hasOwn(fields, key)) continue
    const value = parameter.slice(equals + 1)
    // A plus is a space in names, as in forms, but may be part of a tracker's passkey.
    fields[key as keyof Fields].push(percentDecode(key === "dn" ? value.replaceAll("+", " ") : value))
  }
  return fields
}

/** Percent decoding that never fails: an invalid escape stays, and what is not UTF-8 becomes U+FFFD. */
const percentDecode = (text: string): string =>
  text.replace(/(?:%[0-9a-fA-F]{2})+/g, (escapes) => Bytes.toText(Bytes.fromHex(escapes.replaceAll("%", ""))!))

type Hashes = Pick<Magnet, "infoHash" | "infoHashV2">

const readHashes = (topics: ReadonlyArray<string>): Result.Result<Hashes, MagnetError> => {
  const fail = (why: string) => Result.fail(new MagnetError({ why }))
  let infoHash: InfoHash.InfoHash | undefined
  let infoHashV2: InfoHash.InfoHashV2 | undefined
  for (const topic of topics) {
    const urn = /^urn:(btih|btmh):(.*)$/is.exec(topic)
    if (urn === null) continue
    const text = urn[2]!
    if (urn[1]!.toLowerCase() === "btih") {
      const hash = InfoHash.parse(text)
      if (hash === undefined) return fail(whyNoHash(text))
      if (infoHash !== undefined && !InfoHash.equals(infoHash, hash)) return fail("it names two v1 info hashes")
      infoHash = hash
    } else {
      // A multihash: code 0x12 (SHA-256), length 0x20, digest (BEP 52).
      if (!text.startsWith("1220")) return fail("its btmh hash does not begin with 1220, the mark of SHA-256")
      const digest = Bytes.fromHex(text.slice(4))
      const hash = digest === undefined ? undefined : InfoHash.v2FromBytes(digest)
      if (hash === undefined) return fail("its btmh hash is not 1220 and 64 hexadecimal digits")
      if (infoHashV2 !== undefined && !InfoHash.equals(infoHashV2, hash)) return fail("it names two v2 info hashes")
      infoHashV2 = hash
    }
  }
  if (infoHash !== undefined || infoHashV2 !== undefined) return Result.succeed({ infoHash, infoHashV2 })
  if (topics.length === 0) return fail("it has no info hash, as it has no xt parameter")
  return fail("it has no info hash, as its xt parameter begins with neither urn:btih: nor urn:btmh:")
}

const whyNoHash = (text: string): string => {
  if (text.length === 40) return "its info hash has 40 characters that are not all hexadecimal digits"
  if (text.length === 32) return "its info hash has 32 characters that are not all of base32"
  return `its info hash has ${text.length} characters, not 40 (hexadecimal) or 32 (base32)`
}

const readUrls = (texts: ReadonlyArray<string>, parse: (text: string) => URL | undefined): ReadonlyArray<string> => {
  const urls = new Set<string>()
  for (const text of texts) {
    if (urls.size === maxEntries) break
    const url = parse(text)
    // The parsed form, not the text: the URL that is checked must be the one that is requested.
    if (url !== undefined) urls.add(url.href)
  }
  return [...urls]
}

const readPeers = (texts: ReadonlyArray<string>): ReadonlyArray<PeerAddress.PeerAddress> => {
  const peers = new Map<string, PeerAddress.PeerAddress>()
  for (const text of texts) {
    if (peers.size === maxEntries) break
    const address = PeerAddress.parse(text)
    if (address !== undefined && PeerAddress.isDialable(address)) peers.set(PeerAddress.format(address), address)
  }
  return [...peers.values()]
}

const readSelection = (texts: ReadonlyArray<string>): Result.Result<Magnet["select"], MagnetError> => {
  const ranges: Array<FileRange> = []
  for (const text of texts) {
    if (text === "") continue
    for (const part of text.split(",")) {
      const match = /^(\d{1,16})(?:-(\d{1,16}))?$/.exec(part)
      if (match === null) return Result.fail(new MagnetError({ why: "its file selection (so) is not like 0,2,6-8" }))
      const first = Number(match[1])
      const last = Number(match[2] ?? match[1])
      if (first > last) return Result.fail(new MagnetError({ why: `its file selection (so) has ${part} in reverse` }))
      if (last > maxFileIndex) {
        return Result.fail(new MagnetError({ why: `its file selection (so) passes file ${maxFileIndex}` }))
      }
      ranges.push({ first, last })
    }
  }
  return Result.succeed(ranges.length === 0 ? undefined : merge(ranges))
}

const merge = (ranges: ReadonlyArray<FileRange>): ReadonlyArray<FileRange> => {
  const merged: Array<FileRange> = []
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = merged.at(-1)
    if (before === undefined || range.first > before.last + 1) merged.push(range)
    else merged[merged.length - 1] = { first: before.first, last: Math.max(before.last, range.last) }
  }
  return merged
}

/** Whether the link's selection includes the file at `index`. Asked for each file, so the ranges are bisected. */
export const selects = ({ select }: Magnet, index: number): boolean => {
  if (select === undefined) return true
  let low = 0
  for (let high = select.length; low < high; ) {
    const middle = (low + high) >>> 1
    if (select[middle]!.last < index) low = middle + 1
    else high = middle
  }
  return low < select.length && select[low]!.first <= index
}

/**
 * The peers that a link from whoever has the reach `from` may name (`base/Naming.ts`). Names only if it may name
 * everything: the engine takes these peers for the user's, and would follow a name anywhere.
 */
export const peersNamedBy = ({ peers }: Pick<Magnet, "peers">, from: Reach): ReadonlyArray<PeerAddress.PeerAddress> =>
  peers.filter((peer) => Naming.mayName(from, peer) && (from === Naming.anything || !Naming.isName(peer)))

/** The link, in a form that other clients read; `parse` returns what `self` says. */
export const format = (self: Magnet): string => {
  const parameters: Array<string> = []
  if (self.infoHash !== undefined) parameters.push(`xt=urn:btih:${InfoHash.toHex(self.infoHash)}`)
  if (self.infoHashV2 !== undefined) parameters.push(`xt=urn:btmh:1220${InfoHash.toHex(self.infoHashV2)}`)
  if (self.name !== undefined) parameters.push(`dn=${percentEncode(self.name)}`)
  for (const url of self.trackers) parameters.push(`tr=${percentEncode(url)}`)
  for (const url of self.webSeeds) parameters.push(`ws=${percentEncode(url)}`)
  for (const url of self.exactSources) parameters.push(`xs=${percentEncode(url)}`)
  for (const url of self.acceptableSources) parameters.push(`as=${percentEncode(url)}`)
  // Peers are unescaped in BEP 9's example, and some clients read only that.
  for (const peer of self.peers) parameters.push(`x.pe=${PeerAddress.format(peer).replaceAll("%", "%25")}`)
  if (self.select !== undefined) {
    const ranges = self.select.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`))
    parameters.push(`so=${ranges.join(",")}`)
  }
  return `magnet:?${parameters.join("&")}`
}

// A lone surrogate, which encodeURIComponent throws on, becomes U+FFFD.
const percentEncode = (text: string): string => encodeURIComponent(text.toWellFormed())
