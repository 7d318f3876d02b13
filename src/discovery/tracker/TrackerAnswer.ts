/**
 * What is taken from a tracker's answer, in whatever packet it came.
 *
 * Trackers are old, odd and sometimes hostile. Numbers are clamped to what is sane, addresses are bounded, and text is
 * stripped of what a terminal could act upon. How an answer is laid out is the codecs' question.
 */
import * as Data from "effect/Data"
import * as Bytes from "../../base/Bytes.ts"
import * as PeerAddress from "../../base/PeerAddress.ts"
import type { AnnounceResponse, RetryAfter } from "./Tracker.ts"

/** The tracker refused, or what it sent is no answer. `why` can stand after a colon. */
export class TrackerRefused extends Data.TaggedError("TrackerRefused")<{
  readonly why: string
  readonly retryAfter?: RetryAfter | undefined
}> {
  override get message() {
    return this.why
  }
}

/** No tracker is asked more often than this, whatever it says: an interval of 0 would be a flood. */
export const minIntervalSeconds = 60

/** What most trackers say, taken where one says nothing usable. */
export const defaultIntervalSeconds = 1800

/** A tracker that names a longer interval (2^31 has been seen) would never be asked again. */
export const maxIntervalSeconds = 21_600

/**
 * Addresses taken from one answer: far more than anybody asks for, and a bound on what a hostile one can make us hold.
 */
export const maxPeers = 1000

/** Characters of a tracker's text that are shown. */
const maxTextLength = 200

/** An interval that can be lived with. */
export const clampInterval = (seconds: number): number =>
  Math.min(Math.max(seconds, minIntervalSeconds), maxIntervalSeconds)

/** The addresses that can be dialled, not more than `maxPeers`. */
export const takePeers = (addresses: ReadonlyArray<PeerAddress.PeerAddress>): ReadonlyArray<PeerAddress.PeerAddress> =>
  addresses.filter(PeerAddress.isDialable).slice(0, maxPeers)

/** What a public tracker answered, without peers on this machine: they would make us talk to our own services. */
export const withoutLoopback = (response: AnnounceResponse): AnnounceResponse => ({
  ...response,
  peers: response.peers.filter((address) => !PeerAddress.isLoopback(address))
})

/** What a tracker wrote, as it is shown; `undefined` where that is nothing. */
export const toText = (bytes: Uint8Array): string | undefined => Bytes.toShownText(bytes, maxTextLength)

/** `why` of a tracker that refuses with `reason`. */
export const whyRefused = (reason: Uint8Array | undefined): string =>
  `refused: ${(reason && toText(reason)) ?? "no reason given"}`
