/**
 * One `Tracker` for the URLs of all schemes: hands each to the tracker that speaks it.
 */
import * as Effect from "effect/Effect"
import { Tracker, TrackerError } from "../Tracker.ts"

/** The trackers, by what they speak. Each is asked for with the first URL that needs it, and may be loaded then. */
export interface Trackers {
  /** For `http:` and `https:`. */
  readonly http: Effect.Effect<Tracker["Service"]>
  /** For `udp:`. */
  readonly udp: Effect.Effect<Tracker["Service"]>
}

/** A `Tracker` made of these. */
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
        return refuse("no tracker is reached by such a URL")
    }
  }
  return Tracker.of({
    announce: (url, request) => Effect.flatMap(trackerFor(url), (tracker) => tracker.announce(url, request)),
    scrape: (url, infoHash) => Effect.flatMap(trackerFor(url), (tracker) => tracker.scrape(url, infoHash))
  })
}
