/** What every medium does with files apart from their bytes: looks, reservations, claims, flushes, moves, deletions. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import type { FileFacts, FlushedFile, Storage, StorageError, TorrentStorage } from "../../src/storage/Storage.ts"
import { contentOf, layoutOf, pieceOf, sliceOf } from "./layouts.ts"
import { MediumFiles } from "./MediumFiles.ts"
import { claim, open, openToWrite, store } from "./openings.ts"

/** Three files in folders: piece 0 is of a, piece 1 of a and b, piece 2 of b, c and e. */
const abc = layoutOf(4, ["t/a", 6], ["t/d/b", 3], ["t/d/c", 2], ["t/empty", 0], ["t/.pad/1", 1, "padding"])
const [a, b, c, empty] = [0, 1, 2, 3]

/** Another torrent, which shares one path with it. */
const rival = layoutOf(4, ["t/a", 6], ["t/other", 2])

const content = contentOf(abc)

const bytesOf = (layout: FileLayout, file: number) => {
  const { length, offset } = layout.files[file]!
  return contentOf(layout).slice(offset, offset + length)
}

const write = (torrent: TorrentStorage, layout: FileLayout, index: number) =>
  torrent.writePiece(pieceOf(layout, index), sliceOf(layout, contentOf(layout), pieceOf(layout, index)))

const lookAt = (torrent: TorrentStorage, file: number) => Effect.map(torrent.look([file]), ([facts]) => facts)

const tagOf = (effect: Effect.Effect<unknown, StorageError>) =>
  Effect.map(Effect.flip(effect), (error) => `${error.operation} ${error.reason._tag}`)

const dies = (effect: Effect.Effect<unknown, StorageError>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    assert.isTrue(Exit.hasDies(exit))
    return Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : ""
  })

const outcomes = (flushed: ReadonlyArray<FlushedFile>) =>
  flushed.map((each) => ("facts" in each ? [each.file, each.facts.length] : [each.file, each.reason._tag]))

const listed = Effect.flatMap(MediumFiles, ({ list }) => list)

/** Runs a medium through all of it; each test gets a fresh one. */
export const suite = (name: string, layer: Layer.Layer<Storage | MediumFiles, unknown>): void => {
  const test = (title: string, effect: Effect.Effect<void, unknown, Storage | MediumFiles | Scope.Scope>) =>
    it.live(title, () => Effect.provide(Effect.scoped(effect), layer))

  describe(`files that are looked at (${name})`, () => {
    test(
      "are reported as they are, and the missing ones as missing",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", new Uint8Array([1, 2, 3]))
        yield* files.block("t/d/c")

        const [found, missing, other] = yield* torrent.look([a, b, c])

        assert.deepInclude(found, { file: a, kind: "file", length: 3, isHole: false, isAside: false, otherNames: 0 })
        assert.isUndefined(missing)
        assert.deepInclude(other, { file: c, kind: "other", length: 0, isHole: false, otherNames: 0 })
        assert.match(found!.identity, /^[\x21-\x7e]{1,64}$/)
        assert.isTrue(found!.mtimeNs > 1_600_000_000_000_000_000n)
      })
    )

    test(
      "are reported in the requested order",
      Effect.gen(function* () {
        const torrent = yield* openToWrite(abc)

        const found = yield* torrent.look([c, a, b])

        assert.deepStrictEqual(
          found.map((facts) => facts?.file),
          [c, a, b]
        )
      })
    )

    test(
      "are holes until something is written to them",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", 0)
        yield* files.put("t/d/b", 3)
        yield* files.put("t/d/c", new Uint8Array(2))

        const found = yield* torrent.look([a, b, c])

        assert.deepStrictEqual(
          found.map((facts) => [facts?.length, facts?.isHole]),
          [
            [0, true],
            [3, true],
            [2, false]
          ]
        )
      })
    )

    test(
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

        assert.isTrue(first!.mtimeNs < modified!.mtimeNs && modified!.mtimeNs < touched!.mtimeNs)
        assert.deepStrictEqual([modified!.identity, touched!.identity], [first!.identity, first!.identity])
        assert.notStrictEqual(replaced!.identity, first!.identity)
        assert.deepStrictEqual([replaced!.otherNames, linked!.otherNames], [0, 1])
      })
    )

    test(
      "are reported with every block that is read from them",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)

        const before = yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)
        const looked = yield* torrent.look([a, b])
        yield* files.modify("t/d/b", 2, new Uint8Array([255]))
        const after = yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)

        assert.deepStrictEqual(before.files, looked)
        assert.deepStrictEqual(after.files, yield* torrent.look([a, b]))
        assert.notDeepEqual(after.files[1], before.files[1])
      })
    )

    test(
      "are reported by their path if an open one was replaced",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)
        yield* files.put("t/a", new Uint8Array(6).fill(77))

        const read = yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)

        assert.deepStrictEqual(read.bytes, new Uint8Array(4).fill(77))
        assert.deepStrictEqual(read.files, yield* torrent.look([a]))
      })
    )

    test(
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

        assert.deepStrictEqual([cut, removed], ["read NotStored", "read NotStored"])
      })
    )
  })

  describe(`files that are reserved (${name})`, () => {
    test(
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
        assert.strictEqual(error.operation, "reserve")
        assert.strictEqual(reason._tag, "WriterConflict")
        assert.match(reason.path, /t\/a$/)
        assert.match(error.message, /t\/a is being written by another torrent/)
      })
    )

    test(
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

        assert.deepStrictEqual(tags, ["reserve WriterConflict", "reserve WriterConflict"])
      })
    )

    test(
      "are not made or changed by that, and can be read by all",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        yield* files.put("t/a", bytesOf(abc, a))
        const one = yield* open(abc)
        const two = yield* open(rival)
        yield* one.reserve([a, b])

        const { bytes } = yield* two.readBlock(pieceOf(rival, 0), 0, 4)

        assert.deepStrictEqual(bytes, content.slice(0, 4))
        assert.deepStrictEqual([...(yield* listed)], [["t/a", bytesOf(abc, a)]])
      })
    )

    test(
      "must be reserved before they are claimed, renamed or removed, and claimed again after a release",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        const claimA = torrent.claim([{ file: a, as: "new" }])

        const first = yield* dies(claimA)
        const other = [yield* dies(torrent.rename(a, ["t", "z"])), yield* dies(torrent.remove([a]))]
        yield* torrent.reserve([a])
        const unclaimed = yield* dies(write(torrent, abc, 0))
        yield* claimA
        yield* write(torrent, abc, 0)
        const half = yield* dies(write(torrent, abc, 1))
        yield* torrent.release([a])
        yield* torrent.reserve([a])
        const released = yield* dies(write(torrent, abc, 0))

        for (const why of [first, ...other]) assert.match(why, /t\/a is not reserved/)
        for (const why of [unclaimed, released]) assert.match(why, /t\/a is not claimed/)
        assert.match(half, /t\/d\/b is not claimed/)
      })
    )
  })

  describe(`files that are claimed (${name})`, () => {
    test(
      "as new ones are made with their folders, empty files too",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.reserve([a, b, empty])

        const facts = yield* torrent.claim([
          { file: empty, as: "new" },
          { file: b, as: "new" }
        ])

        assert.deepStrictEqual(
          facts.map((each) => [each.file, each.length, each.isHole]),
          [
            [empty, 0, true],
            [b, 0, true]
          ]
        )
        assert.deepStrictEqual([...(yield* listed).keys()].sort(), ["t/d/b", "t/empty"])
        assert.deepStrictEqual(facts, yield* torrent.look([empty, b]))
      })
    )

    test(
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

        assert.strictEqual(error.operation, "claim")
        assert.deepStrictEqual(
          [error.reason, ...error.others!].map(({ _tag }) => _tag),
          ["FileExists", "FileExists"]
        )
        assert.deepStrictEqual(after, before)
        assert.deepStrictEqual((yield* listed).get("t/a"), new Uint8Array([1, 2, 3]))
        assert.match(yield* dies(write(torrent, abc, 0)), /t\/a is not claimed/)
      })
    )

    test(
      "as found ones are written in their place, longer ones too",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", new Uint8Array(9).fill(9))
        yield* torrent.reserve([a])
        const facts = (yield* lookAt(torrent, a))!

        const claimed = yield* torrent.claim([{ file: a, as: "found", facts }])
        yield* write(torrent, abc, 0)

        assert.deepStrictEqual(claimed, [facts])
        assert.deepStrictEqual((yield* listed).get("t/a"), new Uint8Array([...content.slice(0, 4), 9, 9, 9, 9, 9]))
      })
    )

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
    for (const [what, why, change] of changes) {
      test(
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

          assert.strictEqual(error.reason._tag, "FileChanged")
          assert.include(error.message, `t/a ${why}`)
          assert.deepStrictEqual([yield* lookAt(torrent, a), (yield* listed).get("t/a")], before)
        })
      )
    }

    test(
      "as overwritten ones keep their bytes up to the torrent's length, or are made",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.put("t/a", new Uint8Array(9).fill(9))
        yield* files.put("t/d/b", new Uint8Array(2).fill(8))

        const facts = yield* claim(torrent, abc)

        const now = yield* listed
        assert.deepStrictEqual(now.get("t/a"), new Uint8Array(6).fill(9))
        assert.deepStrictEqual(now.get("t/d/b"), new Uint8Array(2).fill(8))
        assert.deepStrictEqual(
          facts.map(({ length }) => length),
          [6, 2, 0, 0]
        )
      })
    )

    test(
      "as overwritten ones are refused if a folder is in the way, or a file in place of a folder",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* files.block("t/a")
        yield* files.put("t/d", new Uint8Array(1))
        yield* torrent.reserve([a, b])

        const tags = yield* Effect.forEach([a, b], (file) => tagOf(torrent.claim([{ file, as: "overwritten" }])))

        assert.deepStrictEqual(tags, ["claim StorageRefused", "claim StorageRefused"])
      })
    )

    for (const as of ["found", "overwritten"] as const) {
      test(
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
          assert.deepStrictEqual([facts.otherNames, own!.otherNames, own!.length], [1, 0, 6])
          assert.notStrictEqual(own!.identity, facts.identity)
          assert.strictEqual(read!.identity, own!.identity)
          if (as === "found") assert.closeTo(Number(own!.mtimeNs - facts.mtimeNs), 0, 2_000)
          assert.deepStrictEqual(now.get("mine"), mine)
          assert.deepStrictEqual(now.get("t/a"), new Uint8Array([...content.slice(0, 4), 9, 9]))
          assert.deepStrictEqual([...now.keys()].sort(), ["mine", "t/a"])
        })
      )
    }

    test(
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

        assert.strictEqual(new Set([before, own!, other!].map(({ identity }) => identity)).size, 3)
        assert.deepInclude(own, { file: a, length: before.length, isHole: false, otherNames: 0 })
        assert.closeTo(Number(own!.mtimeNs - before.mtimeNs), 0, 2_000)
        assert.deepStrictEqual(copied.get("t/a"), bytesOf(abc, a))
        assert.deepStrictEqual([...copied.keys()].sort(), ["t/a", "t/d/b", "t/d/c", "t/empty"])
        assert.deepStrictEqual(outcomes(flushed), [[a, 6]])
        assert.deepStrictEqual(bytes, content.slice(0, 4))
        assert.deepStrictEqual((yield* listed).get("t/a"), bytesOf(abc, a))
      })
    )

    test(
      "afresh are refused if they were changed since, and stay refused",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)
        const facts = (yield* lookAt(torrent, a))!
        yield* files.touch("t/a")
        const before = yield* lookAt(torrent, a)

        const tag = yield* tagOf(torrent.claim([{ file: a, as: "found", facts, afresh: true }]))

        assert.strictEqual(tag, "claim FileChanged")
        assert.deepStrictEqual(yield* lookAt(torrent, a), before)
      })
    )

    const losses: ReadonlyArray<
      readonly [what: string, change: (files: MediumFiles["Service"]) => Effect.Effect<void>]
    > = [
      ["deleted", (files) => files.remove("t/a")],
      ["cut off", (files) => files.cut("t/a", 2)],
      ["replaced", (files) => files.replace("t/a")]
    ]
    for (const [what, change] of losses) {
      test(
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

          assert.deepStrictEqual(outcomes(flushed), [
            [a, "FileChanged"],
            [b, 3]
          ])
          assert.deepStrictEqual(written, Array(3).fill("write FileChanged"))
          assert.deepStrictEqual(after, before)
          assert.deepStrictEqual((yield* listed).get("t/a"), bytesOf(abc, a))
        })
      )
    }

    test(
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

        assert.deepStrictEqual(again, [facts])
        assert.deepStrictEqual([stale, refused], ["claim FileChanged", "write FileChanged"])
      })
    )
  })

  describe(`files that are flushed (${name})`, () => {
    test(
      "report what they look like then, each by itself and in the requested order",
      Effect.gen(function* () {
        const torrent = yield* openToWrite(abc)
        yield* store(torrent, abc)

        const first = yield* torrent.flush([c, a])
        const second = yield* torrent.flush([a, c])

        assert.deepStrictEqual(first, [
          { file: c, facts: (yield* lookAt(torrent, c))! },
          { file: a, facts: (yield* lookAt(torrent, a))! }
        ])
        assert.deepStrictEqual(second, [...first].reverse())
      })
    )

    test(
      "fail if they are missing, and can be flushed by a torrent that only reads",
      Effect.gen(function* () {
        yield* Effect.scoped(Effect.flatMap(open(abc), (torrent) => store(torrent, abc, content, [pieceOf(abc, 0)])))
        const torrent = yield* open(abc)

        const flushed = yield* torrent.flush([a, b])

        assert.deepStrictEqual(outcomes(flushed), [
          [a, 4],
          [b, "NotStored"]
        ])
      })
    )
  })

  describe(`files that are moved (${name})`, () => {
    test(
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
        assert.deepStrictEqual(after, before)
        assert.deepStrictEqual(bytes, content.slice(4, 8))
        assert.deepStrictEqual(now.get("t/new/name"), bytesOf(abc, a))
        assert.isFalse(now.has("t/a"))
        assert.deepStrictEqual(outcomes(flushed), [[a, 6]])
        assert.strictEqual(taken, "reserve WriterConflict")
      })
    )

    test(
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
        assert.deepStrictEqual(tags, [
          "rename FileExists",
          "rename FileExists",
          "rename WriterConflict",
          "rename FileExists"
        ])
        assert.deepStrictEqual(now.get("t/mine"), new Uint8Array([1]))
        assert.deepStrictEqual(now.get("t/a"), bytesOf(abc, a))
      })
    )

    test(
      "are never moved to the place of another file of theirs, and may get a name that differs by case alone",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* claim(torrent, abc, "new", [a])
        yield* write(torrent, abc, 0)

        const tag = yield* tagOf(torrent.rename(a, ["t", "d", "c"]))
        yield* torrent.rename(a, ["t", "A"])

        assert.strictEqual(tag, "rename FileExists")
        assert.deepStrictEqual([...(yield* listed)], [["t/A", content.slice(0, 4)]])
      })
    )

    test(
      "are made at the new path if they do not exist yet",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.reserve([a])
        yield* torrent.rename(a, ["elsewhere"])

        yield* torrent.claim([{ file: a, as: "new" }])
        yield* write(torrent, abc, 0)

        assert.deepStrictEqual([...(yield* listed)], [["elsewhere", content.slice(0, 4)]])
      })
    )
  })

  describe(`files that are removed (${name})`, () => {
    test(
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

        assert.deepStrictEqual(some, ["t/a", "t/empty", "t/mine"])
        assert.deepStrictEqual(
          made.map((facts) => facts?.file),
          [a, undefined]
        )
        assert.deepStrictEqual([...(yield* listed).keys()], ["t/mine"])
        assert.strictEqual(yield* tagOf(write(torrent, abc, 0)), "write FileChanged")
      })
    )

    test(
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

        assert.strictEqual(before, 2)
        assert.deepStrictEqual([...(yield* listed).keys()], [])
        assert.strictEqual((yield* lookAt(torrent, c))?.kind, "other")
      })
    )
  })

  describe(`files that are skipped (${name})`, () => {
    test(
      "are prepared without replacing any file",
      Effect.gen(function* () {
        const files = yield* MediumFiles
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        yield* store(torrent, abc, content, [pieceOf(abc, 1)])
        yield* files.put("t/d/b", new Uint8Array([1]))

        yield* torrent.prepare([a, b])

        assert.deepStrictEqual((yield* listed).get("t/d/b"), new Uint8Array([1]))
        assert.strictEqual((yield* lookAt(torrent, b))?.length, 1)
        assert.strictEqual(yield* tagOf(write(torrent, abc, 1)), "write FileChanged")
      })
    )

    test(
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

        assert.deepInclude(made, { file: b, length: 0 })
        assert.strictEqual(exists, "claim FileExists")
        assert.isUndefined(missing)
        assert.deepInclude(found, { file: c, length: 1, isAside: false })
      })
    )

    test(
      "stay claimed when they are wanted and moved",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        yield* store(torrent, abc, content, [pieceOf(abc, 1)])
        const before = yield* lookAt(torrent, b)
        yield* torrent.prepare([a, b])
        yield* write(torrent, abc, 1)

        const after = yield* lookAt(torrent, b)
        assert.strictEqual(after!.identity, before!.identity)
        assert.isFalse(after!.isAside)
        assert.deepStrictEqual((yield* listed).get("t/d/b"), content.slice(6, 8))
      })
    )
  })
}
