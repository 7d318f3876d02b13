/**
 * The contract of `--json` of the commands that control a service: the schema of every line that they print
 * (docs/json.md). Torrents are as the API of the service sends them (`control/api/TorrentModel.ts`).
 */
import * as Schema from "effect/Schema"
import { InfoHash } from "../../base/InfoHash.ts"
import * as ServiceApi from "../../control/api/ServiceApi.ts"
import * as TorrentModel from "../../control/api/TorrentModel.ts"
import * as SessionImport from "../../session/import/SessionImport.ts"
import { PeerStatus } from "../../swarm/PeerStatus.ts"
import { FileProgress } from "../../torrent/FileProgress.ts"
import * as JsonLines from "../JsonLines.ts"
import type { Output } from "../Output.ts"
import * as TerminalText from "../TerminalText.ts"

const version = Schema.Literal(JsonLines.version)

const which = { infoHash: InfoHash, name: Schema.String }

/** A line of `add`, for each torrent. */
export const Added = Schema.TaggedStruct("Added", {
  version,
  /** Whether it was not there before. */
  isNew: Schema.Boolean,
  torrent: TorrentModel.TorrentItem
})

const { torrents, unreadable } = TorrentModel.TorrentPage.fields

/** What `list` prints: the torrents, and what the service has saved and cannot read. */
export const Listed = Schema.TaggedStruct("Listed", { version, torrents, unreadable })

/** What `show` prints. What was not asked for, or is not known yet, is absent. */
export const Shown = Schema.TaggedStruct("Shown", {
  version,
  ...TorrentModel.TorrentDetails.fields,
  files: Schema.optional(Schema.Array(FileProgress)),
  trackers: Schema.optional(TorrentModel.TorrentTrackers),
  peers: Schema.optional(Schema.Array(PeerStatus))
})

/** A line of `pause`, `resume`, `recheck`, `move` and `label`, for each torrent. */
export const Done = Schema.TaggedStruct("Done", {
  version,
  command: Schema.Literals(["pause", "resume", "recheck", "move", "label"]),
  ...which
})

/** A line of `remove`, for each torrent. */
export const Removed = Schema.TaggedStruct("Removed", {
  version,
  ...which,
  /** Paths that were not deleted, because they are not the torrent's own. */
  keptPaths: Schema.Array(Schema.String)
})

/** What `link` prints. */
export const Linked = Schema.TaggedStruct("Linked", {
  version,
  ...which,
  url: Schema.String
})

/** What `limits` prints. */
export const Limits = Schema.TaggedStruct("Limits", { version, limits: ServiceApi.ServiceLimits })

/** A line of `watch`, for each change. */
export const Changed = Schema.TaggedStruct("Changed", {
  version,
  /** Whether `torrents` are all that there are, as in the first line. */
  isAll: Schema.Boolean,
  /** Torrents that are new or different. */
  torrents: Schema.Array(TorrentModel.TorrentItem),
  /** Torrents that are gone. */
  removed: Schema.Array(InfoHash),
  service: ServiceApi.ServiceStatus
})

/** A line of `watch`: the service does not answer, and is asked again. */
export const Away = Schema.TaggedStruct("Away", { version, why: Schema.String })

/** What `backup` prints. */
export const BackedUp = Schema.TaggedStruct("BackedUp", {
  version,
  /** The absolute path. */
  file: Schema.String,
  bytes: Schema.Natural,
  /** How many torrents are in it. */
  torrents: Schema.Natural
})

/** What `restore` prints. */
export const Restored = Schema.TaggedStruct("Restored", {
  version,
  /** The absolute path of the state folder. */
  state: Schema.String,
  torrents: Schema.Natural
})

/** What `import` prints. */
export const Imported = Schema.TaggedStruct("Imported", { version, ...SessionImport.Report.fields })

/** The schema of a line. */
export const Line = Schema.Union([
  Added,
  Listed,
  Shown,
  Done,
  Removed,
  Linked,
  Limits,
  Changed,
  Away,
  BackedUp,
  Restored,
  Imported
])

/** A line. */
export type Line = typeof Line.Type

/** A line without its version. */
export type Content = Line extends infer One ? (One extends Line ? Omit<One, "version"> : never) : never

const encode = Schema.encodeSync(Schema.toCodecJson(Line))

/** Prints a line. */
export const print = (output: Output, content: Content): void =>
  output.print([TerminalText.json(encode({ ...content, version: JsonLines.version } as Line))])
