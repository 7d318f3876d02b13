import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as NodeFolders from "../../src/storage/provider/node/NodeFolders.ts"

const codeOf = (error: NodeJS.ErrnoException): string | undefined => error.code

describe("NodeFolders", () => {
  let root = ""

  beforeAll(async () => {
    root = await FileSystem.realpath(await FileSystem.mkdtemp(Path.join(OperatingSystem.tmpdir(), "folders-")))
  })

  afterAll(() => FileSystem.rm(root, { recursive: true }))

  it("makes what is missing and returns the topmost folder it made", async () => {
    const top = await NodeFolders.make(Path.join(root, "a", "b", "c"))

    assert.strictEqual(top, Path.join(root, "a"))
    assert.isTrue((await FileSystem.stat(Path.join(root, "a", "b", "c"))).isDirectory())
  })

  it("makes nothing if all exist", async () => {
    assert.isUndefined(await NodeFolders.make(root))
  })

  it("makes a folder once, even for many calls at once", async () => {
    const tops = await Promise.all(Array.from({ length: 8 }, () => NodeFolders.make(Path.join(root, "at", "once"))))

    assert.isTrue((await FileSystem.stat(Path.join(root, "at", "once"))).isDirectory())
    assert.isAbove(tops.filter((top) => top !== undefined).length, 0)
  })

  it("fails if a file is in the way", async () => {
    await FileSystem.writeFile(Path.join(root, "file"), "")

    assert.strictEqual(await NodeFolders.make(Path.join(root, "file")).catch(codeOf), "EEXIST")
    assert.strictEqual(await NodeFolders.make(Path.join(root, "file", "folder")).catch(codeOf), "ENOTDIR")
  })

  // A folder whose parent is there cannot be made, and counts as not found.
  it.runIf(OperatingSystem.platform() === "linux")("gives up if the system makes no folders", async () => {
    assert.strictEqual(await NodeFolders.make("/proc/piecewise/folder").catch(codeOf), "ENOENT")
  })
})
