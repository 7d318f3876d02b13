/**
 * A program that downloads a torrent with telemetry, for `test_telemetry.py`.
 *
 *     observed.ts otlp-protobuf|otlp-json URL TORRENT FOLDER PEER...   sends everything to the collector at URL
 *     observed.ts prometheus TORRENT FOLDER PEER...                    serves its metrics, and first prints the port
 *
 * When the torrent is complete it prints its status as a line of JSON. With `prometheus` the torrent then stays until a
 * line arrives on standard input, and the program until there are no more.
 */
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import { createInterface } from "node:readline"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Otlp from "effect/observability/Otlp"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"

const [kind = "", ...words] = process.argv.slice(2)
const url = kind === "prometheus" ? "" : words.shift()!
const [file = "", directory = "", ...peers] = words

const print = (value: unknown) => Console.log(JSON.stringify(value))

/** The lines of standard input, which keeps the process alive once it is read. */
const lines = Stream.suspend(() =>
  Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
)

const otlp = () => {
  // Everything is exported when the program ends, and standard output is for the test.
  const options = {
    baseUrl: url,
    resource: { serviceName: "observed" },
    tracerExportInterval: "1 hour",
    loggerExportInterval: "1 hour",
    loggerMergeWithExisting: false
  } as const
  const layer = kind === "otlp-json" ? Otlp.layerJson(options) : Otlp.layerProtobuf(options)
  return Layer.provide(layer, FetchHttpClient.layer)
}

const prometheus = () =>
  Layer.effectDiscard(
    Effect.flatMap(HttpServer.HttpServer, ({ address }) =>
      print({ port: address._tag === "InetAddressV4" ? address.port : 0 })
    )
  ).pipe(
    Layer.provideMerge(
      HttpRouter.serve(PrometheusMetrics.layerHttp(), { disableLogger: true, disableListenLog: true })
    ),
    Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
    // Standard output is for the test.
    Layer.merge(Logger.layer([]))
  )

const stays = kind === "prometheus"

const download = Effect.gen(function* () {
  const metainfo = yield* Metainfo.fromBytes(yield* Effect.promise(() => readFile(file)))
  const engine = yield* Engine.Engine
  const addresses = peers.flatMap((peer) => PeerAddress.parse(peer) ?? [])
  const torrent = yield* engine.add(metainfo, { peers: addresses, seed: stays })
  yield* torrent.completed
  // A peer that is banned or leaves now would change what is printed.
  if (stays) yield* Effect.sleep("500 millis")
  yield* print(yield* torrent.status)
  if (stays) yield* Stream.runDrain(Stream.take(lines, 1))
}).pipe(Effect.scoped, Effect.withSpan("download"))

const program = Effect.gen(function* () {
  yield* download
  if (stays) return yield* Effect.andThen(print("removed"), Effect.never)
})

const engine = NodeEngine.layer({ directory, telemetry: { byTorrent: true } })
NodeRuntime.runMain(
  program.pipe(
    Effect.provide(Layer.provideMerge(engine, stays ? prometheus() : otlp())),
    Effect.provideService(References.MinimumLogLevel, "Debug")
  )
)
