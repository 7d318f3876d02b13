import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as InfoHash from "../../src/base/InfoHash.ts"
import { Tracker } from "../../src/discovery/tracker/Tracker.ts"
import * as EngineModule from "../../src/engine/Engine.ts"
import { Engine } from "../../src/engine/Engine.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import type * as NodeEngine from "../../src/node/NodeEngine.ts"
import { Storage } from "../../src/storage/Storage.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { other, small } from "../simulation/torrents.ts"

/** A program as a user writes it: it knows nothing of simulations. */
const download = (bytes: Uint8Array) =>
  Effect.gen(function* () {
    const engine = yield* Engine
    const torrent = yield* engine.add(yield* Metainfo.fromBytes(bytes))
    const untilCompleted = Stream.takeUntil(torrent.events, ({ _tag }) => _tag === "Completed")
    const reader = yield* Effect.forkScoped(Stream.runCollect(untilCompleted))
    yield* torrent.completed
    const events = (yield* Fiber.join(reader)).map(({ _tag }): string => _tag)
    return { events, status: yield* torrent.status }
  }).pipe(Effect.scoped)

describe("TestEngine", () => {
  it.effect("runs a user's program unchanged, with peers that it finds by itself", () =>
    Effect.gen(function* () {
      const { during, join, medium } = yield* TestEngine.TestEngine
      const peer = yield* join(small, PeerBehaviour.honest)

      const { events } = yield* during(download(small.bytes))

      assert.include(events, "Completed")
      assert.isTrue(medium.torrent(small.metainfo.layout).isWhole)
      assert.isAtLeast(peer.counters.requests, 1)
    }).pipe(Effect.provide(TestEngine.layer()))
  )

  describe("with a magnet link", () => {
    const link = Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(small.metainfo.infoHash)}`))

    const added = Effect.gen(function* () {
      const engine = yield* Engine
      const torrent = yield* engine.add(link)
      yield* torrent.completed
      return yield* torrent.metainfo
    }).pipe(Effect.scoped)

    it.effect("fetches the metadata from a peer that joined, and then the pieces", () =>
      Effect.gen(function* () {
        const { during, join, medium } = yield* TestEngine.TestEngine
        const peer = yield* join(small, PeerBehaviour.honest)

        const metainfo = yield* during(added)

        assert.deepStrictEqual(metainfo.infoBytes, small.metainfo.infoBytes)
        assert.isTrue(medium.torrent(small.metainfo.layout).isWhole)
        assert.isAtLeast(peer.counters.metadataRequests, 1)
        assert.deepStrictEqual(peer.counters.complaints, [])
      }).pipe(Effect.provide(TestEngine.layer()))
    )

    it.effect("takes it from a right peer, though others reject it or send a wrong one", () =>
      Effect.gen(function* () {
        const { during, join, medium } = yield* TestEngine.TestEngine
        const others = [yield* join(small, { metadata: "rejected" }), yield* join(small, { metadata: "wrong" })]
        yield* Effect.forkScoped(Effect.delay(join(small, PeerBehaviour.honest), "1 minute"))

        yield* during(added)

        assert.isTrue(medium.torrent(small.metainfo.layout).isWhole)
        for (const { counters } of others) assert.isAtLeast(counters.metadataRequests, 1)
      }).pipe(Effect.provide(TestEngine.layer()))
    )

    it.effect("waits while nobody sends the metadata", () =>
      Effect.gen(function* () {
        const { advance, join } = yield* TestEngine.TestEngine
        const engine = yield* Engine
        yield* join(small, { silent: "after the handshake" })
        yield* join(small, { features: { extensionProtocol: false } })

        const torrent = yield* engine.add(link)
        yield* advance("10 minutes")

        assert.strictEqual((yield* torrent.status).state._tag, "FetchingMetadata")
      }).pipe(Effect.provide(TestEngine.layer()))
    )
  })

  it.effect("finds a peer that joins later, and survives a full disk for a minute", () =>
    Effect.gen(function* () {
      const { during, faults, join, simulation } = yield* TestEngine.TestEngine
      faults.failAll("write", FaultyStorage.diskFull)
      const later = Effect.gen(function* () {
        yield* Effect.sleep("30 seconds")
        yield* join(small, PeerBehaviour.honest)
        yield* Effect.sleep("1 minute")
        faults.recover()
      })
      yield* Effect.forkScoped(later)

      const { events } = yield* during(download(small.bytes))

      assert.includeMembers(events, ["StorageFailed", "StorageRecovered", "Completed"])
      assert.isAtLeast(simulation.nowUnsafe(), 90_000)
    }).pipe(Effect.provide(TestEngine.layer()))
  )

  const lossy = (seed: number) =>
    TestEngine.run(
      Effect.gen(function* () {
        const { during, simulation } = yield* TestEngine.TestEngine
        const { status } = yield* download(small.bytes)
        return { status, millis: simulation.nowUnsafe(), random: yield* Random.next, during: typeof during }
      }),
      {
        seed,
        link: { latency: "30 millis", bytesPerSecond: 300_000 },
        prepare: Effect.fnUntraced(function* ({ faults, join }) {
          faults.failSometimes("write", 0.3, FaultyStorage.inputOutputError)
          yield* join(small, { corrupts: { probability: 0.05 } })
          yield* join(small, PeerBehaviour.honest)
        })
      }
    )

  it.effect("replays a run from its seed, and makes another run of another seed", () =>
    Effect.gen(function* () {
      const [first, again, other] = [yield* lossy(3), yield* lossy(3), yield* lossy(4)]

      assert.deepStrictEqual(again, first)
      assert.notDeepEqual(other, first)
    })
  )

  it.effect("runs torrents whose bytes are known only by their digests, and compares torrents by info hash", () =>
    Effect.gen(function* () {
      const { during, engine, faults, join, medium } = yield* TestEngine.TestEngine
      yield* join(small, PeerBehaviour.honest)
      // No peer has said what is in this one.
      const metainfo = yield* Effect.provide(Metainfo.fromBytes(other.bytes), WebCryptoPieceHasher.layer)

      yield* engine.add(metainfo)
      yield* during(download(small.bytes))

      assert.strictEqual(faults.counts("open").calls, 2)
      assert.isTrue(medium.torrent(small.metainfo.layout).isWhole)
      assert.isFalse(medium.torrent(metainfo.layout).isWhole)
    }).pipe(Effect.provide(TestEngine.layer()))
  )

  it.effect("adopts files that a user has put there, without breaking a law", () =>
    Effect.gen(function* () {
      const { during, medium } = yield* TestEngine.TestEngine
      for (const [file, { path }] of small.metainfo.layout.files.entries()) {
        medium.put(path.join("/"), small.fileContent(file))
      }

      const { status } = yield* during(download(small.bytes))

      assert.strictEqual(status.downloadedBytes, 0)
    }).pipe(Effect.provide(TestEngine.layer()))
  )

  it.effect("dies with the seed if a law is broken", () =>
    Effect.gen(function* () {
      /** Tells the engine that it has stored what it has not. */
      const lying = (storage: Storage["Service"]) =>
        Storage.of({
          open: (options) =>
            Effect.map(storage.open(options), (torrent) => ({
              ...torrent,
              writePiece: (piece, bytes) => {
                bytes[0]! ^= 1
                return torrent.writePiece(piece, bytes)
              }
            }))
        })
      const broken = TestEngine.run(download(small.bytes), {
        seed: 11,
        storage: lying,
        prepare: ({ join }) => join(small, PeerBehaviour.honest)
      })

      const exit = yield* Effect.exit(broken)

      assert.isTrue(Exit.hasDies(exit))
      assert.match(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), /^Error: seed 11, after \d+ ms .* changed/)
    })
  )

  it.effect("ends a program that does not end, with the seed, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const world = yield* TestEngine.TestEngine
      const ended = yield* Deferred.make<void>()

      const exit = yield* Effect.exit(
        world.during(Effect.ensuring(download(small.bytes), Deferred.succeed(ended, undefined)), "10 minutes")
      )

      assert.isTrue(yield* Deferred.isDone(ended))
      assert.include(
        String(Exit.isFailure(exit) && Cause.squash(exit.cause)),
        "seed 5: the program has not ended after 600000 ms of simulated time"
      )
      assert.deepStrictEqual(yield* world.network.counts, { connections: 0, dials: 0, listening: 0, waiting: 0 })
    }).pipe(Effect.provide(TestEngine.layer({ seed: 5 })))
  )

  it.effect("stops torrents of a longer scope when it ends, while its clock moves", () =>
    Effect.gen(function* () {
      const open = yield* Ref.make<() => number>(() => -1)
      yield* Effect.gen(function* () {
        const { advance, engine, faults, join, medium } = yield* TestEngine.TestEngine
        yield* join(small, PeerBehaviour.honest)
        yield* engine.add(small.metainfo)
        yield* advance("200 millis")
        faults.delay("flush", "5 seconds")
        yield* Ref.set(open, medium.openCount)
        assert.strictEqual(medium.openCount(), 1)
      }).pipe(Effect.provide(TestEngine.layer()))

      assert.strictEqual((yield* Ref.get(open))(), 0)
    })
  )

  it.effect("answers announces and scrapes with the peers that joined", () =>
    Effect.gen(function* () {
      const { join } = yield* TestEngine.TestEngine
      const tracker = yield* Tracker
      const peer = yield* join(small, PeerBehaviour.honest)
      const { infoHash } = small.metainfo
      const request = { infoHash, peerId: infoHash, port: 1, uploaded: 0, downloaded: 0, left: 1, key: 0 }

      const answer = yield* tracker.announce("http://any/announce", {
        ...request,
        event: "started",
        numWant: 50,
        trackerId: undefined
      })
      const counts = yield* tracker.scrape("udp://any", infoHash)
      const nobody = yield* tracker.scrape("udp://any", other.metainfo.infoHash)

      assert.deepStrictEqual(answer.peers, [peer.address])
      assert.deepStrictEqual([counts.seeders, nobody.seeders], [1, 0])
    }).pipe(Effect.provide(TestEngine.layer()))
  )

  it.effect("has the services for an engine that the program makes by itself", () => {
    const ownEngine = Layer.provideMerge(EngineModule.layer({ maxConnections: 5 }), TestEngine.layer())
    return Effect.gen(function* () {
      const { during, engine, join, medium } = yield* TestEngine.TestEngine
      yield* join(small, PeerBehaviour.honest)

      yield* during(download(small.bytes))

      assert.notStrictEqual(yield* Engine, engine)
      assert.isTrue(medium.torrent(small.metainfo.layout).isWhole)
    }).pipe(Effect.provide(ownEngine))
  })

  it.effect("is a world of its own in each test, also beside others", () =>
    Effect.gen(function* () {
      const known = yield* Effect.provide(
        KnownTorrent.make({ files: [{ path: [], length: 100_000 }], pieceLength: 32_768 }),
        WebCryptoPieceHasher.layer
      )
      const run = (seed: number) =>
        TestEngine.run(
          Effect.andThen(
            download(known.bytes),
            TestEngine.TestEngine.useSync(({ medium }) => medium.usedBytes())
          ),
          { seed, prepare: ({ join }) => join(known, PeerBehaviour.honest) }
        )

      const fibers = yield* Effect.forEach([1, 2, 3], (seed) => Effect.forkChild(run(seed)))
      const used = yield* Effect.forEach(fibers, Fiber.join)

      assert.deepStrictEqual(used, [100_000, 100_000, 100_000])
    })
  )

  it("provides everything that NodeEngine.layer provides", () => {
    type Node = Layer.Success<ReturnType<typeof NodeEngine.layer>>
    const provides: Context.Context<TestEngine.Provided> extends Context.Context<Node> ? true : false = true

    assert.isTrue(provides)
  })
})
