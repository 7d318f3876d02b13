/**
 * One `Tracker` for the URLs of all schemes: passes each URL to the tracker for its scheme.
 */
import * as Effect from "effect/Effect"
import { Tracker, TrackerError } from "../Tracker.ts"

/** The trackers by scheme. Each effect runs whenever a URL needs it, so it may load the tracker and cache it. */
export interface Trackers {
  /** Used for `http:` and `https:`. */
  readonly http: Effect.Effect<Tracker["Service"]>
  /** Used for `udp:`. */
  readonly udp: Effect.Effect<Tracker["Service"]>
}

/** Makes one `Tracker` of the given ones. */
export const make = ({ http, udp }: Trackers): Tracker["Service"] => {
  const trackerFor = (url: string): Effect.Effect<Tracker["Service"], TrackerError> => {
    const refuse = (why: string) => Effect.fail(new TrackerError({ url, why, retryAfter: "never" }))
    switch (URL.parse(url)?.protocol) {
      case "http:":
      case "https:":
        return http
      case "udp:":
        return udp
      case "ws:":
      case "wss:":
        return refuse("WebSocket trackers are not supported yet")
      case undefined:
        return refuse("this is not a URL")
      default:
        return refuse("trackers with this kind of URL are not supported")
    }
  }
  return Tracker.of({
    announce: (url, request) => Effect.flatMap(trackerFor(url), (tracker) => tracker.announce(url, request)),
    scrape: (url, infoHash) => Effect.flatMap(trackerFor(url), (tracker) => tracker.scrape(url, infoHash))
  })
}
