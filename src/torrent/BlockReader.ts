/**
 * Reads blocks for uploads. Returns no byte of a file that changed until the piece was verified again.
 */
import * as Effect from "effect/Effect"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { NotStored, StorageError, StorageUnavailable, type TorrentStorage } from "../storage/Storage.ts"
import * as FileChanges from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** How often a block is read if its file changes during each read. After that the read fails. */
const maxReads = 3

/** What reading blocks needs. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "readBlock">
  readonly known: KnownFiles.KnownFiles
  readonly changes: FileChanges.FileChanges
}

/** Makes a reader. Its failures are those of `TorrentStorage.readBlock`. */
export const make = (options: Options): Pick<TorrentStorage, "readBlock"> => ({
  readBlock: (piece, begin, length, into) => read(options, piece, begin, length, into)
})

const read = Effect.fnUntraced(function* (
  { changes, known, storage }: Options,
  piece: PieceIndex,
  begin: number,
  length: number,
  into: Uint8Array | undefined
) {
  const { layout } = known
  const offset = PieceGeometry.pieceOffset(layout.geometry, piece) + begin
  const files = FileLayout.realSpans(layout, offset, length).map(({ file }) => file)
  for (let reads = 0; reads < maxReads; reads++) {
    if (!(yield* FileChanges.isRight(changes, piece))) return yield* notStored(known, piece)
    const writing = KnownFiles.writingAmong(known, files)
    const found = yield* Effect.tapError(storage.readBlock(piece, begin, length, into), ({ reason }) =>
      reason._tag === "NotStored" ? Effect.ignore(FileChanges.look(changes, files)) : Effect.void
    )
    if (FileChanges.observe(changes, files, found.files, writing)) return found
  }
  const path = KnownFiles.pathOf(known, files[0]!)
  return yield* StorageError.of("read", [new StorageUnavailable({ path, why: "it changes while it is read" })])
})

const notStored = (known: KnownFiles.KnownFiles, piece: PieceIndex) =>
  StorageError.of("read", [new NotStored({ path: KnownFiles.pathOf(known, KnownFiles.filesOf(known, piece)[0] ?? 0) })])
