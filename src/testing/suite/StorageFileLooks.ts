/** How a medium of files reports and reserves files. */
import * as Effect from "effect/Effect"
import type { Storage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import { MediumFiles } from "./MediumFiles.ts"
import * as StorageSamples from "./StorageSamples.ts"
import * as Suite from "./Suite.ts"

const { layoutOf, open, openToWrite, pieceOf, store } = Layouts
const { a, abc, b, bytesOf, c, content, listed, lookAt, rival, tagOf } = StorageSamples

/** The cases. */
export const cases: ReadonlyArray<Suite.Case<Storage | MediumFiles>> = [
  ...Suite.group("files that are looked at", [
    Suite.test(
      "are reported as they are, and the missing ones as missing",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", new Uint8Array([1, 2, 3]))
        yield* files.block("t/d/c")

        const [found, missing, other] = yield* torrent.look([a, b, c])

        Assert.deepInclude(found, { file: a, kind: "file", length: 3, isHole: false, isAside: false, otherNames: 0 })
        Assert.isUndefined(missing)
        Assert.deepInclude(other, { file: c, kind: "other", length: 0, isHole: false, otherNames: 0 })
        Assert.match(found!.identity, /^[\x21-\x7e]{1,64}$/)
        Assert.isTrue(found!.mtimeNs > 1_600_000_000_000_000_000n)
      })
    ),

    Suite.test(
      "are holes until something is written to them",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", 0)
        yield* files.put("t/d/b", 3)
        yield* files.put("t/d/c", new Uint8Array(2))

        const found = yield* torrent.look([a, b, c])

        Assert.deepStrictEqual(
          found.map((facts) => [facts?.length, facts?.isHole]),
          [
            [0, true],
            [3, true],
            [2, false]
          ]
        )
      })
    ),

    Suite.test(
      "show that they were changed, replaced or given another name",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", new Uint8Array([1, 2, 3]))
        const first = yield* lookAt(torrent, a)
        yield* files.modify("t/a", 1, new Uint8Array([9]))
        const modified = yield* lookAt(torrent, a)
        yield* files.touch("t/a")
        const touched = yield* lookAt(torrent, a)
        yield* files.replace("t/a")
        const replaced = yield* lookAt(torrent, a)
        yield* files.link("t/a", "t/mine")
        const linked = yield* lookAt(torrent, a)

        Assert.isTrue(first!.mtimeNs < modified!.mtimeNs && modified!.mtimeNs < touched!.mtimeNs)
        Assert.deepStrictEqual([modified!.identity, touched!.identity], [first!.identity, first!.identity])
        Assert.notStrictEqual(replaced!.identity, first!.identity)
        Assert.deepStrictEqual([replaced!.otherNames, linked!.otherNames], [0, 1])
      })
    ),

    Suite.test(
      "are reported with every block that is read from them",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)

        const before = yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)
        const looked = yield* torrent.look([a, b])
        yield* files.modify("t/d/b", 2, new Uint8Array([255]))
        const after = yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)

        Assert.deepStrictEqual(before.files, looked)
        Assert.deepStrictEqual(after.files, yield* torrent.look([a, b]))
        Assert.notDeepEqual(after.files[1], before.files[1])
      })
    ),

    Suite.test(
      "are reported by their path if an open one was replaced",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)
        yield* files.put("t/a", new Uint8Array(6).fill(77))

        const read = yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)

        Assert.deepStrictEqual(read.bytes, new Uint8Array(4).fill(77))
        Assert.deepStrictEqual(read.files, yield* torrent.look([a]))
      })
    ),

    Suite.test(
      "are not stored if they were deleted or cut off, even while they are open",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)
        yield* files.cut("t/d/b", 1)
        const cut = yield* tagOf(torrent.readBlock(pieceOf(abc, 1), 0, 4))
        yield* files.remove("t/a")
        const removed = yield* tagOf(torrent.readBlock(pieceOf(abc, 0), 0, 4))

        Assert.deepStrictEqual([cut, removed], ["read NotStored", "read NotStored"])
      })
    )
  ]),

  ...Suite.group("files that are reserved", [
    Suite.test(
      "are refused to every other torrent, by path and holder, and it then reserves none",
      Effect.gen(function* () {
        const one = yield* open(abc)
        const two = yield* open(rival)
        yield* one.reserve([a])

        const error = yield* Effect.flip(two.reserve([1, 0]))
        yield* one.reserve([a, b, c])
        const third = yield* open(layoutOf(4, ["t/other", 2], ["x", 1]))
        yield* third.reserve([0])

        const { reason } = error
        Assert.strictEqual(error.operation, "reserve")
        Assert.strictEqual(reason._tag, "WriterConflict")
        Assert.match(reason.path, /t\/a$/)
        Assert.match(error.message, /t\/a is being written by another torrent/)
      })
    ),

    Suite.test(
      "are free again once they are released or their torrent is closed",
      Effect.gen(function* () {
        const two = yield* open(rival)
        const tags = yield* Effect.scoped(
          Effect.gen(function* () {
            const one = yield* open(abc)
            yield* one.reserve([a])
            yield* one.reserve([a, b])
            const held = yield* tagOf(two.reserve([0]))
            yield* one.release([a, c])
            yield* two.reserve([0])
            const taken = yield* tagOf(one.reserve([a]))
            yield* two.release([0])
            yield* one.reserve([a])
            return [held, taken]
          })
        )
        yield* two.reserve([0])

        Assert.deepStrictEqual(tags, ["reserve WriterConflict", "reserve WriterConflict"])
      })
    ),

    Suite.test(
      "are not made or changed by that, and can be read by all",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        yield* files.put("t/a", bytesOf(abc, a))
        const one = yield* open(abc)
        const two = yield* open(rival)
        yield* one.reserve([a, b])

        const { bytes } = yield* two.readBlock(pieceOf(rival, 0), 0, 4)

        Assert.deepStrictEqual(bytes, content.slice(0, 4))
        Assert.deepStrictEqual([...(yield* listed)], [["t/a", bytesOf(abc, a)]])
      })
    )
  ])
]
