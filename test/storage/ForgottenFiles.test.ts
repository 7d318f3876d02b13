import * as NFS from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as DownloadFolder from "../../src/storage/provider/node/DownloadFolder.ts"
import * as FileHandles from "../../src/storage/provider/node/FileHandles.ts"
import * as FilePlaces from "../../src/storage/provider/node/FilePlaces.ts"
import * as NodeFile from "../../src/storage/provider/node/NodeFile.ts"
import * as TorrentFile from "../../src/storage/provider/node/TorrentFile.ts"
import { layoutOf } from "./layouts.ts"

const count = 200

/** The places of 200 files that exist, and how often a file was synced. */
const places = Effect.gen(function* () {
  const root = yield* Effect.acquireRelease(
    Effect.sync(() => NFS.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-forgotten-"))),
    (path) => Effect.sync(() => NFS.rmSync(path, { recursive: true }))
  )
  NFS.mkdirSync(Path.join(root, "t"))
  for (let index = 0; index < count; index++) NFS.writeFileSync(Path.join(root, "t", `${index}`), "12345678")
  const synced = { count: 0 }
  const { nodeFileSystem } = NodeFile
  const fs: NodeFile.NodeFileSystem = {
    ...nodeFileSystem,
    fsync: (fd, done) => {
      synced.count++
      nodeFileSystem.fsync(fd, done)
    },
    fdatasync: (fd, done) => {
      synced.count++
      nodeFileSystem.fdatasync(fd, done)
    }
  }
  const self = FilePlaces.make({
    fs,
    handles: FileHandles.make({
      capacity: 8,
      close: (fd) => NodeFile.call((done) => fs.close(fd, done)),
      closeNow: () => undefined
    }),
    folder: DownloadFolder.make(fs, root, { followLinks: false }),
    layout: layoutOf(16, ...Array.from({ length: count }, (_, index) => [`t/${index}`, 8] as const)),
    isClosed: () => false
  })
  yield* Effect.addFinalizer(() => Effect.forEach(FilePlaces.used(self), TorrentFile.close, { discard: true }))
  return { self, synced }
})

const files = Array.from({ length: count }, (_, index) => index)

describe("files that were used and are of no use any more", () => {
  it.live("fault 74: are forgotten, except for some", () =>
    Effect.gen(function* () {
      const { self } = yield* places
      const part = { bytes: new Uint8Array(8), begin: 0, length: 8, position: 0 }

      const read = yield* Effect.forEach(files, (file) => FilePlaces.read(self, file, part))

      assert.isTrue(read.every((bytes) => bytes === 8))
      assert.isAtMost(FilePlaces.used(self).length, 64)
    })
  )

  it.live("are not synced again", () =>
    Effect.gen(function* () {
      const { self, synced } = yield* places

      yield* Effect.forEach(files, (file) => FilePlaces.sync(self, file))
      yield* Effect.forEach(files, (file) => FilePlaces.sync(self, file))

      assert.strictEqual(synced.count, count)
    })
  )

  it.live("are remembered as claimed, but are not kept as objects", () =>
    Effect.gen(function* () {
      const { self } = yield* places
      yield* Effect.forEach(files, (file) => FilePlaces.claim(self, { file, as: "overwritten" }))
      const kept = FilePlaces.used(self).length
      const claimed = files.filter((file) => FilePlaces.isClaimed(self, file)).length

      for (const file of files) FilePlaces.unclaim(self, file)
      for (let round = 0; round < 2; round++) yield* Effect.forEach(files, (file) => FilePlaces.sync(self, file))

      assert.isAtMost(kept, 64)
      assert.strictEqual(claimed, count)
      assert.isTrue(files.every((file) => !FilePlaces.isClaimed(self, file)))
      assert.isAtMost(FilePlaces.used(self).length, 64)
    })
  )

  it.live("are used by nobody after a use was interrupted, wherever that was", () =>
    Effect.gen(function* () {
      const { self } = yield* places
      const use = FilePlaces.withFile(self, 0, () => Effect.void)
      // The fiber yields after so many operations, each time at another one of the use.
      for (let before = 0; before < 12; before++) {
        let using = use
        for (let more = 0; more < before; more++) {
          const next = using
          using = Effect.suspend(() => next)
        }
        for (let turns = 0; turns < 4; turns++) {
          const fiber = yield* Effect.forkChild(using).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, 12))
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)

          assert.strictEqual(self.files.get(0)?.users ?? 0, 0, `${before} operations before, ${turns} turns`)
        }
      }
    }).pipe(Effect.scoped)
  )
})
