/**
 * What every `ResumeStore` must do, whatever it keeps its data in.
 */
import { assert, layer as provided } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { ResumeStore } from "../../src/resume/ResumeStore.ts"

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

/** What a torrent's resume data says to somebody who opens it anew, drawn. */
export const reload = (infoHash: InfoHash, pieceCount: number) =>
  Effect.gen(function* () {
    const resume = yield* (yield* ResumeStore).open(infoHash, pieceCount)
    const data = yield* resume.load
    return data && { stored: draw(data.stored), flushed: draw(data.flushed), trusted: draw(data.trusted) }
  }).pipe(Effect.scoped)

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

    it.effect("gives back what was saved", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(2), 10)
        yield* resume.save({ stored: drawn("**.*.....*"), flushed: drawn("*..*......") })

        const data = yield* reload(hashOf(2), 10)

        assert.deepStrictEqual(data, { stored: "**.*.....*", flushed: "*..*......", trusted: "**.*.....*" })
      })
    )

    it.effect("counts as flushed only what is stored", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(3), 4)
        yield* resume.save({ stored: drawn("*.*."), flushed: drawn("**..") })

        const data = yield* reload(hashOf(3), 4)

        assert.deepStrictEqual(data, { stored: "*.*.", flushed: "*...", trusted: "*.*." })
      })
    )

    it.effect("adds appended pieces to the snapshot, none of them flushed", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(4), 6)
        yield* resume.save({ stored: drawn("**...."), flushed: drawn("**....") })
        yield* resume.append(pieces(5, 3))
        yield* resume.append(pieces())
        yield* resume.append(pieces(1))

        const data = yield* reload(hashOf(4), 6)

        assert.deepStrictEqual(data, { stored: "**.*.*", flushed: "*.....", trusted: "**.*.*" })
      })
    )

    it.effect("begins with the appended pieces where nothing was saved", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(5), 4)
        yield* resume.append(pieces(2))
        yield* resume.append(pieces(0))

        const data = yield* reload(hashOf(5), 4)

        assert.deepStrictEqual(data, { stored: "*.*.", flushed: "....", trusted: "*.*." })
      })
    )

    it.effect("goes on appending to what an earlier owner left", () =>
      Effect.gen(function* () {
        const store = yield* ResumeStore
        const save = Effect.flatMap(store.open(hashOf(6), 4), (resume) =>
          resume.save({ stored: drawn("*..."), flushed: drawn("*...") })
        )
        yield* Effect.scoped(save)
        for (const piece of [3, 1])
          yield* Effect.scoped(Effect.flatMap(store.open(hashOf(6), 4), (resume) => resume.append(pieces(piece))))

        const data = yield* reload(hashOf(6), 4)

        assert.deepStrictEqual(data, { stored: "**.*", flushed: "*...", trusted: "**.*" })
      })
    )

    it.effect("replaces the snapshot and all that was appended to it", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(7), 4)
        yield* resume.append(pieces(0, 1, 2))
        yield* resume.save({ stored: drawn("...*"), flushed: drawn("....") })

        const data = yield* reload(hashOf(7), 4)

        assert.deepStrictEqual(data, { stored: "...*", flushed: "....", trusted: "...*" })
      })
    )

    it.effect("fault 52: trusts only flushed pieces after a power cut", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(8), 6)
        yield* resume.save({ stored: drawn("****.."), flushed: drawn("**....") })
        yield* resume.append(pieces(5))

        yield* cutPower
        const data = yield* reload(hashOf(8), 6)

        assert.deepStrictEqual(data, { stored: "****.*", flushed: "**....", trusted: "**...." })
      })
    )

    it.effect("fault 52: trusts what was saved after the power came back", () =>
      Effect.gen(function* () {
        const store = yield* ResumeStore
        const before = yield* store.open(hashOf(9), 4)
        yield* before.save({ stored: drawn("**.."), flushed: drawn("*...") })
        yield* cutPower
        const after = yield* store.open(hashOf(9), 4)
        yield* after.save({ stored: drawn("*.*."), flushed: drawn("*...") })

        const data = yield* reload(hashOf(9), 4)

        assert.deepStrictEqual(data, { stored: "*.*.", flushed: "*...", trusted: "*.*." })
      })
    )

    it.effect("keeps the bitfields of its callers and its own apart", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(10), 4)
        const stored = drawn("*...")
        yield* resume.save({ stored, flushed: stored })
        Bitfield.add(stored, 1)
        const loaded = yield* resume.load
        Bitfield.add(loaded!.stored, 2)
        Bitfield.clear(loaded!.trusted)

        const data = yield* reload(hashOf(10), 4)

        assert.deepStrictEqual(data, { stored: "*...", flushed: "*...", trusted: "*..." })
      })
    )

    it.effect("runs concurrent operations one after another, in their order", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(11), 64)
        const stored = Bitfield.make(64)
        const work = Array.from({ length: 64 }, (_, index) => {
          Bitfield.add(stored, index)
          return index % 7 === 3
            ? resume.save({ stored: Bitfield.copy(stored), flushed: Bitfield.make(64) })
            : resume.append(pieces(index))
        })
        yield* Effect.all(work, { concurrency: "unbounded", discard: true })

        const data = yield* reload(hashOf(11), 64)

        assert.strictEqual(data?.stored, "*".repeat(64))
      })
    )

    it.effect("keeps torrents apart, and knows one by its number of pieces as well", () =>
      Effect.gen(function* () {
        const store = yield* ResumeStore
        yield* (yield* store.open(hashOf(12), 4)).save({ stored: drawn("*..."), flushed: drawn("....") })
        yield* (yield* store.open(hashOf(13), 4)).save({ stored: drawn(".*.."), flushed: drawn("....") })

        const loaded = [yield* reload(hashOf(12), 4), yield* reload(hashOf(13), 4), yield* reload(hashOf(12), 5)]

        assert.deepStrictEqual(
          loaded.map((data) => data?.stored),
          ["*...", ".*..", undefined]
        )
      })
    )

    it.effect("forgets a torrent, and forgets one it does not know", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(14), 4)
        yield* resume.append(pieces(1))
        yield* resume.remove
        yield* resume.remove

        const data = yield* reload(hashOf(14), 4)

        assert.strictEqual(data, undefined)
      })
    )

    it.effect("starts afresh after it has forgotten", () =>
      Effect.gen(function* () {
        const resume = yield* (yield* ResumeStore).open(hashOf(15), 4)
        yield* resume.append(pieces(1))
        yield* resume.remove
        yield* resume.append(pieces(2))

        const data = yield* reload(hashOf(15), 4)

        assert.strictEqual(data?.stored, "..*.")
      })
    )
  })
