/**
 * Trackers on Node: HTTP over Node's own client, UDP over the system's ports and resolver. Torrent files name trackers,
 * so every address that a name resolves to is checked before anything is sent to it (`Destination.ts`).
 *
 * Each kind is loaded by the first announce that needs it: loading the HTTP stack takes as long as loading the rest of
 * a download, and a torrent that only uses given peers never needs it. Node's own client loads in a third of undici's
 * time, and an announce is one small request now and then.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Environment from "../base/Environment.ts"
import * as TrackerByScheme from "../discovery/tracker/provider/TrackerByScheme.ts"
import { Tracker } from "../discovery/tracker/Tracker.ts"
import * as Offline from "../network/provider/node/Offline.ts"
import { UdpHub } from "../network/UdpHub.ts"
import { Unpacking } from "../network/Unpacking.ts"
import * as Modules from "./Modules.ts"
import * as NodeLookup from "./NodeLookup.ts"
import * as NodeUdpHub from "./NodeUdpHub.ts"

/** How long one announce or scrape may take; `undefined` for the default of the kind. */
type Timeout = Duration.Input | undefined

const loadHttp = Effect.fnUntraced(function* (
  lookup: NodeLookup.NodeLookup,
  from: string | undefined,
  timeout: Timeout
) {
  const [NodeRoutedHttp, HttpTracker, NodeUnpacking] = yield* Modules.load(() =>
    Promise.all([
      import("./NodeRoutedHttp.ts"),
      import("../discovery/tracker/provider/HttpTracker.ts"),
      import("../network/provider/node/NodeUnpacking.ts")
    ])
  )
  const needs = Layer.merge(NodeRoutedHttp.layer(lookup, from), Layer.succeed(Unpacking, NodeUnpacking.unpack))
  const tracker = Layer.effect(Tracker, HttpTracker.make({ timeout }))
  const context = yield* Layer.build(Layer.provide(tracker, needs))
  return Context.get(context, Tracker)
})

const loadUdp = Effect.fnUntraced(function* (lookup: NodeLookup.NodeLookup, hub: UdpHub["Service"], timeout: Timeout) {
  const UdpTracker = yield* Modules.load(() => import("../discovery/tracker/provider/UdpTracker.ts"))
  const options = { lookup: NodeLookup.addressesBy(lookup), whyNot: Offline.whyNot, timeout }
  return yield* Effect.provideService(UdpTracker.make(options), UdpHub, hub)
})

/**
 * HTTP and UDP trackers, loaded on first use. `lookup` resolves names, and the `UdpHub` in the context has the sockets.
 * HTTP connections have the local address `from` if it is given. `timeout` is how long one announce may take.
 */
export const layerHub = (
  lookup: NodeLookup.NodeLookup = NodeLookup.system,
  from?: string,
  timeout?: Duration.Input
): Layer.Layer<Tracker, never, UdpHub> =>
  Layer.effect(
    Tracker,
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const hub = yield* UdpHub
      const once = <E>(load: Effect.Effect<Tracker["Service"], E, Scope.Scope>) =>
        Effect.cached(Effect.uninterruptible(Effect.provideService(load, Scope.Scope, scope)))
      return TrackerByScheme.make({
        http: yield* once(loadHttp(lookup, from, timeout)),
        udp: yield* once(loadUdp(lookup, hub, timeout))
      })
    })
  )

/** HTTP and UDP trackers with their own UDP hub. `lookup` resolves names. */
export const layerLookup = (lookup: NodeLookup.NodeLookup): Layer.Layer<Tracker> =>
  Layer.provide(layerHub(lookup), NodeUdpHub.layer)

/** HTTP and UDP trackers with their own UDP hub and the system's resolver, asked from the local address `from`. */
export const layerFrom = (from?: string): Layer.Layer<Tracker> =>
  Layer.provide(layerHub(undefined, from), NodeUdpHub.layerPort({ host: from }))

/**
 * The same, from the address that the system chooses. Loaded on first use.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { once } from "node:events"
 * import { createServer } from "node:http"
 * import type { AddressInfo } from "node:net"
 * import { Effect } from "effect"
 * import { Bencode, Tracker } from "piecewise"
 * import { NodeTracker } from "piecewise/node"
 *
 * const infoHash = new TextEncoder().encode("the-twenty-byte-hash")
 * const counts = Bencode.encode({ files: { "the-twenty-byte-hash": { complete: 3, incomplete: 1, downloaded: 9 } } })
 * const server = createServer((_, response) => response.end(counts)).listen(0, "127.0.0.1")
 * await once(server, "listening")
 * const { port } = server.address() as AddressInfo
 * const scrape = Tracker.Tracker.use((tracker) => tracker.scrape(`http://127.0.0.1:${port}/announce`, infoHash))
 * const answer = await Effect.runPromise(Effect.provide(scrape, NodeTracker.layer))
 * server.close()
 * assert.deepEqual(answer, { seeders: 3, leechers: 1, downloads: 9 })
 * ```
 */
export const layer: Layer.Layer<Tracker> = layerFrom()

/**
 * The same over the `UdpHub` in the context, asked from the address in `PIECEWISE_BIND`, and with the timeout in
 * `PIECEWISE_TRACKER_TIMEOUT`. Fails with `ConfigError` if one of them is bad.
 */
export const layerHubConfig = (): Layer.Layer<Tracker, Config.ConfigError, UdpHub> =>
  Layer.unwrap(
    Effect.map(Config.all({ from: Environment.from(), timeout: Environment.trackerTimeout() }), ({ from, timeout }) =>
      layerHub(undefined, from, timeout)
    )
  )

/** The same with a UDP hub of its own, as `UdpHub.layerConfig` makes it. */
export const layerConfig = (): Layer.Layer<Tracker, Config.ConfigError> =>
  Layer.provide(layerHubConfig(), NodeUdpHub.layerConfig())
