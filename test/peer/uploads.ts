/** Uploads whose stored pieces hold the known content, read without a storage. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceGeometry } from "../../src/base/PieceGeometry.ts"
import * as Upload from "../../src/peer/Upload.ts"
import * as ReadCache from "../../src/storage/ReadCache.ts"
import type { StorageError, TorrentStorage } from "../../src/storage/Storage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

/** An upload with a record of its reads and failures. */
export interface TestUpload extends Upload.Upload {
  /** Reads of the storage, as `piece:begin+length`. */
  readonly reads: Array<string>
  readonly failures: Array<StorageError>
}

/** The upload of a torrent of `geometry`; reads go through `around`. */
export const make = (
  geometry: PieceGeometry,
  around: (read: TorrentStorage["readBlock"]) => TorrentStorage["readBlock"] = (read) => read,
  cache = ReadCache.make()
): TestUpload => {
  const reads: Array<string> = []
  const failures: Array<StorageError> = []
  const readBlock = around((piece, begin, length) =>
    Effect.sync(() => {
      reads.push(`${piece}:${begin}+${length}`)
      const bytes = new Uint8Array(length)
      KnownTorrent.fill(bytes, piece * geometry.pieceLength + begin, 1)
      return { bytes, files: [] }
    })
  )
  const upload = Upload.make({
    geometry,
    storage: { readBlock },
    stored: Bitfield.full(geometry.pieceCount),
    cache,
    onFailure: (_, error) => failures.push(error)
  })
  return Object.assign(Effect.runSync(Scope.provide(upload, Scope.makeUnsafe())), { reads, failures })
}
