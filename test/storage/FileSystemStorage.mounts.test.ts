/**
 * The storage on real file systems of their own: each kind runs the suite, fills up, loses what it promised, vanishes.
 */
import * as ChildProcess from "node:child_process"
import * as NFS from "node:fs"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import type { FlushedFile, Storage, StorageError, TorrentStorage } from "../../src/storage/Storage.ts"
import { MediumFiles } from "../../src/testing/suite/MediumFiles.ts"
import * as FakeDisk from "./disk.ts"
import { filesIn } from "./disk.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import * as Mounts from "./mounts.ts"
import { claim, open, openToWrite, realFiles, store } from "./openings.ts"
import { suite } from "./Storage.suite.ts"

/** A storage in a folder, and the folder from the other side. */
const storageIn = (directory: string) =>
  Layer.mergeAll(
    Layer.provide(FileSystemStorage.layer({ directory }), NodePieceHasher.layer),
    Layer.succeed(MediumFiles, MediumFiles.of(filesIn(directory)))
  )

const tagOf = <R>(effect: Effect.Effect<unknown, StorageError, R>) =>
  Effect.map(Effect.flip(effect), (error) => `${error.operation} ${error.reason._tag}`)

const outcomesOf = (flushed: ReadonlyArray<FlushedFile>) =>
  flushed.map((each) => ("facts" in each ? "ok" : each.reason._tag))

const megabyte = 1 << 20
const large = layoutOf(megabyte, ["t/f", 24 * megabyte])
const content = contentOf(large)

const write = (torrent: TorrentStorage, index: number) =>
  torrent.writePiece(pieceOf(large, index), sliceOf(large, content, pieceOf(large, index)))

const writeAll = (torrent: TorrentStorage) =>
  Effect.forEach(piecesOf(large), (piece) => write(torrent, piece), { discard: true })

/** Runs a test with a mounted file system, whose storage keeps torrents in it, or in one of its folders. */
const test = (
  title: string,
  kind: Mounts.Kind,
  megabytes: number,
  program: (mount: Mounts.Mount, root: string) => Effect.Effect<void, unknown, Storage | Scope.Scope>,
  folder = "downloads"
) =>
  it.live(title, () =>
    Effect.scoped(
      Effect.flatMap(Mounts.mounted(kind, megabytes), (mount) => {
        const root = Path.join(mount.path, folder)
        return Effect.scoped(Effect.provide(program(mount, root), storageIn(root)))
      })
    )
  )

if (Mounts.isLeftOut) {
  it.skip(`file systems of their own: ${Mounts.whyNot}`, () => {})
} else {
  for (const kind of ["ext4", "btrfs", "tmpfs"] as const) {
    describe(kind, () => {
      let mount: ReturnType<typeof Mounts.mount> | undefined
      let count = 0
      beforeAll(() => {
        mount = Mounts.mount(kind, 256)
      })
      afterAll(() => mount?.unmount())

      suite(`file system on ${kind}`, Layer.unwrap(Effect.sync(() => storageIn(Path.join(mount!.path, `${count++}`)))))
    })
  }

  describe("FileSystemStorage on a file system of its own", () => {
    for (const kind of ["ext4", "tmpfs"] as const) {
      test(`fault 48: reports that ${kind} is full, and continues when there is room`, kind, 32, (mount) =>
        Effect.gen(function* () {
          const torrent = yield* openToWrite(large)
          const ballast = Path.join(mount.path, "ballast")
          NFS.writeFileSync(ballast, new Uint8Array(16 * megabyte))

          const full = yield* tagOf(writeAll(torrent))
          NFS.rmSync(ballast)
          yield* writeAll(torrent)
          const flushed = yield* torrent.flush([0])

          assert.strictEqual(full, "write DiskFull")
          assert.deepStrictEqual(outcomesOf(flushed), ["ok"])
        })
      )
    }

    test(
      "fault 48: reports what a disk accepted and then lost by file, and stores it the second time",
      "failing",
      64,
      (mount, root) =>
        Effect.gen(function* () {
          const other = layoutOf(4, ["small", 4])
          const torrent = yield* openToWrite(large)
          const small = yield* openToWrite(other)
          yield* small.writePiece(pieceOf(other, 0), contentOf(other))
          yield* small.flush([0])
          NFS.writeFileSync(Path.join(Path.dirname(mount.path), "backing", "ballast"), new Uint8Array(20 * megabyte))
          yield* writeAll(torrent)

          const [lost, again] = [outcomesOf(yield* torrent.flush([0])), outcomesOf(yield* small.flush([0]))]
          mount.grow()
          yield* writeAll(torrent)
          const kept = outcomesOf(yield* torrent.flush([0]))

          assert.deepStrictEqual([lost, again, kept], [["DiskFull"], ["ok"], ["ok"]])
          assert.isTrue(Buffer.from(content).equals(NFS.readFileSync(Path.join(root, "t/f"))))
        })
    )

    test("shares the blocks of a file with other names on btrfs until they are written", "btrfs", 128, (_, root) =>
      Effect.gen(function* () {
        NFS.mkdirSync(Path.join(root, "t"), { recursive: true })
        NFS.writeFileSync(Path.join(root, "mine"), content, { flush: true })
        NFS.linkSync(Path.join(root, "mine"), Path.join(root, "t/f"))
        const free = () => {
          const { bavail, bsize } = NFS.statfsSync(root)
          return bavail * bsize
        }
        const before = free()

        const torrent = yield* openToWrite(large)
        const after = free()
        yield* torrent.writePiece(pieceOf(large, 3), new Uint8Array(megabyte).fill(1))
        yield* torrent.flush([0])

        assert.isBelow(before - after, 4 * megabyte)
        assert.isTrue(Buffer.from(content).equals(NFS.readFileSync(Path.join(root, "mine"))))
        assert.strictEqual(NFS.statSync(Path.join(root, "mine")).nlink, 1)
      })
    )

    test(
      "has no room for a copy of a file with other names on ext4, and leaves the file unchanged",
      "ext4",
      40,
      (_, root) =>
        Effect.gen(function* () {
          NFS.mkdirSync(Path.join(root, "t"), { recursive: true })
          NFS.writeFileSync(Path.join(root, "mine"), content, { flush: true })
          NFS.linkSync(Path.join(root, "mine"), Path.join(root, "t/f"))

          const tag = yield* tagOf(openToWrite(large))

          assert.strictEqual(tag, "claim DiskFull")
          assert.strictEqual(NFS.statSync(Path.join(root, "mine")).nlink, 2)
          assert.deepStrictEqual(NFS.readdirSync(Path.join(root, "t")), ["f"])
        })
    )

    for (const kind of ["ext4", "tmpfs"] as const) {
      test(`has no room for a fresh copy of a file on ${kind}, and leaves the file unchanged`, kind, 40, (_, root) =>
        Effect.gen(function* () {
          const torrent = yield* openToWrite(large)
          yield* writeAll(torrent)
          yield* torrent.flush([0])
          const facts = (yield* torrent.look([0]))[0]!

          const tag = yield* tagOf(torrent.claim([{ file: 0, as: "found", facts, afresh: true }]))

          assert.strictEqual(tag, "claim DiskFull")
          assert.deepStrictEqual(yield* torrent.look([0]), [facts])
          assert.deepStrictEqual(NFS.readdirSync(Path.join(root, "t")), ["f"])
        })
      )
    }

    test("shares no block with a file that it copies afresh on btrfs, and keeps its mode", "btrfs", 384, (_, root) =>
      Effect.gen(function* () {
        const path = Path.join(root, "t/f")
        const free = () => {
          // It counts what was committed.
          ChildProcess.execFileSync("sync", ["-f", root])
          const { bfree, bsize } = NFS.statfsSync(root)
          return bfree * bsize
        }
        const torrent = yield* openToWrite(large)
        yield* writeAll(torrent)
        yield* torrent.flush([0])
        NFS.chmodSync(path, 0o640)
        NFS.linkSync(path, Path.join(root, "before"))
        const facts = (yield* torrent.look([0]))[0]!
        const before = free()

        yield* torrent.claim([{ file: 0, as: "found", facts, afresh: true }])

        assert.isAbove(before - free(), 20 * megabyte)
        assert.strictEqual(NFS.statSync(path).mode & 0o7777, 0o640)
        assert.isTrue(Buffer.from(content).equals(NFS.readFileSync(path)))
      })
    )

    for (const [kind, folder] of [
      ["ext4", ""],
      ["ext4", "downloads"],
      ["tmpfs", ""]
    ] as const) {
      test(
        `makes nothing in the place of ${kind} that went away, and goes on when it is back (in "${folder}" of it)`,
        kind,
        64,
        (mount, root) =>
          Effect.gen(function* () {
            const layout = layoutOf(4, ["t/a", 4], ["t/b", 4])
            const torrent = yield* open(layout)
            yield* store(torrent, layout, contentOf(layout), [pieceOf(layout, 0)])
            yield* torrent.flush([0])
            mount.detach()

            const flushed = outcomesOf(yield* torrent.flush([0]))
            const tags = [
              yield* tagOf(torrent.look(realFiles(layout))),
              yield* tagOf(claim(torrent, layout, "new", [1])),
              yield* tagOf(torrent.claim([{ file: 0, as: "overwritten" }]))
            ]
            const made = NFS.readdirSync(mount.path)
            mount.attach()
            yield* store(torrent, layout)

            assert.deepStrictEqual(flushed, ["StorageUnavailable"])
            assert.deepStrictEqual(tags, [
              "look StorageUnavailable",
              "reserve StorageUnavailable",
              "claim StorageUnavailable"
            ])
            assert.deepStrictEqual(made, [])
            assert.deepStrictEqual(outcomesOf(yield* torrent.flush([0, 1])), ["ok", "ok"])
            assert.deepStrictEqual([...FakeDisk.listFiles(root).keys()].sort(), ["t/a", "t/b"])
          }),
        folder
      )
    }
  })
}
