import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import type { Storage } from "../../src/storage/Storage.ts"
import * as PeerScript from "../../src/testing/arbitrary/PeerScript.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Swarms from "../../src/testing/Swarms.ts"

const pieceLength = 65_536

/** A torrent of one file. */
const fileOf = (index: number, pieceLength: number, length: number) =>
  KnownTorrent.make({ files: [{ path: [], length }], pieceLength, seed: index, name: `t${index}` }).pipe(
    Effect.provide(WebCryptoPieceHasher.layer)
  )

const torrentOf = (index: number, pieces: number) => fileOf(index, pieceLength, pieces * pieceLength)

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

/** The least that an engine may be given. */
const leastBytes = 65_536

/** A storage that reads a piece to memory of its own to check it, as an object store does. */
const readingInMemory = (storage: Storage["Service"]): Storage["Service"] => ({
  open: (options) =>
    Effect.map(storage.open(options), (torrent) => ({ ...torrent, digestBytes: options.layout.geometry.pieceLength }))
})

/** Waits until all are complete. Dies after `limit`. */
const completed = (world: Swarms.World, downloads: ReadonlyArray<Swarms.Download>, limit: Duration.Input) =>
  world.during(
    Effect.forEach(downloads, ({ torrent }) => torrent.completed, { concurrency: "unbounded", discard: true }),
    limit
  )

describe("a piece larger than all buffers", () => {
  it.effect("is held alone, so the download goes on one piece at a time", () =>
    Effect.gen(function* () {
      const torrent = yield* fileOf(1, 4 * leastBytes, 18 * leastBytes + 1)

      const summary = yield* Swarms.run({
        torrent,
        peers: [
          {},
          { bytesPerSecond: 50_000 },
          { corrupts: "every block" },
          { stopsAfter: { blocks: 9, how: "stall" } }
        ],
        link: { latency: 30 },
        engine: { bufferBytes: leastBytes },
        script: ({ faults }) => Effect.sync(() => faults.delay("write", 500))
      })

      assert.isTrue(summary.isComplete && summary.isRight)
      assert.deepStrictEqual(summary.writes, [1, 1, 1, 1, 1])
      assert.strictEqual(summary.mostBufferedBytes, 4 * leastBytes)
    })
  )

  it.effect("takes turns with the pieces of other torrents, larger ones too", () =>
    Swarms.use({ seed: 1, engine: { bufferBytes: leastBytes } }, (world) =>
      Effect.gen(function* () {
        const behaviours = [{ bytesPerSecond: 200_000 }]
        const downloads: Array<Swarms.Download> = []
        for (const [index, length] of [4 * leastBytes, 3 * leastBytes, leastBytes, leastBytes / 4].entries()) {
          downloads.push(yield* world.download(yield* fileOf(index, length, 6 * length), { behaviours }))
        }
        const stored = Effect.forEach(downloads, ({ torrent }) =>
          Effect.map(torrent.stored, (pieces) => [...Bitfield.indices(pieces)].length)
        )

        yield* world.advance("10 seconds")
        const early = yield* stored
        yield* completed(world, downloads, "2 minutes")

        assert.isTrue(
          early.every((count) => count > 0),
          `${early} pieces are stored`
        )
      })
    )
  )

  it.effect("keeps other torrents waiting while a slow peer fills it, and they say so", () =>
    Swarms.use({ seed: 1, engine: { bufferBytes: leastBytes } }, (world) =>
      Effect.gen(function* () {
        const large = yield* fileOf(1, 4 * leastBytes, 8 * leastBytes)
        const slow = yield* world.download(large, { behaviours: [{ bytesPerSecond: 10_000 }] })
        yield* world.advance("5 seconds")
        const quick = yield* world.download(yield* torrentOf(2, 2), { behaviours: [{}] })

        yield* world.advance("5 seconds")
        const { bottleneck, missingBytes } = yield* quick.torrent.status

        assert.strictEqual(bottleneck._tag, "BuffersFull")
        assert.strictEqual(missingBytes, 2 * pieceLength)
        yield* completed(world, [slow, quick], "1 minute")
      })
    )
  )

  it.effect("is held until its write has ended if its torrent is stopped", () =>
    Swarms.use({ seed: 1, engine: { bufferBytes: leastBytes } }, (world) =>
      Effect.gen(function* () {
        world.faults.delay("write", 5_000)
        const large = yield* fileOf(1, 4 * leastBytes, 8 * leastBytes)
        const stopped = yield* world.download(large, { behaviours: [{}] })
        const other = yield* world.download(yield* torrentOf(2, 2), { behaviours: [{}] })
        yield* world.advance("2 seconds")

        yield* world.during(stopped.halt)
        yield* completed(world, [other], "1 minute")
      })
    )
  )

  it.effect("is checked and fetched beside any other torrents, also if the storage is slow or fails", () => {
    const torrent = fc.record({
      pieceLength: fc.constantFrom(16_384, 65_536, 131_072, 262_144, 524_288),
      pieces: fc.integer({ min: 1, max: 5 }),
      lastBytes: fc.integer({ min: 1, max: 16_384 }),
      hasFirst: fc.boolean(),
      peer: PeerScript.honest
    })
    const swarm = fc.record({
      seed: fc.nat(),
      bufferBytes: fc.constantFrom(65_536, 100_000, 300_000),
      writeMillis: fc.constantFrom(0, 50, 2_000),
      failingWrites: fc.constantFrom(0, 0, 0.3),
      torrents: fc.array(torrent, { minLength: 1, maxLength: 5 })
    })
    return Property.check(
      swarm,
      Effect.fnUntraced(function* ({ bufferBytes, failingWrites, seed, torrents, writeMillis }) {
        yield* Swarms.use({ seed, engine: { bufferBytes }, storage: readingInMemory }, (world) =>
          Effect.gen(function* () {
            world.faults.failSometimes("write", failingWrites, FaultyStorage.inputOutputError)
            world.faults.delay("write", writeMillis)
            const downloads: Array<Swarms.Download> = []
            for (const [index, { hasFirst, lastBytes, peer, pieceLength, pieces }] of torrents.entries()) {
              const known = yield* fileOf(index, pieceLength, (pieces - 1) * pieceLength + lastBytes)
              const stored = Bitfield.make(pieces)
              if (hasFirst) Bitfield.add(stored, 0)
              const from = { stored, resume: undefined }
              downloads.push(yield* world.download(known, { behaviours: [peer.behaviour], from }))
            }
            yield* completed(world, downloads, "60 minutes")
          })
        )
      }),
      { runs: 60 }
    )
  })
})
