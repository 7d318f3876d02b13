import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { Engine } from "../../src/engine/Engine.ts"
import * as TorrentFile from "../../src/metainfo/TorrentFile.ts"
import * as NodeSession from "../../src/node/NodeSession.ts"
import * as Session from "../../src/session/Session.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import { make } from "../simulation/torrents.ts"

const names = ["one", "two", "three"]
const torrents = await Promise.all(
  names.map((name, index) =>
    make({ name, seed: index + 1, pieceLength: 16_384, files: [{ path: ["a"], length: 40_000 }] })
  )
)

const folder = Effect.acquireRelease(
  Effect.promise(() => FileSystem.mkdtemp(Path.join(OperatingSystem.tmpdir(), "piecewise-session-"))),
  (path) => Effect.promise(() => FileSystem.rm(path, { recursive: true }))
)

/** Puts the files of a torrent in a folder. */
const put = (directory: string, { fileContent, metainfo }: KnownTorrent) =>
  Effect.promise(async () => {
    await FileSystem.mkdir(Path.join(directory, metainfo.name), { recursive: true })
    await FileSystem.writeFile(Path.join(directory, metainfo.name, "a"), fileContent(0))
  })

const exists = (...path: ReadonlyArray<string>) =>
  Effect.promise(() =>
    FileSystem.access(Path.join(...path)).then(
      () => true,
      () => false
    )
  )

/** Waits until every torrent is complete. */
const complete = Effect.gen(function* () {
  const session = yield* Session.Session
  for (;;) {
    const { torrents } = yield* session.list
    const isComplete = torrents.every(({ state }) => state._tag === "Active" && state.state._tag === "Complete")
    if (isComplete) return torrents
    yield* Effect.sleep("20 millis")
  }
})

describe("NodeSession", () => {
  it.live("keeps torrents in folders of their own, or of their labels, and finds them there in the next run", () =>
    Effect.gen(function* () {
      const root = yield* folder
      const [directory, own, label] = ["downloads", "own", "label"].map((name) => Path.join(root, name))
      const [one, two, three] = torrents
      yield* put(directory!, one!)
      yield* put(own!, two!)
      yield* put(label!, three!)
      const layer = Layer.provideMerge(NodeSession.layer({ directory: directory!, dht: false }), Logger.layer([]))
      const first = Effect.gen(function* () {
        const session = yield* Session.Session
        yield* session.setLabel({ name: "label", folder: label })
        yield* session.add({ metainfo: TorrentFile.encode(one!.metainfo) })
        yield* session.add({ metainfo: TorrentFile.encode(two!.metainfo) }, { folder: own })
        yield* session.add({ metainfo: TorrentFile.encode(three!.metainfo) }, { labels: ["label"] })
        return yield* complete
      })
      const second = Effect.gen(function* () {
        const session = yield* Session.Session
        // Only new torrents follow it.
        yield* session.setLabel({ name: "label", folder: directory })
        const found = yield* complete
        yield* (yield* session.get(two!.metainfo.infoHash)).renameFile(0, ["two", "b"])
        yield* (yield* session.get(three!.metainfo.infoHash)).remove({ data: true })
        return found
      })

      const before = yield* Effect.provide(first, layer, { local: true })
      const after = yield* Effect.provide(second, layer, { local: true })

      assert.deepStrictEqual(
        before.map(({ name }) => name),
        names
      )
      assert.deepStrictEqual(
        after.map(({ options }) => options.folder),
        [undefined, own, label]
      )
      assert.deepStrictEqual(
        after.map(({ statistics }) => statistics.downloadedBytes),
        [0, 0, 0]
      )
      const places = [
        [directory!, "one", "a"],
        [own!, "two", "b"],
        [own!, "two", "a"],
        [label!, "three"],
        [directory!, ".piecewise", "session.db"]
      ]
      assert.deepStrictEqual(yield* Effect.forEach(places, (path) => exists(...path)), [true, true, false, false, true])
    })
  )

  it.live("has relative folders below the download folder, wherever the process runs", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      yield* put(Path.join(directory, "films"), torrents[0]!)
      const added = Effect.gen(function* () {
        const session = yield* Session.Session
        yield* session.add({ metainfo: TorrentFile.encode(torrents[0]!.metainfo) }, { folder: "films" })
        return yield* complete
      })

      const [found] = yield* Effect.provide(added, NodeSession.layer({ directory, dht: false }), { local: true })

      assert.strictEqual(found!.statistics.downloadedBytes, 0)
    })
  )

  it.live("waits for the process that has the session before it listens", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      const layerOf = (port: number) =>
        NodeSession.layer({ directory, dht: false, listen: { host: "127.0.0.1", port } })
      const scope = yield* Scope.make()
      const first = yield* Layer.buildWithScope(layerOf(0), scope)
      const { port } = Context.get(first, Engine).listening!
      const next = yield* Effect.forkChild(Effect.provide(Engine, layerOf(port), { local: true }), {
        startImmediately: true
      })
      yield* Effect.sleep("200 millis")
      const isWaiting = next.pollUnsafe() === undefined
      yield* Scope.close(scope, Exit.void)

      assert.isTrue(isWaiting)
      assert.strictEqual((yield* Fiber.join(next)).listening?.port, port)
    })
  )
})
