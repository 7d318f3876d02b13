/**
 * What every `Storage` does, for storages of your own.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Layer } from "effect"
 * import { MemoryStorage, WebCryptoPieceHasher } from "piecewise"
 * import { StorageSuite } from "piecewise/testing"
 *
 * // In place of your own.
 * const storage = Layer.provide(MemoryStorage.layer(), WebCryptoPieceHasher.layer)
 * const failures: Array<string> = []
 * for (const { run } of StorageSuite.cases) {
 *   const failed = Effect.catch(run, ({ message }) => Effect.sync(() => failures.push(message)))
 *   await Effect.runPromise(Effect.provide(failed, storage))
 * }
 * assert.deepEqual(failures, [])
 * ```
 *
 * Every storage passes `cases`. A storage whose files other programs see, such as a folder on a disk, passes
 * `fileCases` and `skippedCases` as well: its test provides `MediumFiles`, through which the cases act as a user does.
 */
import type { Storage } from "../../storage/Storage.ts"
import type { MediumFiles } from "./MediumFiles.ts"
import * as SkippedFiles from "./SkippedFiles.ts"
import * as StorageBytes from "./StorageBytes.ts"
import * as StorageClaims from "./StorageClaims.ts"
import * as StorageFileBytes from "./StorageFileBytes.ts"
import * as StorageFileClaims from "./StorageFileClaims.ts"
import * as StorageFileLooks from "./StorageFileLooks.ts"
import * as StorageFileMoves from "./StorageFileMoves.ts"
import * as StorageMoves from "./StorageMoves.ts"
import type * as Suite from "./Suite.ts"

/** What every storage does. */
export const cases: ReadonlyArray<Suite.Case<Storage>> = [
  ...StorageBytes.cases,
  ...StorageClaims.cases,
  ...StorageMoves.cases
]

/** What a medium of files does with them, and with those that users put there. */
export const fileCases: ReadonlyArray<Suite.Case<Storage | MediumFiles>> = [
  ...StorageFileBytes.cases,
  ...StorageFileLooks.cases,
  ...StorageFileClaims.cases,
  ...StorageFileMoves.cases
]

/** How a medium of files sets aside the bytes of unwanted files. */
export const skippedCases: ReadonlyArray<Suite.Case<Storage | MediumFiles>> = SkippedFiles.cases
