/**
 * The URLs of torrent files that a magnet link names, over Node's own client. Every address that a name resolves to is
 * checked before anything is sent to it. The HTTP client is loaded for the first link that names a URL.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { MetadataSource, MetadataSourceContext } from "../discovery/MetadataSource.ts"
import { MetadataSources } from "../discovery/MetadataSource.ts"
import { Unpacking } from "../network/Unpacking.ts"
import * as Modules from "./Modules.ts"
import * as NodeLookup from "./NodeLookup.ts"

/** Makes a source that resolves names with `lookup`, and connects from the local address `from` if it is given. */
export const make = (lookup: NodeLookup.NodeLookup, from?: string): MetadataSource => {
  const modules = Modules.load(() =>
    Promise.all([
      import("./NodeRoutedHttp.ts"),
      import("../discovery/provider/HttpMetadataSource.ts"),
      import("../network/provider/node/NodeUnpacking.ts")
    ])
  )
  const files = (context: MetadataSourceContext) =>
    Effect.map(modules, ([NodeRoutedHttp, HttpMetadataSource, NodeUnpacking]) =>
      HttpMetadataSource.make(NodeRoutedHttp.make(lookup, from))
        .metadata(context)
        .pipe(Stream.provideService(Unpacking, NodeUnpacking.unpack))
    )
  return {
    metadata: (context) => (context.urls.length === 0 ? Stream.empty : Stream.unwrap(files(context)))
  }
}

/** Provides `MetadataSources` with one source: the URLs of each link. Names are resolved by the system. */
export const layerFrom = (from?: string): Layer.Layer<never> =>
  Layer.succeed(MetadataSources, [make(NodeLookup.system, from)])

/** The same, from the address that the system chooses. */
export const layer: Layer.Layer<never> = layerFrom()
