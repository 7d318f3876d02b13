/**
 * Runs the suites that every medium of files passes (`StorageSuite`); see `MediumFiles` for what a test of a medium
 * adds. The case about one piece that is written eight times at once holds fault 54.
 */
import { describe } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import type { Storage } from "../../src/storage/Storage.ts"
import type { MediumFiles } from "../../src/testing/suite/MediumFiles.ts"
import * as StorageSuite from "../../src/testing/suite/StorageSuite.ts"
import { runCases } from "../runCases.ts"

/** Runs a medium through all of it; each test gets a fresh one. */
export const suite = (name: string, layer: Layer.Layer<Storage | MediumFiles, unknown>): void => {
  describe(`Storage (${name})`, () => {
    runCases(StorageSuite.cases, layer)
    runCases(StorageSuite.fileCases, layer)
  })
}
