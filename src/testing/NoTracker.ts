/**
 * A tracker that knows nobody: for programs whose peers are given. Every announce fails at once and for good, so torrents
 * that name trackers do not wait for them.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Tracker, TrackerError } from "../tracker/Tracker.ts"

/** Fails every announce. */
export const make = Tracker.of({
  announce: (url) => Effect.fail(new TrackerError({ url, why: "there are no trackers here", retryAfter: "never" }))
})

/** A `Tracker` that knows nobody. */
export const layer: Layer.Layer<Tracker> = Layer.succeed(Tracker, make)
