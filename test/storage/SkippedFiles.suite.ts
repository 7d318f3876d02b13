/**
 * Runs the suite of skipped files, and what only a folder on a disk shows. A medium passes if it runs these with its own
 * layer. `folder` is the folder in which it keeps torrents, for tests to inspect and change.
 */
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Storage } from "../../src/storage/Storage.ts"
import type { MediumFiles } from "../../src/testing/suite/MediumFiles.ts"
import * as SkippedFiles from "../../src/testing/suite/SkippedFiles.ts"
import * as StorageSuite from "../../src/testing/suite/StorageSuite.ts"
import { runCases } from "../runCases.ts"
import { open } from "./openings.ts"

export { a, abc, b, c, matching, read, right, run, write } from "../../src/testing/suite/SkippedFiles.ts"

/** The folder in which a medium keeps torrents. */
export class DownloadFolder extends Context.Service<DownloadFolder, { readonly folder: string }>()(
  "piecewise/test/storage/DownloadFolder"
) {}

/** Runs a medium through all of it; each test gets a fresh one. */
export const suite = <E>(name: string, layer: Layer.Layer<Storage | MediumFiles | DownloadFolder, E>): void => {
  describe(`skipped files (${name})`, () => {
    runCases(StorageSuite.skippedCases, layer)

    it.live("leave no folder behind when they are moved to their places", () =>
      Effect.gen(function* () {
        const { folder } = yield* DownloadFolder
        const { a, abc, b, c, write } = SkippedFiles
        const torrent = yield* open(abc)
        yield* torrent.prepare([b])
        for (const index of [1, 2]) yield* write(torrent, abc, index)
        const before = NFS.existsSync(Path.join(folder, ".piecewise", "parts"))

        yield* torrent.prepare([a, b, c])

        assert.isTrue(before)
        assert.isFalse(NFS.existsSync(Path.join(folder, ".piecewise", "parts")))
      }).pipe(Effect.scoped, Effect.provide(layer))
    )
  })
}
