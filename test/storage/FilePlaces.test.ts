/** What only this medium can show: how often it calls the disk, and what it does if a call fails or is slow. */
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Storage } from "../../src/storage/Storage.ts"
import * as FakeDisk from "./disk.ts"
import { Disk, listFiles } from "./disk.ts"
import { layoutOf, pieceOf } from "./layouts.ts"
import { claim, open } from "./openings.ts"
import * as SkippedFiles from "./SkippedFiles.suite.ts"
import { a, abc, b, c, read, right, write } from "./SkippedFiles.suite.ts"

SkippedFiles.suite(
  "file system",
  Layer.effect(
    SkippedFiles.DownloadFolder,
    Effect.map(Disk, ({ root }) => SkippedFiles.DownloadFolder.of({ folder: root }))
  ).pipe(Layer.merge(FakeDisk.files), Layer.provideMerge(FakeDisk.layer()))
)

const names = Effect.map(Disk, ({ root }) => [...listFiles(root).keys()].sort())

const test = (title: string, effect: Effect.Effect<void, unknown, Storage | Disk | Scope.Scope>) =>
  it.live(title, () => Effect.provide(effect, FakeDisk.layer()))

describe("a skipped file", () => {
  test(
    "costs nothing until it is used",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const layout = layoutOf(16, ...Array.from({ length: 1_000 }, (_, index) => [`t/${index}`, 8] as const))
      const torrent = yield* open(layout)

      yield* torrent.prepare([0])
      yield* write(torrent, layout, 0)

      assert.isAtMost(calls.count("lstatExact") + calls.count("realpath") + calls.count("open"), 20)
      assert.deepStrictEqual(yield* names, [".piecewise/parts/t/1", "t/0"])
    })
  )

  test(
    "receives what is written while it is moved",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* write(torrent, abc, 1)
      yield* claim(torrent, abc, "overwritten", [c])
      const moving = yield* Deferred.make<() => void>()
      calls.hold = (operation, release) => operation === "link" && Deferred.doneUnsafe(moving, Exit.succeed(release))
      const moved = yield* Effect.forkChild(torrent.prepare([a, b]))
      const release = yield* Deferred.await(moving)

      const written = yield* Effect.forkChild(torrent.writePiece(pieceOf(abc, 2), right(abc, 2)), {
        startImmediately: true
      })
      release()
      yield* Fiber.join(moved)
      yield* Fiber.join(written)

      assert.deepStrictEqual(yield* names, [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
      assert.deepStrictEqual(yield* read(torrent, abc, 2), right(abc, 2))
    })
  )

  test(
    "is moved over nothing on a file system without hard links",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* write(torrent, abc, 1)
      yield* write(torrent, abc, 2)
      calls.failWhen = (operation) => (operation === "link" ? "EPERM" : undefined)
      calls.before = (operation, args) => {
        // Between the look at the place and the move.
        if (operation === "link" && `${args[1]}`.endsWith("c")) NFS.writeFileSync(Path.join(root, "t/b/c"), "mine")
      }

      const error = yield* Effect.flip(torrent.prepare([a, b, c]))

      assert.strictEqual(error.reason._tag, "FileExists")
      assert.strictEqual(NFS.readFileSync(Path.join(root, "t/b/c"), "utf8"), "mine")
      assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
      assert.deepStrictEqual(yield* names, [".piecewise/parts/t/b/c", "t/a", "t/b/b", "t/b/c"])
    })
  )

  test(
    "leaves nothing at its place if it cannot be moved there on a file system without hard links",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* write(torrent, abc, 1)
      calls.failWhen = (operation) => (operation === "link" ? "EPERM" : operation === "rename" ? "EIO" : undefined)

      const error = yield* Effect.flip(torrent.prepare([a, b]))
      const between = yield* names
      calls.failWhen = () => undefined
      yield* torrent.prepare([a, b])

      assert.strictEqual(error.operation, "prepare")
      assert.deepStrictEqual(between, [".piecewise/parts/t/b/b", "t/a"])
      assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
      assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
    })
  )

  test(
    "stays set aside if it cannot be moved",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* write(torrent, abc, 1)
      calls.failWhen = (operation) => (operation === "link" ? "EACCES" : undefined)

      const error = yield* Effect.flip(torrent.prepare([a, b]))
      calls.failWhen = () => undefined
      const between = yield* read(torrent, abc, 1)
      yield* torrent.prepare([a, b])

      assert.strictEqual(error.operation, "prepare")
      assert.match(error.message, /t\/b\/b: permission denied$/)
      assert.deepStrictEqual(between, right(abc, 1))
      assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
      assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
    })
  )

  test(
    "is brought to the disk by a flush, even after it was moved",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* write(torrent, abc, 1)
      const before = calls.count("fdatasync")

      yield* torrent.prepare([a, b])
      const moved = calls.count("fdatasync")
      yield* torrent.flush([b])

      assert.deepStrictEqual([moved - before, calls.count("fdatasync") - moved], [0, 1])
      // The folder it was moved to with its parent, and the two folders it left, which are gone.
      assert.isAtLeast(calls.count("fsync"), 2)
    })
  )
})
