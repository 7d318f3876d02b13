/**
 * Compares a service that was started after a kill, and what is on the disk, with what is known.
 */
import * as FileSystem from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Bitfield from "../../../src/base/Bitfield.ts"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../../src/base/PieceGeometry.ts"
import * as Size from "../../../src/base/Size.ts"
import type { TorrentItem } from "../../../src/control/api/TorrentModel.ts"
import * as FileLayout from "../../../src/metainfo/FileLayout.ts"
import * as ResumeFile from "../../../src/resume/ResumeFile.ts"
import type * as Known from "./known.ts"
import * as Operations from "./operations.ts"
import type { Client } from "./service.ts"
import * as Torrents from "./torrents.ts"

/** What the service says of a torrent. */
export interface Found {
  readonly has: Known.Has
  readonly state: string
  readonly isComplete: boolean
  /** `undefined` while its metadata is not known. */
  readonly stored: Bitfield.Bitfield | undefined
  readonly completeFiles: ReadonlyArray<number>
}

/** How many pieces of files that were being written, or of which nothing is remembered, each torrent has. */
export const mayVerify = (folder: string, torrents: ReadonlyArray<Torrents.Torrent>): ReadonlyArray<number> =>
  torrents.map(({ infoHash, metainfo: { layout } }) => {
    const { files, geometry } = layout
    const { pieceCount } = geometry
    const path = Path.join(folder, "state", "resume", `${InfoHash.toHex(infoHash)}.resume`)
    if (!FileSystem.existsSync(path)) return pieceCount
    const options = { infoHash, pieceCount, fileCount: files.length }
    const decoded = Result.getOrThrow(ResumeFile.decode(FileSystem.readFileSync(path), options))
    const written = new Set<number>()
    for (const [file, { isWriting }] of decoded.files) {
      const { end, first } = FileLayout.filePieces(layout, file)
      if (isWriting) for (let piece = first; piece < end; piece++) written.add(piece)
    }
    return written.size
  })

/** How many pieces of each torrent a service has verified when it first opened it, by its log. */
export const verified = (log: string): ReadonlyMap<string, number> => {
  const found = new Map<string, number>()
  for (const [line] of log.matchAll(/^debug: stored pieces are being verified .*$/gm)) {
    const infoHash = /infoHash="([0-9a-f]{40})"/.exec(line)?.[1] ?? ""
    const pieces = Number(/totalPieces=(\d+)/.exec(line)?.[1])
    if (!found.has(infoHash)) found.set(infoHash, pieces)
  }
  return found
}

/** Whether the service does with a torrent what it will go on with. */
const isSettled = ({ state }: TorrentItem): boolean => {
  if (state._tag === "Active") return state.state._tag !== "Checking"
  return state._tag !== "Removing" && state._tag !== "Moving" && state._tag !== "Queued"
}

/** How long a service may take until it knows what it has, in milliseconds. */
const patience = 30_000

/** Waits until every torrent is open, and what a kill has interrupted is finished. Returns what is not so in time. */
export const untilSettled = (client: Client) =>
  Effect.gen(function* () {
    for (const end = Date.now() + patience; ; ) {
      const { torrents, unreadable } = yield* client.torrents.list({ query: { limit: 1_000 } })
      const unsettled = torrents.filter((item) => !isSettled(item))
      if (unsettled.length === 0) return { torrents, unreadable, unsettled }
      if (Date.now() > end) return { torrents, unreadable, unsettled }
      yield* Effect.sleep(50)
    }
  })

const hasOf = (item: TorrentItem, paths: ReadonlyArray<string>): Known.Has => ({
  isPaused: item.state._tag === "Paused",
  labels: item.labels,
  folder: item.options.folder,
  uploadLimit: Size.bytesOf(item.options.limits?.uploadBytesPerSecond),
  paths
})

/**
 * Reads what the service has of a torrent. Pieces of files that were being written count once they were verified, which
 * goes on beside the download: if some of `before` are missing, it waits for them.
 */
export const find = (client: Client, torrent: Torrents.Torrent, item: TorrentItem, before?: Bitfield.Bitfield) =>
  Effect.gen(function* () {
    for (const end = Date.now() + patience; ; ) {
      const found: Found = yield* read(client, torrent, item)
      const { stored } = found
      const hasAll = before === undefined || stored === undefined || Bitfield.isSubset(before, stored)
      if (hasAll || Date.now() > end) return found
      yield* Effect.sleep(50)
    }
  })

const read = (client: Client, torrent: Torrents.Torrent, item: TorrentItem) =>
  Effect.gen(function* () {
    const params = { infoHash: torrent.infoHash }
    const isComplete = item.state._tag === "Active" && item.state.state._tag === "Complete"
    const state = item.state._tag === "Active" ? item.state.state._tag : item.state._tag
    const files = yield* Effect.result(client.torrents.files({ params }))
    if (Result.isFailure(files)) {
      const paths = torrent.files.map((_, file) => Torrents.pathOf(torrent, file).join("/"))
      return { has: hasOf(item, paths), state, isComplete, stored: undefined, completeFiles: [] }
    }
    const { stored, totalPieces } = yield* client.torrents.pieces({ params })
    const found: Found = {
      has: hasOf(
        item,
        files.success.map(({ path }) => path)
      ),
      state,
      isComplete,
      stored: Bitfield.fromBytes(stored, totalPieces),
      completeFiles: files.success.filter(({ isComplete }) => isComplete).map(({ index }) => index)
    }
    return found
  })

/** Faults of the bytes of a torrent on the disk. */
export const wrongBytes = (
  downloads: string,
  torrent: Torrents.Torrent,
  { completeFiles, has, stored }: Found
): ReadonlyArray<string> => {
  const { layout } = torrent.metainfo
  const places = Operations.placesOf(downloads, has)
  const onDisk = places.map((place) => (FileSystem.existsSync(place) ? FileSystem.readFileSync(place) : undefined))
  const faults: Array<string> = []
  for (const piece of stored === undefined ? [] : (Bitfield.indices(stored) as Iterable<PieceIndex>)) {
    const isWrong = FileLayout.pieceSpans(layout, piece).some(({ file, fileOffset, length }) => {
      const found = onDisk[file]?.subarray(fileOffset, fileOffset + length)
      return found === undefined || found.compare(torrent.files[file]!, fileOffset, fileOffset + length) !== 0
    })
    if (isWrong) faults.push(`piece ${piece} is reported as stored, and is wrong in ${places.join(", ")}`)
  }
  for (const file of completeFiles) {
    const content = torrent.files[file]!
    // An empty file is made when the torrent needs it.
    if (content.length > 0 && onDisk[file]?.equals(content) !== true) {
      faults.push(`${places[file]} is reported as complete, and is not`)
    }
  }
  return faults
}

/** Whether two things that are known of a torrent are the same. */
export const isSame = (one: Known.Has | undefined, other: Known.Has | undefined): boolean =>
  JSON.stringify(one, sorted) === JSON.stringify(other, sorted)

/** `undefined` counts. */
const sorted = (_: string, value: unknown): unknown =>
  value !== null && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
    : value

/** The files in download folders, without those that piecewise keeps for itself. */
export const filesIn = (folders: ReadonlyArray<string>): ReadonlyArray<string> =>
  folders
    .filter((folder) => FileSystem.existsSync(folder))
    .flatMap((folder) =>
      FileSystem.readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.parentPath.split(Path.sep).includes(".piecewise"))
        .map((entry) => Path.join(entry.parentPath, entry.name))
    )
