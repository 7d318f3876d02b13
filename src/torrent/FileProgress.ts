/**
 * How far each file of a torrent is.
 */
import * as Schema from "effect/Schema"
import { PiecePriority } from "../assembly/PiecePriority.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"

/** The schema of how far a file of a torrent is. */
export const FileProgress = Schema.Struct({
  /** Its index in `metainfo.layout.files`. */
  index: Schema.Natural,
  /** Components joined by `/`, as in events. */
  path: Schema.String,
  /** Bytes. */
  length: Schema.Natural,
  /** Bytes of it that are in stored pieces. */
  storedBytes: Schema.Natural,
  /** How much it is wanted. */
  priority: PiecePriority,
  /** Whether all of it is stored. An empty file always counts as stored. */
  isComplete: Schema.Boolean
})

/** How far a file of a torrent is. */
export type FileProgress = typeof FileProgress.Type

/** The files of a torrent, except padding. `priorities` as in `TorrentOptions.files`; empty if all are wanted alike. */
export const of = (
  layout: FileLayout.FileLayout,
  stored: Bitfield.Bitfield,
  priorities: ReadonlyArray<PiecePriority>
): ReadonlyArray<FileProgress> =>
  FileLayout.realFiles(layout).map((index) => {
    const length = FileLayout.lengthOf(layout, index)
    const storedBytes = storedIn(layout, index, stored)
    return {
      index,
      path: FileLayout.pathOf(layout, index).join("/"),
      length,
      storedBytes,
      priority: priorities[index] ?? "normal",
      isComplete: storedBytes === length
    }
  })

const storedIn = (layout: FileLayout.FileLayout, file: number, stored: Bitfield.Bitfield): number => {
  const { geometry } = layout
  const begin = FileLayout.offsetOf(layout, file)
  const end = begin + FileLayout.lengthOf(layout, file)
  const range = FileLayout.filePieces(layout, file)
  let bytes = 0
  for (let piece = range.first; piece < range.end; piece++) {
    if (!Bitfield.has(stored, piece)) continue
    const offset = PieceGeometry.pieceOffset(geometry, piece as PieceIndex)
    const pieceEnd = offset + PieceGeometry.pieceSize(geometry, piece as PieceIndex)
    bytes += Math.min(end, pieceEnd) - Math.max(begin, offset)
  }
  return bytes
}
