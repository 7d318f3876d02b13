import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as SafePath from "../../src/metainfo/SafePath.ts"
import * as NodePieceHasher from "../../src/piece/NodePieceHasher.ts"
import * as DownloadFolder from "../../src/storage/DownloadFolder.ts"
import * as FileNames from "../../src/storage/FileNames.ts"
import * as FileSystemStorage from "../../src/storage/FileSystemStorage.ts"
import { type NodeFileSystem, nodeFileSystem } from "../../src/storage/NodeFile.ts"
import { listFiles, makeCalls, temporaryFolder } from "./disk.ts"
import { foldingFileSystem, hasNtfs, ntfs } from "./foldingDisk.ts"
import { contentOf, piecesOf, sliceOf } from "./layouts.ts"
import { claim, infoHashOf, store } from "./openings.ts"

/** The layout of a torrent with these files, of 8 bytes each. */
const layoutOf = (...paths: ReadonlyArray<string>): FileLayout.FileLayout =>
  FileLayout.make({
    pieceLength: 20,
    files: Result.getOrThrow(SafePath.sanitize(paths.map((path) => path.split("/")))).map((names) => ({
      ...names,
      length: 8
    }))
  })

interface Place {
  readonly root: string
  readonly fs: NodeFileSystem
}

const caseSensitive = Effect.map(temporaryFolder, (root): Place => ({ root, fs: nodeFileSystem }))
const folding = Effect.map(temporaryFolder, (root): Place => ({ root, fs: foldingFileSystem(root) }))
const windows = Effect.map(ntfs, (root): Place => ({ root, fs: nodeFileSystem }))

const namesOn = ({ fs, root }: Place, layout: FileLayout.FileLayout) =>
  FileNames.make({ fs, folder: DownloadFolder.make(fs, root), layout })

/** Every file's name, asked in the order given. */
const resolveAll = (
  place: Place,
  layout: FileLayout.FileLayout,
  access: "read" | "create",
  order: ReadonlyArray<number> = [...layout.files.keys()]
) => {
  const names = namesOn(place, layout)
  return Effect.map(
    Effect.forEach(order, (index) =>
      Effect.map(names.resolve(index, access), ({ path }) => [index, path.join("/")] as const)
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

const clashing = [
  "t/ReadMe.txt",
  "t/readme.txt",
  "t/README.TXT",
  "t/Dir/x",
  "t/dir/X",
  "t/make",
  "t/Make/y",
  "t/é",
  "t/e\u0301"
]
const portable = [
  ...["t/ReadMe.txt", "t/readme.1.txt", "t/README.2.TXT", "t/Dir/x", "t/dir/X.1", "t/make.1", "t/Make/y", "t/é"],
  "t/e\u0301.1"
]

describe("where names are told apart", () => {
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
    "hard links of one file are files of their own names",
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
      yield* names.resolve(1, "create")

      put(place, "t/A")

      assert.deepStrictEqual((yield* names.resolve(1, "read")).path, ["t", "A.1"])
    })
  )

  test(
    "a torrent without rivals asks the disk nothing",
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const calls = makeCalls()
      const layout = layoutOf("t/a", "t/b")

      yield* resolveAll({ root, fs: calls.fs }, layout, "read")
      const made = yield* namesOn({ root, fs: calls.fs }, layout).resolve(0, "create")

      assert.deepStrictEqual(made, { path: ["t", "a"], isMade: false })
      assert.strictEqual(calls.count("lstatExact") + calls.count("realpath") + calls.count("open"), 0)
    })
  )
})

const blind = (kind: string, place: Effect.Effect<Place, never, Scope.Scope>, isHere: boolean) =>
  describe.skipIf(!isHere)(`where names are not told apart (${kind})`, () => {
    test(
      "only the first of them gets its name, whatever the order",
      Effect.gen(function* () {
        const layout = layoutOf(...clashing.slice(0, 8))
        for (const order of [undefined, [...layout.files.keys()].reverse()]) {
          const at = yield* place

          assert.deepStrictEqual(yield* resolveAll(at, layout, "create", order), portable.slice(0, 8))
          assert.deepStrictEqual(yield* resolveAll(at, layout, "read"), portable.slice(0, 8))
          // Those without a rival are made by whoever opens them.
          assert.strictEqual(listFiles(at.root).size, 6)
        }
      })
    )

    test(
      "a file that is missing is not taken for its rival",
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
      "names that it cannot hold are made portable",
      Effect.gen(function* () {
        const at = yield* place
        const layout = layoutOf("t/what?", "t/a:b/c", "t/end.", "t/plain")

        assert.deepStrictEqual(yield* resolveAll(at, layout, "create"), ["t/what_", "t/a_b/c", "t/end", "t/plain"])
        assert.deepStrictEqual(yield* resolveAll(at, layout, "read"), ["t/what_", "t/a_b/c", "t/end", "t/plain"])
      })
    )

    test(
      "a torrent is written and read back, all files at once",
      Effect.gen(function* () {
        const { fs, root } = yield* place
        const layout = layoutOf(...clashing.slice(0, 8), "t/a:b", "t/a_b")
        const content = contentOf(layout)
        const storage = yield* FileSystemStorage.make({ directory: root }, fs)
        for (const step of ["write", "read"] as const) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const torrent = yield* storage.open({ infoHash: infoHashOf(layout), layout })
              if (step === "write") yield* claim(torrent, layout, "new")
              yield* Effect.forEach(
                piecesOf(layout),
                (piece) =>
                  step === "write"
                    ? torrent.writePiece(piece, sliceOf(layout, content, piece))
                    : Effect.map(torrent.readBlock(piece, 0, sliceOf(layout, content, piece).length), ({ bytes }) =>
                        assert.deepStrictEqual(bytes, sliceOf(layout, content, piece))
                      ),
                { concurrency: "unbounded" }
              )
            })
          )
        }
        assert.deepStrictEqual(
          [...listFiles(root).values()].map((bytes) => bytes.length),
          layout.files.map(() => 8)
        )
      }).pipe(Effect.provide(NodePieceHasher.layer))
    )
  })

describe("a skipped file whose name clashes", () => {
  test(
    "is set aside and brought back beside the other one",
    Effect.gen(function* () {
      const { fs, root } = yield* folding
      const layout = layoutOf("t/wanted", "t/a", "t/A")
      const content = contentOf(layout)
      const storage = yield* FileSystemStorage.make({ directory: root }, fs)
      const torrent = yield* storage.open({ infoHash: infoHashOf(layout), layout })
      yield* torrent.prepare([0])
      yield* store(torrent, layout)
      assert.deepStrictEqual([...listFiles(root).keys()].sort(), [
        ".piecewise/parts/t/a",
        ".piecewise/parts/t/a.1",
        "t/wanted"
      ])

      yield* torrent.prepare([0, 1, 2])

      assert.deepStrictEqual(
        [...listFiles(root)].sort(([a], [b]) => (a < b ? -1 : 1)),
        [
          ["t/a", content.slice(8, 16)],
          ["t/a.1", content.slice(16)],
          ["t/wanted", content.slice(0, 8)]
        ]
      )
    }).pipe(Effect.provide(NodePieceHasher.layer))
  )
})

blind("folded calls", folding, true)
blind("NTFS", windows, hasNtfs)
