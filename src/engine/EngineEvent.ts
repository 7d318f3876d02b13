/**
 * What an engine reports of its torrents.
 */
import type { InfoHash } from "../base/InfoHash.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"

/** Something that happened to a torrent of the engine, or that the engine did with it. */
export interface EngineEvent {
  readonly infoHash: InfoHash
  readonly event:
    | TorrentEvent
    /** It was added, or was there when the reader began. `name` is the best name known then. */
    | { readonly _tag: "Added"; readonly name: string }
    /** It has stopped, and may be added again. */
    | { readonly _tag: "Removed" }
}
