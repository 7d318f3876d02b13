/**
 * The pieces that a read-only torrent has lost. It cannot fetch them, so it looks whether somebody restores them.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import type { FileChanges } from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** What finding lost pieces again needs. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "digests" | "look">
  readonly known: KnownFiles.KnownFiles
  readonly changes: Pick<FileChanges, "observe">
  readonly digestOf: (piece: PieceIndex) => Uint8Array
}

/** The lost pieces of one torrent. */
export interface LostPieces {
  readonly pieces: Set<PieceIndex>
  /** What their files looked like when the pieces were digested last. */
  lookedLike: string
}

/** Makes an empty set. */
export const make = (): LostPieces => ({ pieces: new Set(), lookedLike: "" })

/**
 * Removes the pieces that are right again from the set, and returns them. Digests pieces only if their files look
 * different from the last time.
 */
export const regain = (self: LostPieces, options: Options): Effect.Effect<ReadonlyArray<PieceIndex>, StorageError> =>
  Effect.suspend(() => (self.pieces.size === 0 ? Effect.succeed([]) : look(self, options)))

const look = Effect.fnUntraced(function* (self: LostPieces, { changes, digestOf, known, storage }: Options) {
  const files = [...new Set(Array.from(self.pieces, (piece) => KnownFiles.filesOf(known, piece)).flat())]
  const seen = (yield* storage.look(files)).flatMap((facts) => facts ?? [])
  const looksLike = seen.map(({ identity, length, mtimeNs }) => `${identity} ${length} ${mtimeNs}`).join()
  if (looksLike === self.lookedLike) return []
  self.lookedLike = looksLike
  changes.observe(
    seen.map(({ file }) => file),
    seen
  )
  const right: Array<PieceIndex> = []
  for (const { piece, sha1 } of yield* Stream.runCollect(storage.digests([...self.pieces])))
    if (sha1 !== undefined && Bytes.equals(sha1, digestOf(piece))) right.push(piece)
  for (const facts of seen) if (!KnownFiles.has(known, facts.file)) KnownFiles.meet(known, facts)
  for (const piece of right) {
    self.pieces.delete(piece)
    KnownFiles.noteStored(known, piece, true)
  }
  return right
})
