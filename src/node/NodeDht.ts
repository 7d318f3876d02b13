/**
 * The DHT on Node: over the UDP hub at hand, with the system's resolver, and its nodes remembered in a file. It is loaded
 * and begins when it is first used, such as by the first torrent that is not private.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Environment from "../base/Environment.ts"
import type { Dht } from "../discovery/dht/Dht.ts"
import * as DhtConfig from "../discovery/dht/DhtConfig.ts"
import * as LazyDht from "../discovery/dht/LazyDht.ts"
import type { UdpHub } from "../network/UdpHub.ts"
import * as Modules from "./Modules.ts"
import * as NodeLookup from "./NodeLookup.ts"

/** How a DHT is set up on Node. */
export interface Options extends DhtConfig.DhtConfig {
  /** The file in which nodes are remembered; absent: nothing is. */
  readonly file?: string | undefined
  /** Whether the file is only read, by a program that changes nothing; default `false`. The node has a new id then. */
  readonly isLoadOnly?: boolean | undefined
}

/** The file in a folder for resume data. */
export const fileIn = (resumeDirectory: string): string => `${resumeDirectory}/dht.json`

/** A DHT over the `UdpHub` in the context. `lookup` resolves the names of routers. */
export const layerHub = (
  { file, isLoadOnly, ...options }: Options = {},
  lookup: NodeLookup.NodeLookup = NodeLookup.system
): Layer.Layer<Dht, never, UdpHub> =>
  LazyDht.layer(
    Effect.map(
      Modules.load(() =>
        Promise.all([
          import("../discovery/dht/DhtProgram.ts"),
          import("../discovery/dht/DhtStore.ts"),
          import("../discovery/dht/provider/node/FileDhtStore.ts")
        ])
      ),
      ([DhtProgram, DhtStore, FileDhtStore]) =>
        Layer.provide(
          DhtProgram.layer({ ...options, lookup: NodeLookup.addressesBy(lookup) }),
          file === undefined ? DhtStore.layerMemory() : FileDhtStore.layer({ file, isLoadOnly })
        )
    )
  )

/**
 * The same as the variables of docs/configuration.md say, and nothing if `PIECEWISE_DHT` says no. Its nodes are
 * remembered beside the resume data. Fails with `ConfigError` if a value is bad.
 */
export const layerHubConfig = (): Layer.Layer<never, Config.ConfigError, UdpHub> =>
  Layer.unwrap(
    Effect.map(
      Config.all({ options: DhtConfig.fromEnvironment(), directory: Environment.resumeDirectory() }),
      ({ directory, options }): Layer.Layer<never, never, UdpHub> =>
        options === false ? Layer.empty : layerHub({ ...options, file: fileIn(directory) })
    )
  )
