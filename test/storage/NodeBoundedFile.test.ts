import { execFile } from "node:child_process"
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as NodeBoundedFile from "../../src/storage/provider/node/NodeBoundedFile.ts"
import { folderScoped } from "../cli/program.ts"

const inFolder = <A>(use: (folder: string) => Promise<A>) =>
  Effect.flatMap(folderScoped, (folder) => Effect.promise(() => use(folder)))

/** Name of what a promise was rejected with. */
const failureOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: { readonly code?: string; readonly name: string }) => error.code ?? error.name
  )

describe("NodeBoundedFile", () => {
  it.live("reads a regular file whole, also through a link, up to the length that is expected", () =>
    inFolder(async (folder) => {
      const file = Path.join(folder, "file")
      const content = Uint8Array.from({ length: 100_000 }, (_, at) => at % 251)
      await FileSystem.writeFile(file, content)
      await FileSystem.symlink("file", Path.join(folder, "link"))

      const exact = await NodeBoundedFile.read(Path.join(folder, "link"), content.length)
      const short = await failureOf(NodeBoundedFile.read(file, content.length - 1))

      assert.deepStrictEqual(new Uint8Array(exact), content)
      assert.strictEqual(short, "FileTooLong")
    })
  )

  it.live("reads files of /proc, which report no length", () =>
    Effect.promise(async () => {
      const bytes = await NodeBoundedFile.read("/proc/self/maps", 1_048_576)
      const bounded = await failureOf(NodeBoundedFile.read("/proc/self/maps", 10))

      assert.isAbove(bytes.length, 10)
      assert.strictEqual(bounded, "FileTooLong")
    })
  )

  it.live("refuses at once what is not a regular file, and does not wait", () =>
    inFolder(async (folder) => {
      const fifo = Path.join(folder, "fifo")
      await promisify(execFile)("mkfifo", [fifo])
      await FileSystem.symlink("/dev/zero", Path.join(folder, "zero"))

      const failures = await Promise.all(
        [fifo, Path.join(folder, "zero"), "/dev/zero", folder, Path.join(folder, "missing")].map((path) =>
          failureOf(NodeBoundedFile.read(path, 100))
        )
      )

      assert.deepStrictEqual(failures, ["NotRegularFile", "NotRegularFile", "NotRegularFile", "EISDIR", "ENOENT"])
    })
  )

  it.live("reads nothing of a file of gigabytes", () =>
    inFolder(async (folder) => {
      const file = Path.join(folder, "sparse")
      await FileSystem.writeFile(file, "")
      await FileSystem.truncate(file, 2 ** 31)
      const before = process.memoryUsage().arrayBuffers

      const failure = await failureOf(NodeBoundedFile.read(file, 1_048_576))

      assert.strictEqual(failure, "FileTooLong")
      assert.isBelow(process.memoryUsage().arrayBuffers - before, 1_048_576)
    })
  )
})
