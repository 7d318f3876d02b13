import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import { StorageUnavailable, type TorrentStorage } from "../../src/storage/Storage.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import * as Memory from "./memory.ts"
import { claim, open, openToWrite } from "./openings.ts"
import { suite } from "./Storage.suite.ts"

suite("memory", Layer.provideMerge(Memory.files, Memory.layer()))

const two = layoutOf(4, ["t/a", 6], ["t/pad", 1, "padding"], ["t/b", 3])

const write = (torrent: TorrentStorage, layout: FileLayout, index: number) =>
  torrent.writePiece(pieceOf(layout, index), sliceOf(layout, contentOf(layout), pieceOf(layout, index)))

const writeAll = (torrent: TorrentStorage, layout: FileLayout) =>
  Effect.forEach(piecesOf(layout), (piece) => write(torrent, layout, piece), { discard: true })

const right = (layout: FileLayout, file: number) => {
  const { length, offset } = layout.files[file]!
  return contentOf(layout).slice(offset, offset + length)
}

describe("MemoryStorage", () => {
  it.effect("fault 48: stores nothing past its capacity, and continues when it grows", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* openToWrite(two)
      yield* write(torrent, two, 0)

      const error = yield* Effect.flip(write(torrent, two, 1))
      const used = medium.usedBytes()
      medium.setCapacity(9)
      yield* Effect.forEach([1, 2], (index) => write(torrent, two, index))

      assert.strictEqual(error.message, "the disk is full: t/a cannot grow")
      assert.strictEqual(used, 4)
      assert.strictEqual(medium.usedBytes(), 9)
      assert.isTrue(medium.torrent(two).isWhole)
    }).pipe(Effect.provide(Memory.layer({ capacity: 6 })))
  )

  it.effect("takes no room for a piece that is written again", () =>
    Effect.gen(function* () {
      const torrent = yield* openToWrite(two)
      yield* write(torrent, two, 0)
      yield* write(torrent, two, 0)

      const { usedBytes, torrent: held } = yield* MemoryStorage.MemoryMedium

      assert.strictEqual(usedBytes(), 4)
      assert.strictEqual(held(two).writes(0), 2)
    }).pipe(Effect.provide(Memory.layer({ capacity: 4 })))
  )

  it.effect("shows a hole as zeros, and a file no longer than its last stored byte", () =>
    Effect.gen(function* () {
      const layout = layoutOf(2, ["f", 8])
      const torrent = yield* openToWrite(layout)
      yield* torrent.writePiece(pieceOf(layout, 2), new Uint8Array([7, 8]))

      const held = (yield* MemoryStorage.MemoryMedium).torrent(layout)

      assert.deepStrictEqual(held.file("f"), new Uint8Array([0, 0, 0, 0, 7, 8]))
      assert.isUndefined(held.file("g"))
      assert.isFalse(held.isWhole)
    }).pipe(Effect.provide(Memory.layer()))
  )

  it.effect("shows the bytes of one path to every torrent that has it", () =>
    Effect.gen(function* () {
      const other = layoutOf(8, ["t/b", 3], ["t/c", 5])
      const torrent = yield* openToWrite(two)
      yield* writeAll(torrent, two)

      const { bytes } = yield* Effect.flatMap(open(other), (torrent) => torrent.readBlock(pieceOf(other, 0), 0, 3))

      assert.deepStrictEqual(bytes, right(two, 2))
    }).pipe(Effect.provide(Memory.layer()))
  )

  it.effect("damages a byte without a trace, and makes a hole with one", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* openToWrite(two)
      const content = contentOf(two)
      yield* writeAll(torrent, two)
      const [a, b] = yield* torrent.look([0, 2])
      medium.damage(two, 0, 3)
      medium.forget(two, 2)

      const damaged = yield* torrent.readBlock(pieceOf(two, 0), 0, 4)
      const forgotten = yield* Effect.flip(torrent.readBlock(pieceOf(two, 2), 0, 1))
      const after = yield* torrent.look([0, 2])

      assert.deepStrictEqual([...damaged.bytes], [content[0], content[1], content[2], content[3]! + 1])
      assert.strictEqual(forgotten.message, "t/b does not hold the bytes asked for")
      assert.strictEqual(medium.usedBytes(), 7)
      assert.deepStrictEqual(after[0], a)
      assert.isAbove(Number(after[1]!.mtimeNs - b!.mtimeNs), 0)
    }).pipe(Effect.provide(Memory.layer()))
  )

  it.effect("does to files what users do, and each change can be seen", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* open(two)
      const look = Effect.map(torrent.look([0]), ([facts]) => facts)
      medium.put("t/a", new Uint8Array([1, 2, 3]))
      const first = yield* look
      medium.modify("t/a", 1, new Uint8Array([9]))
      const modified = yield* look
      medium.touch("t/a")
      const touched = yield* look
      medium.cut("t/a", 2)
      const shorter = yield* look
      medium.replace("t/a")
      const replaced = yield* look
      medium.link("t/a", "elsewhere")
      const linked = yield* look
      const bytes = medium.read("elsewhere")
      medium.move("t/a", "t/moved")
      const moved = yield* look
      medium.block("t/a")
      const blocked = yield* look

      assert.deepStrictEqual([first?.length, first?.otherNames, first?.isHole], [3, 0, false])
      assert.isTrue(first!.mtimeNs < modified!.mtimeNs && modified!.mtimeNs < touched!.mtimeNs)
      assert.strictEqual(touched!.identity, first!.identity)
      assert.strictEqual(shorter!.length, 2)
      assert.notStrictEqual(replaced!.identity, first!.identity)
      assert.strictEqual(linked!.otherNames, 1)
      assert.deepStrictEqual(bytes, new Uint8Array([1, 9]))
      assert.isUndefined(moved)
      assert.strictEqual(blocked!.kind, "other")
      assert.deepStrictEqual(medium.paths(), ["elsewhere", "t/a", "t/moved"])
    }).pipe(Effect.provide(Memory.layer()))
  )

  it.effect("makes looks fail until told otherwise", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* open(two)
      medium.failLooks(new StorageUnavailable({ path: "t", why: "the disk is gone" }))

      const error = yield* Effect.flip(torrent.look([0]))
      medium.failLooks(undefined)
      const found = yield* torrent.look([0])

      assert.deepStrictEqual([error.operation, error.message], ["look", "t: the disk is gone"])
      assert.deepStrictEqual(found, [undefined])
    }).pipe(Effect.provide(Memory.layer()))
  )

  it.effect("fault 52: loses at a power cut what no flush covered", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* openToWrite(two)
      yield* write(torrent, two, 0)
      yield* torrent.flush([0])
      yield* write(torrent, two, 1)
      yield* write(torrent, two, 2)

      medium.cutPower()

      assert.deepStrictEqual(medium.paths(), ["t/a"])
      assert.deepStrictEqual(medium.read("t/a"), contentOf(two).slice(0, 4))
      assert.strictEqual(medium.usedBytes(), 4)
    }).pipe(Effect.provide(Memory.layer({ remembersFlushed: true })))
  )

  it.effect("fault 48: loses at a power cut what a failed flush lost, unless it was written again", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* openToWrite(two)
      yield* writeAll(torrent, two)
      medium.failFlushes("t/a", new StorageUnavailable({ path: "t/a", why: "the disk is gone" }))

      const failed = yield* torrent.flush([0, 2])
      medium.failFlushes("t/a", undefined)
      yield* write(torrent, two, 0)
      const good = yield* torrent.flush([0, 2])
      const before = yield* Stream.runCollect(torrent.digests(piecesOf(two)))
      medium.cutPower()

      assert.deepStrictEqual(
        [...failed, ...good].map((each) => "facts" in each),
        [false, true, true, true]
      )
      assert.isTrue(before.every(({ sha1 }) => sha1 !== undefined))
      assert.deepStrictEqual(medium.read("t/a"), new Uint8Array([...contentOf(two).slice(0, 4), 0, 0]))
      assert.deepStrictEqual(medium.read("t/b"), right(two, 2))
    }).pipe(Effect.provide(Memory.layer({ remembersFlushed: true })))
  )

  it.effect("keeps through a power cut what a user did", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium
      const torrent = yield* open(two)
      medium.put("t/a", new Uint8Array(6).fill(3))
      yield* claim(torrent, two)
      yield* write(torrent, two, 0)
      medium.modify("t/a", 5, new Uint8Array([4]))

      medium.cutPower()

      assert.deepStrictEqual(medium.read("t/a"), new Uint8Array([3, 3, 3, 3, 3, 4]))
    }).pipe(Effect.provide(Memory.layer({ remembersFlushed: true })))
  )

  it.effect("counts the torrents that are open", () =>
    Effect.gen(function* () {
      const medium = yield* MemoryStorage.MemoryMedium

      const during = yield* Effect.scoped(Effect.map(open(two), () => medium.openCount()))

      assert.strictEqual(during, 1)
      assert.strictEqual(medium.openCount(), 0)
    }).pipe(Effect.provide(Memory.layer()))
  )
})
