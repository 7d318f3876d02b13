/**
 * Finishes the files of a torrent of which every wanted piece is stored: makes or cuts those that no piece is written
 * to, flushes everything, looks at every file, and verifies what changed.
 */
import * as Effect from "effect/Effect"
import * as FileChanges from "./FileChanges.ts"
import type * as FileClaims from "./FileClaims.ts"
import type * as FlushBehind from "./FlushBehind.ts"
import * as KnownFiles from "./KnownFiles.ts"
import type { ResumeKeeper } from "./ResumeKeeper.ts"
import type { Settling } from "./Settling.ts"
import * as WantedFiles from "./WantedFiles.ts"

/** What finishing needs. */
export interface Options {
  readonly wanted: WantedFiles.WantedFiles
  readonly known: KnownFiles.KnownFiles
  readonly changes: FileChanges.FileChanges
  readonly keeper: ResumeKeeper
  readonly settling: Settling
  readonly claims: () => FileClaims.FileClaims
  /** The flush, which is made if there is none yet. */
  readonly flush: () => FlushBehind.FlushBehind
  /** Flushes everything; nothing if nothing was ever written. */
  readonly flushAll: Effect.Effect<void>
  /** Called for files of ours that are too long. The torrent has to end. */
  readonly onForeign: (files: ReadonlyArray<number>) => void
}

/** Finishes. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { changes, claims, flush, keeper, known, settling, wanted } = options
  for (let isFirst = true; isFirst || WantedFiles.unwritten(wanted).length > 0; isFirst = false) {
    const files = WantedFiles.unwritten(wanted)
    if (files.length > 0) {
      yield* claims().claim(files)
      flush().noteDirty(files)
    }
    yield* settling.now(files)
    yield* keeper.append(false)
    yield* options.flushAll
    yield* FileChanges.lookAtAll(changes)
    yield* FileChanges.settled(changes)
  }
  const tooLong = KnownFiles.existing(known).filter(
    (file) => WantedFiles.isTooLong(wanted, file) && KnownFiles.standingOf(known, file) === "own"
  )
  if (tooLong.length === 0) return
  options.onForeign(tooLong)
  return yield* Effect.never
})
