/**
 * Trackers as they are asked on Node: HTTP over Node's own client.
 *
 * They are loaded with the first announce: the HTTP stack takes as long to load as everything else of a download, and a
 * torrent whose peers are given never needs it. Node's own client starts in a third of undici's time, and an announce
 * is one small request now and then.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Tracker } from "../tracker/Tracker.ts"

const load = Effect.promise(async () => {
  const [NodeHttpClient, HttpTracker] = await Promise.all([
    import("@effect/platform-node/NodeHttpClient"),
    import("../tracker/HttpTracker.ts")
  ])
  return HttpTracker.layer.pipe(Layer.provide(NodeHttpClient.layerNodeHttp))
})

/** HTTP trackers, loaded when first asked. */
export const layer: Layer.Layer<Tracker> = Layer.effect(
  Tracker,
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const tracker = yield* Effect.cached(
      Effect.flatMap(load, (layer) => Layer.buildWithScope(layer, scope)).pipe(
        Effect.map((context) => Context.get(context, Tracker)),
        Effect.uninterruptible
      )
    )
    return Tracker.of({
      announce: (url, request) => Effect.flatMap(tracker, (tracker) => tracker.announce(url, request))
    })
  })
)
