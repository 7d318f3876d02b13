/**
 * Trackers as they are asked on Node: HTTP over Node's own client, UDP over the system's ports and resolver.
 *
 * Each kind is loaded with the first announce that needs it: the HTTP stack takes as long to load as everything else of a
 * download, and a torrent whose peers are given never needs it. Node's own client starts in a third of undici's time, and
 * an announce is one small request now and then.
 */
import * as Dns from "node:dns/promises"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as PeerAddress from "../base/PeerAddress.ts"
import { Tracker } from "../tracker/Tracker.ts"
import * as TrackerByScheme from "../tracker/TrackerByScheme.ts"
import type { Lookup } from "../tracker/UdpTracker.ts"
import * as SocketErrno from "../transport/SocketErrno.ts"
import { ConnectionError } from "../transport/Transport.ts"

const loadHttp = Effect.gen(function* () {
  const [NodeHttpClient, HttpTracker] = yield* Effect.promise(() =>
    Promise.all([import("@effect/platform-node/NodeHttpClient"), import("../tracker/HttpTracker.ts")])
  )
  const context = yield* Layer.build(Layer.provide(HttpTracker.layer, NodeHttpClient.layerNodeHttp))
  return Context.get(context, Tracker)
})

const loadUdp = Effect.gen(function* () {
  const [NodeUdpPort, UdpTracker] = yield* Effect.promise(() =>
    Promise.all([import("../transport/NodeUdpPort.ts"), import("../tracker/UdpTracker.ts")])
  )
  const context = yield* Layer.build(Layer.provide(UdpTracker.layer({ lookup }), NodeUdpPort.layer))
  return Context.get(context, Tracker)
})

/** The addresses that the system's resolver has for a name, in its order. */
const lookup: Lookup = (address) =>
  Effect.tryPromise({
    try: () => Dns.lookup(address.host, { all: true }),
    catch: (cause) => new ConnectionError({ address, why: SocketErrno.why(SocketErrno.codeOf(cause)) })
  }).pipe(Effect.map((found) => found.flatMap((entry) => PeerAddress.make(entry.address, address.port) ?? [])))

/** HTTP and UDP trackers, loaded when first asked. */
export const layer: Layer.Layer<Tracker> = Layer.effect(
  Tracker,
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const once = <E>(load: Effect.Effect<Tracker["Service"], E, Scope.Scope>) =>
      Effect.cached(Effect.uninterruptible(Effect.provideService(load, Scope.Scope, scope)))
    return TrackerByScheme.make({ http: yield* once(loadHttp), udp: yield* once(loadUdp) })
  })
)
