/** The storage over the real daemon. Each test has a daemon of its own. */
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as IoDaemonProcess from "../../src/io-daemon/node/IoDaemonProcess.ts"
import * as NodeIoDaemon from "../../src/node/NodeIoDaemon.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import { Storage, type TorrentStorage } from "../../src/storage/Storage.ts"
import { MediumFiles } from "../../src/testing/suite/MediumFiles.ts"
import * as Daemon from "../io-daemon/daemon.ts"
import { filesIn, listFiles, temporaryFolder } from "./disk.ts"
import { fold, hasNtfs, ntfs } from "./foldingDisk.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import * as Names from "./Names.suite.ts"
import { claim, open, openToWrite, store } from "./openings.ts"
import * as SkippedFiles from "./SkippedFiles.suite.ts"
import * as Suite from "./Storage.suite.ts"

const root = "downloads"

/** A daemon whose root is a folder below a fresh one, and a storage in it. */
const layerBelow = (fresh: Effect.Effect<string, never, Scope.Scope>) =>
  Layer.unwrap(
    Effect.map(fresh, (folder) => {
      const directory = Path.join(folder, root)
      const files = Layer.succeed(MediumFiles, MediumFiles.of(filesIn(directory)))
      const place = Layer.succeed(SkippedFiles.DownloadFolder, SkippedFiles.DownloadFolder.of({ folder: directory }))
      const storage = NodeIoDaemon.layerStorage({ root })
      return Layer.mergeAll(storage, files, place).pipe(Layer.provideMerge(Daemon.layer({ [root]: directory })))
    })
  )

const layer = layerBelow(temporaryFolder)

/** A storage through a daemon that can be killed. */
const mortalStorage = (program: string, directory: string) =>
  NodeIoDaemon.layerStorage({ root }).pipe(
    Layer.provide(Layer.orDie(IoDaemonProcess.layer({ program, roots: { [root]: directory } })))
  )

Daemon.live("storage through the daemon", () => {
  Suite.suite("io-daemon", layer)
  SkippedFiles.suite("io-daemon", layer)
  Names.distinct("io-daemon", layer)
  describe.skipIf(!hasNtfs)("on NTFS", () => Names.alike("io-daemon", layerBelow(ntfs), fold))

  it.live("a recheck moves digests, not data", () =>
    Effect.gen(function* () {
      const layout = layoutOf(1_048_576, ["t/a", 40_000_000], ["t/b", 5_000_000])
      const content = contentOf(layout)
      const torrent = yield* open(layout)
      yield* store(torrent, layout, content)

      const digests = yield* Stream.runCollect(torrent.digests(piecesOf(layout)))
      const stats = yield* Daemon.stats

      assert.strictEqual(digests.filter(({ sha1 }) => sha1 !== undefined).length, 43)
      assert.deepStrictEqual([stats.digestedBytes, stats.readBytes], [45_000_000, 0])
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.live("a digest that does not match touches no file, however many the piece spans", () =>
    Effect.gen(function* () {
      const layout = layoutOf(300, ...Array.from({ length: 300 }, (_, index) => [`t/${index}`, 1] as const))
      const torrent = yield* openToWrite(layout)

      const error = yield* Effect.flip(
        torrent.writePiece(pieceOf(layout, 0), new Uint8Array(300).fill(1), new Uint8Array(20))
      )

      assert.strictEqual(error.reason._tag, "DigestMismatch")
      const files = yield* (yield* MediumFiles).list
      assert.isTrue([...files.values()].every((bytes) => bytes.length === 0))
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  const { a, abc, b, c, matching, read, right, run, write } = SkippedFiles

  it.live("a skipped file stays aside and is moved to its place whenever the daemon is killed", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const directory = Path.join(folder, root)
      const names = () => [...listFiles(directory).keys()].sort()
      const daemon = Daemon.mortal(folder)
      yield* Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        daemon.kill()
        yield* write(torrent, abc, 1)
        daemon.kill()
        yield* write(torrent, abc, 2)
        const before = names()
        daemon.kill()
        const block = yield* read(torrent, abc, 2)
        daemon.kill()
        yield* torrent.prepare([a, b])
        daemon.kill()
        yield* write(torrent, abc, 0)
        yield* write(torrent, abc, 3)

        assert.deepStrictEqual(before, [".piecewise/parts/t/b/b", ".piecewise/parts/t/b/c", "t/a"])
        assert.deepStrictEqual(block, right(abc, 2))
        assert.deepStrictEqual(names(), [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
        assert.deepStrictEqual(yield* matching(torrent, abc), [0, 1, 2, 3])
        assert.strictEqual(daemon.pids().length, 6)
      }).pipe(Effect.provide(mortalStorage(daemon.program, directory)))
    }).pipe(Effect.scoped)
  )

  it.live("the next daemon moves all files that were being moved when the daemon was killed", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const directory = Path.join(folder, root)
      const daemon = Daemon.mortal(folder)
      const entries = Array.from({ length: 2_000 }, (_, index) => [`t/${index % 50}/${index}`, 4] as const)
      const layout = layoutOf(64, ["t/wanted", 4], ...entries)
      yield* Effect.gen(function* () {
        const torrent = yield* open(layout)
        yield* torrent.prepare([0])
        yield* store(torrent, layout)

        const preparing = yield* Effect.forkChild(torrent.prepare(layout.files.keys().toArray()))
        while (!NFS.existsSync(Path.join(directory, "t", "0"))) yield* Effect.sleep("1 millis")
        daemon.kill()
        const left = [...listFiles(directory).keys()].filter((name) => name.startsWith(".piecewise/")).length
        yield* Fiber.join(preparing)

        assert.isAbove(left, 0)
        assert.deepStrictEqual(
          [...listFiles(directory).keys()].sort(),
          layout.files.map(({ path }) => path.join("/")).sort()
        )
        assert.strictEqual((yield* matching(torrent, layout)).length, layout.geometry.pieceCount)
      }).pipe(Effect.provide(mortalStorage(daemon.program, directory)))
    }).pipe(Effect.scoped)
  )

  const twoPieces = layoutOf(4, ["t/a", 8])

  it.live("a killed daemon loses no claimed file, and the next one finds files that were taken meanwhile", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const directory = Path.join(folder, root)
      const daemon = Daemon.mortal(folder)
      const layout = layoutOf(4, ["t/kept", 8], ["t/gone", 8], ["t/replaced", 8], ["t/cut", 8])
      const writeTo = (torrent: TorrentStorage, index: number) =>
        torrent.writePiece(pieceOf(layout, index), sliceOf(layout, contentOf(layout), pieceOf(layout, index)))
      yield* Effect.gen(function* () {
        const torrent = yield* open(layout)
        yield* claim(torrent, layout, "new")
        for (const index of [0, 2, 4, 6]) yield* writeTo(torrent, index)
        daemon.kill()
        const files = filesIn(directory)
        yield* files.remove("t/gone")
        yield* files.replace("t/replaced")
        yield* files.cut("t/cut", 2)

        yield* writeTo(torrent, 1)
        const reasons = yield* Effect.forEach([3, 5, 7], (index) =>
          Effect.map(Effect.flip(writeTo(torrent, index)), ({ message, reason }) => `${reason._tag}: ${message}`)
        )
        const flushed = yield* torrent.flush([0, 1, 2, 3])

        const sentence = (name: string, what: string) =>
          `FileChanged: ${root}/t/${name} ${what} while the torrent was open`
        assert.deepStrictEqual(reasons, [
          sentence("gone", "was deleted"),
          sentence("replaced", "was replaced"),
          sentence("cut", "was cut off")
        ])
        assert.deepStrictEqual(
          flushed.map((one) => ("facts" in one ? one.facts.length : one.reason._tag)),
          [8, "FileChanged", "FileChanged", "FileChanged"]
        )
        assert.deepStrictEqual([...listFiles(directory).keys()].sort(), ["t/cut", "t/kept", "t/replaced"])
        assert.strictEqual(listFiles(directory).get("t/cut")!.length, 2)
      }).pipe(Effect.provide(mortalStorage(daemon.program, directory)))
    }).pipe(Effect.scoped)
  )

  it.live("a daemon killed before each step of a torrent does not change how it ends", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const directory = Path.join(folder, root)
      const daemon = Daemon.mortal(folder)
      yield* Effect.gen(function* () {
        const torrent = yield* open(twoPieces)
        const other = yield* open(layoutOf(4, ["T/A", 8]))
        const content = contentOf(twoPieces)
        yield* torrent.look([0])
        daemon.kill()
        yield* torrent.reserve([0])
        daemon.kill()
        yield* torrent.claim([{ file: 0, as: "new" }])
        const held = yield* Effect.flip(other.reserve([0]))
        daemon.kill()
        yield* torrent.writePiece(pieceOf(twoPieces, 0), content.slice(0, 4))
        daemon.kill()
        yield* torrent.rename(0, ["u", "b"])
        daemon.kill()
        yield* torrent.writePiece(pieceOf(twoPieces, 1), content.slice(4))
        daemon.kill()
        const [flushed] = yield* torrent.flush([0])
        daemon.kill()
        const { bytes, files } = yield* torrent.readBlock(pieceOf(twoPieces, 0), 0, 4)
        const before = [...listFiles(directory)]
        daemon.kill()
        yield* torrent.remove([0])
        daemon.kill()
        yield* torrent.release([0])

        assert.strictEqual(held.reason._tag, "WriterConflict")
        assert.deepStrictEqual(before, [["u/b", content]])
        assert.deepStrictEqual(bytes, content.slice(0, 4))
        assert.deepStrictEqual(flushed, { file: 0, facts: files[0]! })
        assert.deepStrictEqual([...listFiles(directory).keys()], [])
      }).pipe(Effect.provide(mortalStorage(daemon.program, directory)))
    }).pipe(Effect.scoped)
  )

  const places = [
    ["names are told apart", temporaryFolder],
    ...(hasNtfs ? [["they are not", ntfs] as const] : [])
  ] as const
  it.live.each(places)("the daemon after a killed one finds files under the names they have, if %s", ([, place]) =>
    Effect.gen(function* () {
      const daemon = Daemon.mortal(yield* temporaryFolder)
      const directory = Path.join(yield* place, root)
      const folder = SkippedFiles.DownloadFolder.of({ folder: directory })
      const layout = Names.layoutOf("t/a", "t/A", "t/x:y", "t/b\u200bc")
      yield* Effect.gen(function* () {
        for (const path of ["t/A.1", "t/x_y", "t/b\u200bc"]) yield* Names.put(path, "whatever")
        const torrent = yield* open(layout)
        yield* claim(torrent, layout)
        yield* torrent.writePiece(pieceOf(layout, 0), sliceOf(layout, contentOf(layout), pieceOf(layout, 0)))
        daemon.kill()
        if (place === temporaryFolder) for (const path of ["t/A", "t/x:y", "t/bc"]) yield* Names.put(path, "of others")

        yield* torrent.writePiece(pieceOf(layout, 1), sliceOf(layout, contentOf(layout), pieceOf(layout, 1)))
        const flushed = yield* torrent.flush([0, 1, 2, 3])

        const stored = ["t/a", place === temporaryFolder ? "t/A.1" : "t/a.1", "t/x_y", "t/b\u200bc"]
        assert.deepStrictEqual(yield* Names.foundAt(torrent, layout), stored)
        assert.isTrue(flushed.every((one) => "facts" in one))
        assert.deepStrictEqual(
          Buffer.concat(stored.map((path) => listFiles(directory).get(path)!)),
          Buffer.from(contentOf(layout))
        )
      }).pipe(
        Effect.scoped,
        Effect.provide(mortalStorage(daemon.program, directory)),
        Effect.provideService(SkippedFiles.DownloadFolder, folder)
      )
    }).pipe(Effect.scoped)
  )

  it.live("a restarted program takes its files over from what it left behind", () =>
    Effect.gen(function* () {
      const content = contentOf(twoPieces)
      const write = (torrent: TorrentStorage) => torrent.writePiece(pieceOf(twoPieces, 0), content.slice(0, 4))
      const before = yield* openToWrite(twoPieces)
      yield* write(before)
      const twice = yield* open(twoPieces)
      const same = yield* Effect.flip(twice.reserve([0]))

      // As after the reload of a page: the same torrent, the same daemon, and another program.
      const another = yield* Layer.build(Layer.fresh(NodeIoDaemon.layerStorage({ root })))
      const reloaded = yield* Effect.provideContext(open(twoPieces), another)
      yield* claim(reloaded, twoPieces)
      yield* write(reloaded)
      const late = yield* Effect.flip(write(before))
      const { bytes } = yield* before.readBlock(pieceOf(twoPieces, 0), 0, 4)
      yield* write(reloaded)

      assert.match(same.message, /is being written by another torrent of this process$/)
      assert.match(late.message, /is being written by another process$/)
      assert.deepStrictEqual([same.operation, late.operation], ["reserve", "write"])
      assert.deepStrictEqual(bytes, content.slice(0, 4))
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  /** The first storage, and the one that continues, in one folder. */
  const inTurn = Effect.fnUntraced(function* (first: "the file system" | "the daemon") {
    const { folder } = yield* SkippedFiles.DownloadFolder
    const daemon = yield* Storage
    const files = yield* Effect.provide(FileSystemStorage.make({ directory: folder }), NodePieceHasher.layer)
    const [begun, other] = first === "the daemon" ? [daemon, files] : [files, daemon]
    return { begun, folder, other }
  })

  it.live.each(["the file system", "the daemon"] as const)(
    "a download that was begun with %s continues with the other",
    (first) =>
      Effect.gen(function* () {
        const { begun, folder, other } = yield* inTurn(first)
        const names = () => [...listFiles(folder).keys()].sort()

        yield* Effect.provideService(
          run([a], (torrent) => write(torrent, abc, 1)),
          Storage,
          begun
        )
        const before = names()
        const stored = yield* Effect.provideService(
          run([a], (torrent) => Effect.andThen(write(torrent, abc, 2), matching(torrent, abc))),
          Storage,
          other
        )
        const between = names()
        yield* Effect.provideService(
          run([a, b, c], () => Effect.void),
          Storage,
          other
        )

        assert.deepStrictEqual(before, [".piecewise/parts/t/b/b", "t/a"])
        assert.deepStrictEqual(between, [".piecewise/parts/t/b/b", ".piecewise/parts/t/b/c", "t/a"])
        assert.deepStrictEqual(stored, [1, 2])
        assert.deepStrictEqual(names(), ["t/a", "t/b/b", "t/b/c"])
      }).pipe(Effect.provide(layer))
  )

  it.live.each(["the file system", "the daemon"] as const)(
    "names that %s gave to files are those that the other finds",
    (first) =>
      Effect.gen(function* () {
        const { begun, folder, other } = yield* inTurn(first)
        const layout = Names.layoutOf(...Names.clashing, "t/x:y")
        const through = (storage: Storage["Service"], pieces: ReadonlyArray<PieceIndex>) =>
          Effect.flatMap(open(layout), (torrent) =>
            Effect.andThen(store(torrent, layout, contentOf(layout), pieces), Names.foundAt(torrent, layout))
          ).pipe(Effect.scoped, Effect.provideService(Storage, storage))

        const before = yield* through(begun, piecesOf(layout).slice(0, 2))
        const after = yield* through(other, piecesOf(layout))

        assert.deepStrictEqual(before, [...Names.clashing.slice(0, 5), ...Array.from({ length: 5 }, () => undefined)])
        assert.deepStrictEqual(after, [...Names.clashing, "t/x:y"])
        assert.deepStrictEqual(
          Buffer.concat(layout.files.map(({ path }) => listFiles(folder).get(path.join("/"))!)),
          Buffer.from(contentOf(layout))
        )
      }).pipe(Effect.provide(layer))
  )
})
