/**
 * An announce to an HTTP tracker: the request URL and the bencoded response (BEP 3, BEP 7 `peers6`, BEP 23 compact
 * peers, BEP 24 external address, BEP 31 `retry in`, and the tracker extension of Message Stream Encryption:
 * `supportcrypto`, `requirecrypto`, `crypto_flags`). Pure; `HttpTracker.ts` sends and receives.
 *
 * An optional value that is malformed counts as absent, and `TrackerAnswer.ts` cleans the others. A malformed response
 * fails with `TrackerRefused`. Nothing that is returned points into the input.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import * as CompactPeers from "../../base/CompactPeers.ts"
import * as IpAddress from "../../base/IpAddress.ts"
import * as PeerAddress from "../../base/PeerAddress.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import type { AnnounceRequest, AnnounceResponse, RetryAfter } from "./Tracker.ts"
import * as TrackerAnswer from "./TrackerAnswer.ts"
import { TrackerRefused } from "./TrackerAnswer.ts"

/** One day. BEP 31 counts in minutes without a limit; a tracker that asks for a longer silence is asked once a day. */
export const maxRetrySeconds = 86_400

/** Bytes of a tracker id, which is part of every announce URL. A longer one could make every announce fail. */
export const maxTrackerIdLength = 256

/** The URL of an announce. Keeps the query that `trackerUrl` already has (for example a passkey); drops a fragment. */
export const toUrl = (trackerUrl: string, request: AnnounceRequest): string => {
  const parameters = [
    `info_hash=${percentEncode(request.infoHash)}`,
    `peer_id=${percentEncode(request.peerId)}`,
    `port=${request.port}`,
    `uploaded=${request.uploaded}`,
    `downloaded=${request.downloaded}`,
    `left=${request.left}`,
    "compact=1",
    "no_peer_id=1",
    `numwant=${request.numWant}`,
    `key=${request.key.toString(16).padStart(8, "0")}`
  ]
  if (request.event !== undefined) parameters.push(`event=${request.event}`)
  if (request.encryption === "prefer" || request.encryption === "require") parameters.push("supportcrypto=1")
  // A tracker that knows it leaves out peers that do not encrypt.
  if (request.encryption === "require") parameters.push("requirecrypto=1")
  if (request.trackerId !== undefined) parameters.push(`trackerid=${percentEncode(request.trackerId)}`)
  return withParameters(trackerUrl, parameters)
}

/** `url` with our parameters added after its own. Drops a fragment. */
export const withParameters = (url: string, parameters: ReadonlyArray<string>): string => {
  const base = url.replace(/#.*$/s, "")
  const separator = !base.includes("?") ? "?" : /[?&]$/.test(base) ? "" : "&"
  return `${base}${separator}${parameters.join("&")}`
}

/** Encodes bytes for a URL as in BEP 3: RFC 3986's unreserved characters stay, every other byte is escaped. */
export const percentEncode = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => {
    const character = String.fromCharCode(byte)
    return /[A-Za-z0-9\-._~]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
  }).join("")

/** Decodes a response. Ignores bytes after the dictionary: some trackers end it with a line break. */
export const decode = (bytes: Uint8Array): Result.Result<AnnounceResponse, TrackerRefused> =>
  Result.flatMap(decodeDictionary(bytes), (root) =>
    Result.map(readPeers(root), (peers) => ({
      peers: TrackerAnswer.takePeers(peers),
      ...readPreferences(root),
      ...readIntervals(root),
      seeders: readCount(root, "complete"),
      leechers: readCount(root, "incomplete"),
      trackerId: readTrackerId(root),
      warning: readText(root, "warning message"),
      externalHost: readExternalHost(root)
    }))
  )

/** Decodes the dictionary of an announce or scrape response, unless it is a refusal. The result points into `bytes`. */
export const decodeDictionary = (bytes: Uint8Array): Result.Result<Bencode.Dictionary, TrackerRefused> => {
  if (bytes.length === 0) return refuse("the answer is empty")
  const decoded = Bencode.decode(bytes, limits)
  if (Result.isFailure(decoded)) {
    return refuse(looksLikeHtml(bytes) ? "the answer is a web page" : "the answer is not a tracker response")
  }
  const root = decoded.success.value
  if (!Bencode.isDictionary(root)) return refuse("the answer is not a tracker response")
  const failure = root.get("failure reason")
  return failure === undefined ? Result.succeed(root) : Result.fail(refusal(failure, root))
}

/**
 * Decodes a refusal, which some trackers send with an HTTP error status. `undefined` if the bytes are anything else.
 */
export const decodeRefusal = (bytes: Uint8Array): TrackerRefused | undefined => {
  const decoded = Bencode.decode(bytes, limits)
  if (Result.isFailure(decoded) || !Bencode.isDictionary(decoded.success.value)) return undefined
  const failure = decoded.success.value.get("failure reason")
  return failure === undefined ? undefined : refusal(failure, decoded.success.value)
}

const limits = { maxDepth: 8, maxTokens: 50_000, trailing: "ignore" } as const

const refuse = (why: string) => Result.fail(new TrackerRefused({ why }))

const refusal = (failure: Bencode.Value, root: Bencode.Dictionary): TrackerRefused =>
  new TrackerRefused({
    why: TrackerAnswer.whyRefused(Bencode.isBytes(failure) ? failure : undefined),
    retryAfter: readRetry(root)
  })

// A byte order mark may come first; it is one of the characters of `\s`.
const looksLikeHtml = (bytes: Uint8Array): boolean => /^\s*</.test(Bytes.toText(bytes.subarray(0, 64)))

const readText = (root: Bencode.Dictionary, key: string): string | undefined => {
  const bytes = Bencode.getBytes(root, key)
  return bytes === undefined ? undefined : TrackerAnswer.toText(bytes)
}

/** BEP 31: whole minutes, or `never`. Some trackers write the number as text. */
const readRetry = (root: Bencode.Dictionary): RetryAfter | undefined => {
  const text = Bencode.getText(root, "retry in")
  if (text === "never") return "never"
  const minutes = Bencode.getInt(root, "retry in") ?? (/^\d{1,9}$/.test(text ?? "") ? Number(text) : undefined)
  return minutes === undefined || minutes <= 0 ? undefined : Math.min(minutes * 60, maxRetrySeconds)
}

/** A number of seconds, clamped. Also accepts integers that are too large for a number: trackers have sent 2^64. */
const readSeconds = (root: Bencode.Dictionary, key: string): number | undefined => {
  const value = root.get(key)
  return typeof value === "number" || typeof value === "bigint" ? TrackerAnswer.clampInterval(Number(value)) : undefined
}

const readIntervals = (root: Bencode.Dictionary) => {
  const least = readSeconds(root, "min interval")
  const usual = readSeconds(root, "interval") ?? TrackerAnswer.defaultIntervalSeconds
  return { intervalSeconds: Math.max(usual, least ?? 0), minIntervalSeconds: least }
}

/** A number of peers or downloads; `undefined` if it is missing or not a count. */
export const readCount = (root: Bencode.Dictionary, key: string): number | undefined => {
  const count = Bencode.getInt(root, key)
  return count !== undefined && count >= 0 ? count : undefined
}

const readTrackerId = (root: Bencode.Dictionary): Uint8Array | undefined => {
  const id = Bencode.getBytes(root, "tracker id")
  return id === undefined || id.length > maxTrackerIdLength ? undefined : id.slice()
}

const readExternalHost = (root: Bencode.Dictionary): string | undefined => {
  const bytes = Bencode.getBytes(root, "external ip")
  return bytes?.length === 4 || bytes?.length === 16 ? IpAddress.format(bytes) : undefined
}

const readPeers = (root: Bencode.Dictionary): Result.Result<ReadonlyArray<PeerAddress.PeerAddress>, TrackerRefused> => {
  const peers = root.get("peers") ?? []
  if (!Bencode.isBytes(peers) && !Bencode.isList(peers)) return refuse("the peers are neither a list nor compact")
  const peers6 = Bencode.getBytes(root, "peers6") ?? new Uint8Array()
  const given = Bencode.isList(peers) ? Result.succeed(readDictionaries(peers)) : CompactPeers.decode(peers, "ipv4")
  const given6 = CompactPeers.decode(peers6, "ipv6")
  if (Result.isFailure(given))
    return refuse(`the peers take ${given.failure.length} bytes, which is not a multiple of 6`)
  if (Result.isFailure(given6))
    return refuse(`the IPv6 peers take ${given6.failure.length} bytes, which is not a multiple of 18`)
  return Result.succeed([...given.success, ...given6.success])
}

/**
 * `crypto_flags`: a byte for each compact IPv4 peer, 1 if it requires encryption. Absent unless the lengths agree and a
 * byte is set.
 */
const readPreferences = (root: Bencode.Dictionary): Pick<AnnounceResponse, "preferringEncryption"> => {
  const flags = Bencode.getBytes(root, "crypto_flags")
  const peers = Bencode.getBytes(root, "peers")
  const size = CompactPeers.entryLength.ipv4
  if (flags === undefined || peers === undefined || flags.length * size !== peers.length) return {}
  const preferring: Array<PeerAddress.PeerAddress> = []
  for (const [index, flag] of flags.entries()) {
    const address = flag === 0 ? undefined : CompactPeers.read(peers, index * size, "ipv4")
    if (address !== undefined) preferring.push(address)
  }
  return preferring.length === 0 ? {} : { preferringEncryption: TrackerAnswer.takePeers(preferring) }
}

/** BEP 3's form of the peers: a list of dictionaries. Leaves out entries without a valid address. */
const readDictionaries = (list: ReadonlyArray<Bencode.Value>): ReadonlyArray<PeerAddress.PeerAddress> =>
  list.flatMap((entry) => {
    if (!Bencode.isDictionary(entry)) return []
    const address = PeerAddress.make(Bencode.getText(entry, "ip") ?? "", Bencode.getInt(entry, "port") ?? 0)
    return address === undefined ? [] : [address]
  })
