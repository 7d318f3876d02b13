import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { Metainfo } from "../../src/metainfo/Metainfo.ts"
import * as WebCryptoPieceHasher from "../../src/piece/WebCryptoPieceHasher.ts"
import type { ResumeData } from "../../src/resume/ResumeStore.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as Recheck from "../../src/torrent/Recheck.ts"
import { small } from "../simulation/torrents.ts"

const { geometry } = small.metainfo.layout
const all = Array.from({ length: geometry.pieceCount }, (_, piece) => piece)

const bits = (pieces: Iterable<number>) => {
  const set = Bitfield.make(geometry.pieceCount)
  for (const piece of pieces) Bitfield.add(set, piece)
  return set
}

const data = (stored: Iterable<number>, trusted: Iterable<number>): ResumeData => ({
  stored: bits(stored),
  flushed: bits(trusted),
  trusted: bits(trusted)
})

/** A storage that holds `stored`, and how to check it. */
const holding = Effect.fnUntraced(function* (stored: Iterable<number>) {
  const { medium, storage } = yield* MemoryStorage.make()
  const torrent = yield* storage.open(small.metainfo.layout)
  for (const piece of stored) {
    yield* torrent.writePiece(piece as PieceIndex, small.content(piece as PieceIndex))
  }
  const digested: Array<number> = []
  const progress: Array<readonly [checked: number, total: number]> = []
  const check = (resume: ResumeData | undefined) =>
    Recheck.run({
      metainfo: small.metainfo,
      storage: {
        ...torrent,
        digests: (pieces) => Stream.tap(torrent.digests(pieces), ({ piece }) => Effect.sync(() => digested.push(piece)))
      },
      resume,
      random: Prng.make(1),
      onProgress: (checked, total) => progress.push([checked, total])
    }).pipe(Effect.map((found) => [...Bitfield.indices(found)]))
  return {
    check,
    digested,
    progress,
    damage: (piece: number) => medium.damage(small.metainfo.layout, piece, 5),
    forget: (piece: number) => medium.forget(small.metainfo.layout, piece)
  }
}, Effect.provide(WebCryptoPieceHasher.layer))

describe("Recheck", () => {
  it.effect("without resume data digests everything, and tells how far it is", () =>
    Effect.gen(function* () {
      const { check, damage, digested, progress } = yield* holding([0, 3, 19])
      damage(3)

      const found = yield* check(undefined)

      assert.deepStrictEqual(found, [0, 19])
      assert.deepStrictEqual(digested, all)
      assert.deepStrictEqual(progress[0], [0, 20])
      assert.deepStrictEqual(progress.at(-1), [20, 20])
    })
  )

  it.effect("believes trusted data but for a sample of 8 pieces, and tells no progress", () =>
    Effect.gen(function* () {
      const { check, digested, progress } = yield* holding(all)

      const found = yield* check(data(all, all))

      assert.deepStrictEqual(found, all)
      assert.strictEqual(new Set(digested).size, 8)
      assert.strictEqual(digested.length, 8)
      assert.deepStrictEqual(progress, [])
    })
  )

  it.effect("fault 52: one wrong piece in the sample puts all in doubt", () =>
    Effect.gen(function* () {
      const { check, damage } = yield* holding(all)
      for (const piece of all.slice(0, 15)) damage(piece)

      const found = yield* check(data(all, all))

      assert.deepStrictEqual(found, [15, 16, 17, 18, 19])
    })
  )

  it.effect("fault 50: verifies those pieces that are stored but not trusted, and only those", () =>
    Effect.gen(function* () {
      const { check, damage, digested } = yield* holding(all)
      damage(2)

      const found = yield* check(data([0, 1, 2, 3], [0, 1]))

      assert.deepStrictEqual(found, [0, 1, 3])
      assert.deepStrictEqual([...new Set(digested)].sort(), [0, 1, 2, 3])
    })
  )

  it.effect("fault 49: finds out that a file was cut off, and verifies what is left of it", () =>
    Effect.gen(function* () {
      const { check, forget } = yield* holding(all)
      for (const piece of [17, 18, 19]) forget(piece)

      const found = yield* check(data(all, all))

      assert.deepStrictEqual(found, all.slice(0, 17))
    })
  )

  it.effect("does not believe in pieces that resume data does not name", () =>
    Effect.gen(function* () {
      const { check, digested } = yield* holding(all)

      const found = yield* check(data([4], []))

      assert.deepStrictEqual(found, [4])
      assert.deepStrictEqual(digested, [4])
    })
  )

  it.live("of two million pieces that are not there takes seconds at most, and tells a hundred times of it", () =>
    Effect.gen(function* () {
      const pieceLength = 16_384
      const layout = FileLayout.make({ pieceLength, files: [{ path: ["large"], length: 2_097_152 * pieceLength }] })
      const { storage } = yield* MemoryStorage.make()
      const torrent = yield* storage.open(layout)
      let told = 0
      const begin = performance.now()

      const found = yield* Recheck.run({
        metainfo: { layout } as Metainfo,
        storage: torrent,
        resume: undefined,
        random: Prng.make(1),
        onProgress: () => told++
      })

      assert.strictEqual(found.count, 0)
      assert.isAtMost(told, 101)
      assert.isBelow(performance.now() - begin, 20_000)
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )
})
