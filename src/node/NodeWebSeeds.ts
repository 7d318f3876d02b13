/**
 * Web seeds over Node's own client, which keeps each connection between the requests for which it is used. Every
 * address that a name resolves to is checked before anything is sent to it. The HTTP client is loaded for the first
 * torrent that names a web seed.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type SupplierSource, SupplierSources } from "../assembly/SupplierSource.ts"
import * as Modules from "./Modules.ts"
import * as NodeLookup from "./NodeLookup.ts"

/** A source that resolves names with `lookup`, and connects from the local address `from` if it is given. */
const make = (lookup: NodeLookup.NodeLookup, from?: string): SupplierSource => {
  const modules = Modules.load(() =>
    Promise.all([import("./NodeRoutedHttp.ts"), import("../webseed/WebSeedSource.ts")])
  )
  /** All torrents share one, and so its places. */
  let source: SupplierSource | undefined
  return {
    mayHave: ({ metainfo, webSeeds }) =>
      webSeeds !== false && webSeeds.length + metainfo.webSeeds.length + metainfo.httpSeeds.length > 0,
    supply: (context) =>
      Effect.flatMap(modules, ([NodeRoutedHttp, WebSeedSource]) => {
        source ??= WebSeedSource.make(NodeRoutedHttp.makeKept(lookup, from))
        return source.supply(context)
      })
  }
}

/** Lets the torrents of an engine use their web seeds. Names are resolved by the system. */
export const layerFrom = (from?: string): Layer.Layer<never> =>
  Layer.sync(SupplierSources, () => [make(NodeLookup.system, from)])

/** The same, from the address that the system chooses. */
export const layer: Layer.Layer<never> = layerFrom()
