/**
 * The session of qBittorrent as it is on disk: in the folder `BT_backup`, a file `ID.fastresume` for each torrent, and
 * `ID.torrent` once its metadata is known. The first is the bencoded resume data of libtorrent, with keys of qBittorrent
 * that begin with `qBt-`. The ID is an info hash in hex. Pure.
 *
 * `pieces` has a byte for each piece, whose lowest bit says that it is stored. `save_path` is where the files are.
 * `mapped_files` has the path of each file below that folder, if any differs from the metainfo. Since version 4.4 the
 * trackers and web seeds are in the resume data, and not in the torrent file.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import * as Metainfo from "../../metainfo/Metainfo.ts"
import * as TorrentFile from "../../metainfo/TorrentFile.ts"
import type { Limits } from "../../rate/RateLimits.ts"
import type { SavedOptions } from "../SavedTorrent.ts"
import * as Foreign from "./ForeignTorrent.ts"

/** The files of a torrent. */
export interface Files {
  /** The contents of `ID.fastresume`. */
  readonly resume: Uint8Array
  /** The contents of `ID.torrent`; `undefined` if there is none. */
  readonly torrent: Uint8Array | undefined
}

/** What the name of a file may end in while it is not complete. */
const suffix = ".!qB"

/** The longest limit of a time that is taken over: as long as none. */
const maxMinutes = 2 ** 31

const fail = (why: string) => Result.fail(new Foreign.ForeignError({ why }))

/** Reads a torrent. */
export const decode = ({ resume, torrent }: Files): Result.Result<Foreign.ForeignTorrent, Foreign.ForeignError> =>
  Result.gen(function* () {
    const { root, spans } = yield* Foreign.dictionary(resume, "The resume data")
    const structure = yield* structureOf(root, torrent, spans.get("info"))
    const folder = Bencode.getText(root, "save_path") || Bencode.getText(root, "qBt-savePath")
    if (folder === undefined || folder === "") return yield* fail("It does not say where its files are.")
    if (!Foreign.isAbsolute(folder)) return yield* fail(`It says that its files are in ${folder}, which is relative.`)
    const notes: Array<string> = []
    const common = {
      folders: [folder],
      suffix,
      labels: Foreign.labelsOf([Bencode.getText(root, "qBt-category") ?? "", ...Foreign.texts(root.get("qBt-tags"))]),
      // One that is managed is paused by the queue.
      isPaused: isSet(root, "paused") && !isSet(root, "auto_managed"),
      options: {
        goal: goalOf(root),
        limits: limitsOf(root),
        ...(isSet(root, "sequential_download") && { order: "sequential" as const }),
        ...(isSet(root, "super_seeding") && { superSeed: true })
      }
    }
    const history = {
      addedAtMillis: Foreign.millis(Bencode.getInt(root, "added_time")),
      completedAtMillis: Foreign.millis(Bencode.getInt(root, "completed_time")),
      statistics: Foreign.statistics({
        downloaded: Bencode.getInt(root, "total_downloaded"),
        uploaded: Bencode.getInt(root, "total_uploaded"),
        seedingSeconds: Bencode.getInt(root, "seeding_time")
      })
    }
    noteRest(root, notes)
    if (structure === undefined) {
      const link = yield* linkOf(root)
      const name = Bencode.getText(root, "name") || "a torrent without metadata"
      return { ...common, source: { magnet: link }, structure, name, files: undefined, imported: history, notes }
    }
    const { layout, name } = structure
    const { pieceCount } = layout.geometry
    const pieces = Bencode.getBytes(root, "pieces")
    const isKnown = pieces?.length === pieceCount
    if (pieces !== undefined && pieces.length > 0 && !isKnown)
      notes.push("It says which pieces are stored of another number of pieces, so its files are verified first.")
    return {
      ...common,
      source: { metainfo: TorrentFile.encode(structure) },
      structure,
      name,
      files: prioritiesOf(root, layout.fileCount, notes),
      imported: {
        ...history,
        renamed: yield* Foreign.renamedOf(layout, Foreign.texts(root.get("mapped_files"))),
        ...(isKnown && { hintedPieces: Foreign.hintOf(pieceCount, (piece) => (pieces[piece]! & 1) !== 0) })
      },
      notes
    }
  })

const isSet = (root: Bencode.Dictionary, key: string): boolean => (Bencode.getInt(root, key) ?? 0) !== 0

/** The metainfo, from the torrent file or the resume data; `undefined` if the metadata is not known yet. */
const structureOf = (
  root: Bencode.Dictionary,
  torrent: Uint8Array | undefined,
  info: Uint8Array | undefined
): Result.Result<Metainfo.Structure | undefined, Foreign.ForeignError> =>
  Result.gen(function* () {
    const tiers = root.get("trackers")
    const trackers = Bencode.isList(tiers) ? tiers.map(Foreign.texts) : []
    const webSeeds = Foreign.texts(root.get("url-list"))
    const httpSeeds = Foreign.texts(root.get("httpseeds"))
    const own = torrent === undefined ? undefined : yield* Foreign.structureOf(torrent)
    const infoBytes = own?.infoBytes ?? info
    if (infoBytes === undefined) return undefined
    const read = yield* Result.mapError(
      Metainfo.decodeInfo(infoBytes, { trackers, webSeeds, httpSeeds }),
      ({ why }) => new Foreign.ForeignError({ why: `Its metadata cannot be used: ${why}.` })
    )
    if (own === undefined) return read
    // What a user has removed from the resume data stays removed, unless it is of a version that kept none there.
    return {
      ...own,
      ...(tiers !== undefined && { trackers: read.trackers }),
      ...(root.has("url-list") && { webSeeds: read.webSeeds }),
      ...(root.has("httpseeds") && { httpSeeds: read.httpSeeds })
    }
  })

/** A magnet link for a torrent whose metadata is not known. */
const linkOf = (root: Bencode.Dictionary): Result.Result<string, Foreign.ForeignError> => {
  const hash = Bencode.getBytes(root, "info-hash")
  if (hash?.length !== 20 || hash.every((byte) => byte === 0)) return fail("It has neither metadata nor an info hash.")
  const tiers = root.get("trackers")
  const trackers = Bencode.isList(tiers) ? tiers.flatMap(Foreign.texts) : []
  return Result.succeed(Foreign.linkOf({ hash, name: Bencode.getText(root, "name"), trackers }))
}

/** 0 skips a file, and 6 and 7 are high. What is missing at the end is as usual. */
const prioritiesOf = (root: Bencode.Dictionary, fileCount: number, notes: Array<string>) => {
  const given = Foreign.integers(root.get("file_priority")) ?? []
  if (given.length > fileCount) {
    notes.push("Its priorities are of another number of files, so all files are wanted.")
    return undefined
  }
  if (given.every((priority) => priority > 0 && priority < 6)) return undefined
  return Array.from({ length: fileCount }, (_, file) => {
    const priority = given[file] ?? 4
    return priority === 0 ? ("skip" as const) : priority >= 6 ? ("high" as const) : ("normal" as const)
  })
}

/** A ratio is in thousandths, or a text in old versions. A time is in minutes. Negative values stand for no own limit. */
const goalOf = (root: Bencode.Dictionary): SavedOptions["goal"] => {
  const text = Bencode.getText(root, "qBt-ratioLimit")
  const ratio = text === undefined ? (Bencode.getInt(root, "qBt-ratioLimit") ?? -1) / 1_000 : Number(text)
  const minutes = Bencode.getInt(root, "qBt-seedingTimeLimit") ?? -1
  const goal = {
    ...(Number.isFinite(ratio) && ratio > 0 && { ratio }),
    ...(minutes > 0 && minutes <= maxMinutes && { time: Duration.minutes(minutes) })
  }
  return Object.keys(goal).length === 0 ? undefined : goal
}

/** Rates are in bytes a second; 0 and less stand for no limit. */
const limitsOf = (root: Bencode.Dictionary): Limits | undefined => {
  const download = Bencode.getInt(root, "download_rate_limit") ?? 0
  const upload = Bencode.getInt(root, "upload_rate_limit") ?? 0
  if (download <= 0 && upload <= 0) return undefined
  return {
    ...(download > 0 && { downloadBytesPerSecond: download }),
    ...(upload > 0 && { uploadBytesPerSecond: upload })
  }
}

/** Says what has no place in a session. */
const noteRest = (root: Bencode.Dictionary, notes: Array<string>): void => {
  const unfinished = Bencode.getList(root, "unfinished")?.length ?? 0
  if (unfinished > 0) notes.push(`${unfinished} pieces of which only a part is there are fetched again.`)
  const name = Bencode.getText(root, "qBt-name") ?? ""
  if (name !== "" && name !== Bencode.getText(root, "name"))
    notes.push("The name that was given to it is not taken over.")
  if ((Bencode.getInt(root, "qBt-inactiveSeedingTimeLimit") ?? -1) > 0)
    notes.push("The limit of the time without uploads is not taken over.")
  if (isSet(root, "qBt-firstLastPiecePriority")) notes.push("The first and the last pieces are not preferred.")
  const certificate = Bencode.getBytes(root, "qBt-sslCertificate") ?? new Uint8Array()
  if (!Bytes.equals(certificate, new Uint8Array())) notes.push("Its certificate is not taken over.")
}

/** The order of the torrents from the file `queue`: an ID in each line. */
export const queueOf = (text: string): ReadonlyArray<string> =>
  text.split("\n").flatMap((line) => (/^[0-9a-f]{40}$/i.test(line.trim()) ? [line.trim().toLowerCase()] : []))
