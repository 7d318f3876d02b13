import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import { Storage } from "../../src/storage/Storage.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import * as Memory from "./memory.ts"
import { suite } from "./Storage.suite.ts"

suite("memory", Layer.provideMerge(Memory.files, Memory.layer()))

const two = layoutOf(4, ["t/a", 6], ["t/pad", 1, "padding"], ["t/b", 3])

describe("MemoryStorage", () => {
  it.effect("fault 48: stores nothing past its capacity, and goes on when it grows", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* (yield* Storage).open(two)
      const content = contentOf(two)
      const write = (index: number) =>
        torrent.writePiece(pieceOf(two, index), sliceOf(two, content, pieceOf(two, index)))
      yield* write(0)

      const error = yield* Effect.flip(write(1))
      const used = medium.usedBytes()
      medium.setCapacity(9)
      yield* Effect.forEach([1, 2], write)

      assert.strictEqual(error.message, "the disk is full: t/a cannot grow")
      assert.strictEqual(used, 4)
      assert.strictEqual(medium.usedBytes(), 9)
      assert.isTrue(medium.torrent(two).isWhole)
    }).pipe(Effect.provide(Memory.layer({ capacity: 6 })))
  )

  it.effect("takes no room for a piece that is written again", () =>
    Effect.gen(function* () {
      const torrent = yield* (yield* Storage).open(two)
      const piece = new Uint8Array(4).fill(1)
      yield* torrent.writePiece(pieceOf(two, 0), piece)
      yield* torrent.writePiece(pieceOf(two, 0), piece)

      const { usedBytes, torrent: held } = yield* MemoryStorage.MemoryMedium

      assert.strictEqual(usedBytes(), 4)
      assert.strictEqual(held(two).writes(0), 2)
    }).pipe(Effect.provide(Memory.layer({ capacity: 4 })))
  )

  it.effect("shows a hole as zeros, and a file no longer than its last stored byte", () =>
    Effect.gen(function* () {
      const layout = layoutOf(2, ["f", 8])
      const torrent = yield* (yield* Storage).open(layout)
      yield* torrent.writePiece(pieceOf(layout, 2), new Uint8Array([7, 8]))

      const held = (yield* MemoryStorage.MemoryMedium).torrent(layout)

      assert.deepStrictEqual(held.file("f"), new Uint8Array([0, 0, 0, 0, 7, 8]))
      assert.isUndefined(held.file("g"))
      assert.isFalse(held.isWhole)
    }).pipe(Effect.provide(Memory.layer()))
  )

  it.effect("damages and forgets what a test wants gone", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* (yield* Storage).open(two)
      const content = contentOf(two)
      yield* Effect.forEach(piecesOf(two), (piece) => torrent.writePiece(piece, sliceOf(two, content, piece)))
      medium.damage(two, 0, 3)
      medium.forget(two, 2)

      const damaged = yield* torrent.readBlock(pieceOf(two, 0), 0, 4)
      const forgotten = yield* Effect.flip(torrent.readBlock(pieceOf(two, 2), 0, 1))

      assert.deepStrictEqual([...damaged], [content[0], content[1], content[2], content[3]! + 1])
      assert.strictEqual(forgotten.message, "t/b does not hold the bytes asked for")
      assert.strictEqual(medium.usedBytes(), 7)
    }).pipe(Effect.provide(Memory.layer()))
  )

  it.effect("counts the torrents that are open", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const storage = yield* Storage

      const during = yield* Effect.scoped(Effect.map(storage.open(two), () => medium.openCount()))

      assert.strictEqual(during, 1)
      assert.strictEqual(medium.openCount(), 0)
    }).pipe(Effect.provide(Memory.layer()))
  )
})
