/** How tests open torrents, for reading and for writing. */
import * as Crypto from "node:crypto"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { type FileLayout, pieceSpans } from "../../src/metainfo/FileLayout.ts"
import { type FileClaim, Storage, type TorrentStorage } from "../../src/storage/Storage.ts"
import { contentOf, piecesOf, sliceOf } from "./layouts.ts"

/** A stand-in for the info hash of a torrent with these files; it differs for other files. */
export const infoHashOf = ({ files, geometry }: FileLayout): InfoHash.InfoHash =>
  InfoHash.fromBytes(Crypto.hash("sha1", JSON.stringify([geometry.pieceLength, files]), "buffer"))!

/** Opens a torrent for reading. */
export const open = (layout: FileLayout) =>
  Effect.flatMap(Storage, (storage) => storage.open({ infoHash: infoHashOf(layout), layout }))

/** The files of a torrent that can be on a disk. */
export const realFiles = ({ files }: FileLayout): ReadonlyArray<number> =>
  [...files.keys()].filter((index) => !files[index]!.padding)

/** Reserves files and claims them in one way; all of them by default. */
export const claim = (
  torrent: TorrentStorage,
  layout: FileLayout,
  as: Exclude<FileClaim["as"], "found"> = "overwritten",
  files = realFiles(layout)
) => Effect.andThen(torrent.reserve(files), torrent.claim(files.map((file) => ({ file, as }))))

/** Opens a torrent all of whose files may be written, whatever exists there. */
export const openToWrite = (layout: FileLayout) => Effect.tap(open(layout), (torrent) => claim(torrent, layout))

/** The files that hold bytes of these pieces. */
export const filesOf = (layout: FileLayout, pieces: Iterable<PieceIndex>): ReadonlyArray<number> => {
  const files = new Set<number>()
  for (const piece of pieces) for (const { file } of pieceSpans(layout, piece)) files.add(file)
  return [...files].filter((file) => !layout.files[file]!.padding)
}

/** Claims the files of some pieces, whatever exists there, and writes them. */
export const store = (
  torrent: TorrentStorage,
  layout: FileLayout,
  content: Uint8Array = contentOf(layout),
  pieces: ReadonlyArray<PieceIndex> = piecesOf(layout)
) =>
  Effect.andThen(
    claim(torrent, layout, "overwritten", filesOf(layout, pieces)),
    Effect.forEach(pieces, (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)), { discard: true })
  )
