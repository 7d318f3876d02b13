import * as ChildProcess from "node:child_process"
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as Descriptors from "../../src/base/Descriptors.ts"
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import { checkInterval } from "../../src/storage/provider/node/HeldFile.ts"
import type { FlushedFile, Storage, StorageError, TorrentStorage } from "../../src/storage/Storage.ts"
import * as FakeDisk from "./disk.ts"
import { Disk, listFiles } from "./disk.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import { claim, open, openToWrite, realFiles, store } from "./openings.ts"
import { suite } from "./Storage.suite.ts"

suite("file system", Layer.provideMerge(FakeDisk.files, FakeDisk.layer()))
suite("file system, one open file", Layer.provideMerge(FakeDisk.files, FakeDisk.layer({ maxOpenFiles: 1 })))

const write = (torrent: TorrentStorage, layout: FileLayout, index: number, content = contentOf(layout)) =>
  torrent.writePiece(pieceOf(layout, index), sliceOf(layout, content, pieceOf(layout, index)))

const storedPieces = (torrent: TorrentStorage, layout: FileLayout) =>
  Effect.map(Stream.runCollect(torrent.digests(piecesOf(layout))), (digests) =>
    digests.filter(({ sha1 }) => sha1 !== undefined).map(({ piece }) => Number(piece))
  )

const messageOf = <R>(effect: Effect.Effect<unknown, StorageError, R>) =>
  Effect.map(Effect.flip(effect), (error) => `${error.reason._tag}: ${error.message}`)

const outcomesOf = (flushed: ReadonlyArray<FlushedFile>) =>
  flushed.map((each) => ("facts" in each ? "ok" : `${each.reason._tag}: ${each.reason.message}`))

const test = (
  title: string,
  effect: Effect.Effect<void, unknown, Storage | Disk | Scope.Scope>,
  options: { readonly maxOpenFiles?: number } = {}
) => it.live(title, () => Effect.provide(effect, FakeDisk.layer(options)))

/** One piece over three files in two folders. */
const three = layoutOf(12, ["t/a/one", 4], ["t/a/two", 4], ["t/b/three", 4])

/** Two pieces over the same two files, so that a handle is reused. */
const pair = layoutOf(checkInterval, ["t/first", checkInterval + 4], ["t/second", checkInterval - 4])

describe("FileSystemStorage on its disk", () => {
  test(
    "writes each part of a piece with one call",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(three)
      const before = calls.total()

      yield* write(torrent, three, 0)

      assert.strictEqual(calls.count("write"), 3)
      assert.strictEqual(calls.total() - before, 3)
    })
  )

  test(
    "writes a long part with calls of at most 128 KiB",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const layout = layoutOf(300_000, ["f", 300_000])
      const torrent = yield* openToWrite(layout)
      const lengths: Array<unknown> = []
      calls.failWhen = (operation, args) => {
        if (operation === "write") lengths.push(args[3])
        return undefined
      }

      yield* write(torrent, layout, 0)

      assert.deepStrictEqual(lengths, [131_072, 131_072, 37_856])
      assert.deepStrictEqual(Buffer.concat([...listFiles(root).values()]), Buffer.from(contentOf(layout)))
    })
  )

  test(
    "reads each part of a block with one call, and looks at it with another",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)
      const [before, looks] = [calls.total(), calls.count("lookNow")]

      yield* torrent.readBlock(pieceOf(three, 0), 0, 12)

      const counts = [calls.count("read"), calls.count("lookNow") - looks, calls.total() - before]
      assert.deepStrictEqual(counts, [3, 3, 6])
    })
  )

  test(
    "looks at a file of a network disk without waiting for it",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const nfs = 0x6969n
      calls.fileSystem = nfs
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)
      const before = calls.count("lstatExact")

      const { files } = yield* torrent.readBlock(pieceOf(three, 0), 0, 12)

      assert.deepStrictEqual([calls.count("lstatExact") - before, calls.count("lookNow")], [3, 0])
      assert.deepStrictEqual(files, yield* torrent.look([0, 1, 2]))
    })
  )

  test(
    "does not take a small file of a network disk for a hole, because its block count may be wrong",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      calls.fileSystem = 0x6969n
      NFS.mkdirSync(Path.join(root, "t/a"), { recursive: true })
      NFS.writeFileSync(Path.join(root, "t/a/one"), "")
      NFS.writeFileSync(Path.join(root, "t/a/two"), "")
      NFS.truncateSync(Path.join(root, "t/a/two"), 4)
      const torrent = yield* open(three)

      const found = yield* torrent.look([0, 1])

      assert.deepStrictEqual(
        found.map((facts) => facts?.isHole),
        [true, false]
      )
    })
  )

  test(
    "looks for a missing file once, however many pieces it has",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const layout = layoutOf(1 << 20, ["t/whole", 500 << 20], ["t/absent", 500 << 20])
      const torrent = yield* open(layout)
      yield* claim(torrent, layout, "new", [0])
      yield* torrent.writePiece(pieceOf(layout, 0), new Uint8Array(1 << 20))
      const before = calls.count("realpath") + calls.count("open") + calls.count("read")

      const stored = yield* storedPieces(torrent, layout)

      assert.deepStrictEqual(stored, [0])
      assert.isAtMost(calls.count("realpath") + calls.count("open") + calls.count("read") - before, 20)
    })
  )

  test(
    "asks other threads only to make and to write a new file, in a folder where another one was made",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const layout = layoutOf(4, ...Array.from({ length: 5 }, (_, index) => [`t/a/b/${index}`, 4] as const))
      const torrent = yield* open(layout)
      yield* claim(torrent, layout, "new", [0])
      const now = () => calls.count("lookNow") + calls.count("fstatNow")
      const [before, beforeNow] = [calls.total(), now()]

      yield* claim(torrent, layout, "new", [1, 2, 3, 4])
      for (const piece of [1, 2, 3, 4]) yield* write(torrent, layout, piece)

      const calledNow = now() - beforeNow
      assert.deepStrictEqual([calls.count("open"), calls.count("write"), calls.total() - before - calledNow], [5, 4, 8])
      // The download folder, to reserve them. For each, that folder, the three below it, and the file.
      assert.strictEqual(calledNow, 1 + 4 * 5)
    })
  )

  test(
    "remembers a folder that was made again, and waits for no folder that is only read from",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const layout = layoutOf(4, ["t/a/one", 4], ["t/a/two", 4], ["t/a/three", 4])
      const torrent = yield* open(layout)
      yield* claim(torrent, layout, "new", [0])
      yield* write(torrent, layout, 0)
      NFS.renameSync(Path.join(root, "t/a"), Path.join(root, "t/old"))
      NFS.mkdirSync(Path.join(root, "t/a"))
      yield* claim(torrent, layout, "new", [1])
      const found = calls.count("realpath")

      yield* claim(torrent, layout, "new", [2])
      const foundAgain = calls.count("realpath")
      const other = yield* open(layout)
      yield* other.look([1, 2])
      const looks = calls.count("lookNow")
      yield* other.look([1, 2])

      assert.strictEqual(foundAgain, found)
      assert.strictEqual(calls.count("lookNow"), looks)
    })
  )

  for (const inner of ["t", "t/a"]) {
    test(
      `makes no file behind a link that took the place of the folder ${inner}, not even to the same folder`,
      Effect.gen(function* () {
        const { outside, root } = yield* Disk
        const layout = layoutOf(4, ["t/a/one", 4], ["t/a/two", 4])
        const torrent = yield* open(layout)
        yield* claim(torrent, layout, "new", [0])
        NFS.renameSync(Path.join(root, inner), Path.join(outside, "moved"))
        NFS.symlinkSync(Path.join(outside, "moved"), Path.join(root, inner))

        const refused = yield* messageOf(claim(torrent, layout, "new", [1]))

        assert.include(refused, "a symbolic link leads out of the download folder")
        assert.deepStrictEqual(
          [...listFiles(outside).keys()].map((path) => Path.basename(path)),
          ["one"]
        )
      })
    )
  }

  test(
    "looks at the files of a folder with one call each, and opens none",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const layout = layoutOf(16, ...Array.from({ length: 500 }, (_, index) => [`t/d/${index}`, 8] as const))
      NFS.mkdirSync(Path.join(root, "t/d"), { recursive: true })
      for (let index = 0; index < 250; index++) NFS.writeFileSync(Path.join(root, "t/d", `${index}`), "")
      const torrent = yield* open(layout)
      const before = calls.total()

      const found = yield* torrent.look(realFiles(layout))

      assert.strictEqual(found.filter((facts) => facts !== undefined).length, 250)
      assert.isAtMost(calls.total() - before, 535)
      assert.strictEqual(calls.count("open"), 0)
    })
  )

  test(
    "fault 50: finishes short writes",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const torrent = yield* openToWrite(three)
      calls.shortWrites = 3

      yield* write(torrent, three, 0)

      assert.strictEqual(calls.count("write"), 6)
      assert.deepStrictEqual(Buffer.concat([...listFiles(root).values()]), Buffer.from(contentOf(three)))
    })
  )

  test(
    "fails a claim with every error of its files, after all of them ended",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      calls.failWhen = (operation, args) =>
        operation !== "open"
          ? undefined
          : `${args[0]}`.endsWith("one")
            ? "EIO"
            : `${args[0]}`.endsWith("two")
              ? "ENOSPC"
              : undefined

      const error = yield* Effect.flip(openToWrite(three))

      assert.deepStrictEqual(
        [error.reason, ...error.others!].map(({ _tag, path }) => [_tag, Path.relative(root, path)]),
        [
          ["DiskFull", "t/a/two"],
          ["StorageUnavailable", "t/a/one"]
        ]
      )
      assert.deepStrictEqual([...listFiles(root).keys()], ["t/b/three"])
    })
  )

  test(
    "grows a file as pieces are stored and leaves a hole before a later one",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const layout = layoutOf(1 << 20, ["sparse", 8 << 20])
      const torrent = yield* openToWrite(layout)

      yield* write(torrent, layout, 6)

      const { blocks, size } = NFS.statSync(Path.join(root, "sparse"))
      assert.strictEqual(size, 7 << 20)
      assert.isAtMost(blocks * 512, 2 << 20)
    })
  )

  test(
    "seeds files it may not write",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      NFS.mkdirSync(Path.join(root, "t/a"), { recursive: true })
      NFS.writeFileSync(Path.join(root, "t/a/one"), new Uint8Array(4).fill(3))
      calls.failWhen = (operation, args) =>
        operation === "open" && (args[1] as number) & NFS.constants.O_RDWR ? "EROFS" : undefined
      const torrent = yield* open(three)

      const block = yield* torrent.readBlock(pieceOf(three, 0), 0, 4)
      const refused = yield* messageOf(
        Effect.andThen(torrent.reserve([0]), torrent.claim([{ file: 0, as: "found", facts: block.files[0]! }]))
      )

      assert.deepStrictEqual(block.bytes, new Uint8Array(4).fill(3))
      assert.strictEqual(refused, `StorageRefused: ${Path.join(root, "t/a/one")}: the file system is read-only`)
    })
  )

  test(
    "syncs the files and folders that changed, and only once",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)
      yield* torrent.flush([0, 1, 2])
      const first = [calls.count("fdatasync"), calls.count("fsync")]

      yield* torrent.flush([0, 1, 2])

      // Its parent got the download folder, which got `t`, which got `a` and `b`, which got the files.
      assert.deepStrictEqual(first, [3, 5])
      assert.deepStrictEqual([calls.count("fdatasync"), calls.count("fsync")], first)
    })
  )

  test(
    "syncs only the given files",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)

      yield* torrent.flush([1])
      const first = calls.count("fdatasync")
      yield* torrent.flush([0, 1])

      assert.deepStrictEqual([first, calls.count("fdatasync")], [1, 2])
    })
  )

  test(
    "opens and syncs none of a torrent's other files for one of its pieces",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const layout = layoutOf(16, ...Array.from({ length: 400 }, (_, index) => [`t/${index}`, 8] as const))
      NFS.mkdirSync(Path.join(root, "t"), { recursive: true })
      for (let index = 0; index < 400; index++) NFS.writeFileSync(Path.join(root, "t", `${index}`), new Uint8Array(8))
      const torrent = yield* open(layout)
      yield* store(torrent, layout, contentOf(layout), [pieceOf(layout, 0)])
      const before = [calls.count("open"), calls.count("fdatasync")]

      yield* torrent.flush([0, 1])

      assert.deepStrictEqual([calls.count("open") - before[0]!, calls.count("fdatasync") - before[1]!], [0, 2])
    })
  )

  test(
    "makes, writes, flushes and gives up many files of a new folder with few calls on other threads",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      calls.fileSystem = 0xef53n
      const layout = layoutOf(8, ...Array.from({ length: 20 }, (_, index) => [`t/u/${index}`, 8] as const))
      const files = layout.files.map((_, file) => file)
      const torrent = yield* open(layout)
      yield* torrent.reserve(files)
      yield* torrent.claim(files.map((file) => ({ file, as: "new" })))
      for (const piece of piecesOf(layout)) yield* write(torrent, layout, piece)

      yield* torrent.flush(files)
      yield* torrent.release(files)

      const expected = { write: 20, fdatasync: 20, mkdir: 2, readdir: 0, lstatExact: 0, fstatExact: 0, fsync: 4 }
      const counts = Object.keys(expected).map((name) => [name, calls.count(name as keyof typeof expected)])
      assert.deepStrictEqual(Object.fromEntries(counts), expected)
      // Also those folders whose entries were flushed: the new ones, the download folder and that which holds it.
      assert.deepStrictEqual([calls.count("open"), calls.count("close"), calls.openNow()], [24, 24, 0])
    })
  )

  test(
    "syncs files whose handles were closed to make room",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)

      yield* torrent.flush([0, 1, 2])

      assert.strictEqual(calls.count("fdatasync"), 3)
      assert.strictEqual(calls.openMost(), 1)
    }),
    { maxOpenFiles: 1 }
  )

  test(
    "fault 52: the first flush covers what an earlier opening wrote and never flushed, and no later one does",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      yield* Effect.scoped(Effect.flatMap(open(three), (torrent) => store(torrent, three)))
      const torrent = yield* open(three)

      yield* torrent.flush([0, 1, 2])
      const first = calls.count("fdatasync")
      yield* torrent.flush([0, 1, 2])

      assert.strictEqual(first, 3)
      assert.strictEqual(calls.count("fdatasync"), 3)
    })
  )

  test(
    "fault 48: a failed flush is reported for its file alone, which can be written and flushed again",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)
      let syncs = 0
      calls.failWhen = (operation) => (operation === "fdatasync" && syncs++ === 0 ? "ENOSPC" : undefined)
      const first = yield* torrent.flush([0, 1, 2])
      yield* write(torrent, three, 0)
      const before = calls.count("fdatasync")

      const second = yield* torrent.flush([0, 1, 2])

      assert.deepStrictEqual(outcomesOf(first).sort(), [
        `DiskFull: the disk is full: ${Path.join(root, "t/a/one")} cannot grow`,
        "ok",
        "ok"
      ])
      assert.deepStrictEqual(outcomesOf(second), ["ok", "ok", "ok"])
      assert.strictEqual(calls.count("fdatasync") - before, 3)
    })
  )

  test(
    "syncs a file again if its flush failed, even without a write since",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)
      yield* torrent.flush([0, 1, 2])
      yield* write(torrent, three, 0)
      calls.failWhen = (operation) => (operation === "fdatasync" ? "EIO" : undefined)
      yield* torrent.flush([0])
      calls.failWhen = () => undefined
      const before = calls.count("fdatasync")

      yield* torrent.flush([0])

      assert.strictEqual(calls.count("fdatasync") - before, 1)
    })
  )

  test(
    "reports the files in a folder whose sync failed, and retries the sync",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)
      let bad = -1
      calls.before = (operation, args) => {
        if (operation === "fsync") bad = NFS.readlinkSync(`/proc/self/fd/${args[0]}`).endsWith("/b") ? 1 : 0
      }
      calls.failWhen = (operation) => (operation === "fsync" && bad === 1 ? "EIO" : undefined)
      const first = yield* torrent.flush([0, 1, 2])
      calls.failWhen = () => undefined

      const second = yield* torrent.flush([0, 1, 2])

      assert.deepStrictEqual(outcomesOf(first), [
        "ok",
        "ok",
        `StorageUnavailable: ${Path.join(root, "t/b")}: the disk reported an input/output error`
      ])
      assert.deepStrictEqual(outcomesOf(second), ["ok", "ok", "ok"])
    })
  )

  test(
    "reports once, at the next flush, the error that a network disk reported when a file was closed",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)
      calls.failWhen = (operation) => (operation === "close" ? "EIO" : undefined)
      yield* torrent.readBlock(pieceOf(three, 0), 0, 12)
      calls.failWhen = () => undefined

      const first = outcomesOf(yield* torrent.flush([0, 1, 2])).sort()
      yield* write(torrent, three, 0)
      const second = yield* torrent.flush([0, 1, 2])

      assert.include(first[0], "StorageUnavailable")
      assert.include(first[0], "the disk lost what was written to it")
      assert.deepStrictEqual(outcomesOf(second), ["ok", "ok", "ok"])
    }),
    { maxOpenFiles: 1 }
  )
})

describe("FileSystemStorage and links", () => {
  test(
    "fault 19: a linked folder that leads out is refused, and nothing is made behind it",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      NFS.mkdirSync(Path.join(root, "t"), { recursive: true })
      NFS.symlinkSync(outside, Path.join(root, "t/a"))

      const message = yield* messageOf(openToWrite(layoutOf(4, ["t/a/deep/one", 4])))

      assert.strictEqual(
        message,
        `StorageRefused: ${Path.join(root, "t/a")}: a symbolic link leads out of the download folder`
      )
      assert.deepStrictEqual(NFS.readdirSync(outside), [])
    })
  )

  test(
    "fault 19: a file that is a link is not read, claimed or removed",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      const secret = Path.join(outside, "secret")
      NFS.writeFileSync(secret, "secret")
      NFS.mkdirSync(root)
      NFS.symlinkSync(secret, Path.join(root, "f"))
      NFS.symlinkSync(Path.join(outside, "new"), Path.join(root, "empty"))
      const layout = layoutOf(4, ["f", 4], ["empty", 0])
      const torrent = yield* open(layout)
      yield* torrent.reserve([0, 1])

      const messages = yield* Effect.all([
        messageOf(torrent.claim([{ file: 0, as: "overwritten" }])),
        messageOf(torrent.claim([{ file: 1, as: "overwritten" }])),
        messageOf(torrent.readBlock(pieceOf(layout, 0), 0, 4))
      ])
      const exists = yield* messageOf(torrent.claim([{ file: 1, as: "new" }]))
      const found = yield* torrent.look([0, 1])
      yield* torrent.remove([0, 1])

      for (const message of messages) assert.include(message, "a symbolic link is in the way of a file")
      assert.include(exists, "FileExists")
      assert.deepStrictEqual(
        found.map((facts) => facts?.kind),
        ["other", "other"]
      )
      assert.deepStrictEqual(NFS.readdirSync(outside), ["secret"])
      assert.strictEqual(NFS.readFileSync(secret, "utf8"), "secret")
      assert.isTrue(NFS.lstatSync(Path.join(root, "f")).isSymbolicLink())
    })
  )

  test(
    "fault 19: a link that leads nowhere is refused",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      NFS.mkdirSync(root)
      NFS.symlinkSync(Path.join(outside, "absent"), Path.join(root, "t"))

      const message = yield* messageOf(openToWrite(three))

      assert.include(message, "a symbolic link leads nowhere")
      assert.deepStrictEqual(NFS.readdirSync(outside), [])
    })
  )

  test(
    "fault 19: a folder that is swapped for a link is noticed when the next file is claimed",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      const layout = layoutOf(4, ["t/a", 4], ["t/b", 4])
      const torrent = yield* open(layout)
      yield* store(torrent, layout, contentOf(layout), [pieceOf(layout, 0)])
      NFS.renameSync(Path.join(root, "t"), Path.join(root, "moved"))
      NFS.symlinkSync(outside, Path.join(root, "t"))

      const message = yield* messageOf(store(torrent, layout, contentOf(layout), [pieceOf(layout, 1)]))

      assert.include(message, "a symbolic link leads out of the download folder")
      assert.deepStrictEqual(NFS.readdirSync(outside), [])
    })
  )

  test(
    "fault 19: a file that was claimed in a folder that was swapped for a link is not opened behind it",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      const torrent = yield* openToWrite(three)
      yield* write(torrent, three, 0)
      NFS.writeFileSync(Path.join(outside, "one"), "mine")
      NFS.renameSync(Path.join(root, "t/a"), Path.join(root, "moved"))
      NFS.symlinkSync(outside, Path.join(root, "t/a"))

      const message = yield* messageOf(write(torrent, three, 0))

      assert.include(message, "t/a/one was replaced while the torrent was open")
      assert.strictEqual(NFS.readFileSync(Path.join(outside, "one"), "utf8"), "mine")
    }),
    { maxOpenFiles: 1 }
  )

  test(
    "follows a link that stays inside, and a download folder that is a link",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      NFS.symlinkSync(outside, root)
      NFS.mkdirSync(Path.join(outside, "inner"))
      NFS.symlinkSync("inner", Path.join(outside, "t"))
      const torrent = yield* openToWrite(three)

      yield* write(torrent, three, 0)
      const stored = [...listFiles(Path.join(outside, "inner")).keys()].sort()
      yield* torrent.remove([0, 1, 2])

      assert.deepStrictEqual(stored, ["a/one", "a/two", "b/three"])
      assert.deepStrictEqual(NFS.readdirSync(Path.join(outside, "inner")), [])
      assert.isTrue(NFS.lstatSync(Path.join(outside, "t")).isSymbolicLink())
    })
  )
})

/**
 * Deletes a file and makes it again until it has its old inode, at a time that the system distinguishes from the first.
 * Returns whether that succeeded, and the system knows when files were born.
 */
const makeAnew = (path: string): boolean => {
  const first = NFS.statSync(path, { bigint: true })
  for (let turn = 0; turn < 2_000; turn++) {
    NFS.rmSync(path)
    NFS.writeFileSync(path, "else")
    const now = NFS.statSync(path, { bigint: true })
    if (now.ino === first.ino && now.mtimeNs !== first.mtimeNs) return now.birthtimeNs !== 0n
  }
  return false
}

describe("FileSystemStorage and a disk that changes", () => {
  it.live("distinguishes a file from one that was just deleted, although it got the same inode", (context) =>
    Effect.gen(function* () {
      const { root } = yield* Disk
      const layout = layoutOf(4, ["f", 4])
      NFS.mkdirSync(root)
      NFS.writeFileSync(Path.join(root, "f"), contentOf(layout))
      const torrent = yield* open(layout)
      const [before] = yield* torrent.look([0])

      if (!makeAnew(Path.join(root, "f"))) return context.skip("no inode is used again here, or no time of birth known")
      const [after] = yield* torrent.look([0])

      assert.notStrictEqual(after!.identity, before!.identity)
    }).pipe(Effect.provide(FakeDisk.layer()))
  )

  test(
    "recognizes a file that was written to, cut, given other rights or another name",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const layout = layoutOf(4, ["f", 4])
      const path = Path.join(root, "f")
      NFS.mkdirSync(root)
      NFS.writeFileSync(path, contentOf(layout))
      const torrent = yield* open(layout)
      const identity = Effect.map(torrent.look([0]), ([facts]) => facts!.identity)
      const before = yield* identity

      const later = yield* Effect.forEach(
        [
          () => NFS.writeFileSync(path, "more"),
          () => NFS.truncateSync(path, 1),
          () => NFS.chmodSync(path, 0o600),
          () => NFS.linkSync(path, `${path}2`),
          () => NFS.renameSync(`${path}2`, path)
        ],
        (change) => Effect.andThen(Effect.sync(change), identity)
      )

      assert.deepStrictEqual(later, Array(5).fill(before))
    })
  )

  test(
    "fault 49: reports which file is in the way of a folder, and continues when it is gone",
    Effect.gen(function* () {
      const { root } = yield* Disk
      NFS.mkdirSync(root)
      NFS.writeFileSync(Path.join(root, "t"), "")
      const layout = layoutOf(4, ["t/a", 4])
      const torrent = yield* open(layout)
      const message = yield* messageOf(claim(torrent, layout))
      NFS.rmSync(Path.join(root, "t"))

      yield* store(torrent, layout)

      assert.include(message, "StorageRefused")
      assert.include(message, "a file is in the way of a folder")
      assert.deepStrictEqual(listFiles(root), new Map([["t/a", contentOf(layout)]]))
    })
  )

  test(
    "fault 49: reports to writers and readers that a folder is in the way of a file",
    Effect.gen(function* () {
      const { root } = yield* Disk
      NFS.mkdirSync(Path.join(root, "t/a/one"), { recursive: true })
      const torrent = yield* open(three)

      const messages = yield* Effect.all([
        messageOf(claim(torrent, three)),
        messageOf(torrent.readBlock(pieceOf(three, 0), 0, 4))
      ])

      for (const message of messages) assert.include(message, "a folder is in the way of a file")
    })
  )

  test(
    "fault 49: does not wait for ever at a pipe in the place of a file",
    Effect.gen(function* () {
      const { root } = yield* Disk
      NFS.mkdirSync(root)
      ChildProcess.execFileSync("mkfifo", [Path.join(root, "f")])
      const layout = layoutOf(4, ["f", 4])
      const torrent = yield* open(layout)

      const messages = [
        yield* messageOf(torrent.readBlock(pieceOf(layout, 0), 0, 4)),
        yield* messageOf(claim(torrent, layout))
      ]

      for (const message of messages) assert.include(message, "it is not a regular file")
    })
  )

  test(
    "fault 49: a file that is deleted while it is open refuses writes after the next look; other torrents continue",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* openToWrite(pair)
      const other = yield* openToWrite(layoutOf(12, ["u", 12]))
      yield* write(torrent, pair, 0)
      NFS.rmSync(Path.join(root, "t/first"))

      const refused = yield* messageOf(write(torrent, pair, 1))
      const again = yield* messageOf(write(torrent, pair, 0))
      const stored = yield* storedPieces(torrent, pair)
      yield* write(other, layoutOf(12, ["u", 12]), 0)
      yield* store(torrent, pair)

      assert.strictEqual(refused, `FileChanged: ${Path.join(root, "t/first")} was deleted while the torrent was open`)
      assert.strictEqual(again, refused)
      assert.deepStrictEqual(stored, [])
    })
  )

  test(
    "a file that is replaced while it is open is noticed at the next look, and nothing is written to the new one",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* openToWrite(pair)
      yield* write(torrent, pair, 0)
      NFS.rmSync(Path.join(root, "t/first"))
      NFS.writeFileSync(Path.join(root, "t/first"), new Uint8Array(checkInterval + 4).fill(9))

      const refused = yield* messageOf(write(torrent, pair, 1))

      assert.include(refused, "t/first was replaced while the torrent was open")
      assert.isTrue(NFS.readFileSync(Path.join(root, "t/first")).every((byte) => byte === 9))
    })
  )

  test(
    "a file that was replaced and released is read by its name",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* openToWrite(pair)
      yield* write(torrent, pair, 0)
      NFS.rmSync(Path.join(root, "t/first"))
      NFS.writeFileSync(Path.join(root, "t/first"), new Uint8Array(checkInterval + 4).fill(9))
      yield* messageOf(write(torrent, pair, 1))

      yield* torrent.release([0])
      const { bytes } = yield* torrent.readBlock(piecesOf(pair)[0]!, 0, 4)

      assert.deepStrictEqual(bytes, new Uint8Array(4).fill(9))
    })
  )

  test(
    "looks once in 8 MiB that are written to a file",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const layout = layoutOf(1 << 20, ["f", 33 << 20])
      const torrent = yield* openToWrite(layout)
      const before = calls.total()

      for (const piece of piecesOf(layout)) yield* torrent.writePiece(piece, new Uint8Array(1 << 20))

      assert.strictEqual(calls.total() - before, 33 * 8 + 4)
    })
  )

  test(
    "fault 49: a file that was closed to make room and then deleted is not made again",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const layout = layoutOf(4, ["t/a", 8], ["t/b", 4])
      const torrent = yield* openToWrite(layout)
      yield* write(torrent, layout, 0)
      yield* write(torrent, layout, 2)
      NFS.rmSync(Path.join(root, "t/a"))

      const message = yield* messageOf(write(torrent, layout, 1))

      assert.include(message, "FileChanged")
      assert.include(message, "t/a was deleted while the torrent was open")
      assert.deepStrictEqual([...listFiles(root).keys()], ["t/b"])
    }),
    { maxOpenFiles: 1 }
  )

  test(
    "fault 49: a file that is cut off refuses writes, and its bytes are not stored",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* openToWrite(pair)
      yield* write(torrent, pair, 0)
      NFS.truncateSync(Path.join(root, "t/first"), 100)

      const refused = yield* messageOf(write(torrent, pair, 1))
      const unread = yield* messageOf(torrent.readBlock(pieceOf(pair, 0), 90, 20))

      assert.include(refused, "t/first was cut off while the torrent was open")
      assert.include(unread, "NotStored")
    })
  )

  test(
    "does not take a file that grew during a look for cut off",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      // A network disk, as one of this machine answers at once.
      calls.fileSystem = 0x6969n
      const layout = layoutOf(checkInterval, ["f", 2 * checkInterval])
      const torrent = yield* openToWrite(layout)
      yield* write(torrent, layout, 0)
      const looking = yield* Deferred.make<() => void>()
      calls.hold = (operation, release) => {
        if (operation !== "lstatExact" || Deferred.isDoneUnsafe(looking)) return false
        return Deferred.doneUnsafe(looking, Effect.succeed(release))
      }
      const flushing = yield* Effect.forkChild(torrent.flush([0]))
      const release = yield* Deferred.await(looking)
      yield* write(torrent, layout, 1)
      release()

      assert.deepStrictEqual(outcomesOf(yield* Fiber.join(flushing)), ["ok"])
      assert.deepStrictEqual(yield* storedPieces(torrent, layout), [0, 1])
    })
  )

  test(
    "makes a folder again that was deleted before its file was made",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const layout = layoutOf(4, ["t/a", 4], ["t/b", 4])
      const torrent = yield* open(layout)
      yield* claim(torrent, layout, "new", [0])
      calls.before = (operation, args) => {
        // After the look at the folder, before the file is opened in it.
        if (operation !== "open" || !`${args[0]}`.endsWith("b")) return
        calls.before = undefined
        NFS.rmSync(Path.join(root, "t"), { recursive: true })
      }

      yield* claim(torrent, layout, "new", [1])

      assert.deepStrictEqual([...listFiles(root).keys()], ["t/b"])
    })
  )

  test(
    "makes nothing in the place of a download folder that vanished, and continues when it is back",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* open(pair)
      yield* claim(torrent, pair, "new", [0])
      const [facts] = yield* torrent.look([0])
      NFS.renameSync(root, `${root}.away`)
      const claimed = yield* messageOf(claim(torrent, pair, "new", [1]))
      const looked = yield* messageOf(torrent.look([0]))
      const flushed = outcomesOf(yield* torrent.flush([0]))
      const made = NFS.existsSync(root)
      NFS.mkdirSync(root)
      const other = yield* messageOf(claim(torrent, pair, "new", [1]))
      const empty = NFS.readdirSync(root)
      NFS.rmdirSync(root)
      NFS.renameSync(`${root}.away`, root)

      const back = yield* torrent.look([0])
      yield* claim(torrent, pair, "new", [1])
      yield* write(torrent, pair, 0)

      for (const message of [claimed, looked, ...flushed, other]) {
        assert.include(message, "StorageUnavailable")
        assert.include(message, "the download folder vanished")
      }
      assert.isFalse(made)
      assert.deepStrictEqual(empty, [])
      assert.deepStrictEqual(back, [facts])
    })
  )

  test(
    "fault 50: interrupted between two files, a piece is not reported as stored, and a digest says so",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      // More parts than are written at once, so that some have not begun.
      const many = layoutOf(12, ...Array.from({ length: 12 }, (_, index) => [`m/${index}`, 1] as const))
      const torrent = yield* openToWrite(many)
      const begun = yield* Deferred.make<void>()
      calls.before = (operation) => {
        if (operation === "write") Deferred.doneUnsafe(begun, Effect.void)
      }
      const writing = yield* Effect.forkChild(write(torrent, many, 0))
      yield* Deferred.await(begun)

      yield* Fiber.interrupt(writing)

      const exit = yield* Fiber.await(writing)
      assert.isTrue(Exit.hasInterrupts(exit))
      const parts = calls.count("write")
      assert.isBelow(parts, 12)
      assert.deepStrictEqual(yield* storedPieces(torrent, many), [])
      assert.strictEqual(calls.count("write"), parts)
    })
  )
})

describe("FileSystemStorage and files with other names", () => {
  const one = layoutOf(4, ["t/f", 8])
  /** A file of the torrent that the user also has under another name. */
  const linked = Effect.map(Disk, ({ root }) => {
    NFS.mkdirSync(Path.join(root, "t"), { recursive: true })
    const mine = Path.join(root, "mine")
    NFS.writeFileSync(mine, new Uint8Array(8).fill(9), { mode: 0o640 })
    NFS.utimesSync(mine, 1_600_000_000, 1_500_000_000.123_456)
    NFS.linkSync(mine, Path.join(root, "t/f"))
    return mine
  })
  const copies = (folder: string) => NFS.readdirSync(folder).filter((name) => name.startsWith(".piecewise-copy-"))

  test(
    "keeps mode, owner and times in the copy, which is synced before it gets the name",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const mine = yield* linked
      const order: Array<string> = []
      calls.before = (operation) => {
        if (["fsync", "rename"].includes(operation)) order.push(operation)
      }

      yield* openToWrite(one)

      const [before, after] = [NFS.statSync(mine), NFS.statSync(Path.join(root, "t/f"))]
      assert.notStrictEqual(after.ino, before.ino)
      assert.deepStrictEqual([after.mode, after.uid, after.gid], [before.mode, before.uid, before.gid])
      assert.closeTo(after.mtimeMs, before.mtimeMs, 0.002)
      assert.strictEqual(before.nlink, 1)
      assert.deepStrictEqual(order, ["fsync", "rename"])
    })
  )

  test(
    "reports too little room before it copies anything",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const mine = yield* linked
      calls.failWhen = (operation) => (operation === "clone" ? "ENOTSUP" : undefined)
      calls.freeBytes = 7

      const message = yield* messageOf(openToWrite(one))

      assert.strictEqual(message, `DiskFull: the disk is full: ${Path.join(root, "t/f")} cannot grow`)
      assert.strictEqual(NFS.statSync(mine).nlink, 2)
      assert.deepStrictEqual([calls.count("write"), copies(Path.join(root, "t"))], [0, []])
    })
  )

  test(
    "copies no holes, and of a file that is cut only the torrent's bytes",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const mine = yield* linked
      NFS.writeSync(NFS.openSync(mine, "r+"), new Uint8Array([1]), 0, 1, 64 << 20)
      const layout = layoutOf(4, ["t/f", 48 << 20])
      calls.failWhen = (operation) => (operation === "clone" ? "ENOTSUP" : undefined)

      yield* openToWrite(layout)

      const { blocks, size } = NFS.statSync(Path.join(root, "t/f"))
      assert.strictEqual(size, 48 << 20)
      assert.isAtMost(blocks * 512, 2 << 20)
      assert.deepStrictEqual(NFS.readFileSync(Path.join(root, "t/f")).subarray(0, 8), Buffer.alloc(8, 9))
    })
  )

  for (const operation of ["fchmod", "write", "futimes", "fsync", "rename"] as const) {
    test(
      `leaves the file unchanged, and no copy, if ${operation} fails or the file changes before it`,
      Effect.gen(function* () {
        const { calls, root } = yield* Disk
        const mine = yield* linked
        calls.failWhen = (asked) => (asked === "clone" ? "ENOTSUP" : asked === operation ? "EIO" : undefined)
        const failed = yield* Effect.exit(Effect.scoped(openToWrite(one)))
        if (Exit.isSuccess(failed)) return assert.include(["fchmod", "futimes"], operation)
        assert.strictEqual(NFS.statSync(mine).nlink, 2)
        calls.failWhen = (asked) => (asked === "clone" ? "ENOTSUP" : undefined)
        calls.before = (asked) => {
          if (asked === "write") NFS.utimesSync(mine, 1, 1)
        }

        const message = yield* messageOf(openToWrite(one))

        assert.include(message, "t/f was changed while the torrent was open")
        assert.strictEqual(NFS.statSync(mine).nlink, 2)
        assert.deepStrictEqual(copies(Path.join(root, "t")), [])
      })
    )
  }

  test(
    "removes the copies of its own files that a crash has left, and no others",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      yield* linked
      calls.failWhen = (operation) =>
        operation === "clone" ? "ENOTSUP" : operation === "rename" || operation === "unlink" ? "EIO" : undefined
      yield* Effect.flip(Effect.scoped(openToWrite(one)))
      calls.failWhen = () => undefined
      const left = copies(Path.join(root, "t"))
      const other = layoutOf(4, ["t/g", 4])
      yield* Effect.scoped(openToWrite(other))
      const kept = copies(Path.join(root, "t"))

      yield* openToWrite(one)

      assert.lengthOf(left, 1)
      assert.deepStrictEqual(kept, left)
      assert.deepStrictEqual(copies(Path.join(root, "t")), [])
    })
  )
})

describe("FileSystemStorage and open files", () => {
  const hundred = layoutOf(7, ...Array.from({ length: 100 }, (_, index) => [`h/${index % 9}/${index}`, 10] as const))

  test(
    "never has more files open than allowed",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(hundred)
      const content = contentOf(hundred)

      yield* Effect.forEach(piecesOf(hundred), (piece) => write(torrent, hundred, piece, content), { concurrency: 20 })
      yield* torrent.flush(realFiles(hundred))
      const stored = yield* storedPieces(torrent, hundred)

      assert.lengthOf(stored, hundred.geometry.pieceCount)
      assert.isAtMost(calls.openMost(), 5)
    }),
    { maxOpenFiles: 5 }
  )

  test(
    "closes every file with the scope, as the system sees it",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const descriptors = () => NFS.readdirSync("/proc/self/fd").length
      const before = descriptors()
      const during = yield* Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* openToWrite(hundred)
          yield* Effect.forEach(piecesOf(hundred), (piece) => write(torrent, hundred, piece))
          return descriptors()
        })
      )

      assert.isAtLeast(during, before + 32)
      assert.isAtMost(descriptors(), before)
      assert.strictEqual(calls.openNow(), 0)
    })
  )

  test(
    "refuses work after the scope closed, and opens nothing for it",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* Effect.scoped(open(three))

      const message = yield* messageOf(write(torrent, three, 0))

      assert.include(message, "the torrent was closed")
      assert.strictEqual(calls.count("open"), 0)
    })
  )

  test(
    "fault 56: closes idle files when the process has no descriptors left, and retries",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      calls.failWhen = (operation) => (operation === "open" && calls.openNow() >= 3 ? "EMFILE" : undefined)
      const torrent = yield* open(hundred)
      for (const file of realFiles(hundred)) yield* claim(torrent, hundred, "new", [file])

      yield* Effect.forEach(piecesOf(hundred), (piece) => write(torrent, hundred, piece))

      assert.strictEqual(calls.openMost(), 3)
    })
  )

  test(
    "fault 56: has a connection given up when no idle file is left, and goes on",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      let connections = 3
      yield* Descriptors.register(
        "connections",
        Effect.sync(() => connections-- > 0)
      )
      calls.failWhen = (operation) => (operation === "open" && connections > 0 ? "EMFILE" : undefined)
      const torrent = yield* openToWrite(three)

      yield* Effect.forEach(piecesOf(three), (piece) => write(torrent, three, piece))

      assert.strictEqual(connections, 0)
    })
  )

  test(
    "fault 56: fails with a reason that may pass when there is nothing to close",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      calls.failWhen = (operation) => (operation === "open" ? "EMFILE" : undefined)

      const message = yield* messageOf(openToWrite(three))

      assert.include(message, "StorageUnavailable")
      assert.include(message, "too many files are open in this process")
    })
  )

  it("fault 56: stores 10,000 files under a limit of 64 descriptors", () => {
    const program = Path.join(import.meta.dirname, "programs/ten-thousand-files.ts")

    const output = ChildProcess.execFileSync("sh", ["-c", 'ulimit -n 64; exec "$0" "$1"', process.execPath, program], {
      encoding: "utf8"
    })

    assert.strictEqual(output, "10000 files, 1250 of 1250 pieces\n")
  }, 120_000)

  /** As `hundred`, for a test that opens all of it again and again. */
  const twenty = layoutOf(7, ...Array.from({ length: 20 }, (_, index) => [`h/${index % 9}/${index}`, 10] as const))

  it("law: interrupted anywhere, no descriptor stays open", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.nat(twenty.geometry.pieceCount - 1),
            fc.nat(30),
            fc.constantFrom("write", "read", "flush", "digests")
          ),
          {
            minLength: 1,
            maxLength: 24
          }
        ),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(40),
        (jobs, maxOpenFiles, closeAfter) => {
          const turns = (count: number) =>
            Effect.repeat(
              Effect.promise(() => new Promise(setImmediate)),
              { times: count }
            )
          const program = Effect.gen(function* () {
            const { calls } = yield* Disk
            const scope = yield* Scope.make()
            const torrent = yield* Scope.provide(openToWrite(twenty), scope)
            const run = (index: number, kind: string): Effect.Effect<unknown, StorageError> =>
              kind === "write"
                ? write(torrent, twenty, index)
                : kind === "read"
                  ? torrent.readBlock(pieceOf(twenty, index), 0, 3)
                  : kind === "flush"
                    ? torrent.flush(realFiles(twenty))
                    : Stream.runDrain(torrent.digests(piecesOf(twenty)))
            const fibers = yield* Effect.forEach(jobs, ([index, patience, kind]) =>
              Effect.forkChild(
                Effect.gen(function* () {
                  const fiber = yield* Effect.forkChild(Effect.exit(run(index, kind)), { startImmediately: true })
                  yield* turns(patience)
                  yield* Fiber.interrupt(fiber)
                })
              )
            )
            yield* turns(closeAfter)
            yield* Scope.close(scope, Exit.void)
            const atClose = calls.openNow()
            yield* Fiber.joinAll(fibers)

            assert.strictEqual(atClose, 0)
            assert.strictEqual(calls.openNow(), 0)
            assert.isAtMost(calls.openMost(), maxOpenFiles)
          })
          return Effect.runPromise(Effect.scoped(Effect.provide(program, FakeDisk.layer({ maxOpenFiles }))))
        }
      ),
      { numRuns: 40 }
    ))
})
