import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import type * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as Folder from "../../src/storage/provider/node/DownloadFolder.ts"
import * as FileNames from "../../src/storage/provider/node/FileNames.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import { type NodeFileSystem, nodeFileSystem } from "../../src/storage/provider/node/NodeFile.ts"
import { Storage } from "../../src/storage/Storage.ts"
import { listFiles, makeCalls, temporaryFolder } from "./disk.ts"
import { fold, foldingFileSystem, hasNtfs, ntfs } from "./foldingDisk.ts"
import * as Names from "./Names.suite.ts"
import { clashing, layoutOf, portable } from "./Names.suite.ts"
import { DownloadFolder } from "./SkippedFiles.suite.ts"

interface Place {
  readonly root: string
  readonly fs: NodeFileSystem
}

const caseSensitive = Effect.map(temporaryFolder, (root): Place => ({ root, fs: nodeFileSystem }))
const folding = Effect.map(temporaryFolder, (root): Place => ({ root, fs: foldingFileSystem(root) }))
const windows = Effect.map(ntfs, (root): Place => ({ root, fs: nodeFileSystem }))

const namesOn = ({ fs, root }: Place, layout: FileLayout.FileLayout) =>
  FileNames.make({ fs, folder: Folder.make(fs, root), layout })

/** Every file's name, resolved in the given order. */
const resolveAll = (
  place: Place,
  layout: FileLayout.FileLayout,
  access: "read" | "create",
  order: ReadonlyArray<number> = [...layout.files.keys()]
) => {
  const names = namesOn(place, layout)
  return Effect.map(
    Effect.forEach(order, (index) =>
      Effect.map(FileNames.resolve(names, index, access), ({ path }) => [index, path.join("/")] as const)
    ),
    (found) => found.sort(([a], [b]) => a - b).map(([, path]) => path)
  )
}

const put = ({ root }: Place, ...paths: ReadonlyArray<string>) => {
  for (const path of paths) {
    NFS.mkdirSync(Path.dirname(Path.join(root, path)), { recursive: true })
    NFS.writeFileSync(Path.join(root, path), path)
  }
}

const test = (title: string, effect: Effect.Effect<void, unknown, Scope.Scope>) => it.live(title, () => effect)

describe("while another file makes a folder that is a rival", () => {
  test(
    "a file does not take that folder for itself",
    Effect.gen(function* () {
      const { fs, root } = yield* folding
      const layout = layoutOf("t/Make/y", "t/make")
      NFS.mkdirSync(Path.join(root, "t"))
      // The folder appears right after it was looked for, and before the name of the file is.
      const racing: NodeFileSystem = {
        ...fs,
        lstatExact: (path, done) =>
          fs.lstatExact(path, (error, stats) => {
            if (path.endsWith("/Make")) NFS.mkdirSync(Path.join(root, "t", "make"), { recursive: true })
            done(error, stats)
          })
      }

      const { isMade, path } = yield* FileNames.resolve(namesOn({ root, fs: racing }, layout), 1, "create")

      assert.isTrue(isMade)
      assert.notDeepEqual(path, ["t", "make"])
    })
  )
})

describe("on a file system that distinguishes names", () => {
  test(
    "files are made under their own names, whatever the order",
    Effect.gen(function* () {
      const layout = layoutOf(...clashing)
      for (const order of [undefined, [...layout.files.keys()].reverse()]) {
        const place = yield* caseSensitive

        assert.deepStrictEqual(yield* resolveAll(place, layout, "create", order), clashing)
        assert.deepStrictEqual(
          [...listFiles(place.root).keys()].sort(),
          clashing.filter((path) => path !== "t/Make/y").sort()
        )
      }
    })
  )

  test(
    "existing files are found under either name, their own first",
    Effect.gen(function* () {
      const place = yield* caseSensitive
      const layout = layoutOf("t/a", "t/A", "t/x:y", "t/b\\c")
      assert.deepStrictEqual(yield* resolveAll(place, layout, "read"), ["t/a", "t/A", "t/x:y", "t/bc"])

      put(place, "t/A.1", "t/x_y", "t/b\\c")
      assert.deepStrictEqual(yield* resolveAll(place, layout, "read"), ["t/a", "t/A.1", "t/x_y", "t/b\\c"])
      assert.deepStrictEqual(yield* resolveAll(place, layout, "create"), ["t/a", "t/A.1", "t/x_y", "t/b\\c"])

      put(place, "t/A", "t/x:y", "t/bc")
      assert.deepStrictEqual(yield* resolveAll(place, layout, "read"), ["t/a", "t/A", "t/x:y", "t/bc"])
    })
  )

  test(
    "hard links of one file are files with their own names",
    Effect.gen(function* () {
      const place = yield* caseSensitive
      put(place, "t/a")
      NFS.linkSync(Path.join(place.root, "t/a"), Path.join(place.root, "t/A"))

      assert.deepStrictEqual(yield* resolveAll(place, layoutOf("t/a", "t/A"), "read"), ["t/a", "t/A"])
    })
  )

  test(
    "a file keeps the name it was made with while the torrent is open",
    Effect.gen(function* () {
      const place = yield* caseSensitive
      const names = namesOn(place, layoutOf("t/a", "t/A"))
      put(place, "t/A.1")
      yield* FileNames.resolve(names, 1, "create")

      put(place, "t/A")

      assert.deepStrictEqual((yield* FileNames.resolve(names, 1, "read")).path, ["t", "A.1"])
    })
  )

  test(
    "a torrent without rivals makes no call to the disk",
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const calls = makeCalls()
      const layout = layoutOf("t/a", "t/b")

      yield* resolveAll({ root, fs: calls.fs }, layout, "read")
      const made = yield* FileNames.resolve(namesOn({ root, fs: calls.fs }, layout), 0, "create")

      assert.deepStrictEqual(made, { path: ["t", "a"], isMade: false })
      assert.strictEqual(calls.count("lstatExact") + calls.count("realpath") + calls.count("open"), 0)
    })
  )
})

const blind = (kind: string, place: Effect.Effect<Place, never, Scope.Scope>, isHere: boolean) =>
  describe.skipIf(!isHere)(`on a file system that does not distinguish names (${kind})`, () => {
    test(
      "only the first of them gets its name, whatever the order",
      Effect.gen(function* () {
        const layout = layoutOf(...clashing.slice(0, 8))
        for (const order of [undefined, [...layout.files.keys()].reverse()]) {
          const at = yield* place

          assert.deepStrictEqual(yield* resolveAll(at, layout, "create", order), portable.slice(0, 8))
          assert.deepStrictEqual(yield* resolveAll(at, layout, "read"), portable.slice(0, 8))
          // Files without a rival are made when they are opened.
          assert.strictEqual(listFiles(at.root).size, 6)
        }
      })
    )

    test(
      "a missing file is not confused with its rival",
      Effect.gen(function* () {
        const at = yield* place
        const layout = layoutOf("t/a", "t/A")
        const [a, b] = yield* resolveAll(at, layout, "create")
        assert.deepStrictEqual([a, b], ["t/a", "t/A.1"])
        yield* Effect.callback<void>((resume) => at.fs.unlink(Path.join(at.root, "t/A.1"), () => resume(Effect.void)))

        assert.deepStrictEqual(yield* resolveAll(at, layout, "read"), ["t/a", "t/A.1"])
      })
    )

    test(
      "names that the disk cannot hold are made portable",
      Effect.gen(function* () {
        const at = yield* place
        const layout = layoutOf("t/what?", "t/a:b/c", "t/end.", "t/plain")

        assert.deepStrictEqual(yield* resolveAll(at, layout, "create"), ["t/what_", "t/a_b/c", "t/end", "t/plain"])
        assert.deepStrictEqual(yield* resolveAll(at, layout, "read"), ["t/what_", "t/a_b/c", "t/end", "t/plain"])
      })
    )
  })

blind("folded calls", folding, true)
blind("NTFS", windows, hasNtfs)

/** A storage in a fresh place, and its path. */
const storageIn = (place: Effect.Effect<Place, never, Scope.Scope>) =>
  Layer.unwrap(
    Effect.map(place, ({ fs, root }) =>
      Layer.mergeAll(
        Layer.effect(Storage, FileSystemStorage.make({ directory: root }, fs)).pipe(
          Layer.provide(NodePieceHasher.layer)
        ),
        Layer.succeed(DownloadFolder, DownloadFolder.of({ folder: root }))
      )
    )
  )

Names.distinct("file system", storageIn(caseSensitive))
Names.alike("folded calls", storageIn(folding), fold)
describe.skipIf(!hasNtfs)("on NTFS", () => Names.alike("file system", storageIn(windows), fold))
