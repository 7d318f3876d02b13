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
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import { Storage, type StorageError, type TorrentStorage } from "../../src/storage/Storage.ts"
import { checkInterval } from "../../src/storage/TorrentFile.ts"
import * as FakeDisk from "./disk.ts"
import { Disk, listFiles } from "./disk.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import { MediumFiles, suite } from "./Storage.suite.ts"

const files = Layer.effect(
  MediumFiles,
  Effect.map(Disk, ({ root }) => MediumFiles.of({ list: () => Effect.sync(() => listFiles(root)) }))
)

suite("file system", Layer.provideMerge(files, FakeDisk.layer()))
suite("file system, one open file", Layer.provideMerge(files, FakeDisk.layer({ maxOpenFiles: 1 })))

const open = (layout: FileLayout) => Effect.flatMap(Storage, (storage) => storage.open(layout))

const write = (torrent: TorrentStorage, layout: FileLayout, index: number, content = contentOf(layout)) =>
  torrent.writePiece(pieceOf(layout, index), sliceOf(layout, content, pieceOf(layout, index)))

const storedPieces = (torrent: TorrentStorage, layout: FileLayout) =>
  Effect.map(Stream.runCollect(torrent.digests(piecesOf(layout))), (digests) =>
    digests.filter(({ sha1 }) => sha1 !== undefined).map(({ piece }) => Number(piece))
  )

const messageOf = (effect: Effect.Effect<unknown, StorageError>) =>
  Effect.map(Effect.flip(effect), (error) => `${error.reason._tag}: ${error.message}`)

const test = (
  title: string,
  effect: Effect.Effect<void, unknown, Storage | Disk | Scope.Scope>,
  options: { readonly maxOpenFiles?: number } = {}
) => it.live(title, () => Effect.provide(effect, FakeDisk.layer(options)))

/** One piece over three files in two folders. */
const three = layoutOf(12, ["t/a/one", 4], ["t/a/two", 4], ["t/b/three", 4])

/** Two pieces over the same two files, so that a handle is used again. */
const pair = layoutOf(checkInterval, ["t/first", checkInterval + 4], ["t/second", checkInterval - 4])

describe("FileSystemStorage on its disk", () => {
  test(
    "writes each part of a piece with one call",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(three)

      yield* write(torrent, three, 0)

      assert.strictEqual(calls.count("write"), 3)
    })
  )

  test(
    "looks for a missing file once, however many pieces it has",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const layout = layoutOf(1 << 20, ["t/whole", 500 << 20], ["t/absent", 500 << 20])
      const torrent = yield* open(layout)
      yield* torrent.writePiece(pieceOf(layout, 0), new Uint8Array(1 << 20))
      const before = calls.count("realpath") + calls.count("open") + calls.count("read")

      const stored = yield* storedPieces(torrent, layout)

      assert.deepStrictEqual(stored, [0])
      assert.isAtMost(calls.count("realpath") + calls.count("open") + calls.count("read") - before, 20)
    })
  )

  test(
    "fault 50: finishes short writes",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const torrent = yield* open(three)
      calls.shortWrites = 3

      yield* write(torrent, three, 0)

      assert.strictEqual(calls.count("write"), 6)
      assert.deepStrictEqual(Buffer.concat([...listFiles(root).values()]), Buffer.from(contentOf(three)))
    })
  )

  test(
    "fails a piece with every error of its parts, after all of them ended",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const torrent = yield* open(three)
      calls.failWhen = (operation, args) =>
        operation !== "open"
          ? undefined
          : `${args[0]}`.endsWith("one")
            ? "EIO"
            : `${args[0]}`.endsWith("two")
              ? "ENOSPC"
              : undefined

      const error = yield* Effect.flip(write(torrent, three, 0))

      assert.deepStrictEqual(
        [error.reason, ...error.others!].map(({ _tag, path }) => [_tag, Path.relative(root, path)]),
        [
          ["DiskFull", "t/a/two"],
          ["StorageUnavailable", "t/a/one"]
        ]
      )
      assert.strictEqual(calls.count("write"), 1)
    })
  )

  test(
    "grows a file as pieces come and leaves a hole before a later one",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const layout = layoutOf(1 << 20, ["sparse", 8 << 20])
      const torrent = yield* open(layout)

      yield* write(torrent, layout, 6)

      const { blocks, size } = NFS.statSync(Path.join(root, "sparse"))
      assert.strictEqual(size, 7 << 20)
      assert.isAtMost(blocks * 512, 2 << 20)
    })
  )

  test(
    "cuts an existing file that is too long at the first write, not before",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const layout = layoutOf(4, ["f", 8])
      NFS.mkdirSync(root)
      NFS.writeFileSync(Path.join(root, "f"), new Uint8Array(20).fill(1))
      const torrent = yield* open(layout)
      yield* torrent.prepare([0])
      yield* torrent.readBlock(pieceOf(layout, 0), 0, 4)
      const before = NFS.statSync(Path.join(root, "f")).size

      yield* write(torrent, layout, 0)

      assert.strictEqual(before, 20)
      assert.strictEqual(NFS.statSync(Path.join(root, "f")).size, 8)
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

      assert.deepStrictEqual(block, new Uint8Array(4).fill(3))
    })
  )

  test(
    "syncs the files and folders that changed, and only once",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(three)
      yield* write(torrent, three, 0)
      yield* torrent.flush
      const first = [calls.count("fdatasync"), calls.count("fsync")]

      yield* torrent.flush

      // The download folder got `t`, that got `a` and `b`, which got the files.
      assert.deepStrictEqual(first, [3, 4])
      assert.deepStrictEqual([calls.count("fdatasync"), calls.count("fsync")], first)
    })
  )

  test(
    "syncs files whose handles were closed to make room",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(three)
      yield* write(torrent, three, 0)

      yield* torrent.flush

      assert.strictEqual(calls.count("fdatasync"), 3)
      assert.strictEqual(calls.openMost(), 1)
    }),
    { maxOpenFiles: 1 }
  )

  test(
    "fault 52: the first flush covers what an earlier opening wrote and never flushed, and no later one does",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      yield* Effect.scoped(Effect.flatMap(open(three), (torrent) => write(torrent, three, 0)))
      const torrent = yield* open(three)

      yield* torrent.flush
      const first = calls.count("fdatasync")
      yield* torrent.flush

      assert.strictEqual(first, 3)
      assert.strictEqual(calls.count("fdatasync"), 3)
    })
  )

  test(
    "fault 48: what the disk lost at a flush never becomes a success",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(three)
      yield* write(torrent, three, 0)
      calls.failWhen = (operation) => (operation === "fdatasync" ? "ENOSPC" : undefined)
      const first = yield* Effect.flip(torrent.flush)
      calls.failWhen = () => undefined

      const second = yield* Effect.flip(torrent.flush)

      assert.strictEqual(first.reason._tag, "DiskFull")
      assert.strictEqual(second.reason._tag, "StorageRefused")
      assert.include(second.message, "verify the torrent again")
    })
  )

  test(
    "tells at the next flush what a network disk told when a file was closed",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(three)
      calls.failWhen = (operation) => (operation === "close" ? "EIO" : undefined)
      yield* write(torrent, three, 0)
      calls.failWhen = () => undefined

      const message = yield* messageOf(torrent.flush)

      assert.include(message, "the disk lost what was written to it")
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
      const torrent = yield* open(layoutOf(4, ["t/a/deep/one", 4]))

      const message = yield* messageOf(torrent.writePiece(pieceOf(three, 0), new Uint8Array(4)))

      assert.strictEqual(
        message,
        `StorageRefused: ${Path.join(root, "t/a")}: a symbolic link leads out of the download folder`
      )
      assert.deepStrictEqual(NFS.readdirSync(outside), [])
    })
  )

  test(
    "fault 19: a file that is a link is neither read nor written, nor made as an empty one",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      const secret = Path.join(outside, "secret")
      NFS.writeFileSync(secret, "secret")
      NFS.mkdirSync(root)
      NFS.symlinkSync(secret, Path.join(root, "f"))
      NFS.symlinkSync(Path.join(outside, "new"), Path.join(root, "empty"))
      const layout = layoutOf(4, ["f", 4], ["empty", 0])
      const torrent = yield* open(layout)

      const messages = yield* Effect.all([
        messageOf(write(torrent, layout, 0)),
        messageOf(torrent.readBlock(pieceOf(layout, 0), 0, 4)),
        messageOf(torrent.prepare([1]))
      ])

      for (const message of messages) assert.include(message, "a symbolic link is in the way of a file")
      assert.deepStrictEqual(NFS.readdirSync(outside), ["secret"])
      assert.strictEqual(NFS.readFileSync(secret, "utf8"), "secret")
    })
  )

  test(
    "fault 19: a link that leads nowhere is refused",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      NFS.mkdirSync(root)
      NFS.symlinkSync(Path.join(outside, "absent"), Path.join(root, "t"))
      const torrent = yield* open(three)

      const message = yield* messageOf(write(torrent, three, 0))

      assert.include(message, "a symbolic link leads nowhere")
      assert.deepStrictEqual(NFS.readdirSync(outside), [])
    })
  )

  test(
    "fault 19: a folder that is swapped for a link is noticed when the next file is opened",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      const layout = layoutOf(4, ["t/a", 4], ["t/b", 4])
      const torrent = yield* open(layout)
      yield* write(torrent, layout, 0)
      NFS.renameSync(Path.join(root, "t"), Path.join(root, "moved"))
      NFS.symlinkSync(outside, Path.join(root, "t"))

      const message = yield* messageOf(write(torrent, layout, 1))

      assert.include(message, "a symbolic link leads out of the download folder")
      assert.deepStrictEqual(NFS.readdirSync(outside), [])
    })
  )

  test(
    "follows a link that stays inside, and one that is the download folder",
    Effect.gen(function* () {
      const { outside, root } = yield* Disk
      NFS.symlinkSync(outside, root)
      NFS.mkdirSync(Path.join(outside, "inner"))
      NFS.symlinkSync("inner", Path.join(outside, "t"))
      const torrent = yield* open(three)

      yield* write(torrent, three, 0)

      assert.deepStrictEqual([...listFiles(Path.join(outside, "inner")).keys()].sort(), ["a/one", "a/two", "b/three"])
    })
  )
})

describe("FileSystemStorage and a disk that changes", () => {
  test(
    "fault 49: says which file is in the way of a folder, and goes on when it is gone",
    Effect.gen(function* () {
      const { root } = yield* Disk
      NFS.mkdirSync(root)
      NFS.writeFileSync(Path.join(root, "t"), "")
      const torrent = yield* open(layoutOf(4, ["t/a", 4]))
      const store = torrent.writePiece(pieceOf(three, 0), new Uint8Array(4).fill(1))
      const message = yield* messageOf(store)
      NFS.rmSync(Path.join(root, "t"))

      yield* store

      assert.include(message, "StorageRefused")
      assert.include(message, "a file is in the way of a folder")
      assert.deepStrictEqual(listFiles(root), new Map([["t/a", new Uint8Array(4).fill(1)]]))
    })
  )

  test(
    "fault 49: says that a folder is in the way of a file, to writers and readers",
    Effect.gen(function* () {
      const { root } = yield* Disk
      NFS.mkdirSync(Path.join(root, "t/a/one"), { recursive: true })
      const torrent = yield* open(three)

      const messages = yield* Effect.all([
        messageOf(write(torrent, three, 0)),
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

      const message = yield* messageOf(torrent.readBlock(pieceOf(layout, 0), 0, 4))

      assert.include(message, "it is not a regular file")
    })
  )

  test(
    "fault 49: a file that is deleted while it is open refuses what comes after the next look; other torrents go on",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* open(pair)
      const other = yield* open(three)
      yield* write(torrent, pair, 0)
      NFS.rmSync(Path.join(root, "t/first"))

      const refused = yield* messageOf(write(torrent, pair, 1))
      const again = yield* messageOf(write(torrent, pair, 0))
      const stored = yield* storedPieces(torrent, pair)
      yield* write(other, three, 0)

      assert.include(refused, "StorageRefused")
      assert.include(refused, "t/first: it was deleted while the torrent was open")
      assert.strictEqual(again, refused)
      assert.deepStrictEqual(stored, [])
    })
  )

  test(
    "fault 49: a flush tells that a file was deleted, before as much was written",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* open(three)
      yield* write(torrent, three, 0)
      NFS.rmSync(Path.join(root, "t/b/three"))

      const message = yield* messageOf(torrent.flush)

      assert.include(message, "t/b/three: it was deleted while the torrent was open")
    })
  )

  test(
    "fault 49: a file that was closed to make room and then deleted is not made anew",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const layout = layoutOf(4, ["t/a", 8], ["t/b", 4])
      const torrent = yield* open(layout)
      yield* write(torrent, layout, 0)
      yield* write(torrent, layout, 2)
      NFS.rmSync(Path.join(root, "t/a"))

      const message = yield* messageOf(write(torrent, layout, 1))

      assert.include(message, "t/a: it was deleted while the torrent was open")
      assert.deepStrictEqual([...listFiles(root).keys()], ["t/b"])
    }),
    { maxOpenFiles: 1 }
  )

  test(
    "fault 49: a file that is cut off refuses writes, and its bytes are not stored",
    Effect.gen(function* () {
      const { root } = yield* Disk
      const torrent = yield* open(pair)
      yield* write(torrent, pair, 0)
      NFS.truncateSync(Path.join(root, "t/first"), 100)

      const refused = yield* messageOf(write(torrent, pair, 1))
      const unread = yield* messageOf(torrent.readBlock(pieceOf(pair, 0), 90, 20))

      assert.include(refused, "t/first: it was cut off while the torrent was open")
      assert.include(unread, "NotStored")
    })
  )

  test(
    "does not take a file for cut off that grew while it was looked at",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const layout = layoutOf(checkInterval, ["f", 2 * checkInterval])
      const torrent = yield* open(layout)
      yield* write(torrent, layout, 0)
      const looking = yield* Deferred.make<() => void>()
      calls.hold = (operation, release) => {
        if (operation !== "fstat" || Deferred.isDoneUnsafe(looking)) return false
        return Deferred.doneUnsafe(looking, Effect.succeed(release))
      }
      const flushing = yield* Effect.forkChild(torrent.flush)
      const release = yield* Deferred.await(looking)
      yield* write(torrent, layout, 1)
      release()

      yield* Fiber.join(flushing)

      assert.deepStrictEqual(yield* storedPieces(torrent, layout), [0, 1])
    })
  )

  test(
    "fault 49: opened again, a torrent writes what is missing",
    Effect.gen(function* () {
      const { root } = yield* Disk
      yield* Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* open(three)
          yield* write(torrent, three, 0)
          NFS.rmSync(Path.join(root, "t"), { recursive: true })
          yield* Effect.flip(torrent.flush)
        })
      )
      const torrent = yield* open(three)

      yield* write(torrent, three, 0)

      assert.deepStrictEqual(yield* storedPieces(torrent, three), [0])
    })
  )

  test(
    "makes a folder again that was deleted before its file was made",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      const layout = layoutOf(4, ["t/a", 4], ["t/b", 4])
      const torrent = yield* open(layout)
      yield* write(torrent, layout, 0)
      calls.before = (operation, args) => {
        // After the folder was looked at, before the file is opened in it.
        if (operation !== "open" || !`${args[0]}`.endsWith("b")) return
        calls.before = undefined
        NFS.rmSync(Path.join(root, "t"), { recursive: true })
      }

      yield* write(torrent, layout, 1)

      assert.deepStrictEqual([...listFiles(root).keys()], ["t/b"])
    })
  )

  test(
    "fault 50: interrupted between two files, a piece is not reported as stored, and a digest says so",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      // More parts than are written at once, so that some have not begun.
      const many = layoutOf(12, ...Array.from({ length: 12 }, (_, index) => [`m/${index}`, 1] as const))
      const torrent = yield* open(many)
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

describe("FileSystemStorage and open files", () => {
  const hundred = layoutOf(7, ...Array.from({ length: 100 }, (_, index) => [`h/${index % 9}/${index}`, 10] as const))

  test(
    "never has more files open than it may",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(hundred)
      const content = contentOf(hundred)

      yield* Effect.forEach(piecesOf(hundred), (piece) => write(torrent, hundred, piece, content), { concurrency: 20 })
      yield* torrent.flush
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
          const torrent = yield* open(hundred)
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
    "fault 56: closes idle files when the process has no descriptors left, and tries again",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(hundred)
      calls.failWhen = (operation) => (operation === "open" && calls.openNow() >= 3 ? "EMFILE" : undefined)

      yield* Effect.forEach(piecesOf(hundred), (piece) => write(torrent, hundred, piece))

      assert.strictEqual(calls.openMost(), 3)
    })
  )

  test(
    "fault 56: fails with a reason that may pass when there is nothing to close",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* open(three)
      calls.failWhen = (operation) => (operation === "open" ? "EMFILE" : undefined)

      const message = yield* messageOf(write(torrent, three, 0))

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

  it("law: interrupted anywhere, no descriptor stays open", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.nat(hundred.geometry.pieceCount - 1),
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
            const torrent = yield* Scope.provide(open(hundred), scope)
            const run = (index: number, kind: string): Effect.Effect<unknown, StorageError> =>
              kind === "write"
                ? write(torrent, hundred, index)
                : kind === "read"
                  ? torrent.readBlock(pieceOf(hundred, index), 0, 3)
                  : kind === "flush"
                    ? torrent.flush
                    : Stream.runDrain(torrent.digests(piecesOf(hundred)))
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
      { numRuns: 60 }
    ))
})
