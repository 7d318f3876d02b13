/**
 * What every `ResumeStore` does, whatever it keeps its data in. Every store passes `cases`; `restartCases` are for a
 * store whose test can restart the machine, or pretend to.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../../base/Bitfield.ts"
import type { PieceIndex } from "../../base/PieceGeometry.ts"
import type { ResumeStore } from "../../resume/ResumeStore.ts"
import * as Assert from "./Assert.ts"
import * as ResumeDrawing from "./ResumeDrawing.ts"
import * as Suite from "./Suite.ts"

const { drawFiles, drawn, hashOf, noFiles, openStore, pieces, record, reload, said } = ResumeDrawing

/** What every store does. */
export const cases: ReadonlyArray<Suite.Case<ResumeStore>> = [
  Suite.test(
    "knows nothing of a torrent that was never saved",
    Effect.gen(function* () {
      const data = yield* reload(hashOf(1), 4)

      Assert.strictEqual(data, undefined)
    })
  ),

  Suite.test(
    "returns what was saved",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(2), 10)
      yield* resume.save({ stored: drawn("**.*.....*"), flushed: drawn("*..*......"), files: noFiles })

      const data = yield* reload(hashOf(2), 10)

      Assert.deepStrictEqual(data, said("**.*.....*", "*..*......"))
    })
  ),

  Suite.test(
    "counts as flushed only what is stored",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(3), 4)
      yield* resume.save({ stored: drawn("*.*."), flushed: drawn("**.."), files: noFiles })

      const data = yield* reload(hashOf(3), 4)

      Assert.deepStrictEqual(data, said("*.*.", "*..."))
    })
  ),

  Suite.test(
    "adds appended pieces to the snapshot, none of them flushed",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(4), 6)
      yield* resume.save({ stored: drawn("**...."), flushed: drawn("**...."), files: noFiles })
      yield* resume.append({ stored: pieces(5, 3) })
      yield* resume.append({ stored: pieces() })
      yield* resume.append({ stored: pieces(1) })

      const data = yield* reload(hashOf(4), 6)

      Assert.deepStrictEqual(data, said("**.*.*", "*....."))
    })
  ),

  Suite.test(
    "begins with the appended pieces if nothing was saved yet",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(5), 4)
      yield* resume.append({ stored: pieces(2) })
      yield* resume.append({ stored: pieces(0) })

      const data = yield* reload(hashOf(5), 4)

      Assert.deepStrictEqual(data, said("*.*.", "...."))
    })
  ),

  Suite.test(
    "continues to append to what an earlier owner left",
    Effect.gen(function* () {
      const save = Effect.flatMap(openStore(hashOf(6), 4), (resume) =>
        resume.save({ stored: drawn("*..."), flushed: drawn("*..."), files: noFiles })
      )
      yield* Effect.scoped(save)
      for (const piece of [3, 1])
        yield* Effect.scoped(
          Effect.flatMap(openStore(hashOf(6), 4), (resume) => resume.append({ stored: pieces(piece) }))
        )

      const data = yield* reload(hashOf(6), 4)

      Assert.deepStrictEqual(data, said("**.*", "*..."))
    })
  ),

  Suite.test(
    "replaces the snapshot and all that was appended to it",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(7), 4)
      yield* resume.append({ stored: pieces(0, 1, 2) })
      yield* resume.save({ stored: drawn("...*"), flushed: drawn("...."), files: noFiles })

      const data = yield* reload(hashOf(7), 4)

      Assert.deepStrictEqual(data, said("...*", "...."))
    })
  ),

  Suite.test(
    "keeps the sets of its callers and its own apart",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(10), 4)
      const stored = drawn("*...")
      const files = new Map([[0, record("a")]])
      const appended = [2 as PieceIndex]
      yield* resume.save({ stored, flushed: stored, files })
      Bitfield.add(stored, 1)
      files.set(1, record("b"))
      yield* resume.append({ stored: appended })
      appended[0] = 3 as PieceIndex
      const loaded = yield* resume.load
      Bitfield.add(loaded!.stored, 1)
      Bitfield.clear(loaded!.flushed)

      const data = yield* reload(hashOf(10), 4)

      Assert.deepStrictEqual(data, { ...said("*.*.", "*..."), files: drawFiles(new Map([[0, record("a")]])) })
    })
  ),

  Suite.test(
    "runs concurrent operations one after another, in their order",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(11), 64)
      const stored = Bitfield.make(64)
      const work = Array.from({ length: 64 }, (_, index) => {
        Bitfield.add(stored, index)
        return index % 7 === 3
          ? resume.save({ stored: Bitfield.copy(stored), flushed: Bitfield.make(64), files: noFiles })
          : resume.append({ stored: pieces(index) })
      })
      yield* Effect.all(work, { concurrency: "unbounded", discard: true })

      const data = yield* reload(hashOf(11), 64)

      Assert.strictEqual(data?.stored, "*".repeat(64))
    })
  ),

  Suite.test(
    "keeps torrents apart, and distinguishes them by their number of pieces too",
    Effect.gen(function* () {
      yield* (yield* openStore(hashOf(12), 4)).save({ stored: drawn("*..."), flushed: drawn("...."), files: noFiles })
      yield* (yield* openStore(hashOf(13), 4)).save({ stored: drawn(".*.."), flushed: drawn("...."), files: noFiles })

      const loaded = [yield* reload(hashOf(12), 4), yield* reload(hashOf(13), 4), yield* reload(hashOf(12), 5)]

      Assert.deepStrictEqual(
        loaded.map((data) => data?.stored),
        ["*...", ".*..", undefined]
      )
    })
  ),

  Suite.test(
    "forgets a torrent, and forgets one it does not know",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(14), 4)
      yield* resume.append({ stored: pieces(1) })
      yield* resume.remove
      yield* resume.remove

      const data = yield* reload(hashOf(14), 4)

      Assert.strictEqual(data, undefined)
    })
  ),

  Suite.test(
    "starts afresh after it has forgotten",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(15), 4)
      yield* resume.append({ stored: pieces(1) })
      yield* resume.remove
      yield* resume.append({ stored: pieces(2) })

      const data = yield* reload(hashOf(15), 4)

      Assert.strictEqual(data?.stored, "..*.")
    })
  ),

  Suite.test(
    "returns the files that were saved, to the last nanosecond",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(16), 4)
      const files = new Map([
        [0, record("66305:1234567", { length: 0, mtimeNs: 0n })],
        [1, record("1:2", { isStale: true })],
        [3, record("", { isWriting: true, isStale: true, length: Number.MAX_SAFE_INTEGER, mtimeNs: -1n })]
      ])
      yield* resume.save({ stored: drawn("*..."), flushed: drawn("...."), files })

      const data = yield* reload(hashOf(16), 4)

      Assert.deepStrictEqual(data?.files, drawFiles(files))
    })
  ),

  Suite.test(
    "replaces what was known of an appended file, and leaves the others",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(17), 4)
      const before = record("b", { isWriting: true })
      yield* resume.save({
        stored: drawn("...."),
        flushed: drawn("...."),
        files: new Map([
          [0, record("a")],
          [1, before]
        ])
      })
      yield* resume.append({
        files: new Map([
          [1, record("b", { length: 5 })],
          [2, record("c")]
        ])
      })

      const data = yield* reload(hashOf(17), 4)

      Assert.deepStrictEqual(
        data?.files,
        drawFiles(
          new Map([
            [0, record("a")],
            [1, record("b", { length: 5 })],
            [2, record("c")]
          ])
        )
      )
    })
  ),

  Suite.test(
    "forgets the files of an earlier snapshot with it",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(18), 4)
      yield* resume.append({ files: new Map([[0, record("a")]]), stored: pieces(1) })
      yield* resume.save({ stored: drawn(".*.."), flushed: drawn("...."), files: new Map([[2, record("c")]]) })

      const data = yield* reload(hashOf(18), 4)

      Assert.deepStrictEqual(data?.files, drawFiles(new Map([[2, record("c")]])))
    })
  ),

  Suite.test(
    "removes a dropped piece from both sets",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(19), 4)
      yield* resume.save({ stored: drawn("****"), flushed: drawn("**.."), files: noFiles })
      yield* resume.append({ dropped: pieces(0, 2) })

      const data = yield* reload(hashOf(19), 4)

      Assert.deepStrictEqual(data, said(".*.*", ".*.."))
    })
  ),

  Suite.test(
    "counts appended pieces as flushed once that is appended, but only stored ones",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(20), 4)
      yield* resume.append({ stored: pieces(0, 1) })
      yield* resume.append({ flushed: pieces(0, 3) })

      const data = yield* reload(hashOf(20), 4)

      Assert.deepStrictEqual(data, said("**..", "*..."))
    })
  ),

  Suite.test(
    "applies one change in the order files, dropped, stored, flushed",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(21), 6)
      yield* resume.save({ stored: drawn("***..."), flushed: drawn("***..."), files: noFiles })
      yield* resume.append({
        flushed: pieces(4, 5),
        stored: pieces(1, 4),
        dropped: pieces(0, 1, 4),
        files: new Map([[0, record("a")]])
      })

      const data = yield* reload(hashOf(21), 6)

      Assert.deepStrictEqual(data, { ...said(".**.*.", "..*.*."), files: drawFiles(new Map([[0, record("a")]])) })
    })
  ),

  Suite.test(
    "remembers nothing if nothing has changed",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(23), 4)
      yield* resume.append({})
      yield* resume.append({ dropped: [], stored: [], flushed: [], files: noFiles }, { durably: true })

      const data = yield* reload(hashOf(23), 4)

      Assert.strictEqual(data, undefined)
    })
  )
]

/** What a store remembers over a power cut. `cutPower` restarts the machine below the store, without its flushes. */
export const restartCases = <R>(
  cutPower: Effect.Effect<void, never, R>
): ReadonlyArray<Suite.Case<ResumeStore | R>> => [
  Suite.test(
    "fault 52: trusts only flushed pieces after a power cut",
    Effect.gen(function* () {
      const resume = yield* openStore(hashOf(8), 6)
      yield* resume.save({ stored: drawn("****.."), flushed: drawn("**...."), files: noFiles })
      yield* resume.append({ stored: pieces(5) })

      yield* cutPower
      const data = yield* reload(hashOf(8), 6)

      Assert.deepStrictEqual(data, { ...said("****.*", "**...."), isSameBoot: false })
    })
  ),

  Suite.test(
    "fault 52: what is saved after the power cut is of this start of the machine",
    Effect.gen(function* () {
      const before = yield* openStore(hashOf(9), 4)
      yield* before.save({ stored: drawn("**.."), flushed: drawn("*..."), files: noFiles })
      yield* cutPower
      const after = yield* openStore(hashOf(9), 4)
      yield* after.save({ stored: drawn("*.*."), flushed: drawn("*..."), files: noFiles })

      const data = yield* reload(hashOf(9), 4)

      Assert.deepStrictEqual(data, said("*.*.", "*..."))
    })
  ),

  Suite.test(
    "fault 52: what is appended after a power cut does not make the rest trusted",
    Effect.gen(function* () {
      const before = yield* openStore(hashOf(22), 4)
      yield* before.save({ stored: drawn("**.."), flushed: drawn("*..."), files: noFiles })
      yield* cutPower
      const after = yield* openStore(hashOf(22), 4)
      yield* after.append({ stored: pieces(3) }, { durably: true })

      const data = yield* reload(hashOf(22), 4)

      Assert.deepStrictEqual(data, { ...said("**.*", "*..."), isSameBoot: false })
    })
  )
]
