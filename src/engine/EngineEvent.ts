/**
 * What an engine reports of its torrents.
 */
import * as Schema from "effect/Schema"
import { InfoHash } from "../base/InfoHash.ts"
import { TorrentEvent } from "../torrent/TorrentEvent.ts"

/** The schema of something that happened to a torrent of the engine, or that the engine did with it. */
export const EngineEvent = Schema.Struct({
  infoHash: InfoHash,
  event: Schema.Union([
    TorrentEvent,
    Schema.TaggedUnion({
      /** It was added, or was there when the reader began. `name` is the best name known then. */
      Added: { name: Schema.String },
      /** It has stopped, and may be added again. */
      Removed: {}
    })
  ])
})

/** Something that happened to a torrent of the engine, or that the engine did with it. */
export type EngineEvent = typeof EngineEvent.Type
