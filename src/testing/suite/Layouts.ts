/** Torrents with known content for the suites of storages, and how their cases open them. */
import * as Effect from "effect/Effect"
import type { InfoHash } from "../../base/InfoHash.ts"
import type { PieceIndex } from "../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../base/PieceGeometry.ts"
import * as Prng from "../../base/Prng.ts"
import * as FileLayout from "../../metainfo/FileLayout.ts"
import { type FileClaim, Storage, type TorrentStorage } from "../../storage/Storage.ts"

/** A file: its path with `/`, its length in bytes, and whether it is padding. */
export type Entry = readonly [path: string, length: number, kind?: "padding"]

/** A layout of `path/with/folders` and lengths. */
export const layoutOf = (pieceLength: number, ...entries: ReadonlyArray<Entry>): FileLayout.FileLayout =>
  FileLayout.make({
    pieceLength,
    files: entries.map(([path, length, kind]) => ({ path: path.split("/"), length, padding: kind === "padding" }))
  })

/** Every piece of a layout, ascending. */
export const piecesOf = ({ geometry }: FileLayout.FileLayout): ReadonlyArray<PieceIndex> =>
  Array.from({ length: geometry.pieceCount }, (_, index) => PieceGeometry.pieceIndexUnsafe(geometry, index))

/** A piece by its number. */
export const pieceOf = ({ geometry }: FileLayout.FileLayout, index: number): PieceIndex =>
  PieceGeometry.pieceIndexUnsafe(geometry, index)

/** Bytes of a whole torrent that differ from place to place and are never zero, except in padding. */
export const contentOf = (layout: FileLayout.FileLayout, salt = 0): Uint8Array => {
  const bytes = new Uint8Array(layout.geometry.totalLength)
  for (let offset = 0; offset < bytes.length; offset++) {
    bytes[offset] = 1 + ((offset * 31 + (offset >>> 8) * 7 + salt) % 255)
  }
  for (const file of layout.files) if (file.padding) bytes.fill(0, file.offset, file.offset + file.length)
  return bytes
}

/** The part of a torrent's content that is one piece. */
export const sliceOf = ({ geometry }: FileLayout.FileLayout, content: Uint8Array, piece: PieceIndex): Uint8Array => {
  const begin = PieceGeometry.pieceOffset(geometry, piece)
  return content.slice(begin, begin + PieceGeometry.pieceSize(geometry, piece))
}

/** A small layout of any shape below `root`: empty files, files of one byte, padding, folders, pieces over many files. */
export const drawn = (random: Prng.Prng, root = "t"): FileLayout.FileLayout => {
  const lengths = [0, 1, Prng.between(random, 2, 200)]
  const folders = ["", "a/", "a/b/", "c/"]
  const entries = Array.from({ length: Prng.between(random, 1, 12) }, (_, index): Entry => {
    const length = index === 0 ? Prng.between(random, 1, 200) : lengths[Prng.integer(random, 3)]!
    const folder = folders[Prng.integer(random, folders.length)]
    const isPadding = index > 0 && index % 3 === 0 && random() < 0.5
    return isPadding ? [`${root}/.pad/${index}`, length, "padding"] : [`${root}/${folder}${index}`, length]
  })
  return layoutOf(Prng.between(random, 3, 64), ...entries)
}

/** A stand-in for the info hash of a torrent with these files; it differs for other files. */
export const infoHashOf = ({ files, geometry }: FileLayout.FileLayout): InfoHash => {
  const text = JSON.stringify([geometry.pieceLength, files])
  let seed = 0x811c9dc5
  for (let index = 0; index < text.length; index++) seed = Math.imul(seed ^ text.charCodeAt(index), 0x01000193)
  const random = Prng.make(seed)
  return Uint8Array.from({ length: 20 }, () => Prng.integer(random, 256)) as InfoHash
}

/** Opens a torrent for reading. */
export const open = (layout: FileLayout.FileLayout) =>
  Effect.flatMap(Storage, (storage) => storage.open({ infoHash: infoHashOf(layout), layout }))

/** The files of a torrent that can be on a disk. */
export const realFiles = ({ files }: FileLayout.FileLayout): ReadonlyArray<number> =>
  [...files.keys()].filter((index) => !files[index]!.padding)

/** Reserves files and claims them in one way; all of them by default. */
export const claim = (
  torrent: TorrentStorage,
  layout: FileLayout.FileLayout,
  as: Exclude<FileClaim["as"], "found"> = "overwritten",
  files = realFiles(layout)
) => Effect.andThen(torrent.reserve(files), torrent.claim(files.map((file) => ({ file, as }))))

/** Opens a torrent all of whose files may be written, whatever exists there. */
export const openToWrite = (layout: FileLayout.FileLayout) =>
  Effect.tap(open(layout), (torrent) => claim(torrent, layout))

/** The files that hold bytes of these pieces. */
export const filesOf = (layout: FileLayout.FileLayout, pieces: Iterable<PieceIndex>): ReadonlyArray<number> => {
  const files = new Set<number>()
  for (const piece of pieces) for (const { file } of FileLayout.pieceSpans(layout, piece)) files.add(file)
  return [...files].filter((file) => !layout.files[file]!.padding)
}

/** Claims the files of some pieces, whatever exists there, and writes them. */
export const store = (
  torrent: TorrentStorage,
  layout: FileLayout.FileLayout,
  content: Uint8Array = contentOf(layout),
  pieces: ReadonlyArray<PieceIndex> = piecesOf(layout)
) =>
  Effect.andThen(
    claim(torrent, layout, "overwritten", filesOf(layout, pieces)),
    Effect.forEach(pieces, (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)), { discard: true })
  )
