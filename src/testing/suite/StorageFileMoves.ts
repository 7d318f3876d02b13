/** How a medium of files moves, removes and sets aside files. */
import * as Effect from "effect/Effect"
import type { FileFacts, Storage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import { MediumFiles } from "./MediumFiles.ts"
import * as StorageSamples from "./StorageSamples.ts"
import * as Suite from "./Suite.ts"

const { claim, layoutOf, open, openToWrite, pieceOf, store } = Layouts
const { a, abc, b, bytesOf, c, content, empty, listed, lookAt, outcomes, rival, tagOf, write } = StorageSamples

/** The cases. */
export const cases: ReadonlyArray<Suite.Case<Storage | MediumFiles>> = [
  ...Suite.group("files that are moved", [
    Suite.test(
      "are used at the new path from then on, still claimed, and the old path is free",
      Effect.gen(function* () {
        const torrent = yield* openToWrite(abc)
        yield* write(torrent, abc, 0)
        const before = yield* lookAt(torrent, a)

        yield* torrent.rename(a, ["t", "new", "name"])
        const after = yield* lookAt(torrent, a)
        yield* write(torrent, abc, 1)
        const { bytes } = yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)
        const flushed = yield* torrent.flush([a])
        const two = yield* open(rival)
        yield* two.reserve([0])
        const three = yield* open(layoutOf(4, ["t/new/name", 6]))
        const taken = yield* tagOf(three.reserve([0]))

        const now = yield* listed
        Assert.deepStrictEqual(after, before)
        Assert.deepStrictEqual(bytes, content.slice(4, 8))
        Assert.deepStrictEqual(now.get("t/new/name"), bytesOf(abc, a))
        Assert.isFalse(now.has("t/a"))
        Assert.deepStrictEqual(outcomes(flushed), [[a, 6]])
        Assert.strictEqual(taken, "reserve WriterConflict")
      })
    ),

    Suite.test(
      "are never moved over anything, nor to a path that another torrent writes",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        yield* files.put("t/mine", new Uint8Array([1]))
        yield* files.block("t/folder")
        const two = yield* open(rival)
        yield* two.reserve([1])

        const tags = yield* Effect.forEach(["mine", "folder", "other", "empty"], (name) =>
          tagOf(torrent.rename(a, ["t", name]))
        )
        yield* torrent.rename(a, ["t", "a"])
        yield* write(torrent, abc, 0)

        const now = yield* listed
        Assert.deepStrictEqual(tags, [
          "rename FileExists",
          "rename FileExists",
          "rename WriterConflict",
          "rename FileExists"
        ])
        Assert.deepStrictEqual(now.get("t/mine"), new Uint8Array([1]))
        Assert.deepStrictEqual(now.get("t/a"), bytesOf(abc, a))
      })
    ),

    Suite.test(
      "are never moved to the place of another file of theirs, and may get a name that differs by case alone",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* claim(torrent, abc, "new", [a])
        yield* write(torrent, abc, 0)

        const tag = yield* tagOf(torrent.rename(a, ["t", "d", "c"]))
        yield* torrent.rename(a, ["t", "A"])

        Assert.strictEqual(tag, "rename FileExists")
        Assert.deepStrictEqual([...(yield* listed)], [["t/A", content.slice(0, 4)]])
      })
    ),

    Suite.test(
      "are made at the new path if they do not exist yet",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.reserve([a])
        yield* torrent.rename(a, ["elsewhere"])

        yield* torrent.claim([{ file: a, as: "new" }])
        yield* write(torrent, abc, 0)

        Assert.deepStrictEqual([...(yield* listed)], [["elsewhere", content.slice(0, 4)]])
      })
    )
  ]),

  ...Suite.group("files that are removed", [
    Suite.test(
      "are deleted with the folders that are empty then, and with nothing else",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        yield* files.put("t/mine", new Uint8Array([1]))
        yield* torrent.remove([b, c])
        const some = [...(yield* listed).keys()].sort()
        const made = yield* torrent.look([a, b])
        yield* torrent.remove([a, b, empty])

        Assert.deepStrictEqual(some, ["t/a", "t/empty", "t/mine"])
        Assert.deepStrictEqual(
          made.map((facts) => facts?.file),
          [a, undefined]
        )
        Assert.deepStrictEqual([...(yield* listed).keys()], ["t/mine"])
        Assert.strictEqual(yield* tagOf(write(torrent, abc, 0)), "write FileChanged")
      })
    ),

    Suite.test(
      "are deleted wherever they are, unless they are not regular files",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        yield* store(torrent, abc, content, [pieceOf(abc, 1)])
        const before = [...(yield* listed).keys()].length
        yield* files.block("t/d/c")
        yield* torrent.reserve([c])

        yield* torrent.remove([a, b, c])

        Assert.strictEqual(before, 2)
        Assert.deepStrictEqual([...(yield* listed).keys()], [])
        Assert.strictEqual((yield* lookAt(torrent, c))?.kind, "other")
      })
    )
  ]),

  ...Suite.group("files that are skipped", [
    Suite.test(
      "are prepared without replacing any file",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        yield* store(torrent, abc, content, [pieceOf(abc, 1)])
        yield* files.put("t/d/b", new Uint8Array([1]))

        yield* torrent.prepare([a, b])

        Assert.deepStrictEqual((yield* listed).get("t/d/b"), new Uint8Array([1]))
        Assert.strictEqual((yield* lookAt(torrent, b))?.length, 1)
        Assert.strictEqual(yield* tagOf(write(torrent, abc, 1)), "write FileChanged")
      })
    ),

    Suite.test(
      "are claimed where they are, even if the user put them there meanwhile",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        yield* torrent.reserve([b, c])
        const [made] = yield* torrent.claim([{ file: b, as: "new" }])
        const exists = yield* tagOf(torrent.claim([{ file: b, as: "new" }]))
        const missing = yield* lookAt(torrent, c)
        yield* files.put("t/d/c", new Uint8Array([1]))
        const [found] = yield* torrent.claim([
          { file: c, as: "found", facts: (yield* lookAt(torrent, c)) as FileFacts }
        ])

        Assert.deepInclude(made, { file: b, length: 0 })
        Assert.strictEqual(exists, "claim FileExists")
        Assert.isUndefined(missing)
        Assert.deepInclude(found, { file: c, length: 1, isAside: false })
      })
    ),

    Suite.test(
      "stay claimed when they are wanted and moved",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        yield* store(torrent, abc, content, [pieceOf(abc, 1)])
        const before = yield* lookAt(torrent, b)
        yield* torrent.prepare([a, b])
        yield* write(torrent, abc, 1)

        const after = yield* lookAt(torrent, b)
        Assert.strictEqual(after!.identity, before!.identity)
        Assert.isFalse(after!.isAside)
        Assert.deepStrictEqual((yield* listed).get("t/d/b"), content.slice(6, 8))
      })
    )
  ])
]
