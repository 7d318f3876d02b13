/**
 * The session of Transmission as it is on disk: below its configuration folder, `resume/NAME.resume` for each torrent,
 * and `torrents/NAME.torrent`. As long as the metadata is not known, the latter has `magnet-info` instead of `info`, or is
 * `torrents/NAME.magnet` with a link. The first is bencoded. Keys of several words are written with hyphens, and in later
 * versions with underscores. Pure.
 *
 * `progress` has `blocks`, the blocks of 16 KiB that are stored: a bitfield, `all` or `none`. `destination` is where the
 * files are, and `incomplete-dir` where they are until the torrent is complete. `files` has the path of each file. A
 * fraction is a text.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import * as PieceGeometry from "../../base/PieceGeometry.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import * as Magnet from "../../metainfo/Magnet.ts"
import type { Limits } from "../../rate/RateLimits.ts"
import type { SavedOptions } from "../SavedTorrent.ts"
import * as Foreign from "./ForeignTorrent.ts"

/** The files of a torrent. */
export interface Files {
  /** The contents of `resume/NAME.resume`. */
  readonly resume: Uint8Array
  /** The contents of `torrents/NAME.torrent`, or the link in `torrents/NAME.magnet`. */
  readonly source: { readonly torrent: Uint8Array } | { readonly magnet: string }
}

/** What the name of a file ends in while it is not complete. */
const suffix = ".part"

/** Modes of a limit: that of all torrents, one of its own, or none. */
const ownLimit = 1

const fail = (why: string) => Result.fail(new Foreign.ForeignError({ why }))

/** Reads a torrent. */
export const decode = ({ resume, source }: Files): Result.Result<Foreign.ForeignTorrent, Foreign.ForeignError> =>
  Result.gen(function* () {
    const { root } = yield* Foreign.dictionary(resume, "The resume data")
    const folders = ["destination", "incomplete-dir"].flatMap((key) => {
      const value = find(root, key)
      return Bencode.isBytes(value) && value.length > 0 ? [Bytes.toText(value)] : []
    })
    if (folders.length === 0) return yield* fail("It does not say where its files are.")
    const relative = folders.find((folder) => !Foreign.isAbsolute(folder))
    if (relative !== undefined) return yield* fail(`It says that its files are in ${relative}, which is relative.`)
    const notes: Array<string> = []
    const common = {
      folders,
      suffix,
      labels: Foreign.labelsOf(Foreign.texts(root.get("labels"))),
      isPaused: (integer(root, "paused") ?? 0) !== 0,
      options: {
        goal: goalOf(root),
        limits: limitsOf(root),
        ...((integer(root, "sequential-download") ?? 0) !== 0 && { order: "sequential" as const })
      }
    }
    const history = {
      addedAtMillis: Foreign.millis(integer(root, "added-date")),
      completedAtMillis: Foreign.millis(integer(root, "done-date")),
      statistics: Foreign.statistics({
        downloaded: integer(root, "downloaded"),
        uploaded: integer(root, "uploaded"),
        seedingSeconds: integer(root, "seeding-time-seconds")
      })
    }
    noteRest(root, notes)
    const given = yield* read(source)
    if ("link" in given) {
      const { name = "a torrent without metadata" } = yield* Result.mapError(
        Magnet.parse(given.link),
        ({ message }) => new Foreign.ForeignError({ why: message })
      )
      return {
        ...common,
        source: { magnet: given.link },
        structure: undefined,
        name,
        files: undefined,
        imported: history,
        notes
      }
    }
    const structure = yield* Foreign.structureOf(given.torrent)
    const { layout, name } = structure
    const hintedPieces = hintOf(root, layout.geometry)
    if (hintedPieces === undefined)
      notes.push("It does not say which pieces are stored, so its files are verified first.")
    return {
      ...common,
      source: { metainfo: given.torrent },
      structure,
      name,
      files: prioritiesOf(root, layout.fileCount, notes),
      imported: {
        ...history,
        renamed: yield* Foreign.renamedOf(layout, Foreign.texts(root.get("files"))),
        ...(hintedPieces !== undefined && { hintedPieces })
      },
      notes
    }
  })

/** The torrent file, or a link if it has no metadata. */
const read = (
  source: Files["source"]
): Result.Result<{ readonly torrent: Uint8Array } | { readonly link: string }, Foreign.ForeignError> =>
  Result.gen(function* () {
    if ("magnet" in source) return { link: source.magnet.trim() }
    const { root } = yield* Foreign.dictionary(source.torrent, "The torrent file")
    const known = dictionaryAt(root, "magnet-info")
    if (known === undefined) return source
    const hash = Bencode.getBytes(known, "info_hash")
    if (hash?.length !== 20) return yield* fail("It has neither metadata nor an info hash.")
    const name = Bencode.getText(known, "display-name")?.replaceAll("+", " ")
    const tiers = root.get("announce-list")
    const trackers = Bencode.isList(tiers) ? tiers.flatMap(Foreign.texts) : [Bencode.getText(root, "announce") ?? ""]
    return { link: Foreign.linkOf({ hash, name, trackers }) }
  })

/** The value at a key, which has hyphens or underscores. */
const find = (root: Bencode.Dictionary, key: string): Bencode.Value | undefined =>
  root.get(key) ?? root.get(key.replaceAll("-", "_"))

const integer = (root: Bencode.Dictionary, key: string): number | undefined => {
  const value = find(root, key)
  return typeof value === "number" ? value : undefined
}

const dictionaryAt = (root: Bencode.Dictionary, key: string): Bencode.Dictionary | undefined => {
  const value = find(root, key)
  return Bencode.isDictionary(value) ? value : undefined
}

/** Blocks are counted over the whole torrent, also where pieces are no multiple of one. */
const hintOf = (root: Bencode.Dictionary, geometry: PieceGeometry.PieceGeometry): Uint8Array | undefined => {
  const progress = dictionaryAt(root, "progress")
  const blocks = progress && (Bencode.getBytes(progress, "blocks") ?? Bencode.getBytes(progress, "bitfield"))
  if (blocks === undefined) return undefined
  const { pieceCount, totalLength } = geometry
  const word = blocks.length <= 4 ? Bytes.toLatin1(blocks) : ""
  if (blocks.length === 0 || word === "none") return Foreign.hintOf(pieceCount, () => false)
  if (word === "all") return Foreign.hintOf(pieceCount, () => true)
  if (blocks.length !== Math.ceil(totalLength / PieceGeometry.blockLength / 8)) return undefined
  return Foreign.hintOf(pieceCount, (index) => {
    const piece = PieceGeometry.pieceIndexUnsafe(geometry, index)
    const begin = PieceGeometry.pieceOffset(geometry, piece)
    const end = begin + PieceGeometry.pieceSize(geometry, piece)
    for (let block = Math.floor(begin / PieceGeometry.blockLength); block * PieceGeometry.blockLength < end; block++)
      if ((blocks[block >>> 3]! & (0x80 >>> (block & 7))) === 0) return false
    return true
  })
}

/** `dnd` is 1 for a file that is skipped, and a `priority` is -1, 0 or 1. */
const prioritiesOf = (root: Bencode.Dictionary, fileCount: number, notes: Array<string>) => {
  const skipped = Foreign.integers(root.get("dnd"))
  const priorities = Foreign.integers(root.get("priority"))
  if (skipped === undefined && priorities === undefined) return undefined
  if ((skipped ?? priorities)!.length !== fileCount || (priorities ?? skipped)!.length !== fileCount) {
    notes.push("Its priorities are of another number of files, so all files are wanted.")
    return undefined
  }
  const files = Array.from({ length: fileCount }, (_, file) =>
    (skipped?.[file] ?? 0) !== 0
      ? ("skip" as const)
      : (priorities?.[file] ?? 0) > 0
        ? ("high" as const)
        : ("normal" as const)
  )
  return files.every((priority) => priority === "normal") ? undefined : files
}

const goalOf = (root: Bencode.Dictionary): SavedOptions["goal"] => {
  const limit = dictionaryAt(root, "ratio-limit")
  if (limit === undefined || integer(limit, "ratio-mode") !== ownLimit) return undefined
  const value = find(limit, "ratio-limit")
  const ratio = Bencode.isBytes(value) ? Number(Bytes.toText(value)) : Number(value)
  return Number.isFinite(ratio) && ratio > 0 ? { ratio } : undefined
}

/** A limit is in bytes a second, or in kilobytes in old versions. */
const limitOf = (root: Bencode.Dictionary, key: string): number | undefined => {
  const limit = dictionaryAt(root, key)
  if (limit === undefined || (integer(limit, "use-speed-limit") ?? 0) === 0) return undefined
  const rate = integer(limit, "speed-Bps") ?? (integer(limit, "speed") ?? 0) * 1_000
  return rate > 0 ? rate : undefined
}

const limitsOf = (root: Bencode.Dictionary): Limits | undefined => {
  const download = limitOf(root, "speed-limit-down")
  const upload = limitOf(root, "speed-limit-up")
  if (download === undefined && upload === undefined) return undefined
  return {
    ...(download !== undefined && { downloadBytesPerSecond: download }),
    ...(upload !== undefined && { uploadBytesPerSecond: upload })
  }
}

/** Says what has no place in a session. */
const noteRest = (root: Bencode.Dictionary, notes: Array<string>): void => {
  const idle = dictionaryAt(root, "idle-limit")
  if (idle !== undefined && integer(idle, "idle-mode") === ownLimit)
    notes.push(
      `The limit of ${Duration.format(Duration.minutes(integer(idle, "idle-limit") ?? 0))} without uploads is not taken over.`
    )
  if ((integer(root, "bandwidth-priority") ?? 0) !== 0) notes.push("Its priority among torrents is not taken over.")
  if ((Bencode.getText(root, "group") ?? "") !== "") notes.push("Its bandwidth group is not taken over.")
}
