/**
 * Looks at files once they need no more writes. After that a different size or time means that somebody changed them.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Signal from "../base/Signal.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as FileChanges from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** How long files that need no more writes are gathered before they are looked at. */
export const settleAfter = "20 millis"

/** What looking at files needs. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "look">
  readonly known: KnownFiles.KnownFiles
  readonly changes: FileChanges.FileChanges
  /** Called for each file that was looked at. */
  readonly onIdle: (file: number) => void
}

/** Looks at the finished files of one torrent. */
export interface Settling {
  /** Makes `run` look at a file soon. */
  readonly soon: (file: number) => void
  /** Looks at these files, and at those that wait. */
  readonly now: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
  /** Looks at every file that is being written. Called when the torrent stops and writes no more. */
  readonly last: Effect.Effect<void, StorageError>
  /** Looks at the files that wait, until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope>
}

/** Makes it with no file waiting. */
export const make = ({ changes, known, onIdle, storage }: Options): Settling => {
  let waiting: Set<number> | undefined
  const awake = Signal.make()
  const isWriting = (file: number): boolean => KnownFiles.isWriting(known, file)

  /** Looks at files, and returns what those that were not replaced look like. */
  const look = (files: ReadonlyArray<number>): Effect.Effect<ReadonlyArray<FileFacts>, StorageError> =>
    files.length === 0
      ? Effect.succeed([])
      : Effect.map(storage.look(files), (seen) =>
          seen
            .filter((facts) => facts !== undefined)
            .filter(({ file, identity }) => KnownFiles.identityOf(known, file) === identity)
        )

  const noteIdle = (facts: FileFacts): void => {
    KnownFiles.setFacts(known, facts)
    KnownFiles.setWriting(known, facts.file, false)
    onIdle(facts.file)
  }

  const now = (more: ReadonlyArray<number>) =>
    Effect.gen(function* () {
      const files = [...new Set([...(waiting ?? []), ...more])].filter(isWriting)
      waiting = undefined
      for (const facts of yield* look(files)) {
        if (!KnownFiles.isWhole(known, facts.file)) continue
        // It was cut or made longer between its last write and this look.
        if (facts.length !== FileLayout.lengthOf(known.layout, facts.file)) FileChanges.doubt(changes, [facts.file])
        noteIdle(facts)
      }
    })

  const self: Settling = {
    soon: (file) => {
      waiting ??= new Set()
      waiting.add(file)
      Signal.set(awake)
    },
    now,
    last: Effect.suspend(() =>
      Effect.map(look(KnownFiles.existing(known).filter(isWriting)), (found) => {
        found.forEach(noteIdle)
      })
    ),
    run: Signal.attend(
      awake,
      Effect.gen(function* () {
        yield* Effect.sleep(settleAfter)
        Signal.clear(awake)
        yield* Effect.ignore(now([]))
      })
    )
  }
  return self
}
