import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import type { Storage } from "../../src/storage/Storage.ts"
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
  it.effect("fault 74: are checked in turn, within the budget", () =>
    Effect.gen(function* () {
      for (const [budget, most] of [
        [8, 4],
        [2, 1]
      ] as const) {
        const digestBytes = 2 * pieceLength
        let running = 0
        let peak = 0
        const counted = (storage: Storage["Service"]): Storage["Service"] => ({
          open: (options) =>
            Effect.map(storage.open(options), (torrent) => ({
              ...torrent,
              digestBytes,
              digests: (pieces) =>
                Stream.unwrap(
                  Effect.as(
                    Effect.acquireRelease(
                      Effect.sync(() => {
                        peak = Math.max(peak, ++running)
                      }),
                      () => Effect.sync(() => void running--)
                    ),
                    Stream.mapEffect(torrent.digests(pieces), (digest) =>
                      Effect.delay(Effect.succeed(digest), "1 second")
                    )
                  )
                )
            }))
        })

        const complete = yield* Swarms.use(
          { seed: 1, engine: { bufferBytes: budget * pieceLength }, storage: counted },
          (world) =>
            Effect.gen(function* () {
              const downloads: Array<Swarms.Download> = []
              for (let index = 0; index < 12; index++) {
                const from = { stored: Bitfield.full(2), resume: undefined }
                downloads.push(yield* world.download(yield* torrentOf(index, 2), { from }))
              }
              return yield* world.until(() => downloads.every((download) => download.isComplete()), "1 minute")
            })
        )

        assert.isTrue(complete)
        assert.strictEqual(peak, most)
      }
    })
  )

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
