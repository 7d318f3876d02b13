/** Layouts and contents that the storage tests share. */
import * as fc from "fast-check"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"

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

/** Small layouts of every shape: empty files, files of one byte, padding, folders, pieces over many files. */
export const layout: fc.Arbitrary<FileLayout.FileLayout> = fc
  .record({
    pieceLength: fc.integer({ min: 1, max: 64 }),
    files: fc.array(
      fc.record({
        folder: fc.constantFrom("", "a/", "a/b/", "c/"),
        length: fc.oneof(fc.constant(0), fc.constant(1), fc.integer({ min: 2, max: 200 })),
        padding: fc.boolean()
      }),
      { minLength: 1, maxLength: 12 }
    )
  })
  .filter(({ files }) => files.some((file) => file.length > 0))
  .map(({ files, pieceLength }) =>
    layoutOf(
      pieceLength,
      ...files.map(
        ({ folder, length, padding }, index): Entry =>
          padding && index % 3 === 0 ? [`t/.pad/${index}`, length, "padding"] : [`t/${folder}${index}`, length]
      )
    )
  )
