/**
 * Finishes a torrent each time all wanted pieces are stored: flushes everything, looks at every file, and reports how
 * that went.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Monotonic from "../base/Monotonic.ts"
import * as Signal from "../base/Signal.ts"
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

/** Finishes whenever the life of the torrent asks for it, until the scope closes. */
export const run = (parts: Parts): Effect.Effect<void, never, Scope.Scope> => {
  const { assembly, files, lasting } = parts
  const { life } = lasting
  const begin = Effect.sync(() => {
    if (isDirty(files)) TorrentLife.note(life, { _tag: "Flushing" })
  })
  const finish = Effect.matchEffect(files.finish, {
    onSuccess: () =>
      Effect.map(Monotonic.now, (at) => {
        TorrentLife.note(life, { _tag: "Finished", standing: standingOf(parts), at })
        if (life.machine.completedAt !== undefined && PieceTable.isComplete(assembly.table))
          Deferred.doneUnsafe(life.whole, Effect.void)
      }),
    // Files cannot be looked at, or an empty one cannot be made.
    onFailure: (error) => {
      TorrentLife.note(life, { _tag: "FinishFailed", error })
      return Effect.andThen(
        Effect.sleep(againAfter),
        Effect.sync(() => Signal.set(life.finishing))
      )
    }
  })
  return Signal.attend(life.finishing, Effect.andThen(begin, finish))
}
