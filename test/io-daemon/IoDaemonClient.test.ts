import * as Http from "node:http"
import type * as Net from "node:net"
import * as Os from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as IoDaemon from "../../src/io-daemon/IoDaemon.ts"
import * as IoDaemonClient from "../../src/io-daemon/IoDaemonClient.ts"
import * as NodeIoDaemon from "../../src/node/NodeIoDaemon.ts"

const hasLoopback6 = Object.values(Os.networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"))

/** A server that remembers which token each request carried. */
const serve = (host: string, port: number) =>
  Effect.acquireRelease(
    Effect.promise<{ readonly port: number; readonly tokens: Array<string | undefined>; readonly server: Http.Server }>(
      () =>
        new Promise((resolve, reject) => {
          const tokens: Array<string | undefined> = []
          const server = Http.createServer((request, response) => {
            tokens.push(request.headers.authorization)
            response.end()
          })
          server.on("error", reject)
          server.listen(port, host, () => resolve({ port: (server.address() as Net.AddressInfo).port, tokens, server }))
        })
    ),
    ({ server }) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )

describe("IoDaemonClient", () => {
  it.live.each(hasLoopback6 ? ["localhost", "[::1]"] : ["localhost"])(
    "sends the token only to the daemon, although another listener has its port and the URL says %s",
    (host) =>
      Effect.gen(function* () {
        const daemon = yield* serve("127.0.0.1", 0)
        const others = [yield* serve("127.0.0.2", daemon.port)]
        if (hasLoopback6) others.push(yield* serve("::1", daemon.port))
        const endpoint = { url: `http://${host}:${daemon.port}`, token: Redacted.make("0123456789abcdef") }

        yield* Effect.gen(function* () {
          const client = yield* IoDaemonClient.make
          yield* client.execute(HttpClientRequest.get("/v1/config"))
        }).pipe(Effect.provide(Layer.merge(IoDaemon.layer(endpoint), NodeIoDaemon.layerHttpClient)))

        assert.deepStrictEqual(daemon.tokens, ["Bearer 0123456789abcdef"])
        assert.deepStrictEqual(
          others.flatMap(({ tokens }) => tokens),
          []
        )
      }).pipe(Effect.scoped)
  )
})
