/**
 * The sources of peers that an engine asks for every torrent: trackers, and whatever else its layers provide.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as PeerSource from "./PeerSource.ts"

/** The sources that every torrent of an engine asks, all at once. They may fail, and need no more services. */
export class PeerSources extends Context.Service<PeerSources, ReadonlyArray<PeerSource.PeerSource<unknown>>>()(
  "piecewise/discovery/PeerSources"
) {}

/** Provides sources with the services that they need, taken from the context of the effect. */
export const provide = <R>(
  sources: ReadonlyArray<PeerSource.PeerSource<unknown, R>>
): Effect.Effect<ReadonlyArray<PeerSource.PeerSource<unknown>>, never, R> =>
  Effect.map(Effect.context<R>(), (context) => {
    // Each run of a source has a scope of its own.
    const services = Context.omit(Scope.Scope)(context) as Context.Context<R>
    return sources.map((source) => PeerSource.provideContext(source, services))
  })

/** Provides the given sources. `R` are the services that they need. */
export const layer = <R = never>(
  sources: ReadonlyArray<PeerSource.PeerSource<unknown, R>>
): Layer.Layer<PeerSources, never, Exclude<R, Scope.Scope>> => Layer.effect(PeerSources, provide(sources))

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
