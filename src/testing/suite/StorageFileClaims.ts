/** How a medium of files makes files writable. */
import * as Effect from "effect/Effect"
import type { Storage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import { MediumFiles } from "./MediumFiles.ts"
import * as StorageSamples from "./StorageSamples.ts"
import * as Suite from "./Suite.ts"

const { claim, open, openToWrite, pieceOf, store } = Layouts
const { a, abc, b, bytesOf, c, content, dies, empty, listed, lookAt, outcomes, tagOf, write } = StorageSamples

const changes: ReadonlyArray<
  readonly [what: string, why: string, change: (files: MediumFiles["Service"]) => Effect.Effect<void>]
> = [
  ["modified", "was changed", (files) => files.modify("t/a", 0, new Uint8Array([7]))],
  ["touched", "was changed", (files) => files.touch("t/a")],
  ["cut off", "was cut off", (files) => files.cut("t/a", 2)],
  ["made longer", "was changed", (files) => files.cut("t/a", 12)],
  ["replaced", "was replaced", (files) => files.replace("t/a")],
  ["replaced by a folder", "was replaced", (files) => files.block("t/a")],
  ["deleted", "was deleted", (files) => files.remove("t/a")]
]

const losses: ReadonlyArray<readonly [what: string, change: (files: MediumFiles["Service"]) => Effect.Effect<void>]> = [
  ["deleted", (files) => files.remove("t/a")],
  ["cut off", (files) => files.cut("t/a", 2)],
  ["replaced", (files) => files.replace("t/a")]
]

/** The cases. */
export const cases: ReadonlyArray<Suite.Case<Storage | MediumFiles>> = [
  ...Suite.group("files that are claimed", [
    Suite.test(
      "as new ones are made with their folders, empty files too",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.reserve([a, b, empty])

        const facts = yield* torrent.claim([
          { file: empty, as: "new" },
          { file: b, as: "new" }
        ])

        Assert.deepStrictEqual(
          facts.map((each) => [each.file, each.length, each.isHole]),
          [
            [empty, 0, true],
            [b, 0, true]
          ]
        )
        Assert.deepStrictEqual([...(yield* listed).keys()].sort(), ["t/d/b", "t/empty"])
        Assert.deepStrictEqual(facts, yield* torrent.look([empty, b]))
      })
    ),

    Suite.test(
      "as new ones are refused and left unchanged if anything exists; the others are claimed",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", new Uint8Array([1, 2, 3]))
        yield* files.block("t/d/c")
        yield* torrent.reserve([a, b, c])
        const before = yield* torrent.look([a, c])

        const error = yield* Effect.flip(torrent.claim([a, b, c].map((file) => ({ file, as: "new" as const }))))
        const after = yield* torrent.look([a, c])

        Assert.strictEqual(error.operation, "claim")
        Assert.deepStrictEqual(
          [error.reason, ...error.others!].map(({ _tag }) => _tag),
          ["FileExists", "FileExists"]
        )
        Assert.deepStrictEqual(after, before)
        Assert.deepStrictEqual((yield* listed).get("t/a"), new Uint8Array([1, 2, 3]))
        Assert.match(yield* dies(write(torrent, abc, 0)), /t\/a is not claimed/)
      })
    ),

    Suite.test(
      "as found ones are written in their place, longer ones too",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", new Uint8Array(9).fill(9))
        yield* torrent.reserve([a])
        const facts = (yield* lookAt(torrent, a))!

        const claimed = yield* torrent.claim([{ file: a, as: "found", facts }])
        yield* write(torrent, abc, 0)

        Assert.deepStrictEqual(claimed, [facts])
        Assert.deepStrictEqual((yield* listed).get("t/a"), new Uint8Array([...content.slice(0, 4), 9, 9, 9, 9, 9]))
      })
    ),

    ...changes.map(([what, why, change]) =>
      Suite.test(
        `as found ones are refused if they were ${what} since, and stay refused`,
        Effect.gen(function* () {
          const files = yield* MediumFiles
          const torrent = yield* open(abc)
          yield* files.put("t/a", new Uint8Array(6).fill(9))
          yield* torrent.reserve([a])
          const facts = (yield* lookAt(torrent, a))!
          yield* change(files)
          const before = [yield* lookAt(torrent, a), (yield* listed).get("t/a")]

          const error = yield* Effect.flip(torrent.claim([{ file: a, as: "found", facts }]))

          Assert.strictEqual(error.reason._tag, "FileChanged")
          Assert.include(error.message, `t/a ${why}`)
          Assert.deepStrictEqual([yield* lookAt(torrent, a), (yield* listed).get("t/a")], before)
        })
      )
    ),

    Suite.test(
      "as overwritten ones keep their bytes up to the torrent's length, or are made",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", new Uint8Array(9).fill(9))
        yield* files.put("t/d/b", new Uint8Array(2).fill(8))

        const facts = yield* claim(torrent, abc)

        const now = yield* listed
        Assert.deepStrictEqual(now.get("t/a"), new Uint8Array(6).fill(9))
        Assert.deepStrictEqual(now.get("t/d/b"), new Uint8Array(2).fill(8))
        Assert.deepStrictEqual(
          facts.map(({ length }) => length),
          [6, 2, 0, 0]
        )
      })
    ),

    Suite.test(
      "as overwritten ones are refused if a folder is in the way, or a file in place of a folder",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.block("t/a")
        yield* files.put("t/d", new Uint8Array(1))
        yield* torrent.reserve([a, b])

        const tags = yield* Effect.forEach([a, b], (file) => tagOf(torrent.claim([{ file, as: "overwritten" }])))

        Assert.deepStrictEqual(tags, ["claim StorageRefused", "claim StorageRefused"])
      })
    ),

    ...(["found", "overwritten"] as const).map((as) =>
      Suite.test(
        `as ${as} ones with other names are copied first, and the other names keep their bytes`,
        Effect.gen(function* () {
          const files = yield* MediumFiles
          const torrent = yield* open(abc)
          const mine = new Uint8Array(as === "found" ? 6 : 8).fill(9)
          yield* files.put("mine", mine)
          yield* files.put("t/a", 0)
          yield* files.link("mine", "t/a")
          yield* torrent.reserve([a])
          const facts = (yield* lookAt(torrent, a))!

          const [own] = yield* torrent.claim([as === "found" ? { file: a, as, facts } : { file: a, as }])
          const [read] = (yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)).files
          yield* write(torrent, abc, 0)
          yield* torrent.flush([a])

          const now = yield* listed
          Assert.deepStrictEqual([facts.otherNames, own!.otherNames, own!.length], [1, 0, 6])
          Assert.notStrictEqual(own!.identity, facts.identity)
          Assert.strictEqual(read!.identity, own!.identity)
          if (as === "found") Assert.closeTo(Number(own!.mtimeNs - facts.mtimeNs), 0, 2_000)
          Assert.deepStrictEqual(now.get("mine"), mine)
          Assert.deepStrictEqual(now.get("t/a"), new Uint8Array([...content.slice(0, 4), 9, 9]))
          Assert.deepStrictEqual([...now.keys()].sort(), ["mine", "t/a"])
        })
      )
    ),

    Suite.test(
      "afresh are replaced by a copy, and only the copy is written then",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        const before = (yield* lookAt(torrent, a))!

        const [own] = yield* torrent.claim([{ file: a, as: "found", facts: before, afresh: true }])
        const copied = yield* listed
        const again = (yield* lookAt(torrent, a))!
        const [other] = yield* torrent.claim([{ file: a, as: "found", facts: again, afresh: true }])
        yield* files.modify("t/a", 0, new Uint8Array(4))
        yield* write(torrent, abc, 0)
        const flushed = yield* torrent.flush([a])
        const { bytes } = yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)

        Assert.strictEqual(new Set([before, own!, other!].map(({ identity }) => identity)).size, 3)
        Assert.deepInclude(own, { file: a, length: before.length, isHole: false, otherNames: 0 })
        Assert.closeTo(Number(own!.mtimeNs - before.mtimeNs), 0, 2_000)
        Assert.deepStrictEqual(copied.get("t/a"), bytesOf(abc, a))
        Assert.deepStrictEqual([...copied.keys()].sort(), ["t/a", "t/d/b", "t/d/c", "t/empty"])
        Assert.deepStrictEqual(outcomes(flushed), [[a, 6]])
        Assert.deepStrictEqual(bytes, content.slice(0, 4))
        Assert.deepStrictEqual((yield* listed).get("t/a"), bytesOf(abc, a))
      })
    ),

    Suite.test(
      "afresh are refused if they were changed since, and stay refused",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        const facts = (yield* lookAt(torrent, a))!
        yield* files.touch("t/a")
        const before = yield* lookAt(torrent, a)

        const tag = yield* tagOf(torrent.claim([{ file: a, as: "found", facts, afresh: true }]))

        Assert.strictEqual(tag, "claim FileChanged")
        Assert.deepStrictEqual(yield* lookAt(torrent, a), before)
      })
    ),

    ...losses.map(([what, change]) =>
      Suite.test(
        `and ${what} then fail their flush and writes, until they are claimed again`,
        Effect.gen(function* () {
          const files = yield* MediumFiles
          const torrent = yield* openToWrite(abc)
          yield* store(torrent, abc)
          yield* change(files)

          const flushed = yield* torrent.flush([a, b])
          const before = (yield* listed).get("t/a")
          const written = yield* Effect.forEach([0, 0, 1], (piece) => tagOf(write(torrent, abc, piece)))
          const after = (yield* listed).get("t/a")
          yield* write(torrent, abc, 2)
          yield* torrent.claim([{ file: a, as: "overwritten" }])
          yield* write(torrent, abc, 0)
          yield* write(torrent, abc, 1)

          Assert.deepStrictEqual(outcomes(flushed), [
            [a, "FileChanged"],
            [b, 3]
          ])
          Assert.deepStrictEqual(written, Array(3).fill("write FileChanged"))
          Assert.deepStrictEqual(after, before)
          Assert.deepStrictEqual((yield* listed).get("t/a"), bytesOf(abc, a))
        })
      )
    ),

    Suite.test(
      "are looked at again by another claim, and fail their writes if that fails",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        const facts = (yield* lookAt(torrent, a))!
        const again = yield* torrent.claim([{ file: a, as: "found", facts }])
        yield* files.touch("t/a")

        const stale = yield* tagOf(torrent.claim([{ file: a, as: "found", facts }]))
        const refused = yield* tagOf(write(torrent, abc, 0))
        yield* torrent.claim([{ file: a, as: "found", facts: (yield* lookAt(torrent, a))! }])
        yield* write(torrent, abc, 0)

        Assert.deepStrictEqual(again, [facts])
        Assert.deepStrictEqual([stale, refused], ["claim FileChanged", "write FileChanged"])
      })
    )
  ])
]
