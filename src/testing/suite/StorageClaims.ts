/** How every storage reports files, reserves them and makes them writable. */
import * as Effect from "effect/Effect"
import type { Storage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import * as StorageSamples from "./StorageSamples.ts"
import * as Suite from "./Suite.ts"

const { claim, open, openToWrite, pieceOf, store } = Layouts
const { a, abc, b, c, content, dies, empty, lookAt, outcomes, tagOf, write } = StorageSamples

const all = [a, b, c, empty]

const looks: ReadonlyArray<Suite.Case<Storage>> = [
  Suite.test(
    "are missing before they are made, and are reported in the requested order",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      const before = yield* torrent.look(all)
      yield* claim(torrent, abc)

      const found = yield* torrent.look([c, a, b])

      Assert.deepStrictEqual(before, [undefined, undefined, undefined, undefined])
      Assert.deepStrictEqual(
        found.map((facts) => facts?.file),
        [c, a, b]
      )
      for (const facts of found) {
        Assert.deepInclude(facts, { kind: "file", length: 0, isHole: true, isAside: false, otherNames: 0 })
        Assert.match(facts?.identity, /^[\x21-\x7e]{1,64}$/)
      }
      Assert.strictEqual(new Set(found.map((facts) => facts?.identity)).size, 3)
    })
  ),

  Suite.test(
    "are reported with every block that is read from them",
    Effect.gen(function* () {
      const torrent = yield* openToWrite(abc)
      yield* store(torrent, abc)

      const { files } = yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)

      Assert.deepStrictEqual<unknown>(files, yield* torrent.look([a, b]))
    })
  ),

  Suite.test(
    "look the same to the next opening, if nothing was written to them since",
    Effect.gen(function* () {
      const first = yield* Effect.scoped(
        Effect.flatMap(open(abc), (torrent) => Effect.andThen(store(torrent, abc), torrent.look(all)))
      )

      const next = yield* Effect.flatMap(open(abc), (torrent) => torrent.look(all))

      Assert.deepStrictEqual(next, first)
      Assert.deepStrictEqual(
        next.map((facts) => facts?.length),
        [6, 3, 2, undefined]
      )
    })
  ),

  Suite.test(
    "look different once something was written to them",
    Effect.gen(function* () {
      const torrent = yield* openToWrite(abc)
      const made = yield* lookAt(torrent, a)
      yield* write(torrent, abc, 0)
      const half = yield* lookAt(torrent, a)
      yield* write(torrent, abc, 1)
      const whole = yield* lookAt(torrent, a)

      Assert.deepStrictEqual(
        [made, half, whole].map((facts) => [facts?.length, facts?.isHole]),
        [
          [0, true],
          [4, false],
          [6, false]
        ]
      )
      Assert.deepStrictEqual([half!.identity, whole!.identity], [made!.identity, made!.identity])
    })
  )
]

const reservations: ReadonlyArray<Suite.Case<Storage>> = [
  Suite.test(
    "are refused to another opening, by path and holder, and it then reserves none",
    Effect.gen(function* () {
      const one = yield* open(abc)
      const two = yield* open(abc)
      yield* one.reserve([a])

      const error = yield* Effect.flip(two.reserve([b, a]))
      yield* one.reserve([a, b, c])

      const { reason } = error
      Assert.strictEqual(error.operation, "reserve")
      Assert.strictEqual(reason._tag, "WriterConflict")
      Assert.match(reason.path, /t\/a$/)
      Assert.match(error.message, /t\/a is being written by another torrent/)
    })
  ),

  Suite.test(
    "are free again once they are released or their opening is closed",
    Effect.gen(function* () {
      const two = yield* open(abc)
      const tags = yield* Effect.scoped(
        Effect.gen(function* () {
          const one = yield* open(abc)
          yield* one.reserve([a])
          yield* one.reserve([a, b])
          const held = yield* tagOf(two.reserve([a]))
          yield* one.release([a, c])
          yield* two.reserve([a])
          const taken = yield* tagOf(one.reserve([a]))
          yield* two.release([a])
          yield* one.reserve([a])
          return [held, taken]
        })
      )
      yield* two.reserve([a, b])

      Assert.deepStrictEqual(tags, ["reserve WriterConflict", "reserve WriterConflict"])
    })
  ),

  Suite.test(
    "are not made by that, and can be read by all",
    Effect.gen(function* () {
      yield* Effect.scoped(Effect.flatMap(open(abc), (torrent) => store(torrent, abc, content, [pieceOf(abc, 0)])))
      const one = yield* open(abc)
      const two = yield* open(abc)
      yield* one.reserve([a, b])

      const { bytes } = yield* two.readBlock(pieceOf(abc, 0), 0, 4)

      Assert.deepStrictEqual(bytes, content.slice(0, 4))
      Assert.isUndefined(yield* lookAt(two, b))
    })
  ),

  Suite.test(
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

      for (const why of [first, ...other]) Assert.match(why, /t\/a is not reserved/)
      for (const why of [unclaimed, released]) Assert.match(why, /t\/a is not claimed/)
      Assert.match(half, /t\/d\/b is not claimed/)
    })
  )
]

const claims: ReadonlyArray<Suite.Case<Storage>> = [
  Suite.test(
    "as new ones exist from then on, empty files too, and are refused if they exist; the others are claimed",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.reserve([a, b, empty])
      const made = yield* torrent.claim([
        { file: empty, as: "new" },
        { file: a, as: "new" }
      ])
      yield* write(torrent, abc, 0)
      const before = yield* torrent.look([a, empty])

      const error = yield* Effect.flip(torrent.claim([a, b].map((file) => ({ file, as: "new" as const }))))

      Assert.deepStrictEqual(
        made.map((facts) => [facts.file, facts.length, facts.isHole]),
        [
          [empty, 0, true],
          [a, 0, true]
        ]
      )
      Assert.strictEqual(`${error.operation} ${error.reason._tag}`, "claim FileExists")
      Assert.deepStrictEqual(yield* torrent.look([a, empty]), before)
    })
  ),

  Suite.test(
    "as found ones are written where they are",
    Effect.gen(function* () {
      yield* Effect.scoped(Effect.flatMap(open(abc), (torrent) => store(torrent, abc, content, [pieceOf(abc, 0)])))
      const torrent = yield* open(abc)
      yield* torrent.reserve([a, b])
      const facts = (yield* lookAt(torrent, a))!

      const claimed = yield* torrent.claim([
        { file: a, as: "found", facts },
        { file: b, as: "new" }
      ])
      yield* write(torrent, abc, 1)
      const { bytes } = yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)

      Assert.deepStrictEqual(claimed[0], facts)
      Assert.deepStrictEqual(bytes, content.slice(0, 4))
      Assert.strictEqual((yield* lookAt(torrent, a))?.identity, facts.identity)
    })
  ),

  Suite.test(
    "as found ones are refused if they were written or removed since, and stay refused",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      const other = yield* open(abc)
      yield* store(other, abc, content, [pieceOf(abc, 0)])
      const facts = (yield* lookAt(torrent, a))!
      yield* store(other, abc, content, [pieceOf(abc, 1)])
      yield* other.release([a, b])
      yield* torrent.reserve([a, b])
      const claimA = torrent.claim([{ file: a, as: "found", facts }])

      const written = yield* Effect.flip(claimA)
      yield* torrent.remove([a])
      const removed = yield* Effect.flip(claimA)

      Assert.deepStrictEqual([written.reason._tag, removed.reason._tag], ["FileChanged", "FileChanged"])
      Assert.include(written.message, "t/a was changed")
      Assert.include(removed.message, "t/a was deleted")
      Assert.isUndefined(yield* lookAt(torrent, a))
    })
  ),

  Suite.test(
    "as overwritten ones keep their bytes, or are made",
    Effect.gen(function* () {
      yield* Effect.scoped(Effect.flatMap(open(abc), (torrent) => store(torrent, abc, content, [pieceOf(abc, 0)])))
      const torrent = yield* open(abc)

      const facts = yield* claim(torrent, abc)

      const { bytes } = yield* torrent.readBlock(pieceOf(abc, 0), 0, 4)
      Assert.deepStrictEqual(bytes, content.slice(0, 4))
      Assert.deepStrictEqual(
        facts.map(({ length }) => length),
        [4, 0, 0, 0]
      )
    })
  ),

  Suite.test(
    "are looked at again by another claim, and fail their writes if that fails",
    Effect.gen(function* () {
      const torrent = yield* openToWrite(abc)
      const early = (yield* lookAt(torrent, a))!
      yield* store(torrent, abc)
      const facts = (yield* lookAt(torrent, a))!
      const again = yield* torrent.claim([{ file: a, as: "found", facts }])

      const stale = yield* tagOf(torrent.claim([{ file: a, as: "found", facts: early }]))
      const refused = yield* tagOf(write(torrent, abc, 0))
      yield* torrent.claim([{ file: a, as: "found", facts }])
      yield* write(torrent, abc, 0)

      Assert.deepStrictEqual(again, [facts])
      Assert.deepStrictEqual([stale, refused], ["claim FileChanged", "write FileChanged"])
    })
  ),

  Suite.test(
    "afresh keep their bytes and may be written",
    Effect.gen(function* () {
      const torrent = yield* openToWrite(abc)
      yield* store(torrent, abc)
      const facts = (yield* lookAt(torrent, a))!

      const [own] = yield* torrent.claim([{ file: a, as: "found", facts, afresh: true }])
      yield* write(torrent, abc, 0)
      const flushed = yield* torrent.flush([a])
      const { bytes } = yield* torrent.readBlock(pieceOf(abc, 1), 0, 4)

      Assert.deepInclude(own, { file: a, length: 6, isHole: false, otherNames: 0 })
      Assert.deepStrictEqual(outcomes(flushed), [[a, 6]])
      Assert.deepStrictEqual(bytes, content.slice(4, 8))
    })
  )
]

/** The cases. */
export const cases: ReadonlyArray<Suite.Case<Storage>> = [
  ...Suite.group("files that are looked at", looks),
  ...Suite.group("files that are reserved", reservations),
  ...Suite.group("files that are claimed", claims)
]
