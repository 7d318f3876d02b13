/**
 * How much pieces are wanted, as it follows from what a user says of files.
 *
 * Pieces do not end where files do: one that holds a byte of a wanted file is wanted, with all bytes of its neighbours.
 * Where those are kept is the storage's matter.
 */
import * as Bitfield from "../base/Bitfield.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"

/** `high` comes before `normal` whatever its rarity; `skip` is not fetched. */
export type PiecePriority = "skip" | "normal" | "high"

const rank = { skip: 0, normal: 1, high: 2 } as const

/**
 * The priority of each piece, from that of each file in `layout.files`: the highest of the files that have a byte in it.
 * Padding (BEP 47) is not wanted for itself. A file beyond the end of `files` is `normal`.
 */
export const ofFiles = (
  layout: FileLayout.FileLayout,
  files: ReadonlyArray<PiecePriority>
): ReadonlyArray<PiecePriority> => {
  const pieces = new Array<PiecePriority>(layout.geometry.pieceCount).fill("skip")
  for (const [index, { padding }] of layout.files.entries()) {
    const priority = padding ? "skip" : (files[index] ?? "normal")
    const { end, first } = FileLayout.filePieces(layout, index)
    for (let piece = first; piece < end; piece++) {
      if (rank[priority] > rank[pieces[piece]!]) pieces[piece] = priority
    }
  }
  return pieces
}

/** The files that are not skipped, as indices in `layout.files`; `files` as in `ofFiles`. */
export const wantedFiles = (
  layout: FileLayout.FileLayout,
  files: ReadonlyArray<PiecePriority>
): ReadonlyArray<number> => [...layout.files.keys()].filter((index) => files[index] !== "skip")

/** The pieces that are not skipped. */
export const wanted = (pieces: ReadonlyArray<PiecePriority>): Bitfield.Bitfield => {
  const bits = Bitfield.make(pieces.length)
  for (const [piece, priority] of pieces.entries()) if (priority !== "skip") Bitfield.add(bits, piece)
  return bits
}
