/**
 * The contract of whatever has the metadata of a torrent besides its peers: the URLs that a magnet link names, or a
 * cache of torrent files.
 */
import * as Context from "effect/Context"
import type * as Stream from "effect/Stream"
import type { InfoHash } from "../base/InfoHash.ts"

/** The torrent whose metadata is wanted. */
export interface MetadataSourceContext {
  readonly infoHash: InfoHash
  /**
   * The URLs at which a magnet link says that the torrent file is (`xs` and `as`), best first; http or https. Whoever
   * made the link chose them, so they may lead anywhere.
   */
  readonly urls: ReadonlyArray<string>
  /** The most bytes of a torrent file. */
  readonly maxBytes: number
}

/** Finds the metadata of any torrent. Made once for an engine. */
export interface MetadataSource {
  /**
   * Torrent files that may be the wanted one, as raw bytes; the engine compares their info hash. The stream runs beside
   * the exchange with peers (BEP 9), and is interrupted as soon as either has found the metadata. It never fails, and
   * ends when there is nothing more to try.
   */
  readonly metadata: (context: MetadataSourceContext) => Stream.Stream<Uint8Array>
}

/** The sources that an engine asks for the metadata of each magnet link; default none. */
export const MetadataSources = Context.Reference<ReadonlyArray<MetadataSource>>("piecewise/discovery/MetadataSources", {
  defaultValue: () => []
})
