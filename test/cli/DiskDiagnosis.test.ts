import { mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as TestClock from "effect/testing/TestClock"
import * as DiskDiagnosis from "../../src/cli/DiskDiagnosis.ts"

const folderScoped = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "piecewise-disk-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true }))
)

const names = (folder: string) => Effect.promise(() => readdir(folder))

/** A disk on which a call never ends, and what is known of its file. */
const makeDisk = (hangs: "write" | "sync") => {
  const reached = Deferred.makeUnsafe<void>()
  const file = { isClosed: false, bytes: 0 }
  const hang = () => {
    Deferred.doneUnsafe(reached, Effect.void)
    return new Promise<never>(() => {})
  }
  const openSlowly: DiskDiagnosis.Open = async (name) => {
    const handle = await open(name, "wx")
    await handle.close()
    const write = async (chunk: Uint8Array) => {
      file.bytes += chunk.length
      return { bytesWritten: chunk.length, buffer: chunk }
    }
    return {
      write: (hangs === "write" ? hang : write) as DiskDiagnosis.Handle["write"],
      sync: hangs === "sync" ? hang : async () => {},
      // Waits for the calls before it, as Node's does.
      close: () => {
        file.isClosed = true
        return new Promise<never>(() => {})
      }
    }
  }
  return { file, open: openSlowly, reached: Deferred.await(reached) }
}

describe("DiskDiagnosis", () => {
  it.live("measures the nearest folder that exists, and leaves nothing there", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped

      const [disk, flush] = yield* DiskDiagnosis.run(path.join(folder, "not", "yet"))

      assert.strictEqual(disk!.state, "works")
      assert.match(disk!.what, /can be written, \d.*\/s, \d.* are free$/)
      assert.strictEqual(disk!.what.split(" ")[0], folder)
      assert.strictEqual(flush!.state, "works")
      assert.match(flush!.what, /^the disk confirms 16.0 MiB in \d+ ms$/)
      assert.deepStrictEqual(yield* names(folder), [])
    })
  )

  it.live("fails for a file, with what to do", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folderScoped, "file")
      yield* Effect.promise(() => writeFile(file, ""))

      const [disk, flush] = yield* DiskDiagnosis.run(file)

      assert.deepInclude(disk, { state: "fails", advice: "choose another folder with --output" })
      assert.deepInclude(flush, { state: "unknown" })
    })
  )

  it.live.each(["write", "sync"] as const)("leaves nothing if it is interrupted in a %s that takes long", (hangs) =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const disk = makeDisk(hangs)
      const checking = yield* Effect.forkChild(DiskDiagnosis.run(folder, disk.open))
      yield* disk.reached
      const during = yield* names(folder)

      yield* Fiber.interrupt(checking)

      assert.deepStrictEqual(during, [])
      assert.isTrue(disk.file.isClosed)
      assert.deepStrictEqual(yield* names(folder), [])
    })
  )

  it.effect("says that a disk confirms nothing for long", () =>
    Effect.gen(function* () {
      const disk = makeDisk("sync")
      const checking = yield* Effect.forkChild(DiskDiagnosis.run(yield* folderScoped, disk.open))
      yield* disk.reached

      yield* TestClock.adjust("6 seconds")
      const [, flush] = yield* Fiber.join(checking)

      assert.deepInclude(flush, { state: "unknown", what: "the disk did not confirm 16.0 MiB in 6 seconds" })
      assert.strictEqual(flush!.advice, "downloads may be faster on another disk")
      assert.isTrue(disk.file.isClosed)
    })
  )
})
