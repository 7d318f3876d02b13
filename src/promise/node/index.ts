/**
 * The engine for programs on Node that use promises and not Effect: `piecewise/promise`. Errors are the classes of
 * `piecewise`, and each has a `_tag`.
 */
import * as NodeEngine from "../../node/NodeEngine.ts"
import * as PromiseEngine from "../PromiseEngine.ts"

export type { Engine } from "../PromiseEngine.ts"
export type { Torrent } from "../PromiseTorrent.ts"
export type { Waiting } from "../Running.ts"

/**
 * Opens an engine that stores torrents in a folder. Rejects with `ConnectionError` if it cannot listen.
 *
 * ```ts
 * await using engine = await open({ directory: "downloads" })
 * const torrent = await engine.add("magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a")
 * await torrent.completed()
 * ```
 */
export const open = (options: NodeEngine.Options): Promise<PromiseEngine.Engine> =>
  PromiseEngine.fromLayer(NodeEngine.layer(options))

/** Builds an engine from a layer of `piecewise`, such as one with your own storage. Rejects with the layer's error. */
export const fromLayer = PromiseEngine.fromLayer
