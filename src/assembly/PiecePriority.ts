/**
 * How much each piece is wanted, computed from how much a user wants each file.
 *
 * A piece can hold bytes of several files. If one of them is wanted, the whole piece is fetched; the storage decides
 * where to keep the bytes of unwanted files.
 */
import * as Schema from "effect/Schema"
import * as Bitfield from "../base/Bitfield.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"

/** The schema of a priority. */
export const PiecePriority = Schema.Literals(["skip", "normal", "high"])

/** `high` pieces are fetched before `normal` ones, whatever their rarity; `skip` ones are not fetched. */
export type PiecePriority = typeof PiecePriority.Type

const rank = { skip: 0, normal: 1, high: 2 } as const

/**
 * Returns the priority of each piece: the highest of the files that have a byte in it. `files` are in the order of
 * `layout.files`; a file beyond their end is `normal`. Padding (BEP 47) counts as `skip`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { FileLayout, PiecePriority } from "piecewise"
 *
 * const layout = FileLayout.make({
 *   files: [
 *     { path: ["album", "one.flac"], length: 40_000 },
 *     { path: ["album", "two.flac"], length: 40_000 }
 *   ],
 *   pieceLength: 16_384
 * })
 * // The third piece has bytes of both files.
 * assert.deepEqual(PiecePriority.ofFiles(layout, ["skip", "high"]), ["skip", "skip", "high", "high", "high"])
 * ```
 */
export const ofFiles = (
  layout: FileLayout.FileLayout,
  files: ReadonlyArray<PiecePriority>
): ReadonlyArray<PiecePriority> => {
  const pieces = new Array<PiecePriority>(layout.geometry.pieceCount).fill("skip")
  for (const index of FileLayout.indices(layout)) {
    const priority = FileLayout.isPadding(layout, index) ? "skip" : (files[index] ?? "normal")
    const { end, first } = FileLayout.filePieces(layout, index)
    for (let piece = first; piece < end; piece++) {
      if (rank[priority] > rank[pieces[piece]!]) pieces[piece] = priority
    }
  }
  return pieces
}

/** Returns the files that are not skipped, as indices in `layout.files`; `files` as in `ofFiles`. */
export const wantedFiles = (
  layout: FileLayout.FileLayout,
  files: ReadonlyArray<PiecePriority>
): ReadonlyArray<number> => [...FileLayout.indices(layout)].filter((index) => files[index] !== "skip")

/** Returns the pieces that are not skipped, one bit a piece. */
export const wanted = (pieces: ReadonlyArray<PiecePriority>): Bitfield.Bitfield => {
  const bits = Bitfield.make(pieces.length)
  for (const [piece, priority] of pieces.entries()) if (priority !== "skip") Bitfield.add(bits, piece)
  return bits
}
