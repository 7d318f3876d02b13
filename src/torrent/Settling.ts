/**
 * Looks at files once they need no more writes. After that a different size or time means that somebody changed them.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Signal from "../base/Signal.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import type { FileChanges } from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** How long files that need no more writes are gathered before they are looked at. */
export const settleAfter = "20 millis"

/** What looking at files needs. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "look">
  readonly known: KnownFiles.KnownFiles
  readonly changes: Pick<FileChanges, "doubt">
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
  const waiting = new Set<number>()
  const awake = Signal.make()
  const isWriting = (file: number): boolean => known.files.get(file)?.isWriting === true

  /** Looks at files, and returns what is known of those that were not replaced. */
  const look = (files: ReadonlyArray<number>) =>
    Effect.gen(function* () {
      const found: Array<{ readonly entry: KnownFiles.KnownFile; readonly facts: FileFacts }> = []
      if (files.length === 0) return found
      for (const facts of yield* storage.look(files)) {
        const entry = facts && known.files.get(facts.file)
        if (entry !== undefined && entry.facts.identity === facts!.identity) found.push({ entry, facts: facts! })
      }
      return found
    })

  const noteIdle = (entry: KnownFiles.KnownFile, facts: FileFacts): void => {
    entry.facts = facts
    entry.isWriting = false
    onIdle(facts.file)
  }

  const now = (more: ReadonlyArray<number>) =>
    Effect.gen(function* () {
      const files = [...new Set([...waiting, ...more])].filter(isWriting)
      waiting.clear()
      for (const { entry, facts } of yield* look(files)) {
        if (!KnownFiles.isWhole(known, facts.file)) continue
        // It was cut or made longer between its last write and this look.
        if (facts.length !== known.layout.files[facts.file]!.length) changes.doubt([facts.file])
        noteIdle(entry, facts)
      }
    })

  const self: Settling = {
    soon: (file) => {
      waiting.add(file)
      Signal.set(awake)
    },
    now,
    last: Effect.suspend(() =>
      Effect.map(look([...known.files.keys()].filter(isWriting)), (found) => {
        for (const { entry, facts } of found) noteIdle(entry, facts)
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
