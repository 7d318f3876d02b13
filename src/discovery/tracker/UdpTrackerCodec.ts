/**
 * Packets of the UDP tracker protocol (BEP 15), with the URL option of BEP 41. Pure; `UdpTracker.ts` sends and waits.
 * Integers are big-endian.
 *
 * - Connect: protocol id u64, action 0 u32, transaction u32. Answer: action 0, transaction, connection id of 8 bytes.
 * - Announce: connection id, action 1, transaction, info hash of 20 bytes, peer id of 20, downloaded u64, left u64,
 *   uploaded u64, event u32, IP address u32, key u32, number wanted i32, port u16, then options. Answer: action 1,
 *   transaction, interval u32, leechers u32, seeders u32, then peers: 6 bytes each, or 18 if the tracker was asked over
 *   IPv6.
 * - Scrape: connection id, action 2, transaction, info hashes (we send one). Answer: action 2, transaction, and for
 *   each info hash seeders u32, downloads u32, leechers u32.
 * - Error, in answer to any request: action 3, transaction, text.
 *
 * A later version may append fields, so a longer packet is valid and a shorter one is not.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import * as CompactPeers from "../../base/CompactPeers.ts"
import type { AnnounceEvent, AnnounceRequest, AnnounceResponse, ScrapeResponse } from "./Tracker.ts"
import * as TrackerAnswer from "./TrackerAnswer.ts"

/** A decoded packet from a tracker. Nothing in it points into the packet. */
export type Answer = Connected | Announced | Scraped | Failed

/** Carries a connection id of 8 bytes, which is opaque to us. */
export interface Connected {
  readonly _tag: "Connected"
  readonly transactionId: number
  readonly connectionId: Uint8Array
}

/** The answer to an announce. */
export interface Announced {
  readonly _tag: "Announced"
  readonly transactionId: number
  readonly response: AnnounceResponse
}

/** The answer to a scrape. */
export interface Scraped {
  readonly _tag: "Scraped"
  readonly transactionId: number
  readonly response: ScrapeResponse
}

/** The tracker refused, or its answer is malformed. `why` reads well after a colon. */
export interface Failed {
  readonly _tag: "Failed"
  readonly transactionId: number
  readonly why: string
}

export const connectionIdLength = 8

/** The protocol id that BEP 15 calls the magic constant: 0x41727101980. */
const protocolId = Uint8Array.of(0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80)

const actions = { connect: 0, announce: 1, scrape: 2, error: 3 } as const

const events: { readonly [event in AnnounceEvent]: number } = { completed: 1, started: 2, stopped: 3 }

const headerLength = 16
const announceLength = 98

/** BEP 41 "URL data": the path and the query of the tracker's URL. */
const urlDataOption = 2

/** Bytes that fit into one option, whose length is one byte. A longer value is split over several options. */
const maxOptionLength = 255

const header = (connectionId: Uint8Array, action: number, transactionId: number, length: number) => {
  const bytes = new Uint8Array(length)
  bytes.set(connectionId)
  Bytes.writeUint32Unsafe(bytes, 8, action)
  Bytes.writeUint32Unsafe(bytes, 12, transactionId)
  return bytes
}

/**
 * Encodes a request for a connection id. `transactionId`, here and below, is an unsigned 32-bit number that the answer
 * repeats.
 */
export const encodeConnect = (transactionId: number): Uint8Array =>
  header(protocolId, actions.connect, transactionId, headerLength)

/**
 * Encodes an announce. `urlData` is the path and query of the tracker's URL in ASCII, or empty (BEP 41). Leaves out the
 * request's tracker id, for which BEP 15 has no field, and our IP address, which the tracker sees.
 */
export const encodeAnnounce = (options: {
  readonly connectionId: Uint8Array
  readonly transactionId: number
  readonly request: AnnounceRequest
  readonly urlData: string
}): Uint8Array => {
  const { connectionId, request, transactionId } = options
  const urlData = Bytes.fromText(options.urlData)
  const optionCount = Math.ceil(urlData.length / maxOptionLength)
  const bytes = header(connectionId, actions.announce, transactionId, announceLength + 2 * optionCount + urlData.length)
  bytes.set(request.infoHash, 16)
  bytes.set(request.peerId, 36)
  Bytes.writeUint64Unsafe(bytes, 56, request.downloaded)
  Bytes.writeUint64Unsafe(bytes, 64, request.left)
  Bytes.writeUint64Unsafe(bytes, 72, request.uploaded)
  Bytes.writeUint32Unsafe(bytes, 80, request.event === undefined ? 0 : events[request.event])
  Bytes.writeUint32Unsafe(bytes, 88, request.key)
  Bytes.writeUint32Unsafe(bytes, 92, request.numWant)
  Bytes.writeUint16Unsafe(bytes, 96, request.port)
  let offset = announceLength
  for (let start = 0; start < urlData.length; start += maxOptionLength) {
    const part = urlData.subarray(start, start + maxOptionLength)
    bytes.set([urlDataOption, part.length], offset)
    bytes.set(part, offset + 2)
    offset += 2 + part.length
  }
  return bytes
}

/** Encodes a scrape of one torrent. */
export const encodeScrape = (options: {
  readonly connectionId: Uint8Array
  readonly transactionId: number
  readonly infoHash: Uint8Array
}): Uint8Array => {
  const length = headerLength + options.infoHash.length
  const bytes = header(options.connectionId, actions.scrape, options.transactionId, length)
  bytes.set(options.infoHash, headerLength)
  return bytes
}

/** Decodes an answer received over a socket of `family`; `undefined` if it is unknown or too short. */
export const decode = (bytes: Uint8Array, family: CompactPeers.Family): Answer | undefined => {
  if (bytes.length < 8) return undefined
  const action = Bytes.readUint32Unsafe(bytes, 0)
  const transactionId = Bytes.readUint32Unsafe(bytes, 4)
  switch (action) {
    case actions.connect: {
      if (bytes.length < 16) return undefined
      return { _tag: "Connected", transactionId, connectionId: bytes.slice(8, 8 + connectionIdLength) }
    }
    case actions.announce: {
      if (bytes.length < 20) return undefined
      const peers = CompactPeers.decode(bytes.subarray(20), family)
      if (Result.isFailure(peers)) {
        const { entryLength, length } = peers.failure
        return {
          _tag: "Failed",
          transactionId,
          why: `the peers take ${length} bytes, which is not a multiple of ${entryLength}`
        }
      }
      return { _tag: "Announced", transactionId, response: toResponse(bytes, peers.success) }
    }
    case actions.scrape: {
      if (bytes.length < 20) return undefined
      const response = { seeders: countAt(bytes, 8), leechers: countAt(bytes, 16), downloads: countAt(bytes, 12) }
      return { _tag: "Scraped", transactionId, response }
    }
    case actions.error:
      return { _tag: "Failed", transactionId, why: TrackerAnswer.whyRefused(bytes.subarray(8)) }
    default:
      return undefined
  }
}

/** BEP 15 has no tracker id, no warning, and no field for our own address (BEP 24). */
const toResponse = (bytes: Uint8Array, peers: AnnounceResponse["peers"]): AnnounceResponse => ({
  peers: TrackerAnswer.takePeers(peers),
  intervalSeconds: TrackerAnswer.clampInterval(Bytes.readUint32Unsafe(bytes, 8)),
  minIntervalSeconds: undefined,
  seeders: countAt(bytes, 16),
  leechers: countAt(bytes, 12),
  trackerId: undefined,
  warning: undefined,
  externalHost: undefined
})

/** BEP 15 does not say that counts are unsigned. Trackers send -1 for "unknown", so the highest bit means absent. */
const countAt = (bytes: Uint8Array, offset: number): number | undefined => {
  const count = Bytes.readUint32Unsafe(bytes, offset)
  return count < 0x8000_0000 ? count : undefined
}
