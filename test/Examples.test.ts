import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Http from "../examples/http.ts"
import * as Json from "../examples/json.ts"
import * as Read from "../examples/read.ts"
import * as Seed from "../examples/seed.ts"
import * as Several from "../examples/several.ts"
import * as Simulate from "../examples/simulate.ts"
import * as Engine from "../src/engine/Engine.ts"
import { PieceHasher } from "../src/hash/PieceHasher.ts"
import type { Metainfo } from "../src/metainfo/Metainfo.ts"
import type { KnownTorrent } from "../src/testing/KnownTorrent.ts"
import * as PeerBehaviour from "../src/testing/PeerBehaviour.ts"
import * as Swarms from "../src/testing/Swarms.ts"
import type { Torrent } from "../src/torrent/Torrent.ts"
import { make, other, seed, small } from "./simulation/torrents.ts"

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
  it("are seven programs of 15 to 60 lines", () => {
    const files = globSync("*.ts", { cwd: folder })

    assert.strictEqual(files.length, 7)
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
          add: (_, options) =>
            Effect.map(world.download(small, options), ({ torrent }) => {
              added.push(torrent)
              return torrent
            })
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

  it.effect("several: downloads all its torrents", () =>
    Swarms.use(
      { seed, engine: { limits: Several.limits } },
      Effect.fnUntraced(function* (world) {
        const knownOf = ({ name }: Metainfo): KnownTorrent => (name === other.metainfo.name ? other : small)
        // Adds torrents through the world, which checks what they write.
        const engine = Engine.Engine.of({
          ...world.engine,
          add: (metainfo, options) =>
            Effect.map(
              world.download(knownOf(metainfo as Metainfo), { ...options, behaviours: [PeerBehaviour.honest] }),
              ({ torrent }) => torrent
            )
        })

        const all = Several.downloadAll([small.metainfo, other.metainfo])
        const names = yield* within(world, Effect.provideService(all, Engine.Engine, engine))

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
})
