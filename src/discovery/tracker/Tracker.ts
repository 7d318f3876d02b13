/**
 * The contract for announcing a torrent to one tracker and scraping it: over HTTP (BEP 3, BEP 48) or UDP (BEP 15). One
 * request, one response. `AnnounceSchedule.ts` decides when to announce, to which tracker and with which event.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { PeerAddress } from "../../base/PeerAddress.ts"

/** Why an announce is sent, unless only the interval has passed (BEP 3 `event`). */
export type AnnounceEvent = "started" | "completed" | "stopped"

/** What an announce says. Counts are payload bytes since `started`. */
export interface AnnounceRequest {
  /** 20 bytes. */
  readonly infoHash: Uint8Array
  /** 20 bytes. */
  readonly peerId: Uint8Array
  /** The TCP port that peers may connect to, 1 to 65,535. */
  readonly port: number
  readonly uploaded: number
  readonly downloaded: number
  readonly left: number
  readonly event: AnnounceEvent | undefined
  /** How many addresses are wanted; the tracker may send more or fewer. */
  readonly numWant: number
  /** A random unsigned 32-bit number by which the tracker recognizes us when our address changes. */
  readonly key: number
  /** The tracker id of this tracker's last answer that had one, sent back unchanged. */
  readonly trackerId: Uint8Array | undefined
  /**
   * How connections to us are encrypted, which an HTTP tracker is told so that it can send peers that suit: preferably,
   * always (`require`), or never. Default `off`.
   */
  readonly encryption?: "prefer" | "require" | "off" | undefined
}

/** A tracker's response to an announce. */
export interface AnnounceResponse {
  /** Addresses to dial, possibly including ours. A host is an IP address or, from unusual trackers, a name. */
  readonly peers: ReadonlyArray<PeerAddress>
  /** Those of them of which the tracker says that they require encryption; absent if it says nothing about that. */
  readonly preferringEncryption?: ReadonlyArray<PeerAddress> | undefined
  /** Seconds until the next announce. Clamped to a sane range. */
  readonly intervalSeconds: number
  /** The shortest wait, if the tracker allows an earlier announce. Never more than `intervalSeconds`. */
  readonly minIntervalSeconds: number | undefined
  /** How many peers have everything (`complete`). */
  readonly seeders: number | undefined
  /** How many peers do not (`incomplete`). */
  readonly leechers: number | undefined
  readonly trackerId: Uint8Array | undefined
  /** A message for the user, although the announce succeeded. */
  readonly warning: string | undefined
  /** Our own IP address as the tracker sees it (BEP 24). */
  readonly externalHost: string | undefined
  /**
   * The IP address that the answer came from, or the host of the URL that gave it; absent if neither is known. A
   * tracker in the public internet may not name peers in the local network (`PeerSourceEvent`).
   */
  readonly from?: string | undefined
}

/** A tracker's counts for a torrent (BEP 48). A count that the response lacks is `undefined`. */
export interface ScrapeResponse {
  /** How many peers have everything (`complete`). */
  readonly seeders: number | undefined
  /** How many peers do not (`incomplete`). */
  readonly leechers: number | undefined
  /** How many downloads were ever completed (`downloaded`). */
  readonly downloads: number | undefined
}

/** The schema of when a tracker may be asked again. */
export const RetryAfter = Schema.Union([Schema.Number, Schema.Literal("never")])

/** When a tracker may be asked again: after a number of seconds, or `never`. */
export type RetryAfter = typeof RetryAfter.Type

/** An announce or a scrape failed. `why` reads well after the tracker's URL and a colon: `connection refused`. */
export class TrackerError extends Schema.TaggedError<TrackerError>()("piecewise/TrackerError", {
  url: Schema.String,
  why: Schema.String,
  /** Set if the tracker said when to ask again (BEP 31), or if asking again is pointless. */
  retryAfter: Schema.optional(RetryAfter),
  /** The tracker is not there any more, as far as it is known. It is asked again as after any failure. */
  isFinal: Schema.optional(Schema.Boolean)
}) {
  override get message() {
    return `Tracker ${this.url}: ${this.why}.`
  }
}

/**
 * Announces to trackers and scrapes them.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Layer } from "effect"
 * import { Tracker } from "piecewise"
 *
 * // A tracker of your own: it counts a swarm, and takes no announce.
 * const layer = Layer.succeed(
 *   Tracker.Tracker,
 *   Tracker.Tracker.of({
 *     announce: (url) => Effect.fail(new Tracker.TrackerError({ url, why: "it only counts", retryAfter: "never" })),
 *     scrape: () => Effect.succeed({ seeders: 3, leechers: 1, downloads: undefined })
 *   })
 * )
 * const scrape = Tracker.Tracker.use((tracker) => tracker.scrape("https://tracker.example/announce", new Uint8Array(20)))
 * const { seeders } = await Effect.runPromise(Effect.provide(scrape, layer))
 * assert.equal(seeders, 3)
 * ```
 */
export class Tracker extends Context.Service<
  Tracker,
  {
    /**
     * Announces to the tracker at `url`. Ends within the layer's timeout, and is interruptible. A URL whose scheme is
     * not supported fails with `retryAfter: "never"`.
     */
    readonly announce: (url: string, request: AnnounceRequest) => Effect.Effect<AnnounceResponse, TrackerError>
    /**
     * Asks the tracker whose announce URL is `url` for the counts of a torrent, without joining its swarm. `infoHash`
     * has 20 bytes. Ends within the layer's timeout, and is interruptible. Also fails if the tracker does not know the
     * torrent.
     */
    readonly scrape: (url: string, infoHash: Uint8Array) => Effect.Effect<ScrapeResponse, TrackerError>
  }
>()("piecewise/tracker/Tracker") {}
