/**
 * The torrents of a service: adding, finding, changing and removing them.
 */
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { InfoHash } from "../../base/InfoHash.ts"
import { PeerAddress } from "../../base/PeerAddress.ts"
import { Revision } from "../../session/SessionStatus.ts"
import { PeerStatus } from "../../swarm/PeerStatus.ts"
import { FileProgress } from "../../torrent/FileProgress.ts"
import * as Errors from "./ApiErrors.ts"
import { Folder } from "./ApiOptions.ts"
import * as Model from "./TorrentModel.ts"

const params = { infoHash: InfoHash }

const describe = (summary: string, description?: string) => OpenApi.annotations({ summary, description })

const list = HttpApiEndpoint.get("list", "/", {
  query: {
    offset: Schema.optional(Schema.Natural),
    limit: Schema.optional(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))),
    sort: Schema.optional(Schema.Literals(Model.sortKeys)),
    order: Schema.optional(Schema.Literals(["ascending", "descending"])),
    kind: Schema.optional(Schema.Literals(Model.kinds)),
    label: Schema.optional(Schema.String),
    /** A part of the name, in either case. */
    search: Schema.optional(Schema.String.check(Schema.isMaxLength(256)))
  },
  success: Model.TorrentPage
}).annotateMerge(
  describe("List torrents", "A page of at most `limit` torrents (default 100) from `offset`, with the filters given.")
)

const changes = HttpApiEndpoint.get("changes", "/changes", {
  query: { since: Revision },
  success: Model.TorrentChanges
}).annotateMerge(describe("List what is different from an earlier revision"))

const added = HttpApiSchema.status(201)(Model.TorrentItem)

const addErrors = [Errors.TorrentExists, Errors.SourceRefused, Errors.StoreFailed] as const

const add = HttpApiEndpoint.post("add", "/", {
  payload: Model.NewTorrent,
  success: added,
  error: [...addErrors, Errors.SourceUnavailable]
}).annotateMerge(describe("Add a torrent by a magnet link, a URL, or the bytes of its file"))

/** The most bytes of a torrent file. */
export const maxFileBytes = 64 * 1_024 * 1_024

const addFile = HttpApiEndpoint.post("addFile", "/file", {
  query: {
    folder: Model.addFields.folder,
    labels: Model.addFields.labels,
    isPaused: Model.addFields.isPaused,
    place: Model.addFields.place
  },
  payload: Schema.Uint8Array.check(Schema.isMaxLength(maxFileBytes)).pipe(
    HttpApiSchema.asUint8Array({ contentType: "application/x-bittorrent" })
  ),
  success: added,
  error: addErrors
}).annotateMerge(describe("Add a torrent file, sent as it is"))

const one = [Errors.TorrentNotFound] as const
const saved = [...one, Errors.StoreFailed] as const
const opened = [...saved, Errors.TorrentNotReady] as const

const get = HttpApiEndpoint.get("get", "/:infoHash", {
  params,
  success: Model.TorrentDetails,
  error: opened
}).annotateMerge(describe("Show a torrent"))

const update = HttpApiEndpoint.patch("update", "/:infoHash", {
  params,
  payload: Model.TorrentPatch,
  success: Model.TorrentItem,
  error: saved
}).annotateMerge(describe("Change labels and options", "An option that is `null` gets its default."))

const remove = HttpApiEndpoint.delete("remove", "/:infoHash", {
  params,
  query: {
    /** Whether its files are deleted. */
    data: Schema.optional(Schema.Boolean)
  },
  success: Schema.Struct({
    /** Paths that were not deleted, because they are not the torrent's own. */
    keptPaths: Schema.Array(Schema.String)
  }),
  error: [...opened, Errors.DiskFailed]
}).annotateMerge(describe("Remove a torrent, and its files if `data`"))

const pause = HttpApiEndpoint.post("pause", "/:infoHash/pause", { params, error: saved }).annotateMerge(
  describe("Pause a torrent")
)

const resume = HttpApiEndpoint.post("resume", "/:infoHash/resume", {
  params,
  payload: [
    Schema.Struct({
      /** Overwrite files in the way that are not the torrent's. */
      overwrite: Schema.optional(Schema.Boolean),
      /** Download everything again if all files are gone. */
      startOver: Schema.optional(Schema.Boolean)
    }),
    // No body.
    Schema.Null
  ],
  error: saved
}).annotateMerge(describe("Resume a torrent", "The body may be left out."))

const recheck = HttpApiEndpoint.post("recheck", "/:infoHash/recheck", {
  params,
  success: HttpApiSchema.Accepted,
  error: opened
}).annotateMerge(describe("Verify all files again", "Returns when it has begun. The state says how far it is."))

const move = HttpApiEndpoint.post("move", "/:infoHash/position", {
  params,
  payload: Model.QueuePlace,
  error: saved
}).annotateMerge(describe("Move a torrent in the queue"))

const setFolder = HttpApiEndpoint.post("setFolder", "/:infoHash/folder", {
  params,
  payload: Schema.Struct({
    /** Absent for the download folder of the service. */
    folder: Schema.optional(Folder)
  }),
  success: Schema.Struct({
    /** Whether that is done. If not, it goes on; the state is `Moving`, and the folder is the new one when it has ended. */
    isDone: Schema.Boolean
  }),
  error: [...opened, Errors.PathTaken, Errors.DiskFailed]
}).annotateMerge(
  describe(
    "Move the files of a torrent to another folder",
    "Answers when that is done, or after two seconds while it goes on."
  )
)

const files = HttpApiEndpoint.get("files", "/:infoHash/files", {
  params,
  success: Schema.Array(FileProgress),
  error: opened
}).annotateMerge(describe("List the files of a torrent"))

const setFiles = HttpApiEndpoint.patch("setFiles", "/:infoHash/files", {
  params,
  payload: Model.FilePriorities,
  error: [...opened, Errors.FileNotFound, Errors.PathTaken, Errors.DiskFailed]
}).annotateMerge(describe("Choose how much files are wanted"))

const renameFile = HttpApiEndpoint.post("renameFile", "/:infoHash/files/:file/path", {
  params: { ...params, file: Schema.Natural },
  payload: Schema.Struct({
    /** The components of the path below the download folder. */
    path: Schema.Array(Schema.String).check(Schema.isMinLength(1), Schema.isMaxLength(64))
  }),
  error: [...opened, Errors.FileNotFound, Errors.PathTaken, Errors.DiskFailed]
}).annotateMerge(describe("Give a file another path"))

const peers = HttpApiEndpoint.get("peers", "/:infoHash/peers", {
  params,
  success: Schema.Array(PeerStatus),
  error: one
}).annotateMerge(describe("List the connected peers of a torrent"))

const addPeers = HttpApiEndpoint.post("addPeers", "/:infoHash/peers", {
  params,
  payload: Schema.Struct({ addresses: Schema.Array(PeerAddress).check(Schema.isMaxLength(1_000)) }),
  error: [...one, Errors.TorrentNotReady]
}).annotateMerge(describe("Try addresses of peers", "The torrent must be active."))

const trackers = HttpApiEndpoint.get("trackers", "/:infoHash/trackers", {
  params,
  success: Model.TorrentTrackers,
  error: opened
}).annotateMerge(describe("List the trackers of a torrent, and other sources of peers"))

const pieces = HttpApiEndpoint.get("pieces", "/:infoHash/pieces", {
  params,
  success: Model.StoredPieces,
  error: opened
}).annotateMerge(describe("Show which pieces are stored"))

const metainfo = HttpApiEndpoint.get("metainfo", "/:infoHash/metainfo", {
  params,
  success: Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array({ contentType: "application/x-bittorrent" })),
  error: opened
}).annotateMerge(describe("Get the torrent file"))

const link = HttpApiEndpoint.post("link", "/:infoHash/link", {
  params,
  success: Model.StreamLink,
  error: one
}).annotateMerge(
  describe("Make a link to the files for a media player", "Whoever has the link can read the files of this torrent.")
)

/** The torrents of a service. */
export const TorrentsApi = HttpApiGroup.make("torrents")
  .add(list, changes, add, addFile, get, update, remove, pause, resume, recheck, move, setFolder)
  .add(files, setFiles, renameFile, peers, addPeers, trackers, pieces, metainfo, link)
  .prefix("/torrents")
  .annotateMerge(OpenApi.annotations({ title: "Torrents" }))
