import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as ConfigExample from "../examples/config.ts"
import * as Control from "../examples/control.ts"
import * as DhtAlone from "../examples/dht.ts"
import * as Errors from "../examples/errors.ts"
import * as Http from "../examples/http.ts"
import * as Json from "../examples/json.ts"
import * as Late from "../examples/late.ts"
import * as OwnSource from "../examples/peer-source.ts"
import * as Progress from "../examples/progress.ts"
import * as Retries from "../examples/property.ts"
import * as Queue from "../examples/queue.ts"
import * as Read from "../examples/read.ts"
import * as Seed from "../examples/seed.ts"
import * as Several from "../examples/several.ts"
import * as Simulate from "../examples/simulate.ts"
import * as Sqlite from "../examples/sqlite-storage.ts"
import * as Telemetry from "../examples/telemetry.ts"
import * as InfoHash from "../src/base/InfoHash.ts"
import { ControlClient } from "../src/control/ControlClient.ts"
import * as Dht from "../src/discovery/dht/Dht.ts"
import * as Engine from "../src/engine/Engine.ts"
import { PieceHasher } from "../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../src/hash/provider/node/NodePieceHasher.ts"
import * as FileLayout from "../src/metainfo/FileLayout.ts"
import * as MemorySessionStore from "../src/session/provider/memory/MemorySessionStore.ts"
import * as TorrentFolders from "../src/session/TorrentFolders.ts"
import { DiskFull, Storage, StorageError, StorageRefused } from "../src/storage/Storage.ts"
import type { KnownTorrent } from "../src/testing/KnownTorrent.ts"
import * as MemoryUdpNetwork from "../src/testing/MemoryUdpNetwork.ts"
import * as PeerBehaviour from "../src/testing/PeerBehaviour.ts"
import * as Swarms from "../src/testing/Swarms.ts"
import * as TestEngine from "../src/testing/TestEngine.ts"
import type { Torrent } from "../src/torrent/Torrent.ts"
import { TorrentStopped } from "../src/torrent/TorrentStopped.ts"
import { withService } from "./control/server/serving.ts"
import * as DhtHosts from "./discovery/dht/dhtHosts.ts"
import { make, other, seed, small } from "./simulation/torrents.ts"
import { temporaryFolder } from "./storage/disk.ts"
import * as Observed from "./telemetry/observed.ts"

const folder = path.resolve(import.meta.dirname, "..", "examples")
const { pieceCount } = small.metainfo.layout.geometry

/** A torrent of one piece, like those of `seed`. */
const single = await make({ pieceLength: 1 << 24, files: [{ path: [], length: 100_000 }] })

const contentOf = ({ content, metainfo }: KnownTorrent): Uint8Array =>
  new Uint8Array(
    Array.from({ length: metainfo.layout.geometry.pieceCount }, (_, piece) => [...content(piece as never)]).flat()
  )

/** Runs an example while the simulated clock advances. Dies if it takes longer than a minute of simulated time. */
const within = Effect.fnUntraced(function* <A, E, R>(world: Swarms.World, example: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkScoped(example)
  yield* world.until(() => fiber.pollUnsafe() !== undefined, "1 minute")
  assert.isDefined(fiber.pollUnsafe())
  return yield* Fiber.join(fiber)
})

describe("the examples", () => {
  it("are programs of 15 to 60 lines", () => {
    const files = globSync("*.ts", { cwd: folder })

    assert.isAbove(files.length, 8)
    for (const file of files) {
      const lines = readFileSync(path.join(folder, file), "utf8").trimEnd().split("\n").length
      assert.isTrue(lines >= 15 && lines <= 60, `${file} has ${lines} lines`)
    }
  })

  it.effect("json: writes events and progress until it is complete", () =>
    Swarms.use(
      { seed, link: { bytesPerSecond: 400_000 } },
      Effect.fnUntraced(function* (world) {
        const { torrent } = yield* world.download(small, { behaviours: [PeerBehaviour.honest] })

        const lines = yield* within(world, Stream.runCollect(Json.lines(torrent)))
        const tags = lines.map((line): string => JSON.parse(line)._tag)

        assert.strictEqual(tags.filter((tag) => tag === "PieceStored").length, pieceCount)
        assert.isAbove(tags.filter((tag) => tag === "Progress").length, 1)
        assert.strictEqual(tags.at(-1), "Completed")
      })
    )
  )

  it.effect("progress: says how far each file is, and who sends it", () =>
    Swarms.use(
      { seed, link: { bytesPerSecond: 400_000 } },
      Effect.fnUntraced(function* (world) {
        const { torrent } = yield* world.download(small, { behaviours: [PeerBehaviour.honest] })

        const lines = yield* within(world, Stream.runCollect(Progress.lines(torrent)))

        assert.strictEqual(lines[0], "known: Checking, 0%, verifying what is stored")
        assert.isTrue(lines.some((line) => /^ {2}known\/b\/c\.bin: [1-9]\d?%$/.test(line)))
        assert.isTrue(lines.some((line) => /^ {2}from .+ at 10\.0\.0\.0: [1-9]\d* B\/s$/.test(line)))
        assert.strictEqual(lines.at(-1), "known: Complete, 100%")
      })
    )
  )

  it.effect("late: draws what is stored, also for a reader that begins in the middle", () =>
    Swarms.use(
      { seed, link: { bytesPerSecond: 400_000 } },
      Effect.fnUntraced(function* (world) {
        const download = yield* world.download(small, { behaviours: [PeerBehaviour.honest], order: "sequential" })
        yield* world.advance("2 seconds")
        const fiber = yield* Effect.forkScoped(Stream.runCollect(Late.pictures(download.torrent)))
        yield* world.until(download.isComplete, "1 minute")
        yield* download.stop

        const [begin, first, ...others] = yield* Fiber.join(fiber)
        assert.strictEqual(begin, "")
        assert.match(first!, /^#+\.+$/)
        assert.isAbove(others.length, 3)
        assert.strictEqual(others.at(-1), "#".repeat(pieceCount))
      })
    )
  )

  it.effect("queue: downloads 50 torrents, five at a time, and removes those that its storage refuses", () =>
    Effect.gen(function* () {
      const names = Array.from({ length: 50 }, (_, index) =>
        index % 10 === 3 ? `refused-${index}` : `torrent-${index}`
      )
      const known = yield* Effect.promise(() =>
        Promise.all(
          names.map((name, index) =>
            make({ name, seed: index + 1, pieceLength: 16_384, files: [{ path: [], length: 40_000 }] })
          )
        )
      )
      const refuse = (inner: Storage["Service"]) =>
        Storage.of({
          open: (options) =>
            Effect.map(inner.open(options), (torrent) =>
              FileLayout.pathOf(options.layout, 0)[0]!.startsWith("refused")
                ? { ...torrent, writePiece: () => Effect.fail(new StorageError({ operation: "write", reason })) }
                : torrent
            )
        })
      const reason = new StorageRefused({ path: "refused", why: "permission denied" })
      yield* Swarms.use(
        { seed, storage: refuse },
        Effect.fnUntraced(function* (world) {
          let mostAtOnce = 0
          const engine = Engine.Engine.of({
            ...world.engine,
            add: (metainfo, options) => {
              const one = known.find((other) => other.metainfo === metainfo)!
              const download = world.download(one, {
                ...(options as Engine.AddOptions),
                behaviours: [{ bytesPerSecond: 40_000 }]
              })
              return Effect.map(download, ({ torrent }) => torrent)
            }
          })
          const watching = Effect.map(world.engine.status, ({ states }) => {
            mostAtOnce = Math.max(mostAtOnce, states.Downloading + states.StorageFailing)
          })
          yield* Effect.forkScoped(Effect.forever(Effect.andThen(watching, Effect.sleep("500 millis"))))

          const all = Queue.downloadAll(known.map(({ metainfo }) => metainfo))
          const completed = yield* within(world, Effect.provideService(all, Engine.Engine, engine))

          assert.sameMembers(
            completed,
            names.filter((name) => name.startsWith("torrent"))
          )
          assert.sameMembers([...world.medium.paths()], completed)
          const { states, torrents } = yield* world.engine.status
          assert.deepStrictEqual([torrents, states.Paused], [45, 45])
          assert.isAtLeast(mostAtOnce, 2)
          assert.isAtMost(mostAtOnce, Queue.atOnce)
        })
      )
    })
  )

  it.effect("read: emits the bytes of the largest file, and fetches nothing else", () =>
    Swarms.use(
      { seed, link: { bytesPerSecond: 400_000 } },
      Effect.fnUntraced(function* (world) {
        const files = small.metainfo.layout.files.map(() => "skip" as const)
        const { torrent } = yield* world.download(small, { files, behaviours: [PeerBehaviour.honest] })
        const file = Read.largest(small.metainfo)

        const chunks = yield* within(world, Stream.runCollect(Read.bytes(torrent)))

        assert.strictEqual(file, 2)
        assert.isTrue(Buffer.concat(chunks).equals(small.fileContent(file)))
        assert.strictEqual((yield* torrent.status).storedPieces, 13)
      })
    )
  )

  it.effect("http: serves a range of a file while it downloads", () =>
    Swarms.use(
      { seed, link: { bytesPerSecond: 400_000 } },
      Effect.fnUntraced(function* (world) {
        const { address } = yield* world.join(small, PeerBehaviour.honest)
        const added: Array<Torrent> = []
        const engine = Engine.Engine.of({
          ...world.engine,
          add: (source, options) =>
            Effect.tap(world.engine.add(source, options), (torrent) => Effect.sync(() => added.push(torrent)))
        })
        const routes = Http.routes(small.metainfo, { peers: [address] })
        const app = yield* HttpRouter.toHttpEffect(Layer.provide(routes, Layer.succeed(Engine.Engine, engine)))
        const request = new Request("http://localhost/known/b/c.bin", { headers: { range: "bytes=400000-400009" } })

        const respond = Effect.flatMap(Effect.scoped(app), (response) =>
          response.body._tag === "Stream" ? Stream.runCollect(response.body.stream) : Effect.die("no body")
        )
        const chunks = yield* within(
          world,
          Effect.provideService(respond, HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(request))
        )

        assert.isTrue(Buffer.concat(chunks).equals(small.fileContent(2).subarray(400_000, 400_010)))
        assert.isBelow((yield* added[0]!.status).storedPieces, pieceCount)
      })
    )
  )

  it.effect("control: adds a torrent to a service, and follows it until it is complete", () =>
    TestEngine.run(
      withService(({ client }) =>
        Effect.gen(function* () {
          yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
          const lines: Array<string> = []
          const link = `magnet:?xt=urn:btih:${InfoHash.toHex(small.metainfo.infoHash)}&dn=A+film`
          const console = { ...globalThis.console, log: (line: string) => void lines.push(line) }
          yield* Control.addAndFollow(link).pipe(
            Effect.provideService(ControlClient, client),
            Effect.provideService(Console.Console, console)
          )

          assert.include(lines, "Active")
          assert.deepStrictEqual(lines.slice(-2), ["Completed", "known: 0 bytes are missing"])
        })
      ).pipe(Effect.provide([MemorySessionStore.layer, TorrentFolders.layer])),
      { seed }
    )
  )

  it.effect("several: downloads all its torrents", () =>
    Swarms.use(
      { seed, findsPeers: true, engine: { limits: Several.limits } },
      Effect.fnUntraced(function* (world) {
        for (const known of [small, other]) yield* world.join(known, PeerBehaviour.honest)

        const all = Several.downloadAll([small.metainfo, other.metainfo])
        const names = yield* within(world, Effect.provideService(all, Engine.Engine, world.engine))

        assert.deepStrictEqual(names, ["known", "other"])
      })
    )
  )

  it.effect("seed: uploads bytes from memory", () =>
    Swarms.use(
      { seed },
      Effect.fnUntraced(function* (world) {
        const storage = Seed.make(contentOf(single), yield* PieceHasher)
        const seeder = yield* world.beside({ engine: { listen: { port: 6_881 } }, storage: () => storage })
        yield* seeder.download(single, { readOnly: true, seed: true })

        const download = yield* world.download(single, { peers: [{ host: seeder.host, port: 6_881 }] })
        yield* world.until(download.isComplete, "1 minute")
        const { isRight } = yield* world.summary(download)

        assert.isTrue(isRight)
        assert.deepStrictEqual(seeder.medium.paths(), [])
      })
    )
  )

  it.live("config: is configured by the environment, and names a bad variable", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(path.join(tmpdir(), "piecewise-example-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
      writeFileSync(path.join(folder, single.metainfo.name), contentOf(single))
      const within = (env: Readonly<Record<string, string>>) =>
        ConfigExample.download(single.bytes).pipe(
          Effect.provide(ConfigExample.layer),
          Effect.provideService(
            ConfigProvider.ConfigProvider,
            ConfigProvider.fromEnv({ env: { PIECEWISE_DIRECTORY: folder, ...env } })
          )
        )

      const said = yield* within({ PIECEWISE_BUFFER_BYTES: "8MiB", PIECEWISE_UPLOAD_LIMIT: "1MiB" })
      const error = yield* Effect.flip(within({ PIECEWISE_DOWNLOAD_LIMIT: "fast" }))

      assert.strictEqual(said, "known: 100000 bytes are stored")
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, 'a size of at least 1 bytes, such as 64MiB\n  at ["PIECEWISE_DOWNLOAD_LIMIT"]')
    }).pipe(Effect.scoped)
  )

  it.effect("errors: makes a sentence of every error", () =>
    Effect.gen(function* () {
      const { metainfo } = single
      const name = Effect.succeed(metainfo.name)
      const withEngine = (add: Effect.Effect<Partial<Torrent>, Engine.AlreadyAdded>, bytes = single.bytes) =>
        Effect.provideService(Errors.main(bytes), Engine.Engine, { add: () => add } as never)
      const completed = Effect.fail(new StorageError({ operation: "write", reason: new DiskFull({ path: "known" }) }))

      const said = yield* Effect.all([
        withEngine(Effect.succeed({ name, completed: Effect.void })),
        withEngine(Effect.succeed({ name, completed })),
        withEngine(Effect.succeed({ name, completed: Effect.fail(new TorrentStopped(metainfo)) })),
        withEngine(Effect.fail(new Engine.AlreadyAdded(metainfo))),
        withEngine(Effect.never, new Uint8Array(3))
      ])

      assert.deepStrictEqual(said, [
        "known is complete",
        "the disk is full: known cannot grow: free some space",
        "somebody stopped it",
        "it is running already",
        "not a torrent: this is not a torrent file: no value begins with this byte at byte 0"
      ])
    }).pipe(Effect.provide(NodePieceHasher.layer))
  )

  it.effect("telemetry: returns what the metrics say, and has spans and logs", () => {
    const { logs, spans, within: observed } = Observed.make("Info")
    return observed(
      Swarms.use(
        { seed },
        Effect.fnUntraced(function* (world) {
          const engine = Engine.Engine.of({
            ...world.engine,
            add: (_, options) =>
              Effect.map(
                world.download(small, { ...(options as Engine.AddOptions), behaviours: [PeerBehaviour.honest] }),
                ({ torrent }) => torrent
              )
          })

          const telling = Effect.provideService(Telemetry.download(small.metainfo), Engine.Engine, engine)
          const line = yield* within(world, telling)

          assert.strictEqual(line, "20 pieces are stored; of 1265185 bytes, 0 were of no use")
          assert.deepStrictEqual(
            spans.map(({ name }) => name),
            ["download", "piecewise.torrent", "piecewise.check"]
          )
          assert.sameMembers(
            logs.map(({ message }) => message),
            ["a torrent is added", "the torrent is complete", "downloaded", "a torrent is removed"]
          )
        })
      )
    )
  })

  it.effect("simulate: bans the liar, waits for the disk, and repeats the same run", () =>
    Effect.gen(function* () {
      const summary = yield* Simulate.run(seed)
      const again = yield* Simulate.run(seed)

      assert.isTrue(summary.isRight)
      assert.strictEqual(summary.status.bannedPeers, 1)
      assert.includeMembers(
        summary.events.map(({ _tag }) => _tag),
        ["StorageFailed", "StorageRecovered", "Completed"]
      )
      assert.deepStrictEqual(again, summary)
    })
  )

  it.effect("peer-source: reports that its directory fails, and downloads from the peers that it then finds", () =>
    Effect.gen(function* () {
      const { during, join } = yield* TestEngine.TestEngine
      const { address } = yield* join(small, PeerBehaviour.honest)
      const asked: Array<string> = []
      const said: Array<unknown> = []
      const directory = HttpClient.make((request, url) => {
        asked.push(url.pathname)
        const answer = asked.length < 3 ? new Response("later", { status: 503 }) : Response.json([address])
        return Effect.succeed(HttpClientResponse.fromWeb(request, answer))
      })

      yield* OwnSource.download(small.metainfo, "http://127.0.0.1").pipe(
        during,
        Effect.provideService(HttpClient.HttpClient, directory),
        // Peers are found by the directory alone.
        Effect.provideService(Console.Console, { ...globalThis.console, log: (line) => void said.push(line) })
      )

      assert.deepStrictEqual(asked, Array(3).fill(`/${InfoHash.toHex(small.metainfo.infoHash)}`))
      assert.lengthOf(said, 3)
      for (const line of said.slice(0, 2)) assert.match(String(line), /^our directory: .*503/)
      assert.strictEqual(said[2], "known is complete")
    }).pipe(Effect.provide(TestEngine.layer({ findsPeers: false, engine: { telemetry: { logs: false } } })))
  )

  it.effect("dht: says which nodes name peers, and about how many there are", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const nodes = yield* DhtHosts.startMany(12)
      const during = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(effect)
          yield* TestClock.adjust("1 minute")
          return yield* Fiber.join(fiber)
        })
      const { infoHash } = small.metainfo
      const find = DhtAlone.find(infoHash).pipe(
        Effect.provideService(Dht.Dht, nodes[9]!),
        Effect.provideService(Console.Console, { ...globalThis.console, log: (line) => void said.push(line) })
      )

      yield* during(find)
      yield* during(nodes[3]!.announce(infoHash, { port: 7000, isSeed: true }))
      yield* during(nodes[4]!.announce(infoHash, { port: 7001 }))
      yield* during(find)

      assert.deepStrictEqual(said.splice(0, 2), [
        "no node says how many peers there are",
        "known nodes: 11 of IPv4, 0 of IPv6"
      ])
      const [count, known] = said.splice(-2)
      assert.match(count!, /^about 1 seeds and 1 downloaders, by the answers of \d+ nodes$/)
      assert.strictEqual(known, "known nodes: 11 of IPv4, 0 of IPv6")
      const named = said
        .map((line) => /^\S+:6881 names (.+)$/.exec(line)![1]!)
        .join(", ")
        .split(", ")
      assert.sameMembers(named, [`${DhtHosts.hostOf(3)}:7000`, `${DhtHosts.hostOf(4)}:7001`])
    }).pipe(
      Effect.scoped,
      Effect.provide(MemoryUdpNetwork.layer({ latency: "50 millis" })),
      // With some ids, more than eight of the others belong in one bucket, so not all of them are known.
      Random.withSeed("dht")
    )
  )

  it.effect("sqlite-storage: keeps a download, which a later opening of the file finds", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = path.join(folder, "torrents.sqlite")
      const { layout } = small.metainfo
      const run = Effect.gen(function* () {
        const { during, join, medium } = yield* TestEngine.TestEngine
        const { address } = yield* join(small, PeerBehaviour.honest)
        yield* during(Sqlite.download(small.bytes, [address]))
        assert.deepStrictEqual(medium.paths(), [])
      })
      yield* Effect.provide(run, Layer.provideMerge(Sqlite.layerEngine(file), TestEngine.layer()))

      const found = yield* Storage.pipe(
        Effect.flatMap((storage) => storage.open(small.metainfo)),
        Effect.flatMap((torrent) =>
          Effect.forEach([...Array(pieceCount).keys()], (piece) =>
            torrent.readBlock(piece as never, 0, small.content(piece as never).length)
          )
        ),
        Effect.scoped,
        Effect.provide(Layer.provide(Sqlite.layer(file), NodePieceHasher.layer))
      )

      assert.strictEqual(layout.geometry.pieceCount, found.length)
      assert.isTrue(Buffer.concat(found.map(({ bytes }) => bytes)).equals(contentOf(small)))
    })
  )

  it.live("property: holds for the retries of its program, finds those that are too few, and replays from a seed", () =>
    Effect.gen(function* () {
      yield* Retries.check(Retries.download, { runs: 10 })
      const once = (bytes: Uint8Array) => Retries.download(bytes, 1)

      const failed = yield* Effect.flip(Retries.check(once, { runs: 30, seed: 1 }))
      const { path, seed } = failed
      const again = yield* Effect.flip(Retries.check(once, { runs: 1, seed, path }))

      assert.deepInclude(failed.counterexample, { failedOpens: 2, failedWrites: 0 })
      assert.include(failed.message, "PIECEWISE_SEED=1")
      assert.deepStrictEqual(again.counterexample, failed.counterexample)
    })
  )
})
