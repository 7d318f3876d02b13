/**
 * The names under which a medium that keeps torrents as files finds and makes them. A medium passes if it runs these
 * with its own layers: `distinct` on a file system that distinguishes all names, `alike` on one that does not.
 */
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as SafePath from "../../src/metainfo/SafePath.ts"
import type { Storage, TorrentStorage } from "../../src/storage/Storage.ts"
import { listFiles } from "./disk.ts"
import { contentOf, piecesOf, sliceOf } from "./layouts.ts"
import { claim, open, realFiles, store } from "./openings.ts"
import { DownloadFolder } from "./SkippedFiles.suite.ts"

/** The layout of a torrent with these files, of 8 bytes each. */
export const layoutOf = (...paths: ReadonlyArray<string>): FileLayout.FileLayout =>
  FileLayout.make({
    pieceLength: 20,
    files: Result.getOrThrow(SafePath.sanitize(paths.map((path) => path.split("/")))).map((names) => ({
      ...names,
      length: 8
    }))
  })

/** Files whose names only some file systems distinguish. */
export const clashing = [
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

/** The same files on a file system that does not distinguish their names. */
export const portable = [
  ...["t/ReadMe.txt", "t/readme.1.txt", "t/README.2.TXT", "t/Dir/x", "t/dir/X.1", "t/make.1", "t/Make/y", "t/é"],
  "t/e\u0301.1"
]

type Medium = Storage | DownloadFolder

/** Puts a file below the download folder, as a user does. */
export const put = (path: string, content: string | Uint8Array = path) =>
  Effect.map(DownloadFolder, ({ folder }) => {
    const place = Path.join(folder, path)
    NFS.mkdirSync(Path.dirname(place), { recursive: true })
    NFS.writeFileSync(place, content)
  })

// ntfs-3g keeps a file that was deleted while open under such a name until it is closed.
const ghost = /\/\.ghost-ntfs-3g-\d+$/

const list = Effect.map(DownloadFolder, ({ folder }) => {
  return new Map([...listFiles(folder)].filter(([path]) => !ghost.test(path)))
})

const names = Effect.map(list, (files) => [...files.keys()].sort())

/** The path at which each file is found; `undefined` if it is not. */
export const foundAt = Effect.fnUntraced(function* (torrent: TorrentStorage, layout: FileLayout.FileLayout) {
  const { folder } = yield* DownloadFolder
  const paths = new Map(
    (yield* names).map((path) => {
      const { dev, ino } = NFS.lstatSync(Path.join(folder, path), { bigint: true })
      return [`${dev}:${ino}`, path]
    })
  )
  return (yield* torrent.look(realFiles(layout))).map((facts) => {
    return facts && paths.get(facts.identity.split(":").slice(0, 2).join(":"))
  })
})

/** What is at each path once all of a torrent is stored there. */
const contents = (
  layout: FileLayout.FileLayout,
  paths: ReadonlyArray<string>
): ReadonlyArray<readonly [string, Uint8Array]> =>
  layout.files
    .map(({ length, offset }, index) => [paths[index]!, contentOf(layout).slice(offset, offset + length)] as const)
    .sort(byPath)

const byPath = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1)

const listed = Effect.map(list, (files): ReadonlyArray<readonly [string, Uint8Array]> => [...files].sort(byPath))

const runner =
  <E>(layer: Layer.Layer<Medium, E>) =>
  (title: string, effect: Effect.Effect<void, unknown, Medium | Scope.Scope>) =>
    it.live(title, () => Effect.provide(Effect.scoped(effect), layer))

/** Each test gets a fresh medium, which distinguishes all names. */
export const distinct = <E>(name: string, layer: Layer.Layer<Medium, E>): void => {
  const test = runner(layer)
  describe(`names that are distinguished (${name})`, () => {
    for (const order of ["in order", "backwards"] as const) {
      test(
        `are those under which files are made, ${order}`,
        Effect.gen(function* () {
          const layout = layoutOf(...clashing)
          const torrent = yield* open(layout)
          const files = realFiles(layout)

          yield* claim(torrent, layout, "new", order === "in order" ? files : files.toReversed())
          yield* store(torrent, layout)

          assert.deepStrictEqual(yield* listed, contents(layout, clashing))
          assert.deepStrictEqual(yield* foundAt(torrent, layout), clashing)
        })
      )
    }

    test(
      "are preferred to others under which a file exists",
      Effect.gen(function* () {
        const layout = layoutOf("t/a", "t/A", "t/x:y", "t/b\u200bc")
        const torrent = yield* open(layout)
        assert.deepStrictEqual(yield* foundAt(torrent, layout), [undefined, undefined, undefined, undefined])

        for (const path of ["t/A.1", "t/x_y", "t/b\u200bc"]) yield* put(path)
        assert.deepStrictEqual(yield* foundAt(torrent, layout), [undefined, "t/A.1", "t/x_y", "t/b\u200bc"])

        for (const path of ["t/A", "t/x:y", "t/bc"]) yield* put(path)
        assert.deepStrictEqual(yield* foundAt(torrent, layout), [undefined, "t/A", "t/x:y", "t/bc"])
      })
    )

    test(
      "are those of hard links of one file, each of which is written as a file of its own",
      Effect.gen(function* () {
        const layout = layoutOf("t/a", "t/A")
        const { folder } = yield* DownloadFolder
        yield* put("t/a", "whatever")
        NFS.linkSync(Path.join(folder, "t/a"), Path.join(folder, "t/A"))
        const torrent = yield* open(layout)
        assert.deepStrictEqual(
          (yield* torrent.look([0, 1])).map((facts) => facts?.otherNames),
          [1, 1]
        )

        yield* store(torrent, layout)

        assert.deepStrictEqual(yield* listed, contents(layout, ["t/a", "t/A"]))
      })
    )

    test(
      "do not matter to a file that was claimed under another one",
      Effect.gen(function* () {
        const layout = layoutOf("t/a", "t/A", "t/b\u200bc")
        for (const path of ["t/A.1", "t/b\u200bc"]) yield* put(path, "whatever")
        const torrent = yield* open(layout)
        yield* claim(torrent, layout)

        for (const path of ["t/A", "t/bc"]) yield* put(path, "of others")
        yield* store(torrent, layout)

        assert.deepStrictEqual(yield* foundAt(torrent, layout), ["t/a", "t/A.1", "t/b\u200bc"])
        const stored = contents(layout, ["t/a", "t/A.1", "t/b\u200bc"]).map(([path]) => path)
        assert.deepStrictEqual(
          (yield* listed).filter(([path]) => stored.includes(path)),
          contents(layout, ["t/a", "t/A.1", "t/b\u200bc"])
        )
        assert.deepStrictEqual((yield* list).get("t/A"), new TextEncoder().encode("of others"))
      })
    )

    test(
      "are free for others after a file is moved or deleted",
      Effect.gen(function* () {
        const layout = layoutOf("t/a", "t/A", "t/x:y")
        yield* put("t/x_y", "whatever")
        const torrent = yield* open(layout)
        yield* store(torrent, layout)

        yield* torrent.rename(1, ["u", "moved"])
        yield* torrent.remove([2])

        assert.deepStrictEqual(yield* names, ["t/a", "u/moved"])
        assert.deepStrictEqual(yield* foundAt(torrent, layout), ["t/a", "u/moved", undefined])
        for (const taken of ["x:y", "x_y"]) {
          assert.strictEqual((yield* Effect.flip(torrent.rename(1, ["t", taken]))).reason._tag, "FileExists", taken)
        }
      })
    )

    test(
      "are reserved with all other names that a file may have, for one file or for all at once",
      Effect.gen(function* () {
        const layout = layoutOf("t/a", "t/A", "t/é", "t/e\u0301")
        const torrent = yield* open(layout)
        for (const file of [1, 0, 3, 2]) yield* torrent.reserve([file])
        yield* claim(torrent, layout, "new")

        for (const path of ["t/A", "t/A.1", "t/e\u0301", "t/e\u0301.1"]) {
          const other = yield* open(layoutOf(path))
          assert.strictEqual((yield* Effect.flip(other.reserve([0]))).reason._tag, "WriterConflict", path)
        }
        yield* torrent.release([0, 1, 2])
        yield* (yield* open(layoutOf("t/A.1", "t/A"))).reserve([0, 1])
        const last = yield* Effect.flip((yield* open(layoutOf("t/é"))).reserve([0]))

        assert.strictEqual(last.reason._tag, "WriterConflict")
      })
    )

    test(
      "are those to which skipped files are moved",
      Effect.gen(function* () {
        const layout = layoutOf("t/wanted", "t/a", "t/A", "t/x:y")
        const torrent = yield* open(layout)
        yield* torrent.prepare([0])
        yield* store(torrent, layout)
        assert.deepStrictEqual(yield* names, [
          ".piecewise/parts/t/A.1",
          ".piecewise/parts/t/a",
          ".piecewise/parts/t/x_y",
          "t/wanted"
        ])

        yield* torrent.prepare(realFiles(layout))

        assert.deepStrictEqual(yield* listed, contents(layout, ["t/wanted", "t/a", "t/A", "t/x:y"]))
        yield* store(torrent, layout)
        assert.deepStrictEqual(yield* listed, contents(layout, ["t/wanted", "t/a", "t/A", "t/x:y"]))
      })
    )
  })
}

/** Each test gets a fresh medium, which distinguishes no names; `shown` is how it lists one. */
export const alike = <E>(name: string, layer: Layer.Layer<Medium, E>, shown = (path: string) => path): void => {
  const test = runner(layer)
  describe(`names that are not distinguished (${name})`, () => {
    // Not every such file system ignores composition.
    const layout = layoutOf(...clashing.slice(0, 8))

    for (const order of ["in order", "backwards"] as const) {
      test(
        `belong to the first of them, made ${order}`,
        Effect.gen(function* () {
          const torrent = yield* open(layout)
          const files = realFiles(layout)

          yield* claim(torrent, layout, "new", order === "in order" ? files : files.toReversed())
          yield* store(torrent, layout)

          assert.deepStrictEqual(yield* listed, contents(layout, portable.map(shown)))
          assert.deepStrictEqual(yield* foundAt(torrent, layout), portable.slice(0, 8).map(shown))
          assert.deepStrictEqual(yield* foundAt(yield* open(layout), layout), portable.slice(0, 8).map(shown))
        })
      )
    }

    test(
      "are not found for a file that is missing",
      Effect.gen(function* () {
        const layout = layoutOf("t/a", "t/A")
        yield* put("t/a", "whatever")
        const torrent = yield* open(layout)
        assert.deepStrictEqual(yield* foundAt(torrent, layout), ["t/a", undefined])

        yield* claim(torrent, layout, "new", [1])
        yield* store(torrent, layout)

        assert.deepStrictEqual(yield* listed, contents(layout, ["t/a", "t/A.1"].map(shown)))
      })
    )

    test(
      "are made portable, as are those that the disk cannot hold",
      Effect.gen(function* () {
        const layout = layoutOf("t/what?", "t/a:b/c", "t/end.", "t/plain", "t/PLAIN")
        const torrent = yield* open(layout)

        yield* claim(torrent, layout, "new")

        const made = ["t/what_", "t/a_b/c", "t/end", "t/plain", "t/PLAIN.1"].map(shown)
        assert.deepStrictEqual(yield* names, made.toSorted())
        assert.deepStrictEqual(yield* foundAt(torrent, layout), made)
      })
    )

    test(
      "let all files be written at once and be read by the next opening",
      Effect.gen(function* () {
        const layout = layoutOf(...clashing.slice(0, 8), "t/a:b", "t/a_b")
        const content = contentOf(layout)
        const atOnce = { concurrency: "unbounded", discard: true } as const
        yield* Effect.scoped(
          Effect.gen(function* () {
            const torrent = yield* open(layout)
            yield* torrent.reserve(realFiles(layout))
            yield* Effect.forEach(realFiles(layout), (file) => torrent.claim([{ file, as: "new" }]), atOnce)
            yield* Effect.forEach(
              piecesOf(layout),
              (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)),
              atOnce
            )
          })
        )
        const next = yield* open(layout)

        yield* Effect.forEach(
          piecesOf(layout),
          (piece) =>
            Effect.map(next.readBlock(piece, 0, sliceOf(layout, content, piece).length), ({ bytes }) =>
              assert.deepStrictEqual(bytes, sliceOf(layout, content, piece))
            ),
          atOnce
        )
        assert.strictEqual((yield* names).length, layout.files.length)
      })
    )

    test(
      "are distinguished for skipped files, which are set aside in one folder",
      Effect.gen(function* () {
        const layout = layoutOf("t/wanted", "t/a", "t/A")
        const torrent = yield* open(layout)
        yield* torrent.prepare([0])
        yield* store(torrent, layout)
        assert.deepStrictEqual(
          yield* names,
          [".piecewise/parts/t/A.1", ".piecewise/parts/t/a", "t/wanted"].map(shown).sort()
        )

        // The later one first, which must leave its name to the other.
        yield* torrent.prepare([0, 2])
        yield* torrent.prepare([0, 1, 2])

        assert.deepStrictEqual(yield* listed, contents(layout, ["t/wanted", "t/a", "t/A.1"].map(shown)))
      })
    )
  })
}
