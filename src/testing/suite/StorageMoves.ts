/** How every storage flushes, moves and removes files. */
import * as Effect from "effect/Effect"
import type { Storage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import * as StorageSamples from "./StorageSamples.ts"
import * as Suite from "./Suite.ts"

const { open, openToWrite, pieceOf, store } = Layouts
const { a, abc, b, bytesOf, c, content, empty, lookAt, outcomes, tagOf, write } = StorageSamples

const all = [a, b, c, empty]

/** The cases. */
export const cases: ReadonlyArray<Suite.Case<Storage>> = [
  ...Suite.group("files that are flushed", [
    Suite.test(
      "report what they look like then, each by itself and in the requested order",
      Effect.gen(function* () {
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)

        const first = yield* torrent.flush([c, a])
        const second = yield* torrent.flush([a, c])

        Assert.deepStrictEqual<unknown>(first, [
          { file: c, facts: (yield* lookAt(torrent, c))! },
          { file: a, facts: (yield* lookAt(torrent, a))! }
        ])
        Assert.deepStrictEqual(second, [...first].reverse())
      })
    ),

    Suite.test(
      "fail if they are missing, and can be flushed by a torrent that only reads",
      Effect.gen(function* () {
        yield* Effect.scoped(Effect.flatMap(open(abc), (torrent) => store(torrent, abc, content, [pieceOf(abc, 0)])))
        const torrent = yield* open(abc)

        const flushed = yield* torrent.flush([a, b])

        Assert.deepStrictEqual(outcomes(flushed), [
          [a, 4],
          [b, "NotStored"]
        ])
      })
    )
  ]),

  ...Suite.group("files that are moved", [
    Suite.test(
      "are used at the new path from then on, still claimed",
      Effect.gen(function* () {
        const torrent = yield* openToWrite(abc)
        yield* write(torrent, abc, 0)
        const before = yield* lookAt(torrent, a)

        yield* torrent.rename(a, ["t", "new", "name"])
        const after = yield* lookAt(torrent, a)
        yield* write(torrent, abc, 1)
        const { bytes } = yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)
        const taken = yield* tagOf(torrent.rename(a, ["t", "d", "c"]))

        Assert.deepStrictEqual(after, before)
        Assert.deepStrictEqual(bytes, content.slice(4, 8))
        Assert.strictEqual(taken, "rename FileExists")
      })
    )
  ]),

  ...Suite.group("files that are removed", [
    Suite.test(
      "are gone, and nothing else is",
      Effect.gen(function* () {
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)

        yield* torrent.remove([b, c])
        yield* torrent.remove([b, c])
        const found = yield* torrent.look(all)
        const { bytes } = yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)
        const end = yield* torrent.readBlock(pieceOf(abc, 1), 0, 2)
        const missing = yield* tagOf(torrent.readBlock(pieceOf(abc, 1), 0, 4))
        const refused = yield* tagOf(write(torrent, abc, 2))

        Assert.deepStrictEqual(
          found.map((facts) => facts?.length),
          [6, undefined, undefined, 0]
        )
        Assert.deepStrictEqual([bytes, end.bytes], [content.slice(0, 4), content.slice(4, 6)])
        Assert.deepStrictEqual([missing, refused], ["read NotStored", "write FileChanged"])
      })
    ),

    Suite.test(
      "can be made again, as other files without the old bytes",
      Effect.gen(function* () {
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        const before = yield* lookAt(torrent, a)
        yield* torrent.remove(all)

        const [made] = yield* torrent.claim([{ file: a, as: "new" }])
        const missing = yield* tagOf(torrent.readBlock(pieceOf(abc, 0), 0, 4))
        yield* write(torrent, abc, 0)

        Assert.deepInclude(made, { length: 0, isHole: true })
        Assert.notStrictEqual(made?.identity, before?.identity)
        Assert.strictEqual(missing, "read NotStored")
        Assert.deepStrictEqual((yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)).bytes, bytesOf(abc, a).slice(0, 4))
      })
    )
  ])
]
