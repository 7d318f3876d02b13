/**
 * The arguments of the methods of the Transmission RPC (version 17), as schemas. Whoever sends a request may put anything
 * in their place. Keys that no schema has are ignored, as Transmission does.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as RpcRefused from "./RpcRefused.ts"

const optional = Schema.optional

/** The most torrents, files or fields that a request may name. */
const maxItems = 1_000_000

const list = <A extends Schema.Top>(item: A) => Schema.Array(item).check(Schema.isMaxLength(maxItems))

const Text = Schema.String
const Flag = Schema.Boolean
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))
/** A limit in kB a second. */
const Kilobytes = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e12 }))
const Indices = list(Count)

/** The schema of which torrents a request is about. */
const Ids = Schema.Union([Schema.Finite, Text, list(Schema.Union([Schema.Finite, Text]))])

const ids = { ids: optional(Ids) }

/** The schema of a request that is only about torrents. */
export const Selection = Schema.Struct(ids)

const files = {
  "files-wanted": optional(Indices),
  "files-unwanted": optional(Indices),
  "priority-high": optional(Indices),
  "priority-normal": optional(Indices),
  "priority-low": optional(Indices)
}

/** The schema of `torrent-get`. */
export const TorrentGet = Schema.Struct({
  ...ids,
  fields: list(Text),
  format: optional(Schema.Literals(["objects", "table"]))
})

const common = {
  ...files,
  labels: optional(list(Text)),
  "peer-limit": optional(Count),
  bandwidthPriority: optional(Schema.Finite),
  sequentialDownload: optional(Flag)
}

/** The schema of `torrent-set`. */
export const TorrentSet = Schema.Struct({
  ...ids,
  ...common,
  downloadLimit: optional(Kilobytes),
  downloadLimited: optional(Flag),
  uploadLimit: optional(Kilobytes),
  uploadLimited: optional(Flag),
  group: optional(Text),
  honorsSessionLimits: optional(Flag),
  location: optional(Text),
  queuePosition: optional(Count),
  seedIdleMode: optional(Schema.Literals([0, 1, 2])),
  seedRatioLimit: optional(Schema.Finite),
  seedRatioMode: optional(Schema.Literals([0, 1, 2])),
  trackerAdd: optional(Schema.Unknown),
  trackerRemove: optional(Schema.Unknown),
  trackerReplace: optional(Schema.Unknown),
  trackerList: optional(Schema.Unknown)
})

/** What `torrent-set` is given. */
export type TorrentSet = typeof TorrentSet.Type

/** The schema of `torrent-add`. */
export const TorrentAdd = Schema.Struct({
  ...common,
  filename: optional(Text),
  metainfo: optional(Text),
  "download-dir": optional(Text),
  paused: optional(Flag),
  cookies: optional(Text)
})

/** What `torrent-add` is given. */
export type TorrentAdd = typeof TorrentAdd.Type

/** The schema of `torrent-remove`. */
export const TorrentRemove = Schema.Struct({ ...ids, "delete-local-data": optional(Flag) })

/** The schema of `torrent-set-location`. */
export const TorrentSetLocation = Schema.Struct({ ...ids, location: Text, move: optional(Flag) })

/** The schema of `torrent-rename-path`. */
export const TorrentRenamePath = Schema.Struct({ ...ids, path: Text, name: Text })

/** The schema of `session-get`. */
export const SessionGet = Schema.Struct({ fields: optional(list(Text)) })

/** The schema of those arguments of `session-set` that have an effect. */
export const SessionSet = Schema.Struct({
  "download-queue-enabled": optional(Flag),
  "download-queue-size": optional(Count),
  "seed-queue-enabled": optional(Flag),
  "seed-queue-size": optional(Count),
  "speed-limit-down": optional(Kilobytes),
  "speed-limit-down-enabled": optional(Flag),
  "speed-limit-up": optional(Kilobytes),
  "speed-limit-up-enabled": optional(Flag),
  "start-added-torrents": optional(Flag)
})

/** What `session-set` is given. */
export type SessionSet = typeof SessionSet.Type

/** The schema of `free-space`. */
export const FreeSpace = Schema.Struct({ path: Text })

/** The schema of a request. The tag comes back with the answer. */
export const Request = Schema.Struct({
  method: Text,
  arguments: optional(Schema.Unknown),
  tag: optional(Schema.Unknown)
})

/** A request. */
export type Request = typeof Request.Type

const formatted = SchemaIssue.makeFormatterStandardSchemaV1()

/** Says in one line what is wrong: `downloadLimit: Expected an integer`. */
const whyOf = ({ issue }: Schema.SchemaError): string => {
  const [first] = formatted(issue).issues
  const path = (first?.path ?? []).map(String).join(".")
  const what = (first?.message ?? "it has another form").replaceAll(/\s+/g, " ")
  return path === "" ? what : `${path}: ${what}`
}

/** Makes a reader of arguments. No arguments are the same as empty ones. */
export const reader = <A, I>(schema: Schema.Codec<A, I>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (given: unknown): Effect.Effect<A, RpcRefused.RpcRefused> =>
    Effect.mapError(decode(given ?? {}), (error) => RpcRefused.because(whyOf(error)))
}
