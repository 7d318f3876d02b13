/**
 * What every `ResumeStore` must do, whatever it keeps its data in.
 */
import { assert, layer as provided } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { type FileRecord, ResumeStore } from "../../src/resume/ResumeStore.ts"

/** A bitfield drawn as text: `"* *."` has pieces 0 and 2 of four. */
export const drawn = (text: string): Bitfield.Bitfield => {
  const self = Bitfield.make(text.length)
  for (let index = 0; index < text.length; index++) if (text[index] === "*") Bitfield.add(self, index)
  return self
}

/** The text of a bitfield. */
export const draw = (self: Bitfield.Bitfield): string =>
  Array.from({ length: self.length }, (_, index) => (Bitfield.has(self, index) ? "*" : ".")).join("")

/** An info hash of equal bytes. */
export const hashOf = (byte: number) => new Uint8Array(20).fill(byte) as InfoHash

/** Pieces by their numbers. */
export const pieces = (...indices: ReadonlyArray<number>) => indices as ReadonlyArray<PieceIndex>

/** Files in the layouts of the torrents here. */
export const fileCount = 4

/** What is remembered of a file that is not being written; `identity` tells one from another. */
export const record = (identity: string, more: Partial<FileRecord> = {}): FileRecord => ({
  isWriting: false,
  isStale: false,
  length: 16_384,
  mtimeNs: 1_700_000_000_000_000_001n,
  identity,
  ...more
})

/** No file is known. */
export const noFiles: ReadonlyMap<number, FileRecord> = new Map()

/** Files as text, in the order of their indices: `"2: 1:77, 16384 bytes of 1700000000000000001, being written"`. */
export const drawFiles = (files: ReadonlyMap<number, FileRecord>): ReadonlyArray<string> =>
  [...files]
    .sort(([first], [second]) => first - second)
    .map(
      ([index, { identity, isStale, isWriting, length, mtimeNs }]) =>
        `${index}: ${identity}, ${length} bytes of ${mtimeNs}${isWriting ? ", being written" : ""}${isStale ? ", stale" : ""}`
    )

const openStore = (infoHash: InfoHash, pieceCount: number) =>
  Effect.flatMap(ResumeStore, (store) => store.open({ infoHash, pieceCount, fileCount }))

/** What a torrent's resume data says when it is opened again, drawn. */
export const reload = (infoHash: InfoHash, pieceCount: number) =>
  Effect.gen(function* () {
    const resume = yield* openStore(infoHash, pieceCount)
    const data = yield* resume.load
    if (data === undefined) return undefined
    const { files, flushed, isSameBoot, stored } = data
    return { stored: draw(stored), flushed: draw(flushed), files: drawFiles(files), isSameBoot }
  }).pipe(Effect.scoped)

/** The same of a torrent without known files, on a machine that was not restarted. */
const said = (stored: string, flushed: string) => ({
  stored,
  flushed,
  files: [] as ReadonlyArray<string>,
  isSameBoot: true
})

/** Runs the suite against `layer`; `cutPower` restarts the machine below it. Each test has a torrent of its own. */
export const suite = <R, E>(
  name: string,
  layer: Layer.Layer<ResumeStore | R, E>,
  cutPower: Effect.Effect<void, never, R>
) =>
  provided(layer)(`ResumeStore (${name})`, (it) => {
    it.effect("knows nothing of a torrent that was never saved", () =>
      Effect.gen(function* () {
        const data = yield* reload(hashOf(1), 4)

        assert.strictEqual(data, undefined)
      })
    )

    it.effect("returns what was saved", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(2), 10)
        yield* resume.save({ stored: drawn("**.*.....*"), flushed: drawn("*..*......"), files: noFiles })

        const data = yield* reload(hashOf(2), 10)

        assert.deepStrictEqual(data, said("**.*.....*", "*..*......"))
      })
    )

    it.effect("counts as flushed only what is stored", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(3), 4)
        yield* resume.save({ stored: drawn("*.*."), flushed: drawn("**.."), files: noFiles })

        const data = yield* reload(hashOf(3), 4)

        assert.deepStrictEqual(data, said("*.*.", "*..."))
      })
    )

    it.effect("adds appended pieces to the snapshot, none of them flushed", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(4), 6)
        yield* resume.save({ stored: drawn("**...."), flushed: drawn("**...."), files: noFiles })
        yield* resume.append({ stored: pieces(5, 3) })
        yield* resume.append({ stored: pieces() })
        yield* resume.append({ stored: pieces(1) })

        const data = yield* reload(hashOf(4), 6)

        assert.deepStrictEqual(data, said("**.*.*", "*....."))
      })
    )

    it.effect("begins with the appended pieces if nothing was saved yet", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(5), 4)
        yield* resume.append({ stored: pieces(2) })
        yield* resume.append({ stored: pieces(0) })

        const data = yield* reload(hashOf(5), 4)

        assert.deepStrictEqual(data, said("*.*.", "...."))
      })
    )

    it.effect("continues to append to what an earlier owner left", () =>
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

        assert.deepStrictEqual(data, said("**.*", "*..."))
      })
    )

    it.effect("replaces the snapshot and all that was appended to it", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(7), 4)
        yield* resume.append({ stored: pieces(0, 1, 2) })
        yield* resume.save({ stored: drawn("...*"), flushed: drawn("...."), files: noFiles })

        const data = yield* reload(hashOf(7), 4)

        assert.deepStrictEqual(data, said("...*", "...."))
      })
    )

    it.effect("fault 52: trusts only flushed pieces after a power cut", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(8), 6)
        yield* resume.save({ stored: drawn("****.."), flushed: drawn("**...."), files: noFiles })
        yield* resume.append({ stored: pieces(5) })

        yield* cutPower
        const data = yield* reload(hashOf(8), 6)

        assert.deepStrictEqual(data, { ...said("****.*", "**...."), isSameBoot: false })
      })
    )

    it.effect("fault 52: what is saved after the power cut is of this start of the machine", () =>
      Effect.gen(function* () {
        const before = yield* openStore(hashOf(9), 4)
        yield* before.save({ stored: drawn("**.."), flushed: drawn("*..."), files: noFiles })
        yield* cutPower
        const after = yield* openStore(hashOf(9), 4)
        yield* after.save({ stored: drawn("*.*."), flushed: drawn("*..."), files: noFiles })

        const data = yield* reload(hashOf(9), 4)

        assert.deepStrictEqual(data, said("*.*.", "*..."))
      })
    )

    it.effect("keeps the sets of its callers and its own apart", () =>
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

        assert.deepStrictEqual(data, { ...said("*.*.", "*..."), files: drawFiles(new Map([[0, record("a")]])) })
      })
    )

    it.effect("runs concurrent operations one after another, in their order", () =>
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

        assert.strictEqual(data?.stored, "*".repeat(64))
      })
    )

    it.effect("keeps torrents apart, and distinguishes them by their number of pieces too", () =>
      Effect.gen(function* () {
        yield* (yield* openStore(hashOf(12), 4)).save({ stored: drawn("*..."), flushed: drawn("...."), files: noFiles })
        yield* (yield* openStore(hashOf(13), 4)).save({ stored: drawn(".*.."), flushed: drawn("...."), files: noFiles })

        const loaded = [yield* reload(hashOf(12), 4), yield* reload(hashOf(13), 4), yield* reload(hashOf(12), 5)]

        assert.deepStrictEqual(
          loaded.map((data) => data?.stored),
          ["*...", ".*..", undefined]
        )
      })
    )

    it.effect("forgets a torrent, and forgets one it does not know", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(14), 4)
        yield* resume.append({ stored: pieces(1) })
        yield* resume.remove
        yield* resume.remove

        const data = yield* reload(hashOf(14), 4)

        assert.strictEqual(data, undefined)
      })
    )

    it.effect("starts afresh after it has forgotten", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(15), 4)
        yield* resume.append({ stored: pieces(1) })
        yield* resume.remove
        yield* resume.append({ stored: pieces(2) })

        const data = yield* reload(hashOf(15), 4)

        assert.strictEqual(data?.stored, "..*.")
      })
    )

    it.effect("returns the files that were saved, to the last nanosecond", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(16), 4)
        const files = new Map([
          [0, record("66305:1234567", { length: 0, mtimeNs: 0n })],
          [1, record("1:2", { isStale: true })],
          [3, record("", { isWriting: true, isStale: true, length: Number.MAX_SAFE_INTEGER, mtimeNs: -1n })]
        ])
        yield* resume.save({ stored: drawn("*..."), flushed: drawn("...."), files })

        const data = yield* reload(hashOf(16), 4)

        assert.deepStrictEqual(data?.files, drawFiles(files))
      })
    )

    it.effect("replaces what was known of an appended file, and leaves the others", () =>
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

        assert.deepStrictEqual(
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
    )

    it.effect("forgets the files of an earlier snapshot with it", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(18), 4)
        yield* resume.append({ files: new Map([[0, record("a")]]), stored: pieces(1) })
        yield* resume.save({ stored: drawn(".*.."), flushed: drawn("...."), files: new Map([[2, record("c")]]) })

        const data = yield* reload(hashOf(18), 4)

        assert.deepStrictEqual(data?.files, drawFiles(new Map([[2, record("c")]])))
      })
    )

    it.effect("removes a dropped piece from both sets", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(19), 4)
        yield* resume.save({ stored: drawn("****"), flushed: drawn("**.."), files: noFiles })
        yield* resume.append({ dropped: pieces(0, 2) })

        const data = yield* reload(hashOf(19), 4)

        assert.deepStrictEqual(data, said(".*.*", ".*.."))
      })
    )

    it.effect("counts appended pieces as flushed once that is appended, but only stored ones", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(20), 4)
        yield* resume.append({ stored: pieces(0, 1) })
        yield* resume.append({ flushed: pieces(0, 3) })

        const data = yield* reload(hashOf(20), 4)

        assert.deepStrictEqual(data, said("**..", "*..."))
      })
    )

    it.effect("applies one change in the order files, dropped, stored, flushed", () =>
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

        assert.deepStrictEqual(data, { ...said(".**.*.", "..*.*."), files: drawFiles(new Map([[0, record("a")]])) })
      })
    )

    it.effect("fault 52: what is appended after a power cut does not make the rest trusted", () =>
      Effect.gen(function* () {
        const before = yield* openStore(hashOf(22), 4)
        yield* before.save({ stored: drawn("**.."), flushed: drawn("*..."), files: noFiles })
        yield* cutPower
        const after = yield* openStore(hashOf(22), 4)
        yield* after.append({ stored: pieces(3) }, { durably: true })

        const data = yield* reload(hashOf(22), 4)

        assert.deepStrictEqual(data, { ...said("**.*", "*..."), isSameBoot: false })
      })
    )

    it.effect("remembers nothing if nothing has changed", () =>
      Effect.gen(function* () {
        const resume = yield* openStore(hashOf(23), 4)
        yield* resume.append({})
        yield* resume.append({ dropped: [], stored: [], flushed: [], files: noFiles }, { durably: true })

        const data = yield* reload(hashOf(23), 4)

        assert.strictEqual(data, undefined)
      })
    )
  })
