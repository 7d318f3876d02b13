/**
 * Reads blocks for uploads. Returns no byte of a file that changed until the piece was verified again.
 */
import * as Effect from "effect/Effect"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { NotStored, StorageError, StorageUnavailable, type TorrentStorage } from "../storage/Storage.ts"
import type { FileChanges } from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** How often a block is read if its file changes during each read. After that the read fails. */
const maxReads = 3

/** Makes a reader. Its failures are those of `TorrentStorage.readBlock`. */
export const make = (options: {
  readonly storage: Pick<TorrentStorage, "readBlock">
  readonly known: KnownFiles.KnownFiles
  readonly changes: Pick<FileChanges, "isRight" | "look" | "observe">
}): Pick<TorrentStorage, "readBlock"> => {
  const { changes, known, storage } = options
  const { layout } = known

  const filesOf = (piece: PieceIndex, begin: number, length: number): ReadonlyArray<number> =>
    FileLayout.realSpans(layout, PieceGeometry.pieceOffset(layout.geometry, piece) + begin, length).map(
      ({ file }) => file
    )

  const notStored = (piece: PieceIndex) =>
    StorageError.of("read", [
      new NotStored({ path: KnownFiles.pathOf(known, KnownFiles.filesOf(known, piece)[0] ?? 0) })
    ])

  return {
    readBlock: Effect.fnUntraced(function* (piece, begin, length, into) {
      const files = filesOf(piece, begin, length)
      for (let reads = 0; reads < maxReads; reads++) {
        if (!(yield* changes.isRight(piece))) return yield* notStored(piece)
        const read = yield* Effect.tapError(storage.readBlock(piece, begin, length, into), ({ reason }) =>
          reason._tag === "NotStored" ? Effect.ignore(changes.look(files)) : Effect.void
        )
        if (changes.observe(files, read.files)) return read
      }
      const path = KnownFiles.pathOf(known, files[0]!)
      return yield* StorageError.of("read", [new StorageUnavailable({ path, why: "it changes while it is read" })])
    })
  }
}
