/**
 * Downloads a torrent with telemetry: metrics for Prometheus at http://127.0.0.1:9464/metrics, and metrics, spans and
 * logs for an OpenTelemetry collector on this machine: `node examples/telemetry.ts FILE.torrent`.
 */
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Metric } from "effect"
import { FetchHttpClient, HttpRouter } from "effect/http"
import { Otlp, PrometheusMetrics } from "effect/observability"
import { Engine, EngineMetrics, Metainfo } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** Sends everything to a collector, and lets Prometheus scrape the metrics. */
const telemetry = Layer.mergeAll(
  Otlp.layerProtobuf({ baseUrl: "http://127.0.0.1:4318", resource: { serviceName: "downloads" } }).pipe(
    Layer.provide(FetchHttpClient.layer)
  ),
  HttpRouter.serve(PrometheusMetrics.layerHttp(), { disableLogger: true }).pipe(
    Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 9464 }))
  )
)

/** Downloads a torrent in a span of the program's own, and returns what the metrics say afterwards. */
export const download = Effect.fn("download")(function* (metainfo: Metainfo.Metainfo) {
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(metainfo)
  yield* torrent.completed
  const { count: bytes } = yield* Metric.value(EngineMetrics.downloadBytes)
  const { count: wasted } = yield* Metric.value(EngineMetrics.wastedBytes)
  const { count: pieces } = yield* Metric.value(EngineMetrics.storedPieces)
  yield* Effect.logInfo("downloaded").pipe(Effect.annotateLogs({ bytes, wasted }))
  return `${pieces} pieces are stored; of ${bytes} bytes, ${wasted} were of no use`
}, Effect.scoped)

const program = Effect.gen(function* () {
  const bytes = yield* Effect.promise(() => readFile(process.argv[2] ?? ""))
  yield* Console.log(yield* download(yield* Metainfo.fromBytes(bytes)))
})

if (import.meta.main) {
  // The telemetry is the outer layer, so that it is still there while the engine ends.
  const layer = NodeEngine.layer({ directory: "downloads", telemetry: { byTorrent: true } }).pipe(
    Layer.provideMerge(telemetry)
  )
  NodeRuntime.runMain(Effect.provide(program, layer))
}
