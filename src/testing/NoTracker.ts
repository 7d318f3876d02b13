/**
 * A tracker that knows no peers: for programs with given peers. Every announce and scrape fails at once and for good,
 * so torrents that name trackers do not wait for them.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Tracker, TrackerError } from "../discovery/tracker/Tracker.ts"

const refuse = (url: string) =>
  Effect.fail(new TrackerError({ url, why: "there are no trackers here", retryAfter: "never" }))

/** Fails every announce and scrape. */
export const make = Tracker.of({ announce: refuse, scrape: refuse })

/** A `Tracker` that knows no peers. */
export const layer: Layer.Layer<Tracker> = Layer.succeed(Tracker, make)
