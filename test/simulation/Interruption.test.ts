import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

/** A download of about seven seconds, and the moment at which it ends. */
const moment = fc.record({
  seed: fc.nat(),
  millis: fc.integer({ min: 0, max: 8_000 }),
  writeMillis: fc.constantFrom(0, 30, 700),
  fast: fc.boolean()
})

const peers = (fast: boolean) => [
  { bytesPerSecond: 120_000, features: { fast } },
  { bytesPerSecond: 60_000 },
  { corrupts: { probability: 0.02 }, bytesPerSecond: 20_000 }
]

const count = (set: Bitfield.Bitfield | undefined) => set?.count ?? 0

describe("a download that is ended", () => {
  it.effect(
    "at any moment by a stop leaves no buffer, connection, file or request",
    () =>
      Property.check(
        moment,
        ({ fast, millis, seed, writeMillis }) =>
          Swarms.use({ seed, link: { latency: 10 } }, (world) =>
            Effect.gen(function* () {
              if (writeMillis > 0) world.faults.delay("write", writeMillis)
              const download = yield* world.download(small, { behaviours: peers(fast) })
              yield* world.advance(millis)
              world.faults.recover("write")

              yield* download.stop
              yield* world.advance("1 second")
              const requests = download.peers.map(({ counters }) => counters.requests)
              yield* world.advance("1 minute")

              assert.strictEqual(yield* world.engine.heldBytes, 0)
              assert.strictEqual((yield* world.network.counts).connections, 0)
              assert.strictEqual((yield* world.network.counts).dials, 0)
              assert.strictEqual(world.medium.openCount(), 0)
              assert.deepStrictEqual(
                download.peers.map(({ counters }) => counters.requests),
                requests
              )
            })
          ),
        { runs: 40 }
      ),
    60_000
  )

  it.effect(
    "fault 51: at any moment by a kill goes on without a wrong byte, and fetches nothing again that was confirmed",
    () =>
      Property.check(
        moment,
        Effect.fnUntraced(function* ({ fast, millis, seed, writeMillis }) {
          const killed = yield* Swarms.use({ seed, link: { latency: 10 } }, (world) =>
            Effect.gen(function* () {
              if (writeMillis > 0) world.faults.delay("write", writeMillis)
              const download = yield* world.download(small, { behaviours: peers(fast) })
              yield* world.advance(millis)
              const reported = download.events.filter(({ _tag }) => _tag === "PieceStored").length
              return { left: world.snapshot(small), reported }
            })
          )

          const summary = yield* Swarms.run({ seed: seed + 1, torrent: small, peers: [{}], add: { from: killed.left } })

          const known = killed.left.resume?.stored
          assert.isTrue(summary.isRight)
          // Every piece that was reported as stored is known to the next run.
          assert.strictEqual(count(known), killed.reported)
          assert.deepStrictEqual(
            summary.writes.filter((writes, piece) => writes > 0 && known !== undefined && Bitfield.has(known, piece)),
            []
          )
          const started = summary.events.find((event) => event._tag === "Started")
          assert.isAtLeast(started!.storedPieces, count(known))
        }),
        { runs: 40 }
      ),
    60_000
  )

  it.effect("by a stop remembers the pieces that were being written", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        world.faults.delay("write", "3 seconds")
        const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 120_000 }] })
        yield* world.advance("2 seconds")
        const before = world.snapshot(small)
        const stopping = yield* Effect.forkChild(download.stop)

        yield* world.advance("5 seconds")
        yield* Fiber.join(stopping)

        const { resume, stored } = world.snapshot(small)
        assert.deepStrictEqual([count(before.stored), count(before.resume?.stored)], [0, 0])
        // 230,000 bytes have arrived: three pieces, or four with the short one.
        assert.isAtLeast(stored.count, 3)
        assert.deepStrictEqual(resume!.stored, stored)
      })
    )
  )

  it.effect(
    "fault 52: by a power cut finds pieces that read as zeros although resume data says that they are stored",
    () =>
      Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 30_000 }] })
          yield* world.advance("40 seconds")
          const before = world.snapshot(small)
          const { flushed, stored } = before.resume!
          yield* download.stop
          const next = yield* world.beside()
          const again = yield* next.download(small, { from: before, cutsPower: true, behaviours: [{}] })

          yield* next.until(again.isComplete, "1 minute")
          const { events, isRight } = yield* next.summary(again)

          const started = events.find((event) => event._tag === "Started")
          assert.isAbove(stored.count, flushed.count)
          assert.isAtLeast(flushed.count, 1)
          assert.strictEqual(started!.storedPieces, flushed.count)
          assert.isTrue(isRight)
        })
      )
  )
})
