/**
 * A session whose torrents are stored in the folder in its argument, with the Transmission RPC on a free port of
 * 127.0.0.1, without a password. Writes one JSON line with the port, and ends when standard input closes.
 */
import { createServer } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { ServiceFacts } from "../../src/control/server/ServiceFacts.ts"
import * as TransmissionRpc from "../../src/control/transmission/TransmissionRpc.ts"
import * as NodeDiskSpace from "../../src/node/NodeDiskSpace.ts"
import * as NodeLookup from "../../src/node/NodeLookup.ts"
import * as NodeRoutedHttp from "../../src/node/NodeRoutedHttp.ts"
import * as NodeSession from "../../src/node/NodeSession.ts"

const [, , directory = "."] = process.argv

const closed = Effect.callback<void>((resume) => {
  process.stdin.on("end", () => resume(Effect.void)).resume()
})

const surroundings = Layer.mergeAll(
  NodeSession.layer({ directory, dht: false, telemetry: { logs: false } }),
  Layer.succeed(HttpClient.HttpClient, NodeRoutedHttp.make(NodeLookup.system)),
  Layer.succeed(ServiceFacts, {
    startedAtMillis: Date.now(),
    directory,
    freeBytes: Effect.orElseSucceed(
      Effect.map(NodeDiskSpace.of(directory), ({ freeBytes }) => freeBytes),
      () => undefined
    )
  })
)

const routes = TransmissionRpc.layer({ dht: false, space: NodeDiskSpace.of })

const served = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provide(surroundings),
  Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
)

const program = Effect.gen(function* () {
  const { address } = yield* HttpServer.HttpServer
  if (!("port" in address)) return yield* Effect.die("it listens at no port")
  process.stdout.write(`${JSON.stringify({ port: address.port })}\n`)
  yield* closed
})

await Effect.runPromise(Effect.provide(program, served))
process.exit(0)
