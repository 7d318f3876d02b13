import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as Swarms from "../../src/testing/Swarms.ts"

const pieceLength = 65_536

const torrentOf = (index: number, pieces: number) =>
  KnownTorrent.make({
    files: [{ path: [], length: pieces * pieceLength }],
    pieceLength,
    seed: index,
    name: `t${index}`
  }).pipe(Effect.provide(WebCryptoPieceHasher.layer))

describe("torrents that share few buffers", () => {
  it.effect("do not wait for those that asked for a buffer and have lost their peers since", () =>
    Swarms.use({ seed: 1, engine: { bufferBytes: 4 * pieceLength } }, (world) =>
      Effect.gen(function* () {
        const slow = yield* world.download(yield* torrentOf(0, 100), {
          behaviours: Array.from({ length: 4 }, () => ({ bytesPerSecond: 1_000 }))
        })
        yield* world.advance("5 seconds")
        const stalled = []
        for (let index = 1; index <= 12; index++) {
          const behaviours = [{ stopsAfter: { blocks: 0, how: "stall" as const } }]
          stalled.push(yield* world.download(yield* torrentOf(index, 2), { behaviours }))
          yield* world.advance("100 millis")
        }
        for (const { address } of stalled.flatMap(({ peers }) => peers)) {
          yield* world.network.partition(address.host)
          yield* world.network.cut(address.host)
        }
        yield* world.advance("2 seconds")
        yield* slow.stop

        const last = yield* world.download(yield* torrentOf(99, 8), { behaviours: [{}] })
        const isComplete = yield* world.until(last.isComplete, "1 second")

        assert.isTrue(isComplete)
      })
    )
  )
})
