/**
 * The contract of whatever announces a torrent to a tracker and scrapes it: HTTP (BEP 3, BEP 48) and UDP (BEP 15). One
 * question, one answer; when to announce, to whom and with which event is `AnnounceSchedule.ts`'s question.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { PeerAddress } from "../../base/PeerAddress.ts"

/** Why an announce is made, where it is not just that the interval has passed (BEP 3 `event`). */
export type AnnounceEvent = "started" | "completed" | "stopped"

/** What a tracker is told. Counts are payload bytes since `started`. */
export interface AnnounceRequest {
  /** 20 bytes. */
  readonly infoHash: Uint8Array
  /** 20 bytes. */
  readonly peerId: Uint8Array
  /** The TCP port others may connect to, 1 to 65,535. */
  readonly port: number
  readonly uploaded: number
  readonly downloaded: number
  readonly left: number
  readonly event: AnnounceEvent | undefined
  /** How many addresses are wanted; the tracker may send fewer. */
  readonly numWant: number
  /** A random unsigned 32-bit number that tells the tracker who we are when our address changes. */
  readonly key: number
  /** What the tracker last called itself, echoed. */
  readonly trackerId: Uint8Array | undefined
}

/** What a tracker answered. */
export interface AnnounceResponse {
  /** Addresses that can be dialled, ours possibly among them. A host is an IP address or, from odd trackers, a name. */
  readonly peers: ReadonlyArray<PeerAddress>
  /** How long to wait until the next announce; a sane number, whatever the tracker said. */
  readonly intervalSeconds: number
  /** How long to wait at least, where the tracker allows to come sooner; never more than `intervalSeconds`. */
  readonly minIntervalSeconds: number | undefined
  /** Peers that have everything (`complete`). */
  readonly seeders: number | undefined
  /** Peers that do not (`incomplete`). */
  readonly leechers: number | undefined
  readonly trackerId: Uint8Array | undefined
  /** Something the user should read, although the announce worked. */
  readonly warning: string | undefined
  /** Our own IP address as the tracker sees it (BEP 24). */
  readonly externalHost: string | undefined
}

/** How a tracker says that a torrent stands (BEP 48). What it did not tell is `undefined`. */
export interface ScrapeResponse {
  /** Peers that have everything (`complete`). */
  readonly seeders: number | undefined
  /** Peers that do not (`incomplete`). */
  readonly leechers: number | undefined
  /** How often it was downloaded to the end, ever (`downloaded`). */
  readonly downloads: number | undefined
}

/** When a tracker may be asked again: after a number of seconds, or `never`. */
export type RetryAfter = number | "never"

/** An announce or a scrape failed. `why` can stand after the tracker's URL and a colon: `connection refused`. */
export class TrackerError extends Data.TaggedError("TrackerError")<{
  readonly url: string
  readonly why: string
  /** Set where the tracker said when to come back (BEP 31), or where asking again is pointless. */
  readonly retryAfter?: RetryAfter | undefined
}> {
  override get message() {
    return `Tracker ${this.url}: ${this.why}.`
  }
}

/** Announces and scrapes. */
export class Tracker extends Context.Service<
  Tracker,
  {
    /**
     * Announces to the tracker at `url`. Bounded in time, and interruptible. A URL of a kind that is not spoken fails
     * with `retryAfter: "never"`.
     */
    readonly announce: (url: string, request: AnnounceRequest) => Effect.Effect<AnnounceResponse, TrackerError>
    /**
     * Asks the tracker whose announces go to `url` how a torrent stands, without joining its swarm. `infoHash` has 20
     * bytes. Bounded in time, and interruptible. Fails also where the tracker does not know the torrent.
     */
    readonly scrape: (url: string, infoHash: Uint8Array) => Effect.Effect<ScrapeResponse, TrackerError>
  }
>()("piecewise/tracker/Tracker") {}
