/**
 * The sources of peers that an engine asks for every torrent: trackers, and whatever else its layers provide.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { PeerSource } from "./PeerSource.ts"

/** The sources that every torrent of an engine asks, all at once. */
export class PeerSources extends Context.Service<PeerSources, ReadonlyArray<PeerSource>>()(
  "piecewise/discovery/PeerSources"
) {}

/** Provides the given sources. */
export const layer = (sources: ReadonlyArray<PeerSource>): Layer.Layer<PeerSources> =>
  Layer.succeed(PeerSources, sources)

/** No sources: a torrent has only the peers it is given and those that connect to it. */
export const none: Layer.Layer<PeerSources> = layer([])

/** Combines the sources of both layers, in that order. Fails if either layer fails. */
export const merge = <E, R, E2, R2>(
  self: Layer.Layer<PeerSources, E, R>,
  that: Layer.Layer<PeerSources, E2, R2>
): Layer.Layer<PeerSources, E | E2, R | R2> => {
  const sourcesOf = <E, R>(layer: Layer.Layer<PeerSources, E, R>) =>
    Effect.map(Layer.build(layer), (context) => Context.get(context, PeerSources))
  return Layer.effect(
    PeerSources,
    Effect.map(Effect.all([sourcesOf(self), sourcesOf(that)]), (found) => found.flat())
  )
}
