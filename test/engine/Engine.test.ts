import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Bytes from "../../src/base/Bytes.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import type { MetadataSource, MetadataSourceContext } from "../../src/discovery/MetadataSource.ts"
import { MetadataSources } from "../../src/discovery/MetadataSource.ts"
import type { PeerSource, PeerSourceContext } from "../../src/discovery/PeerSource.ts"
import * as PeerSources from "../../src/discovery/PeerSources.ts"
import { Tracker, TrackerError } from "../../src/discovery/tracker/Tracker.ts"
import * as TrackerSource from "../../src/discovery/tracker/TrackerSource.ts"
import * as Engine from "../../src/engine/Engine.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as ListeningPort from "../../src/network/ListeningPort.ts"
import { ConnectionError, Listener } from "../../src/network/Transport.ts"
import * as MemoryResumeStore from "../../src/resume/provider/MemoryResumeStore.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import { Storage, StorageError } from "../../src/storage/Storage.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import * as NoTracker from "../../src/testing/NoTracker.ts"
import * as Simulation from "../../src/testing/Simulation.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as ExtensionHandshake from "../../src/wire/extension/ExtensionHandshake.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { other, small } from "../simulation/torrents.ts"

const test = <E>(
  name: string,
  options: Swarms.Options,
  program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>
) => it.effect(name, () => Swarms.use(options, program))

/** A storage that refuses every write of one torrent. */
const refusing = (layout: FileLayout) => (storage: Storage["Service"]) =>
  Storage.of({
    open: (opened) =>
      Effect.map(storage.open(opened), (torrent) =>
        opened.layout === layout
          ? {
              ...torrent,
              writePiece: () =>
                Effect.fail(new StorageError({ operation: "write", reason: FaultyStorage.refused.reason }))
            }
          : torrent
      )
  })

/** The services that an engine needs, with the given peer sources. */
const services = (sources: Layer.Layer<PeerSources.PeerSources>) =>
  Layer.mergeAll(MemoryNetwork.layer(), MemoryStorage.layer(), MemoryResumeStore.layer, sources)

/** Peer sources with one: trackers that are asked through `announce`. */
const trackers = (announce: Tracker["Service"]["announce"]) =>
  Layer.provide(TrackerSource.layer, Layer.succeed(Tracker, Tracker.of({ ...NoTracker.make, announce })))

describe("Engine", () => {
  test(
    "refuses a torrent that is running, and accepts it again after it has stopped",
    {},
    Effect.fnUntraced(function* ({ engine }) {
      const scope = yield* Scope.make()
      yield* Scope.provide(engine.add(small.metainfo), scope)

      const refusal = yield* Effect.flip(engine.add(small.metainfo))
      yield* Scope.close(scope, Exit.void)
      yield* engine.add(small.metainfo)

      assert.strictEqual(refusal._tag, "piecewise/AlreadyAdded")
      assert.match(refusal.message, /^torrent [0-9a-f]{40} is already running$/)
    })
  )

  test(
    "stops a torrent when its scope closes, while others go on",
    {},
    Effect.fnUntraced(function* (world) {
      const stopped = yield* world.download(small, { behaviours: [{ bytesPerSecond: 50_000 }] })
      const going = yield* world.download(other, { behaviours: [{ bytesPerSecond: 50_000 }] })
      yield* world.advance("3 seconds")

      yield* stopped.stop
      yield* world.advance("1 second")
      const { connections } = yield* world.network.counts
      const isComplete = yield* world.until(going.isComplete, "2 minutes")

      assert.strictEqual(connections, 2)
      assert.strictEqual(stopped.peers[0]!.counters.openConnections, 0)
      assert.isTrue(isComplete)
    })
  )

  test(
    "shares its buffers among torrents within the budget, and no torrent starves",
    { engine: { bufferBytes: 4 * 65_536 } },
    Effect.fnUntraced(function* (world) {
      const first = yield* world.download(small, { behaviours: [{ bytesPerSecond: 40_000 }] })
      yield* world.advance("2 seconds")
      const held = yield* world.engine.heldBytes
      const second = yield* world.download(other, { behaviours: [{ bytesPerSecond: 400_000 }] })

      const isComplete = yield* world.until(second.isComplete, "20 seconds")
      const { mostBufferedBytes, status } = yield* world.summary(first)
      yield* world.until(first.isComplete, "2 minutes")

      assert.strictEqual(held, 3 * 65_536)
      assert.isTrue(isComplete)
      assert.isAtMost(mostBufferedBytes, 4 * 65_536)
      assert.isBelow(status.storedPieces, 20)
      assert.isTrue(first.isComplete())
    })
  )

  test(
    "shares its connections among torrents, and reuses those of a complete torrent",
    { engine: { maxConnections: 2 } },
    Effect.fnUntraced(function* (world) {
      const first = yield* world.download(small, { behaviours: [{ bytesPerSecond: 100_000 }, {}, {}] })
      const second = yield* world.download(other, { behaviours: [{}, {}] })
      const ends: Array<number> = []
      const isDone = () => first.isComplete() && second.isComplete()
      for (let turn = 0; turn < 600 && !isDone(); turn++) {
        yield* world.advance("100 millis")
        ends.push((yield* world.network.counts).connections)
      }

      assert.isTrue(isDone())
      assert.isAtMost(Math.max(...ends), 4)
    })
  )

  test(
    "fault 49: a torrent whose storage fails does not delay another, although it holds all the buffers it may have",
    { storage: refusing(small.metainfo.layout), engine: { bufferBytes: 4 * 65_536 } },
    Effect.fnUntraced(function* (world) {
      const refused = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("2 seconds")
      const healthy = yield* world.download(other, { behaviours: [{ bytesPerSecond: 100_000 }] })

      const isComplete = yield* world.until(healthy.isComplete, "1 minute")

      const { state, storedPieces } = yield* refused.torrent.status
      assert.isTrue(isComplete)
      assert.strictEqual(state._tag, "StorageFailing")
      assert.strictEqual(storedPieces, 0)
      assert.strictEqual(refused.events.filter(({ _tag }) => _tag === "StorageFailed").length, 1)
    })
  )

  test(
    "accepts no connections without a `listen` option",
    {},
    Effect.fnUntraced(function* ({ engine, network }) {
      yield* engine.add(small.metainfo)

      assert.isUndefined(engine.listening)
      assert.strictEqual((yield* network.counts).listening, 0)
    })
  )

  it.effect("announces the port it listens on, and fails if the port is not available", () =>
    Simulation.run(
      1,
      Effect.gen(function* () {
        const ports: Array<number> = []
        const announce: Tracker["Service"]["announce"] = (url, { port }) =>
          Effect.suspend(() => {
            ports.push(port)
            return Effect.fail(new TrackerError({ url, why: "gone", retryAfter: "never" }))
          })
        const { advance } = yield* Simulation.Simulation
        const [silent, listening, failure] = yield* Effect.gen(function* () {
          const tracked = { ...small.metainfo, trackers: [["http://10.0.0.1/announce"]] }
          const silent = yield* Engine.make()
          const listening = yield* Engine.make({ listen: { port: 7_001 } })
          yield* silent.add(tracked)
          yield* advance("2 seconds")
          yield* listening.add({ ...other.metainfo, trackers: tracked.trackers })
          yield* advance("2 seconds")
          return [silent, listening, yield* Effect.flip(Engine.make({ listen: { port: 7_001 } }))] as const
        }).pipe(Effect.provide(services(trackers(announce))))

        assert.deepStrictEqual([silent.listening, listening.listening?.port], [undefined, 7_001])
        assert.deepStrictEqual(ports.slice(0, 2), [TrackerSource.notListeningPort, 7_001])
        assert.strictEqual(failure.why, "port 7001 is in use")
      })
    )
  )

  it.effect("listens over IPv4 alone only if no port is free over IPv6", () =>
    Simulation.run(
      1,
      Effect.gen(function* () {
        const listener = yield* Listener
        /** Listens where the ports that another program has are not free over IPv6, but are over IPv4. */
        const listenBeside = (taken: ReadonlyArray<number>) => {
          const asked: Array<string> = []
          const beside = Listener.of({
            listen: (options) =>
              Effect.suspend(() => {
                const { host, port } = options
                asked.push(`${host} ${port}`)
                return host === "::" && taken.includes(port)
                  ? Effect.fail(new ConnectionError({ address: { host, port }, why: "taken" }))
                  : listener.listen(options)
              })
          })
          return Engine.make({ listen: { port: [7_001, 7_002] } }).pipe(
            Effect.provideService(Listener, beside),
            Effect.scoped,
            Effect.map(({ listening }) => ({ asked, port: listening?.port }))
          )
        }

        assert.deepStrictEqual(yield* listenBeside([7_001]), { asked: [":: 7001", ":: 7002"], port: 7_002 })
        assert.strictEqual((yield* listenBeside([7_001, 7_002])).port, 7_001)
      }).pipe(Effect.provide(services(PeerSources.none)))
    )
  )

  it.effect("listens at the first of several ports that is free", () =>
    Simulation.run(
      1,
      Effect.gen(function* () {
        const listen = { port: [7_001, 7_002] }
        const engines = yield* Effect.forEach([1, 2], () => Engine.make({ listen }))
        const failure = yield* Effect.flip(Engine.make({ listen }))

        assert.deepStrictEqual(
          engines.map(({ listening }) => listening?.port),
          [7_001, 7_002]
        )
        assert.strictEqual(failure.why, "port 7002 is in use")
      }).pipe(Effect.provide(services(PeerSources.none)))
    )
  )

  test(
    "sends each peer the current port in its handshake",
    { engine: { listen: { port: 7_001 } } },
    Effect.fnUntraced(function* (world) {
      const { infoHash } = small.metainfo
      const features = { ...Handshake.noFeatures, extensionProtocol: true }
      const listening = { host: MemoryNetwork.defaultHost, port: 7_001 }
      yield* world.download(small)
      /** The port that the engine sends to a peer that connects from `host`. */
      const portToldTo = Effect.fnUntraced(function* (host: string) {
        const told: Array<number | undefined> = []
        const decoder = FrameDecoder.make({
          ...FrameDecoder.ignoreAll,
          extended: (_, payload) => told.push(Result.getOrThrow(ExtensionHandshake.decode(payload)).port)
        })
        const connection = yield* world.network.host(host).dialer.connect(listening)
        let skipped = 0
        connection.receiveUnsafe((view) => {
          const start = Math.min(view.length, Handshake.length - skipped)
          skipped += start
          FrameDecoder.push(decoder, view.subarray(start))
          return true
        })
        const peerId = Bytes.fromText(host.padEnd(20))
        connection.writeUnsafe(Handshake.encode({ infoHash, peerId, features }))
        yield* world.advance("1 second")
        return told
      })

      const before = yield* portToldTo("10.0.0.98")
      yield* SubscriptionRef.set(world.engine.port, 51_413)
      const after = yield* portToldTo("10.0.0.99")

      assert.deepStrictEqual([before, after], [[7_001], [51_413]])
    })
  )

  it.effect("asks the same sources for every torrent, private ones and magnet links included", () =>
    Simulation.run(
      1,
      Effect.gen(function* () {
        const contexts: Array<PeerSourceContext> = []
        const source: PeerSource = {
          peers: (context) => {
            contexts.push(context)
            return Stream.empty
          }
        }
        const { advance } = yield* Simulation.Simulation
        const urls = ["http://a.example/announce", "udp://b.example:80"]
        const engine = yield* Effect.gen(function* () {
          const engine = yield* Engine.make({ listen: { port: 7_001 } })
          yield* engine.add({ ...small.metainfo, isPrivate: true, trackers: [urls] })
          yield* advance("1 second")
          const link = `magnet:?xt=urn:btih:${InfoHash.toHex(other.metainfo.infoHash)}&tr=${urls.join("&tr=")}`
          yield* Effect.forkScoped(engine.metadata(Result.getOrThrow(Magnet.parse(link))))
          yield* advance("1 second")
          return engine
        }).pipe(Effect.provide(services(PeerSources.layer([source]))))

        const [added, fetched] = contexts as [PeerSourceContext, PeerSourceContext]
        assert.strictEqual(contexts.length, 2)
        assert.deepStrictEqual([added.infoHash, fetched.infoHash], [small.metainfo.infoHash, other.metainfo.infoHash])
        assert.deepStrictEqual([added.trackers, fetched.trackers], [[urls], urls.map((url) => [url])])
        assert.deepStrictEqual([added.isPrivate, fetched.isPrivate], [true, false])
        assert.deepStrictEqual([added.allTiers ?? false, fetched.allTiers], [false, true])
        assert.deepStrictEqual([added.port, fetched.port], [engine.port, engine.port])
        assert.strictEqual(ListeningPort.current(engine.port), 7_001)
        assert.notDeepEqual(added.peerId, fetched.peerId)
      })
    )
  )

  it.effect(
    "asks the sources of metadata that are provided, and adds the trackers of the file to those of the link",
    () =>
      Simulation.run(
        1,
        Effect.gen(function* () {
          const contexts: Array<MetadataSourceContext> = []
          const { metainfo } = other
          const head = Bytes.fromText("d8:announce25:http://b.example/announce4:info")
          const file = Bytes.concat([head, metainfo.infoBytes, Bytes.fromText("e")])
          const source: MetadataSource = {
            metadata: (context) => {
              contexts.push(context)
              return Stream.make(file)
            }
          }
          const link =
            `magnet:?xt=urn:btih:${InfoHash.toHex(metainfo.infoHash)}&tr=http://a.example/announce` +
            "&as=http://c.example/&xs=http://b.example/"

          const { metadata } = yield* Engine.make({ maxMetadataBytes: 1_000_000 }).pipe(
            Effect.provideService(MetadataSources, [source]),
            Effect.provide(services(PeerSources.none))
          )
          const fetched = yield* metadata(Result.getOrThrow(Magnet.parse(link)))

          assert.deepStrictEqual(contexts, [
            { infoHash: metainfo.infoHash, urls: ["http://b.example/", "http://c.example/"], maxBytes: 1_000_000 }
          ])
          assert.deepStrictEqual(fetched.metainfo.infoBytes, metainfo.infoBytes)
          assert.deepStrictEqual(fetched.metainfo.trackers, [
            ["http://a.example/announce"],
            ["http://b.example/announce"]
          ])
        })
      )
  )

  it.effect("adds a magnet link of version 1 only, and fails if its info dict is invalid", () =>
    Simulation.run(
      1,
      Effect.gen(function* () {
        const info = new TextEncoder().encode("d4:name1:xe")
        const file = new TextEncoder().encode("d4:infod4:name1:xee")
        const { sha1 } = yield* PieceHasher
        const infoHash = InfoHash.fromBytes(yield* sha1(info))!
        const source: MetadataSource = { metadata: () => Stream.make(file) }
        const { advance } = yield* Simulation.Simulation

        yield* Effect.gen(function* () {
          const engine = yield* Engine.make()
          const link = (urn: string) => Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:${urn}`))
          const refusal = yield* Effect.flip(engine.add(link(`btmh:1220${"ab".repeat(32)}`)))
          const torrent = yield* engine.add(link(`btih:${InfoHash.toHex(infoHash)}`))
          const error = yield* Effect.forkScoped(Effect.flip(torrent.completed))
          yield* advance("2 seconds")
          const { name, state } = yield* torrent.status

          assert.strictEqual(refusal._tag, "piecewise/OnlyV2")
          assert.deepStrictEqual([state._tag, name], ["Failed", InfoHash.toHex(infoHash)])
          assert.strictEqual((yield* Fiber.join(error))._tag, "piecewise/MetainfoError")
          assert.strictEqual((yield* Effect.flip(torrent.metainfo))._tag, "piecewise/MetainfoError")
        }).pipe(Effect.provideService(MetadataSources, [source]), Effect.provide(services(PeerSources.none)))
      })
    )
  )

  it.effect("waits for each tracker of a private torrent, and not for silent trackers of a public one (BEP 27)", () =>
    Simulation.run(
      1,
      Effect.gen(function* () {
        const asked: Array<string> = []
        const announce: Tracker["Service"]["announce"] = (url) =>
          Effect.suspend(() => {
            asked.push(url)
            return Effect.never
          })
        const { advance } = yield* Simulation.Simulation
        const tiersOf = (host: string) => [[`http://${host}/announce`], [`http://${host}/backup/announce`]]
        const meanwhile = yield* Effect.gen(function* () {
          const engine = yield* Engine.make()
          yield* engine.add({ ...small.metainfo, isPrivate: true, trackers: tiersOf("private.example") })
          yield* engine.add({ ...other.metainfo, trackers: tiersOf("public.example") })
          yield* advance("10 seconds")
          return [...asked]
        }).pipe(Effect.provide(services(trackers(announce))))

        assert.deepStrictEqual(meanwhile, [
          "http://private.example/announce",
          "http://public.example/announce",
          "http://public.example/backup/announce"
        ])
      })
    )
  )
})
