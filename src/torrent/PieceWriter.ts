/**
 * Writes the pieces of a torrent, with everything that has to come before and after: room among what is not flushed,
 * writable files, and a look at files that turn out to be changed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { PieceStore } from "../assembly/Completion.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import type * as FileClaims from "./FileClaims.ts"
import type * as FlushBehind from "./FlushBehind.ts"
import * as KnownFiles from "./KnownFiles.ts"
import type { ResumeKeeper } from "./ResumeKeeper.ts"
import type { Settling } from "./Settling.ts"

/** What writing needs. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "verifies" | "writePiece">
  readonly known: KnownFiles.KnownFiles
  readonly keeper: Pick<ResumeKeeper, "noteStored">
  readonly settling: Pick<Settling, "soon">
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  /** Both are made when they are first needed. */
  readonly claims: () => FileClaims.FileClaims
  readonly flush: () => FlushBehind.FlushBehind
  /** Looks at files that the storage found changed since they were claimed. */
  readonly reconsider: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
}

/** Makes what the assembly writes its pieces to. */
export const make = (options: Options): PieceStore => {
  const { digestOf, flush, keeper, known, settling, storage } = options
  return {
    verifies: storage.verifies,
    writePiece: (piece, bytes, sha1 = digestOf(piece)) =>
      Effect.suspend(() => {
        const { length } = bytes
        const writing = () =>
          Effect.onExit(write(options, piece, bytes, sha1), (exit) => {
            flush().end(length, Exit.isSuccess(exit))
            return Effect.void
          })
        return flush().admitNow(length) ? writing() : Effect.andThen(flush().admit(length), Effect.suspend(writing))
      }).pipe(Effect.uninterruptible),
    noteStored: (piece) => {
      keeper.noteStored(piece)
      KnownFiles.noteStored(known, piece, true)
      for (const file of KnownFiles.filesOf(known, piece)) if (KnownFiles.isWhole(known, file)) settling.soon(file)
    }
  }
}

/** Writes a piece that was admitted. Must be run uninterruptibly; it may be interrupted while it claims files. */
export const write = (
  options: Options,
  piece: PieceIndex,
  bytes: Uint8Array,
  sha1 = options.digestOf(piece)
): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    const { claims, known, reconsider } = options
    if (claims().isReady(piece)) return writeReady(options, piece, bytes, sha1)
    // Claiming files may be interrupted, because nothing is written before it ends.
    const claimed = Effect.tapError(
      Effect.interruptible(claims().ready({ index: piece, bytes, sha1 })),
      ({ reason }) =>
        reason._tag === "FileChanged" || reason._tag === "NotStored"
          ? Effect.ignore(reconsider(KnownFiles.filesOf(known, piece)))
          : Effect.void
    )
    return Effect.flatMap(claimed, () => writeReady(options, piece, bytes, sha1))
  })

/** Writes a piece whose files are writable. Called once a piece, so it adds few effects to the storage's. */
const writeReady = (
  { flush, known, reconsider, storage }: Options,
  piece: PieceIndex,
  bytes: Uint8Array,
  sha1: Uint8Array
): Effect.Effect<void, StorageError> => {
  const files = KnownFiles.filesOf(known, piece)
  flush().noteWriting()
  return Effect.onExit(storage.writePiece(piece, bytes, sha1), (exit) => {
    flush().noteWritten(files)
    if (Exit.isSuccess(exit)) return Effect.void
    const error = Cause.findErrorOption(exit.cause)
    const isChanged = Option.isSome(error) && error.value.reason._tag === "FileChanged"
    return isChanged ? Effect.ignore(reconsider(files)) : Effect.void
  })
}
