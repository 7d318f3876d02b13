import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as ControlClient from "../../src/control/ControlClient.ts"
import { Credentials } from "../../src/control/security/Credentials.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as NodeService from "../../src/node/NodeService.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "piecewise-service-"))),
  (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
)

/** A port of this machine that another program listens on. */
const takenPort = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<Net.Server>((resolve) => {
        const server = Net.createServer().listen(0, "127.0.0.1", () => resolve(server))
      })
  ),
  (server) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
).pipe(Effect.map((server) => (server.address() as Net.AddressInfo).port))

describe("NodeService", () => {
  it.live("says why it cannot listen", () =>
    Effect.gen(function* () {
      const base = yield* folder
      const port = yield* takenPort
      const service = NodeService.layer({
        directory: path.join(base, "downloads"),
        state: path.join(base, "state"),
        http: { port },
        dht: false
      })
      const error = yield* Effect.flip(Layer.build(service))

      assert.strictEqual(error.message, `the service cannot listen on 127.0.0.1: port ${port} is in use`)
    })
  )

  it.live("moves a torrent to another folder, and says whether that is done", () =>
    Effect.gen(function* () {
      const base = yield* folder
      const options = {
        directory: path.join(base, "downloads"),
        state: path.join(base, "state"),
        http: { port: 0 },
        dht: false
      } as const
      const { bytes, fileContent } = yield* KnownTorrent.make({
        files: [{ path: [], length: 50_000 }],
        pieceLength: 16_384
      }).pipe(Effect.provide(NodePieceHasher.layer))
      yield* Effect.promise(async () => {
        await mkdir(options.directory)
        await writeFile(path.join(options.directory, "known"), fileContent(0))
      })
      const context = yield* Layer.build(NodeService.layer(options))
      const url = yield* Effect.provide(NodeService.url(), context)
      const { token } = Context.get(context, Credentials)
      const client = yield* ControlClient.make({ url, token })
      const { infoHash } = yield* client.torrents.addFile({ payload: bytes, query: {} })
      const params = { infoHash }

      const done = yield* client.torrents.setFolder({ params, payload: { folder: "elsewhere" } })

      assert.deepStrictEqual(done, { isDone: true })
      const moved = yield* Effect.promise(() => readFile(path.join(options.directory, "elsewhere", "known")))
      assert.deepStrictEqual(new Uint8Array(moved), fileContent(0))
      const { torrent } = yield* client.torrents.get({ params })
      assert.strictEqual(torrent.options.folder, "elsewhere")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )
})
