import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import * as SecretFile from "../../../src/control/security/provider/node/SecretFile.ts"

let folder: string
let path: string

beforeEach(async () => {
  folder = await FileSystem.mkdtemp(Path.join(OperatingSystem.tmpdir(), "piecewise-secret-"))
  path = Path.join(folder, "state", "token")
})

afterEach(() => FileSystem.rm(folder, { recursive: true }))

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error
  )

const unsafe = async (words: RegExp) => {
  const error = await failure(SecretFile.read(path))
  assert.instanceOf(error, SecretFile.Unsafe)
  assert.match(error.message, words)
}

describe("SecretFile", () => {
  it("is readable by its owner alone, in a folder that is his alone, whatever the umask", async () => {
    const umask = process.umask(0)
    try {
      assert.isTrue(await SecretFile.create(path, "secret"))
    } finally {
      process.umask(umask)
    }
    assert.equal((await FileSystem.stat(path)).mode & 0o777, 0o600)
    assert.equal((await FileSystem.stat(Path.dirname(path))).mode & 0o777, 0o700)
    assert.equal((await SecretFile.read(path))?.text, "secret")
  })

  it("is made once, however many try at the same time", async () => {
    const texts = Array.from({ length: 20 }, (_, index) => `secret ${index}`)
    const made = await Promise.all(texts.map((text) => SecretFile.create(path, text)))
    assert.equal(made.filter(Boolean).length, 1)
    assert.equal((await SecretFile.read(path))?.text, texts[made.indexOf(true)])
    assert.deepEqual(await FileSystem.readdir(Path.dirname(path)), ["token"])
  })

  it("is replaced whole, with a new version", async () => {
    await SecretFile.create(path, "first")
    await FileSystem.chmod(path, 0o400)
    const before = await SecretFile.version(path)
    await SecretFile.replace(path, "second")
    const after = await SecretFile.read(path)
    assert.equal(after?.text, "second")
    assert.notEqual(after?.version, before)
    assert.equal(await SecretFile.version(path), after?.version)
    assert.deepEqual(await FileSystem.readdir(Path.dirname(path)), ["token"])
  })

  it("may be missing", async () => {
    assert.isUndefined(await SecretFile.read(path))
    assert.isUndefined(await SecretFile.version(path))
    await SecretFile.remove(path)
  })

  it("is refused if others may read or change it", async () => {
    await SecretFile.create(path, "secret")
    for (const mode of [0o640, 0o604, 0o620, 0o602, 0o666]) {
      await FileSystem.chmod(path, mode)
      await unsafe(/other users/)
    }
  })

  it("is refused if it is a link, a folder, or far too long", async () => {
    await SecretFile.create(path, "secret")
    await FileSystem.rename(path, `${path}-moved`)
    await FileSystem.symlink(`${path}-moved`, path)
    await unsafe(/symbolic link/)
    await FileSystem.rm(path)
    await FileSystem.mkdir(path, { mode: 0o700 })
    await unsafe(/regular file/)
    await FileSystem.rmdir(path)
    await FileSystem.writeFile(path, "a".repeat(4_097), { mode: 0o600 })
    await unsafe(/longer/)
  })

  it("of another user is refused", async (context) => {
    // Only root can give a file away.
    if (process.getuid?.() !== 0) return context.skip()
    await SecretFile.create(path, "secret")
    await FileSystem.chown(path, 12_345, 12_345)
    await unsafe(/another user/)
  })

  it("leaves nothing behind if it cannot be placed", async () => {
    await FileSystem.mkdir(path, { recursive: true })
    await FileSystem.writeFile(Path.join(path, "a"), "")
    assert.instanceOf(await failure(SecretFile.replace(path, "secret")), Error)
    assert.isFalse(await SecretFile.create(path, "secret"))
    assert.deepEqual(await FileSystem.readdir(Path.dirname(path)), ["token"])
  })
})
