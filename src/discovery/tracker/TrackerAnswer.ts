/**
 * Limits on what we accept from a tracker's response, for HTTP and UDP alike.
 *
 * Trackers are old, odd and sometimes hostile. So numbers are clamped to a sane range, the number of addresses is
 * bounded, and control characters are removed from text. The codecs know how a response is laid out.
 */
import * as Data from "effect/Data"
import * as Bytes from "../../base/Bytes.ts"
import * as PeerAddress from "../../base/PeerAddress.ts"
import type { RetryAfter } from "./Tracker.ts"

/** The tracker refused, or its response is malformed. `why` reads well after a colon. */
export class TrackerRefused extends Data.TaggedError("TrackerRefused")<{
  readonly why: string
  readonly retryAfter?: RetryAfter | undefined
}> {
  override get message() {
    return this.why
  }
}

/** The shortest interval in seconds that we accept. A tracker that says 0 would make us flood it. */
export const minIntervalSeconds = 60

/** The interval of most trackers in seconds, used if a response has none that is usable. */
export const defaultIntervalSeconds = 1800

/** The longest interval in seconds that we accept. A tracker that sends 2^31, as seen, would never be asked again. */
export const maxIntervalSeconds = 21_600

/**
 * Addresses accepted from one response: far more than a client asks for, and a bound on what a hostile tracker can make
 * us hold.
 */
export const maxPeers = 1000

/** How many characters of a tracker's text are shown. */
const maxTextLength = 200

/** Clamps an interval in seconds to the accepted range. */
export const clampInterval = (seconds: number): number =>
  Math.min(Math.max(seconds, minIntervalSeconds), maxIntervalSeconds)

/** The port that clients announce that do not listen, because trackers refuse 0. */
export const notListeningPort = 1

/** The addresses that can be dialled, at most `maxPeers`. Leaves out those of peers that do not listen. */
export const takePeers = (addresses: ReadonlyArray<PeerAddress.PeerAddress>): ReadonlyArray<PeerAddress.PeerAddress> =>
  addresses.filter((address) => address.port !== notListeningPort && PeerAddress.isDialable(address)).slice(0, maxPeers)

/** A tracker's text as it is safe to show; `undefined` if nothing is left of it. */
export const toText = (bytes: Uint8Array): string | undefined => Bytes.toShownText(bytes, maxTextLength)

/** `why` for a tracker that refused and stated `reason`. */
export const whyRefused = (reason: Uint8Array | undefined): string =>
  `refused: ${(reason && toText(reason)) ?? "no reason given"}`
