import * as NFS from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as MemoryResumeStore from "../../src/resume/provider/MemoryResumeStore.ts"
import { ResumeStore } from "../../src/resume/ResumeStore.ts"
import * as FileRenaming from "../../src/session/FileRenaming.ts"
import { noFiles } from "../../src/session/SavedTorrent.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import { Storage } from "../../src/storage/Storage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

const renaming = { file: 0, path: ["known", "other"] } as const

/** Finishes a renaming of `known/a` to `known/other`, after `prepare` has made files in the folder. */
const finish = (prepare: (folder: string) => void) =>
  Effect.gen(function* () {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => NFS.mkdtempSync(Path.join(tmpdir(), "piecewise-renaming-"))),
      (made) => Effect.sync(() => NFS.rmSync(made, { recursive: true }))
    )
    const files = [
      { path: ["a"], length: 1_000 },
      { path: ["b"], length: 1_000 }
    ]
    const { fileContent, metainfo } = yield* KnownTorrent.make({ files, pieceLength: 16_384 })
    const folder = Path.join(directory, "known")
    NFS.mkdirSync(folder)
    NFS.writeFileSync(Path.join(folder, "a"), fileContent(0))
    prepare(folder)
    const done = yield* Effect.gen(function* () {
      const services = { storage: yield* Storage, resume: yield* ResumeStore }
      return yield* FileRenaming.finish(
        services,
        metainfo,
        { ...noFiles, renaming },
        { ...renaming, path: ["known", "other"] }
      )
    }).pipe(
      Effect.provide(Layer.merge(FileSystemStorage.layer({ directory }), MemoryResumeStore.layer)),
      Effect.provide(NodePieceHasher.layer)
    )
    return { done, names: NFS.readdirSync(folder).sort(), folder }
  }).pipe(Effect.provide(NodePieceHasher.layer), Effect.scoped)

describe("a renaming that a kill has interrupted", () => {
  it.live("is done if the file has both names", () =>
    Effect.gen(function* () {
      const { done, names } = yield* finish((folder) =>
        NFS.linkSync(Path.join(folder, "a"), Path.join(folder, "other"))
      )

      assert.deepStrictEqual(names, ["other"])
      assert.deepStrictEqual(done, { renamed: [renaming] })
    })
  )

  it.live("is given up if another file has the new name, and leaves both alone", () =>
    Effect.gen(function* () {
      const { done, names } = yield* finish((folder) => NFS.writeFileSync(Path.join(folder, "other"), "of somebody"))

      assert.deepStrictEqual(names, ["a", "other"])
      assert.deepStrictEqual(done, { renamed: [] })
    })
  )

  it.live("goes on if the file has its old name", () =>
    Effect.gen(function* () {
      const { done, names } = yield* finish(() => {})

      assert.deepStrictEqual(names, ["other"])
      assert.deepStrictEqual(done, { renamed: [renaming] })
    })
  )
})
