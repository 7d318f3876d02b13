import * as Crypto from "node:crypto"
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import { Storage, type TorrentStorage } from "../../src/storage/Storage.ts"
import * as FakeDisk from "./disk.ts"
import { Disk, listFiles } from "./disk.ts"
import { contentOf, layoutOf, layout as layouts, pieceOf, piecesOf, sliceOf } from "./layouts.ts"

/** Three files, each of which shares a piece with the next: pieces 0 a, 1 a and b, 2 b and c, 3 c. */
const abc = layoutOf(16, ["t/a", 20], ["t/b/b", 20], ["t/b/c", 20])

const [a, b, c] = [0, 1, 2]

const open = (layout: FileLayout) => Effect.flatMap(Storage, (storage) => storage.open(layout))

const right = (layout: FileLayout, index: number) => sliceOf(layout, contentOf(layout), pieceOf(layout, index))

const write = (torrent: TorrentStorage, layout: FileLayout, index: number) =>
  torrent.writePiece(pieceOf(layout, index), right(layout, index))

const read = (torrent: TorrentStorage, layout: FileLayout, index: number) =>
  torrent.readBlock(pieceOf(layout, index), 0, PieceGeometry.pieceSize(layout.geometry, pieceOf(layout, index)))

/** The pieces that match their digests. */
const matching = (torrent: TorrentStorage, layout: FileLayout) =>
  Effect.map(Stream.runCollect(torrent.digests(piecesOf(layout))), (digests) =>
    digests
      .filter(({ piece, sha1 }) => sha1 && Bytes.equals(sha1, Crypto.hash("sha1", right(layout, piece), "buffer")))
      .map(({ piece }) => Number(piece))
  )

const names = Effect.map(Disk, ({ root }) => [...listFiles(root).keys()].sort())

const test = (title: string, effect: Effect.Effect<void, unknown, Storage | Disk | Scope.Scope>) =>
  it.live(title, () => Effect.provide(effect, FakeDisk.layer()))

describe("a skipped file", () => {
  test(
    "is not made by a piece that it shares, which can be read all the same",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])

      yield* write(torrent, abc, 0)
      yield* write(torrent, abc, 1)

      assert.deepStrictEqual(yield* names, [".piecewise/parts/t/b/b", "t/a"])
      assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
      assert.deepStrictEqual(yield* matching(torrent, abc), [0, 1])
    })
  )

  test(
    "comes to its place when it is wanted, and leaves no folder behind",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([b])
      for (const index of [1, 2]) yield* write(torrent, abc, index)
      const before = yield* names

      yield* torrent.prepare([a, b])
      const between = yield* names
      yield* torrent.prepare([a, b, c])
      for (const index of [0, 3]) yield* write(torrent, abc, index)

      assert.deepStrictEqual(before, [".piecewise/parts/t/a", ".piecewise/parts/t/b/c", "t/b/b"])
      assert.deepStrictEqual(between, [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
      assert.deepStrictEqual(yield* names, ["t/a", "t/b/b", "t/b/c"])
      assert.deepStrictEqual(NFS.readdirSync(Path.join(root, ".piecewise")), [])
      assert.deepStrictEqual(yield* matching(torrent, abc), [0, 1, 2, 3])
    })
  )

  test(
    "is made in its place where it was wanted before it was used",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* torrent.prepare([a, b])

      yield* write(torrent, abc, 1)

      assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
    })
  )

  test(
    "costs nothing until it is used",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const layout = layoutOf(16, ...Array.from({ length: 1_000 }, (_, index) => [`t/${index}`, 8] as const))
      const torrent = yield* open(layout)

      yield* torrent.prepare([0])
      yield* write(torrent, layout, 0)

      assert.isAtMost(calls.count("lstat") + calls.count("realpath") + calls.count("open"), 20)
      assert.deepStrictEqual(yield* names, [".piecewise/parts/t/1", "t/0"])
    })
  )

  test(
    "is found again by a later run, skipped or wanted",
    Effect.gen(function* () {
      const run = <A, E>(wanted: ReadonlyArray<number>, use: (torrent: TorrentStorage) => Effect.Effect<A, E>) =>
        Effect.scoped(Effect.flatMap(open(abc), (torrent) => Effect.andThen(torrent.prepare(wanted), use(torrent))))
      yield* run([a], (torrent) => write(torrent, abc, 1))

      const skipping = yield* run([a], (torrent) => matching(torrent, abc))
      const other = yield* run([c], (torrent) => matching(torrent, abc))
      const wanting = yield* run([a, b], (torrent) => matching(torrent, abc))

      assert.deepStrictEqual([skipping, other, wanting], [[1], [1], [1]])
      assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
    })
  )

  test(
    "is used where it is, if it exists",
    Effect.gen(function* () {
      const { root } = yield* Disk
      NFS.mkdirSync(Path.join(root, "t", "b"), { recursive: true })
      NFS.writeFileSync(Path.join(root, "t", "b", "b"), contentOf(abc).subarray(20, 40))
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])

      yield* write(torrent, abc, 1)

      assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
      assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
    })
  )

  test(
    "stays where it was written before it was skipped",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.prepare([a, b, c])
      yield* write(torrent, abc, 1)

      yield* torrent.prepare([a])
      yield* write(torrent, abc, 2)

      assert.deepStrictEqual(yield* names, [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
      assert.deepStrictEqual(yield* matching(torrent, abc), [1, 2])
    })
  )

  test(
    "gives way to a file that somebody put in its place",
    Effect.gen(function* () {
      const { root } = yield* Disk
      yield* Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* open(abc)
          yield* torrent.prepare([a])
          yield* write(torrent, abc, 1)
        })
      )
      NFS.mkdirSync(Path.join(root, "t", "b"), { recursive: true })
      NFS.writeFileSync(Path.join(root, "t", "b", "b"), "mine")
      const torrent = yield* open(abc)

      yield* torrent.prepare([a, b])

      assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
      assert.strictEqual(NFS.readFileSync(Path.join(root, "t", "b", "b"), "utf8"), "mine")
    })
  )

  test(
    "takes what is written while it is moved",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* write(torrent, abc, 1)
      const moving = yield* Deferred.make<() => void>()
      calls.hold = (operation, release) => operation === "rename" && Deferred.doneUnsafe(moving, Exit.succeed(release))
      const moved = yield* Effect.forkChild(torrent.prepare([a, b]))
      const release = yield* Deferred.await(moving)

      const written = yield* Effect.forkChild(write(torrent, abc, 2), { startImmediately: true })
      release()
      yield* Fiber.join(moved)
      yield* Fiber.join(written)

      assert.deepStrictEqual(yield* names, [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
      assert.deepStrictEqual(yield* read(torrent, abc, 2), right(abc, 2))
    })
  )

  test(
    "stays set aside where it cannot be moved",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* write(torrent, abc, 1)
      calls.failWhen = (operation) => (operation === "rename" ? "EACCES" : undefined)

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
    "is brought to the disk by a flush, also when it is moved",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* torrent.flush
      yield* write(torrent, abc, 1)
      const before = calls.count("fdatasync")

      yield* torrent.prepare([a, b])
      const moved = calls.count("fdatasync")
      yield* torrent.flush

      assert.strictEqual(moved - before, 1)
      assert.strictEqual(calls.count("fdatasync") - moved, 1)
    })
  )

  it.live("is never made and never lost, under any script of selections, writes and runs", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(layouts, fc.array(fc.tuple(fc.nat(99), fc.nat(0xfff), fc.boolean()), { maxLength: 12 }), play),
        { numRuns: 60 }
      )
    )
  )
})

type Step = readonly [piece: number, selection: number, isNewRun: boolean]

/** Selects, writes a piece, and now and then opens the torrent anew. */
const play = (layout: FileLayout, steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const { root } = yield* Disk
    const real = [...layout.files.keys()].filter((index) => !layout.files[index]!.padding)
    const everWanted = new Set<string>()
    const written = new Set<number>()
    let scope = yield* Scope.make()
    let torrent = yield* Scope.provide(open(layout), scope)
    const check = Effect.gen(function* () {
      for (const name of listFiles(root).keys()) if (!name.startsWith(".piecewise")) assert.isTrue(everWanted.has(name))
      for (const index of written) assert.deepStrictEqual(yield* read(torrent, layout, index), right(layout, index))
    })

    for (const [number, selection, isNewRun] of steps) {
      if (isNewRun) {
        yield* Scope.close(scope, Exit.void)
        scope = yield* Scope.make()
        torrent = yield* Scope.provide(open(layout), scope)
      }
      const wanted = real.filter((index) => selection & (1 << (index % 12)))
      for (const index of wanted) everWanted.add(layout.files[index]!.path.join("/"))
      yield* torrent.prepare(wanted)
      const index = number % layout.geometry.pieceCount
      yield* write(torrent, layout, index)
      written.add(index)
      yield* check
    }
    for (const index of real) everWanted.add(layout.files[index]!.path.join("/"))
    yield* torrent.prepare(real)
    yield* check
    for (const piece of piecesOf(layout)) yield* write(torrent, layout, piece)
    yield* Scope.close(scope, Exit.void)

    const content = contentOf(layout)
    const expected = real.map((index) => {
      const { length, offset, path } = layout.files[index]!
      return [path.join("/"), content.slice(offset, offset + length)] as const
    })
    assert.deepStrictEqual(new Map([...listFiles(root)].sort()), new Map(expected.sort()))
  }).pipe(Effect.provide(FakeDisk.layer()), Effect.runPromise)
