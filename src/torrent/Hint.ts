/**
 * A hint: the pieces that another client says it has stored. It is never believed. Its pieces are announced, and each is
 * verified before it is uploaded, read or counted.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"

/**
 * Whether a hint speaks for a file: for a piece that lies in this file alone, or for all of its pieces. A piece that the
 * file shares with its neighbours says little of it.
 */
export const speaksFor = (layout: FileLayout.FileLayout, hint: Bitfield.Bitfield, file: number): boolean => {
  const { end, first } = FileLayout.filePieces(layout, file)
  let hinted = 0
  for (let piece = Bitfield.next(hint, first); piece >= 0 && piece < end; piece = Bitfield.next(hint, piece + 1)) {
    if (FileLayout.liesIn(layout, piece as PieceIndex, file)) return true
    hinted++
  }
  return hinted > 0 && hinted === end - first
}
