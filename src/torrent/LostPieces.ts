/**
 * The pieces that a read-only torrent has lost. It cannot fetch them, so it looks whether somebody restores them.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as FileChanges from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** What finding lost pieces again needs. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "digests" | "look">
  readonly known: KnownFiles.KnownFiles
  readonly changes: FileChanges.FileChanges
  readonly digestOf: (piece: PieceIndex) => Uint8Array
}

/** The lost pieces of one torrent. */
export interface LostPieces {
  pieces: Set<PieceIndex> | undefined
  /** What their files looked like when the pieces were digested last. */
  lookedLike: string
}

/** Notes that a piece is lost. */
export const add = (self: LostPieces, piece: PieceIndex): void => {
  self.pieces ??= new Set()
  self.pieces.add(piece)
}

/** Makes an empty set. */
export const make = (): LostPieces => ({ pieces: undefined, lookedLike: "" })

/**
 * Removes the pieces that are right again from the set, and returns them. Digests pieces only if their files look
 * different from the last time.
 */
export const regain = (self: LostPieces, options: Options): Effect.Effect<ReadonlyArray<PieceIndex>, StorageError> =>
  Effect.suspend(() =>
    self.pieces === undefined || self.pieces.size === 0 ? Effect.succeed([]) : look(self, self.pieces, options)
  )

const look = Effect.fnUntraced(function* (
  self: LostPieces,
  pieces: Set<PieceIndex>,
  { changes, digestOf, known, storage }: Options
) {
  const files = [...new Set(Array.from(pieces, (piece) => KnownFiles.filesOf(known, piece)).flat())]
  const seen = (yield* storage.look(files)).flatMap((facts) => facts ?? [])
  const looksLike = seen.map(({ identity, length, mtimeNs }) => `${identity} ${length} ${mtimeNs}`).join()
  if (looksLike === self.lookedLike) return []
  self.lookedLike = looksLike
  FileChanges.observe(
    changes,
    seen.map(({ file }) => file),
    seen
  )
  const right: Array<PieceIndex> = []
  for (const { piece, sha1 } of yield* Stream.runCollect(storage.digests([...pieces])))
    if (sha1 !== undefined && Bytes.equals(sha1, digestOf(piece))) right.push(piece)
  for (const facts of seen) if (!KnownFiles.has(known, facts.file)) KnownFiles.meet(known, facts)
  for (const piece of right) {
    pieces.delete(piece)
    KnownFiles.noteStored(known, piece, true)
  }
  return right
})
