import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Tracer from "effect/Tracer"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "../simulation/torrents.ts"
import * as Observed from "./observed.ts"

const infoHash = InfoHash.toHex(small.metainfo.infoHash)

const parentOf = (span: Tracer.NativeSpan) => Option.getOrUndefined(span.parent)?.spanId

const complete = (world: Swarms.World, options: Swarms.DownloadOptions = {}) =>
  Effect.gen(function* () {
    const download = yield* world.download(small, { behaviours: [{}], ...options })
    yield* world.until(download.isComplete, "1 minute")
    assert.isTrue(download.isComplete())
    return download
  })

describe("the spans of an engine", () => {
  it.effect("are one for a torrent's life, a child of the caller's, and one for its check", () => {
    const { spans, within } = Observed.make()
    return Effect.gen(function* () {
      yield* within(
        Swarms.use({ seed }, (world) =>
          Effect.gen(function* () {
            const download = yield* complete(world)
            const [, life] = spans
            assert.strictEqual(life?.status._tag, "Started")
            yield* download.stop
          }).pipe(Effect.withSpan("request"))
        )
      )

      const [request, life, check, ...rest] = spans
      assert.deepStrictEqual([life?.name, check?.name, rest], ["piecewise.torrent", "piecewise.check", []])
      assert.strictEqual(parentOf(life!), request?.spanId)
      assert.strictEqual(parentOf(check!), life?.spanId)
      assert.strictEqual(check?.traceId, request?.traceId)
      assert.deepStrictEqual(Object.fromEntries(life!.attributes), {
        "piecewise.info_hash": infoHash,
        "piecewise.name": "known",
        "piecewise.pieces": 20,
        "piecewise.bytes": small.metainfo.layout.geometry.totalLength
      })
      assert.strictEqual(check?.attributes.get("piecewise.stored_pieces"), 0)
      for (const span of [life, check]) {
        assert.isTrue(span?.status._tag === "Ended" && Exit.isSuccess(span.status.exit))
      }
    })
  })

  it.effect("hold no events of a torrent that runs for long, although its logs belong to them", () => {
    const { logs, spans, within } = Observed.make()
    return Effect.gen(function* () {
      yield* within(
        Swarms.use({ seed }, (world) =>
          complete(world, { behaviours: [{}, { corrupts: "every block" }] }).pipe(Effect.withSpan("request"))
        )
      )

      const [request, life] = spans
      assert.strictEqual(life?.events.length, 0)
      assert.strictEqual(request?.events.length, 0)
      assert.isAbove(logs.length, 5)
      assert.deepStrictEqual([...new Set(logs.map(({ spanId }) => spanId))], [life?.spanId])
    })
  })

  it.effect("end with the failure of a torrent that failed", () => {
    const { logs, spans, within } = Observed.make("Info")
    return Effect.gen(function* () {
      yield* within(
        Swarms.use({ seed }, (world) =>
          Effect.gen(function* () {
            world.medium.put("known/a.bin", new Uint8Array(70_000).fill(1))
            const download = yield* world.download(small, { behaviours: [{}] })
            yield* world.advance("10 seconds")
            assert.strictEqual((yield* download.torrent.status).state._tag, "Failed")
          })
        )
      )

      const life = spans.find(({ name }) => name === "piecewise.torrent")
      assert.isTrue(life?.status._tag === "Ended" && Exit.isFailure(life.status.exit))
      assert.deepStrictEqual(
        logs.map(({ level, message }) => [level, message]),
        [
          ["Info", "a torrent is added"],
          ["Error", "the torrent failed"],
          ["Info", "a torrent is removed"]
        ]
      )
    })
  })

  it.effect("are two for each piece only if that is asked for", () => {
    const { spans, within } = Observed.make()
    return Effect.gen(function* () {
      yield* within(Swarms.use({ seed, engine: { telemetry: { pieces: true } } }, (world) => complete(world)))

      const life = spans.find(({ name }) => name === "piecewise.torrent")
      for (const name of ["piecewise.piece.verify", "piecewise.piece.write"]) {
        const found = spans.filter((span) => span.name === name)
        const pieces = found.map(({ attributes }) => attributes.get("piecewise.piece"))
        assert.sameMembers(pieces, [...Array(20).keys()])
        assert.isTrue(found.every((span) => parentOf(span) === life?.spanId && span.status._tag === "Ended"))
      }
    })
  })
})

describe("the span of fetching metadata", () => {
  const linkTo = (known: typeof small) =>
    Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(known.metainfo.infoHash)}`))

  it.effect("is a child of the caller's, and ends when the metadata is there", () => {
    const { spans, within } = Observed.make()
    return within(
      Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          const seeder = yield* world.beside({ engine: { listen: { port: 6_881 } } })
          const seeding = yield* seeder.download(small, { seed: true, behaviours: [{}] })
          yield* seeder.until(seeding.isComplete, "1 minute")
          const fetching = world.engine.metadata(linkTo(small), { peers: [{ host: seeder.host, port: 6_881 }] })
          const fiber = yield* Effect.forkScoped(Effect.withSpan(fetching, "request"))
          yield* world.until(() => fiber.pollUnsafe() !== undefined, "1 minute")

          const request = spans.find(({ name }) => name === "request")
          const span = spans.find(({ name }) => name === "piecewise.metadata")

          assert.isTrue(span?.status._tag === "Ended" && Exit.isSuccess(span.status.exit))
          assert.strictEqual(parentOf(span!), request?.spanId)
          assert.deepStrictEqual(Object.fromEntries(span!.attributes), { "piecewise.info_hash": infoHash })
        })
      )
    )
  })

  it.effect("ends with the failure of a fetch that failed", () => {
    const { spans, within } = Observed.make()
    return within(
      Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          const link = Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btmh:1220${"ab".repeat(32)}`))

          yield* Effect.flip(world.engine.metadata(link))

          const [span] = spans
          assert.strictEqual(span?.name, "piecewise.metadata")
          assert.isTrue(span?.status._tag === "Ended" && Exit.isFailure(span.status.exit))
        })
      )
    )
  })
})

describe("the logs of an engine", () => {
  it.effect("say by default that a torrent was added, completed and removed, and which", () => {
    const { logs, within } = Observed.make("Info")
    return Effect.gen(function* () {
      yield* within(Swarms.use({ seed }, (world) => complete(world)))

      assert.deepStrictEqual(
        logs.map(({ annotations, level, message }) => ({ annotations, level, message })),
        ["a torrent is added", "the torrent is complete", "a torrent is removed"].map((message) => ({
          annotations: { infoHash, torrent: "known" },
          level: "Info" as const,
          message
        }))
      )
    })
  })

  it.effect("warn of rejected pieces, and name peers only at the level Debug", () => {
    const told = Observed.make("Info")
    const debugged = Observed.make("Debug")
    const liar = { corrupts: "every block", bytesPerSecond: 200_000 } as const
    const run = Swarms.use({ seed, link: { latency: "20 millis" } }, (world) =>
      complete(world, { behaviours: [{ bytesPerSecond: 300_000 }, liar] })
    )
    return Effect.gen(function* () {
      yield* told.within(run)
      yield* debugged.within(run)

      const levels = new Map(debugged.logs.map(({ level, message }) => [message, level]))
      assert.include(
        told.logs.map(({ message }) => message),
        "a piece has the wrong digest"
      )
      assert.isTrue(told.logs.every(({ message }) => !/peer is/.test(String(message))))
      assert.deepStrictEqual(
        ["a piece has the wrong digest", "a peer is connected", "a peer is banned", "the torrent runs"].map((message) =>
          levels.get(message)
        ),
        ["Warn", "Debug", "Debug", "Debug"]
      )
    })
  })

  it.effect("are none if they are not wanted", () => {
    const { logs, within } = Observed.make()
    return Effect.gen(function* () {
      yield* within(Swarms.use({ seed, engine: { telemetry: { logs: false } } }, (world) => complete(world)))

      assert.deepStrictEqual(logs, [])
    })
  })
})
