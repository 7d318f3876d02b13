import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as WebCryptoPieceHasher from "../../src/piece/WebCryptoPieceHasher.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as CheckedStorage from "../../src/testing/CheckedStorage.ts"
import { small } from "../simulation/torrents.ts"

const { layout } = small.metainfo
const first = 0 as PieceIndex

const opened = Effect.gen(function* () {
  const { medium, storage } = yield* MemoryStorage.make()
  const checked = CheckedStorage.make(storage, () => small.content)
  return { medium, torrent: yield* checked.storage.open(layout), writes: checked.writes(layout) }
}).pipe(Effect.provide(WebCryptoPieceHasher.layer))

describe("CheckedStorage", () => {
  it.effect("dies of one wrong byte, before the medium sees it", () =>
    Effect.gen(function* () {
      const { medium, torrent, writes } = yield* opened
      const bytes = small.content(first)
      bytes[1_234]! ^= 1

      const exit = yield* Effect.exit(torrent.writePiece(first, bytes))

      assert.isTrue(Exit.hasDies(exit))
      assert.deepStrictEqual(writes.wrong, ["a write of 65536 bytes for piece 0 is wrong at 1234"])
      assert.strictEqual(medium.torrent(layout).writes(0), 0)
      assert.strictEqual(writes.confirmed.size, 0)
    })
  )

  it.effect("counts what the storage confirmed, each time", () =>
    Effect.gen(function* () {
      const { torrent, writes } = yield* opened

      yield* torrent.writePiece(first, small.content(first))
      yield* torrent.writePiece(first, small.content(first))

      assert.deepStrictEqual([...writes.confirmed], [[0, 2]])
      assert.strictEqual(writes.attempts, 2)
    })
  )
})
