import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Engine } from "../../src/engine/Engine.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"
import * as NodeSession from "../../src/node/NodeSession.ts"
import * as SessionImport from "../../src/session/import/SessionImport.ts"
import * as Session from "../../src/session/Session.ts"
import * as Recorded from "../session/import/recorded.ts"

const temporary = Effect.acquireRelease(
  Effect.promise(() => FileSystem.mkdtemp(Path.join(OperatingSystem.tmpdir(), "piecewise-import-"))),
  (path) => Effect.promise(() => FileSystem.rm(path, { recursive: true }))
)

const host = "127.0.0.1"

const layerOf = (root: string) =>
  Layer.mergeAll(
    NodeSession.layer({
      directory: Path.join(root, "downloads"),
      dht: false,
      listen: { host, port: 0 },
      telemetry: { logs: false }
    }),
    NodeFileSystem.layer,
    Logger.layer([])
  )

/** Every file below a folder, with its bytes and its time. */
const look = (folder: string) =>
  Effect.promise(async () => {
    const found: Array<readonly [string, string, number]> = []
    for (const name of (await FileSystem.readdir(folder, { recursive: true })).sort()) {
      const path = Path.join(folder, name)
      const facts = await FileSystem.stat(path)
      if (facts.isFile()) found.push([name, await FileSystem.readFile(path, "latin1"), facts.mtimeMs])
    }
    return found
  })

/** Downloads a torrent from a peer. */
const download = (directory: string, metainfo: Effect.Success<Session.SessionTorrent["metainfo"]>, port: number) =>
  Effect.gen(function* () {
    const engine = yield* Engine
    const peers = [{ host, port }]
    const torrent = yield* engine.add(Option.getOrThrow(metainfo), { peers })
    yield* torrent.completed
  }).pipe(
    Effect.scoped,
    Effect.provide(NodeEngine.layer({ directory, dht: false, from: host, telemetry: { logs: false } }))
  )

const clients = ["qbittorrent", "transmission"] as const

describe("SessionImport", () => {
  for (const client of clients) {
    it.live(`imports a session of ${client}, seeds from it at once, and changes none of its files`, () =>
      Effect.gen(function* () {
        const root = yield* temporary
        const folder = yield* Effect.promise(() => Recorded.copy(client, root))
        const before = yield* look(root)
        const leech = Path.join(root, "leech")

        const program = Effect.gen(function* () {
          const session = yield* Session.Session
          const first = yield* SessionImport.run(client, folder)
          const again = yield* SessionImport.run(client, folder)
          const { listening } = yield* Engine
          const { torrents } = yield* session.list
          const season = torrents.find(({ name }) => name === "season")!
          const { metainfo } = yield* session.get(season.infoHash)
          yield* download(leech, yield* metainfo, listening!.port)
          return { first, again, torrents, season }
        })
        const { again, first, season, torrents } = yield* Effect.provide(program, layerOf(root))

        assert.deepStrictEqual(first.torrents.map(({ name, outcome }) => [name, outcome._tag]).sort(), [
          ["A film", "Added"],
          ["half.bin", "Added"],
          ["season", "Added"]
        ])
        assert.deepStrictEqual([...new Set(again.torrents.map(({ outcome }) => outcome._tag))], ["AlreadyThere"])
        assert.strictEqual(torrents.length, 3)
        assert.strictEqual(season.options.folder, Path.join(root, "films"))
        // What the other client has stored is verified by now, or not yet.
        assert.include([95_000, undefined], season.hintedBytes)
        // It was complete there, so it is not reported as completed.
        assert.isAtMost(Math.abs(season.completedAtMillis! - season.addedAtMillis), 1_000)
        for (const [name, bytes] of [
          ["one.mkv", Recorded.contentOf(40_000, 1)],
          ["second.mkv", Recorded.contentOf(50_000, 2)]
        ] as const)
          assert.deepStrictEqual(
            new Uint8Array(yield* Effect.promise(() => FileSystem.readFile(Path.join(leech, "season", name)))),
            bytes
          )
        const after = yield* look(root)
        const paths = new Set(before.map(([path]) => path))
        assert.deepStrictEqual(
          after.filter(([path]) => paths.has(path)),
          before
        )
        const report = Schema.fromJsonString(Schema.toCodecJson(SessionImport.Report))
        assert.deepStrictEqual(yield* Schema.decodeEffect(report)(yield* Schema.encodeEffect(report)(first)), first)
      })
    )
  }

  it.live("goes on with what another client has begun, below the name that its file has there", () =>
    Effect.gen(function* () {
      const root = yield* temporary
      const folder = yield* Effect.promise(() => Recorded.copy("transmission", root))
      const part = Path.join(root, "incomplete", "half.bin.part")
      const [right, seeds] = [Recorded.contentOf(200_000, 4), Path.join(root, "seeds")]
      yield* Effect.promise(async () => {
        await FileSystem.mkdir(seeds)
        await FileSystem.writeFile(Path.join(seeds, "half.bin"), right)
        // The fourth piece is not what Transmission has stored.
        await FileSystem.writeFile(part, right.slice(0, 100_000).fill(0, 50_000, 50_001))
      })
      const torrentFile = yield* Effect.promise(() =>
        Recorded.read("transmission", "torrents", `${Recorded.half}.torrent`)
      )

      const seeding = Effect.gen(function* () {
        const engine = yield* Engine
        const metainfo = yield* Metainfo.fromBytes(torrentFile)
        yield* (yield* engine.add(metainfo, { seed: true, readOnly: true })).completed
        return engine.listening!.port
      })
      const program = Effect.gen(function* () {
        const seeder = yield* Layer.build(
          NodeEngine.layer({ directory: seeds, dht: false, listen: { host, port: 0 }, telemetry: { logs: false } })
        )
        const port = yield* Effect.provideContext(seeding, seeder)
        const session = yield* Session.Session
        const { torrents } = yield* SessionImport.run("transmission", folder)
        const { notes, outcome } = torrents.find(({ name }) => name === "half.bin")!
        const half = yield* session.get((outcome as Extract<typeof outcome, { _tag: "Added" }>).infoHash)
        yield* half.resume()
        for (;;) {
          const torrent = Option.getOrUndefined(yield* half.torrent)
          if (torrent !== undefined) {
            yield* torrent.addPeers([{ host, port }])
            yield* torrent.completed
            return { notes, status: yield* half.status }
          }
          yield* Effect.sleep("20 millis")
        }
      }).pipe(Effect.scoped)
      const { notes, status } = yield* Effect.provide(program, layerOf(root))

      assert.deepStrictEqual(new Uint8Array(yield* Effect.promise(() => FileSystem.readFile(part))), right)
      // Seven pieces that Transmission did not have, and the one that is wrong.
      assert.strictEqual(status.statistics.downloadedBytes, 200_000 - 5 * 16_384)
      assert.deepStrictEqual(notes, [
        `Its files stay in ${Path.join(root, "incomplete")}, also when it is complete.`,
        "The names of 1 files end in .part, also when they are complete. They can be renamed."
      ])
    })
  )

  it.live("reports what cannot be read by its name, and takes the rest", () =>
    Effect.gen(function* () {
      const root = yield* temporary
      const folder = yield* Effect.promise(() => Recorded.copy("qbittorrent", root))
      yield* Effect.promise(async () => {
        await FileSystem.writeFile(Path.join(folder, "damaged.fastresume"), "d8:announce")
        await FileSystem.mkdir(Path.join(folder, "folder.fastresume"))
        await FileSystem.truncate(Path.join(folder, `${Recorded.half}.torrent`), 100)
        await FileSystem.writeFile(Path.join(folder, "long.fastresume"), "")
        await FileSystem.truncate(Path.join(folder, "long.fastresume"), 67_108_865)
      })

      const { torrents } = yield* Effect.provide(SessionImport.run("qbittorrent", folder), layerOf(root))

      const failed = torrents.flatMap(({ file, outcome }) => (outcome._tag === "Failed" ? [[file, outcome.why]] : []))
      assert.strictEqual(torrents.length - failed.length, 2)
      assert.deepStrictEqual(
        failed.map(([file, why]) => `${file}: ${why}`.slice(0, 60)).sort(),
        [
          `${Recorded.half}.fastresume: The tor`,
          "damaged.fastresume: The resume data is damaged: Bad bencodin",
          "folder.fastresume: folder.fastresume is no file.",
          "long.fastresume: long.fastresume is longer than 67108864 byt"
        ].sort()
      )
    })
  )

  it.live("fails with a reason if the folder is no session", () =>
    Effect.gen(function* () {
      const root = yield* temporary

      const why = yield* Effect.forEach(clients, (client) =>
        Effect.flip(Effect.provide(SessionImport.run(client, root), layerOf(root)))
      )

      assert.deepStrictEqual(
        why.map(({ message }) => message),
        [`${root} has no .fastresume files, nor a folder BT_backup that has some.`, `${root} has no folder resume.`]
      )
    })
  )
})
