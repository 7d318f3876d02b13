/** Layouts and contents that the storage tests share. */
import * as fc from "fast-check"
import type * as FileLayout from "../../src/metainfo/FileLayout.ts"
import { type Entry, layoutOf } from "../../src/testing/suite/Layouts.ts"

export { contentOf, type Entry, layoutOf, pieceOf, piecesOf, sliceOf } from "../../src/testing/suite/Layouts.ts"

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
