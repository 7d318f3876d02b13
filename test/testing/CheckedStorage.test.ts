import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import { Storage } from "../../src/storage/Storage.ts"
import * as CheckedStorage from "../../src/testing/CheckedStorage.ts"
import { small } from "../simulation/torrents.ts"
import { claim, infoHashOf } from "../storage/openings.ts"

const { layout } = small.metainfo
const first = 0 as PieceIndex
/** The layout of another decoding of the same torrent. */
const sameLayout = Result.getOrThrow(Metainfo.decode(small.bytes)).layout
const options = { infoHash: infoHashOf(layout), layout }

const opened = Effect.gen(function* () {
  const { medium, storage } = yield* MemoryStorage.make()
  const checked = CheckedStorage.make(storage, () => CheckedStorage.judgeByContent(small.content))
  const torrent = yield* checked.storage.open(options)
  return { checked, medium, storage, torrent, writes: checked.writes(options.infoHash) }
}).pipe(Effect.provide(WebCryptoPieceHasher.layer))

const deathOf = (effect: Effect.Effect<unknown, unknown>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    assert.isTrue(Exit.hasDies(exit))
    return Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : ""
  })

describe("CheckedStorage", () => {
  it.effect("dies of one wrong byte, before the medium receives it", () =>
    Effect.gen(function* () {
      const { medium, torrent, writes } = yield* opened
      yield* claim(torrent, layout)
      const bytes = small.content(first)
      bytes[1_234]! ^= 1

      const exit = yield* Effect.exit(torrent.writePiece(first, bytes))

      assert.isTrue(Exit.hasDies(exit))
      assert.deepStrictEqual(writes.wrong, ["a write of 65536 bytes for piece 0 is wrong at 1234"])
      assert.strictEqual(medium.torrent(layout).writes(0), 0)
      assert.strictEqual(writes.confirmed.size, 0)
    })
  )

  it.effect("counts every write that the storage confirmed", () =>
    Effect.gen(function* () {
      const { torrent, writes } = yield* opened
      yield* claim(torrent, layout)

      yield* torrent.writePiece(first, small.content(first))
      yield* torrent.writePiece(first, small.content(first))

      assert.deepStrictEqual([...writes.confirmed], [[0, 2]])
      assert.strictEqual(writes.attempts, 2)
    })
  )

  it.effect("dies of a claim without a reservation, and of a write without a claim", () =>
    Effect.gen(function* () {
      const { torrent, writes } = yield* opened
      const claims = [{ file: 0, as: "new" as const }]
      const write = torrent.writePiece(first, small.content(first))

      const unreserved = yield* deathOf(torrent.claim(claims))
      const unclaimed = yield* deathOf(write)
      yield* torrent.reserve([0])
      yield* torrent.claim(claims)
      yield* write
      yield* torrent.release([0])
      const released = yield* deathOf(write)
      const removed = yield* deathOf(torrent.remove([0]))

      const name = layout.files[0]!.path.join("/")
      assert.include(unreserved, `${name} was to be claimed, and is not reserved`)
      assert.include(unclaimed, `piece 0 was to be written to ${name}, which is not claimed`)
      assert.strictEqual(released, unclaimed)
      assert.include(removed, `${name} was to be removed, and is not reserved`)
      assert.lengthOf(writes.wrong, 4)
    })
  )

  it.effect("dies of a second writer that the medium allowed", () =>
    Effect.gen(function* () {
      const { storage } = yield* opened
      const careless = Storage.of({
        open: (options) => Effect.map(storage.open(options), (torrent) => ({ ...torrent, reserve: () => Effect.void }))
      })
      const checked = CheckedStorage.make(careless, () => undefined)
      const [one, two] = yield* Effect.all([checked.storage.open(options), checked.storage.open(options)])
      yield* one.reserve([0])

      const second = yield* deathOf(two.reserve([0]))
      yield* one.release([0])
      yield* two.reserve([0])

      assert.include(second, "has two writers")
    })
  )

  it.effect("checks the digests of a torrent whose bytes it does not know", () =>
    Effect.gen(function* () {
      const hasher = yield* PieceHasher
      const { storage } = yield* opened
      const digestOf = (piece: PieceIndex) => Metainfo.pieceDigest(small.metainfo, piece)
      const checked = CheckedStorage.make(storage, () => CheckedStorage.judgeByDigest(hasher, digestOf))
      const torrent = yield* checked.storage.open(options)
      yield* claim(torrent, layout)
      const bytes = small.content(first)

      yield* torrent.writePiece(first, bytes)
      bytes[9]! ^= 1
      const wrong = yield* deathOf(torrent.writePiece(first, bytes))

      assert.include(wrong, "a write of 65536 bytes for piece 0 does not have its digest")
      assert.deepStrictEqual([...checked.writes(options.infoHash).confirmed], [[0, 1]])
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )

  it.effect("knows a torrent by its info hash, whatever layout it is opened with", () =>
    Effect.gen(function* () {
      const { checked, torrent } = yield* opened
      yield* claim(torrent, layout)
      yield* torrent.writePiece(first, small.content(first))
      const again = yield* checked.storage.open({ ...options, layout: sameLayout })

      yield* torrent.release(layout.files.keys().toArray())
      yield* claim(again, layout)
      yield* again.writePiece(first, small.content(first))

      assert.deepStrictEqual([...checked.writes(options.infoHash).confirmed], [[0, 2]])
    })
  )
})
