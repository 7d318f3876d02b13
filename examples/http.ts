/**
 * Serves the files of a torrent over HTTP while it downloads: `node examples/http.ts FILM.torrent`, then open
 * http://127.0.0.1:8080/ in a browser or a player. Seeking works: what a client asks for is fetched before all else.
 */
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpRouter } from "effect/http"
import { Engine, Metainfo } from "piecewise"
import { TorrentHttp } from "piecewise/http"
import { NodeEngine } from "piecewise/node"

/** Downloads a torrent, and serves its files and a list of them, until the scope of the layer closes. */
export const routes = (metainfo: Metainfo.Metainfo, options?: Engine.AddOptions) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const engine = yield* Engine.Engine
      const torrent = yield* engine.add(metainfo, options)
      return TorrentHttp.layer(torrent)
    })
  )

if (import.meta.main) {
  const metainfo = Effect.flatMap(
    Effect.promise(() => readFile(process.argv[2] ?? "")),
    (bytes) => Metainfo.fromBytes(bytes)
  )
  const server = HttpRouter.serve(Layer.unwrap(Effect.map(metainfo, (metainfo) => routes(metainfo)))).pipe(
    Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 8_080 })),
    Layer.provide(NodeEngine.layer({ directory: "downloads" }))
  )
  NodeRuntime.runMain(Layer.launch(server))
}
