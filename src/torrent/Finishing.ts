/**
 * Finishes a torrent each time all wanted pieces are stored: flushes everything, looks at every file, and reports how
 * that went.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Monotonic from "../base/Monotonic.ts"
import * as TorrentFacts from "./TorrentFacts.ts"
import type { TorrentFiles } from "./TorrentFiles.ts"
import * as TorrentLife from "./TorrentLife.ts"
import type * as TorrentMachine from "./TorrentMachine.ts"
import type { TorrentParts } from "./TorrentParts.ts"

/** How long to wait after a failed attempt, before the next one. */
const againAfter = "5 seconds"

type Parts = Pick<TorrentParts, "assembly" | "facts" | "files" | "lasting">

const isDirty = (files: TorrentFiles): boolean => files.isDirty() || files.suspects.count > 0

const standingOf = ({ assembly, facts, files }: Parts): TorrentMachine.Standing => ({
  isStored: TorrentFacts.isStored(facts),
  isDirty: isDirty(files),
  isPaused: assembly.isPaused
})

/** Finishes whenever the life of the torrent asks for it, until it is interrupted. */
export const run = (parts: Parts): Effect.Effect<never> => {
  const { assembly, files, lasting } = parts
  const { life } = lasting
  const begin = Effect.sync(() => {
    Latch.closeUnsafe(life.finishing)
    if (isDirty(files)) TorrentLife.note(life, { _tag: "Flushing" })
  })
  const finish = Effect.matchEffect(files.finish, {
    onSuccess: () =>
      Effect.map(Monotonic.now, (at) => {
        TorrentLife.note(life, { _tag: "Finished", standing: standingOf(parts), at })
        if (life.machine.completedAt !== undefined && PieceTable.isComplete(assembly.table))
          Latch.openUnsafe(life.whole)
      }),
    // Files cannot be looked at, or an empty one cannot be made.
    onFailure: (error) => {
      TorrentLife.note(life, { _tag: "FinishFailed", error })
      return Effect.andThen(Effect.sleep(againAfter), life.finishing.open)
    }
  })
  return life.finishing.await.pipe(Effect.andThen(begin), Effect.andThen(finish), Effect.forever)
}
