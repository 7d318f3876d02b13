/** Moves of a torrent to another folder: what is where after each failure and after each kill. */
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import { nodeFileSystem } from "../../src/storage/provider/node/NodeFile.ts"
import type { MoveOptions, Storage } from "../../src/storage/Storage.ts"
import { type DiskCalls, listFiles, makeCalls, temporaryFolder } from "./disk.ts"
import { layoutOf } from "./layouts.ts"
import { infoHashOf } from "./openings.ts"

const layout = layoutOf(16, ["t/a", 20_000], ["t/sub/b", 5], ["t/sub/.pad", 11, "padding"], ["t/c", 40], ["t/gone", 9])
const infoHash = infoHashOf(layout)

/** What the old folder has: two files, and one that is set aside. */
const contents = new Map([
  ["t/a", Buffer.alloc(20_000, "a")],
  ["t/sub/b", Buffer.from("bbbbb")],
  [".piecewise/parts/t/c", Buffer.alloc(40, "c")]
])

const put = (folder: string, path: string, bytes: Uint8Array): void => {
  NFS.mkdirSync(Path.dirname(Path.join(folder, path)), { recursive: true })
  NFS.writeFileSync(Path.join(folder, path), bytes)
}

/** Two folders, of which the first has the torrent and a file of the user's. */
const world = Effect.map(temporaryFolder, (top) => {
  const [from, to] = [Path.join(top, "from"), Path.join(top, "to")]
  for (const [path, bytes] of contents) put(from, path, bytes)
  put(from, "t/note", Buffer.from("mine"))
  return { from, to }
})

const open = (calls: Pick<DiskCalls, "fs">, directory: string) =>
  Effect.provide(FileSystemStorage.make({ directory }, calls.fs), NodePieceHasher.layer)

/** Links between the folders fail, as those between file systems do. */
const isAcross = (operation: string, [from, to]: ReadonlyArray<unknown>): boolean =>
  operation === "link" && Path.relative(Path.dirname(String(from)), String(to)).startsWith("..")

const asked = (to: string, isBegun = false): MoveOptions => ({ infoHash, layout, from: undefined, to, isBegun })

/** Moves it, and leaves the old folder. Returns what was moved and what is left. */
const moveAll = (storage: Storage["Service"], options: MoveOptions) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { files, leave } = yield* storage.move!(options)
      return { files, left: yield* leave }
    })
  )

/** The files of a folder, without the user's. */
const filesIn = (folder: string) => {
  const files = new Map(listFiles(folder))
  files.delete("t/note")
  return files
}

const assertFiles = (folder: string, expected: ReadonlyMap<string, Uint8Array>, what = ""): void => {
  const found = filesIn(folder)
  assert.deepStrictEqual([...found.keys()].sort(), [...expected.keys()].sort(), what)
  for (const [path, bytes] of expected) assert.isTrue(Buffer.compare(found.get(path)!, bytes) === 0, `${what} ${path}`)
}

const nothing = new Map<string, Uint8Array>()

for (const [name, fail] of [
  ["on one file system", () => false],
  ["between file systems", isAcross],
  // As on a disk without hard links.
  ["without links", (operation: string) => operation === "link"]
] as const) {
  // A copy makes many calls, most of which read and write.
  const step = name === "on one file system" ? 1 : 3
  const codeOf = (operation: string) => (name === "without links" && operation === "link" ? "EPERM" : "EXDEV")

  describe(`fault 107: a move to another folder, ${name}`, () => {
    it.live("takes all files along, and says what they look like there", () =>
      Effect.gen(function* () {
        const { from, to } = yield* world
        const calls = makeCalls()
        calls.failWhen = (operation, args) => (fail(operation, args) ? codeOf(operation) : undefined)
        const before = NFS.lstatSync(Path.join(from, "t/a"), { bigint: true })
        const { files, left } = yield* moveAll(yield* open(calls, from), asked(to))
        const after = NFS.lstatSync(Path.join(to, "t/a"), { bigint: true })

        assertFiles(to, contents)
        assertFiles(from, nothing)
        assert.strictEqual(NFS.readFileSync(Path.join(from, "t/note"), "utf8"), "mine")
        assert.isFalse(NFS.existsSync(Path.join(from, "t/sub")))
        assert.deepStrictEqual(left, [])
        const [first] = files
        assert.deepStrictEqual(
          [first!.before?.identity, first!.after.identity],
          [before, after].map(({ birthtimeNs, dev, ino }) => `${dev}:${ino}:${birthtimeNs}`)
        )
        assert.deepStrictEqual(
          [first!.after.mtimeNs, first!.after.length, files.map(({ file }) => file)],
          [after.mtimeNs, 20_000, [0, 1, 3]]
        )
        assert.strictEqual(calls.openNow(), 0)
      })
    )

    it.live("leaves everything as it was if something is in the new folder", () =>
      Effect.gen(function* () {
        for (const path of [...contents.keys(), "t/gone"]) {
          const { from, to } = yield* world
          put(to, path, Buffer.from("another's"))
          const calls = makeCalls()
          calls.failWhen = (operation, args) => (fail(operation, args) ? codeOf(operation) : undefined)
          const { reason } = yield* Effect.flip(moveAll(yield* open(calls, from), asked(to)))

          assert.strictEqual(reason._tag, "FileExists", path)
          assertFiles(from, contents, path)
          assertFiles(to, new Map([[path, Buffer.from("another's")]]), path)
        }
      })
    )

    it.live("takes back what it did if any call fails, unless all was done", () =>
      Effect.gen(function* () {
        for (let failing = 0, isDone = false; !isDone; failing += step) {
          const { from, to } = yield* world
          const calls = makeCalls()
          let count = 0
          calls.failWhen = (operation, args) => {
            if (fail(operation, args)) return codeOf(operation)
            // What closes and what takes back always succeeds.
            if (operation === "close" || operation === "unlink" || operation === "rmdir") return undefined
            return count++ === failing ? "EIO" : undefined
          }
          const storage = yield* open(calls, from)
          const result = yield* Effect.result(moveAll(storage, asked(to)))
          isDone = count <= failing
          const what = `call ${failing}`

          if (Result.isFailure(result)) {
            assertFiles(from, contents, what)
            assertFiles(to, nothing, what)
          } else {
            assertFiles(to, contents, what)
            for (const path of filesIn(from).keys()) assert.include(result.success.left.join(), path, what)
          }
          assert.strictEqual(calls.openNow(), 0, what)
        }
      })
    )

    it.live("is finished when it is begun again after a kill at any call", () =>
      Effect.gen(function* () {
        for (let last = 0, isDone = false; !isDone; last += step) {
          const { from, to } = yield* world
          const calls = makeCalls()
          let count = 0
          calls.failWhen = (operation, args) => {
            if (count++ >= last) return "EIO"
            return fail(operation, args) ? codeOf(operation) : undefined
          }
          // From the last call on nothing is done any more.
          const dead = { fs: withDeadCalls(calls, () => count > last) }
          yield* Effect.ignore(moveAll(yield* open(dead, from), asked(to)))
          isDone = count <= last
          const everywhere = new Map([...filesIn(from), ...filesIn(to)])
          for (const [path, bytes] of contents) {
            const isThere = [from, to].some((folder) => {
              const found = filesIn(folder).get(path)
              return found !== undefined && Buffer.compare(found, bytes) === 0
            })
            assert.isTrue(isThere, `call ${last}: ${path} of ${[...everywhere.keys()]}`)
          }
          const healthy = makeCalls()
          healthy.failWhen = (operation, args) => (fail(operation, args) ? codeOf(operation) : undefined)
          const { left } = yield* moveAll(yield* open(healthy, from), asked(to, true))

          assertFiles(to, contents, `call ${last}`)
          assertFiles(from, nothing, `call ${last}`)
          assert.deepStrictEqual(left, [])
        }
      })
    )
  })
}

/** Calls of which those that end on this thread do nothing either once it is dead. */
const withDeadCalls = (calls: DiskCalls, isDead: () => boolean): DiskCalls["fs"] => ({
  ...calls.fs,
  openFolderNow: (path) => (isDead() ? undefined : nodeFileSystem.openFolderNow(path))
})

describe("fault 107: a move to another folder", () => {
  it.live("is nothing if both are one folder, whatever their names", () =>
    Effect.gen(function* () {
      const { from, to } = yield* world
      NFS.symlinkSync(from, to)
      const storage = yield* open(makeCalls(), from)
      for (const folder of [to, from, "."]) {
        assert.deepStrictEqual(yield* moveAll(storage, asked(folder)), { files: [], left: [] })
      }

      assertFiles(from, contents)
    })
  )

  it.live("is refused before anything is copied if there is no room", () =>
    Effect.gen(function* () {
      const { from, to } = yield* world
      const calls = makeCalls()
      calls.freeBytes = 10_000
      const fs: DiskCalls["fs"] = {
        ...calls.fs,
        lstatExact: (path, done) =>
          calls.fs.lstatExact(path, (error, stats) => {
            if (!error && path.startsWith(from)) Object.assign(stats, { dev: 1n })
            done(error, stats)
          })
      }
      const { reason } = yield* Effect.flip(moveAll(yield* open({ fs }, from), asked(to)))

      assert.strictEqual(reason._tag, "DiskFull")
      assertFiles(from, contents)
      assertFiles(to, nothing)
    })
  )

  it.live("is refused if another torrent writes to one of its paths there", () =>
    Effect.gen(function* () {
      const { from, to } = yield* world
      const other = yield* (yield* open(makeCalls(), to)).open({ infoHash, layout })
      yield* other.reserve([0])
      const { reason } = yield* Effect.flip(moveAll(yield* open(makeCalls(), from), asked(to)))

      assert.strictEqual(reason._tag, "WriterConflict")
      assertFiles(from, contents)
    })
  )

  it.live("does not take a link, or a folder, for a file", () =>
    Effect.gen(function* () {
      const { from, to } = yield* world
      NFS.rmSync(Path.join(from, "t/sub/b"))
      NFS.symlinkSync(Path.join(from, "t/a"), Path.join(from, "t/sub/b"))
      const { reason } = yield* Effect.flip(moveAll(yield* open(makeCalls(), from), asked(to)))

      assert.strictEqual(reason._tag, "StorageRefused")
      assert.deepStrictEqual([...filesIn(to).keys()], [])
    })
  )

  it.live("that is interrupted in a copy can be begun again", () =>
    Effect.gen(function* () {
      const { from, to } = yield* world
      const calls = makeCalls()
      calls.failWhen = (operation, args) => (isAcross(operation, args) ? "EXDEV" : undefined)
      const reading = Promise.withResolvers<void>()
      calls.before = (operation) => operation === "write" && reading.resolve()
      const fiber = yield* Effect.forkChild(moveAll(yield* open(calls, from), asked(to)))
      yield* Effect.promise(() => reading.promise)
      yield* Fiber.interrupt(fiber)
      const openNow = calls.openNow()
      assertFiles(from, contents)
      yield* moveAll(yield* open(calls, from), asked(to, true))

      assert.strictEqual(openNow, 0)
      assertFiles(to, contents)
      assertFiles(from, nothing)
    })
  )

  for (const hasLeft of [false, true]) {
    const what = hasLeft ? "nothing back once a file has left the old folder" : "back what it did"
    it.live(`that is begun, and finds a file of somebody else's, takes ${what}`, () =>
      Effect.gen(function* () {
        const { from, to } = yield* world
        const others = new Map([["t/sub/b", Buffer.from("other")]])
        for (const [path, bytes] of others) put(to, path, bytes)
        const place = Path.join(to, "t/a")
        NFS.linkSync(Path.join(from, "t/a"), place)
        if (hasLeft) NFS.rmSync(Path.join(from, "t/a"))
        const { reason } = yield* Effect.flip(moveAll(yield* open(makeCalls(), from), asked(to, true)))

        assert.strictEqual(reason._tag, hasLeft ? "FileChanged" : "FileExists")
        assert.strictEqual(NFS.existsSync(place), hasLeft)
        if (hasLeft) return
        assertFiles(from, contents)
        assertFiles(to, others)
      })
    )
  }

  it.live("that is only tried changes nothing, and fails as it would", () =>
    Effect.gen(function* () {
      const { from, to } = yield* world
      const storage = yield* open(makeCalls(), from)
      const tried = { ...asked(to), isTrial: true }
      yield* Effect.scoped(storage.move!(tried))
      assertFiles(from, contents)
      assertFiles(to, nothing)
      put(to, "t/gone", Buffer.from("another's"))
      const { reason } = yield* Effect.flip(Effect.scoped(storage.move!(tried)))

      assert.strictEqual(reason._tag, "FileExists")
    })
  )

  it.live("does not remove a file that has changed since it was copied", () =>
    Effect.gen(function* () {
      const { from, to } = yield* world
      const calls = makeCalls()
      calls.failWhen = (operation, args) => (isAcross(operation, args) ? "EXDEV" : undefined)
      const storage = yield* open(calls, from)
      const left = yield* Effect.scoped(
        Effect.gen(function* () {
          const { leave } = yield* storage.move!(asked(to))
          NFS.writeFileSync(Path.join(from, "t/sub/b"), "newer")
          NFS.utimesSync(Path.join(from, "t/sub/b"), 1, 1)
          return yield* leave
        })
      )

      assert.deepStrictEqual(left, [Path.join(from, "t/sub/b")])
      assert.strictEqual(NFS.readFileSync(Path.join(from, "t/sub/b"), "utf8"), "newer")
    })
  )
})
