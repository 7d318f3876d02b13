import * as http from "node:http"
import { assert, describe, layer } from "@effect/vitest"
import type Server from "bittorrent-tracker/server"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as HttpTracker from "../../../src/discovery/tracker/provider/HttpTracker.ts"
import { Tracker } from "../../../src/discovery/tracker/Tracker.ts"
import * as TrackerSource from "../../../src/discovery/tracker/TrackerSource.ts"
import * as NodeLookup from "../../../src/node/NodeLookup.ts"
import * as NodeRoutedHttp from "../../../src/node/NodeRoutedHttp.ts"
import { listeningPort, peerSourceContext } from "../peerSourceContext.ts"
import * as Suite from "./Tracker.suite.ts"
import { announceOf, infoHash, portOf, realTracker, swarmOf } from "./Tracker.suite.ts"

/** Starts an HTTP server on loopback that answers with `respond`, until the scope closes. Returns its announce URL. */
const serve = (respond: http.RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<http.Server>((resume) => {
      const server = http.createServer(respond)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  ).pipe(Effect.map((server) => `http://127.0.0.1:${portOf(server)}/announce`))

const overNode = Layer.provide(HttpTracker.layer, NodeRoutedHttp.layer(NodeLookup.system))

const server = { http: true }
const urlOf = (server: Server) => `http://127.0.0.1:${portOf(server.http)}/announce`

Suite.suite("HttpTracker against a real tracker", overNode, { server, urlOf })

layer(overNode, { excludeTestServices: true })("HttpTracker over sockets", (it) => {
  it.effect("reports why the tracker refused", () =>
    Effect.gen(function* () {
      const url = urlOf(yield* realTracker(server))
      const tracker = yield* Tracker

      const error = yield* Effect.flip(tracker.announce(url, { ...announceOf(1), port: 0 }))

      assert.strictEqual(error.why, "refused: invalid port")
    })
  )

  it.effect("goes on to the next tracker if nothing listens at the first", () =>
    Effect.gen(function* () {
      const live = yield* realTracker(server)
      const dead = "http://127.0.0.1:1/announce"
      const source = yield* TrackerSource.make()
      const context = peerSourceContext({ infoHash, port: listeningPort(7009), trackers: [[dead], [urlOf(live)]] })

      const events = yield* source.peers(context).pipe(Stream.take(2), Stream.runCollect)

      assert.deepStrictEqual(events[0], { _tag: "Failed", source: dead, why: "connection refused" })
      assert.strictEqual(events[1]?._tag, "Peers")
      assert.deepStrictEqual(swarmOf(live)?.peers.keys, [])
    })
  )
})

describe("HttpTracker against a hostile server", () => {
  layer(overNode, { excludeTestServices: true })("over sockets", (it) => {
    for (const [name, respond, why] of [
      ["closes the connection", (_, response) => response.destroy(), "the connection was closed before an answer"],
      ["does not speak HTTP", (_, response) => response.socket?.end("tracker v1\r\n\r\n"), "the answer is not HTTP"],
      [
        "sends fewer bytes than it declared",
        (_, response) => {
          response.writeHead(200, { "content-length": 100 })
          response.write("d8:interval", () => response.destroy())
        },
        "the connection was closed before an answer"
      ],
      [
        "sends a chunk that is shorter than declared",
        (_, response) =>
          response.socket?.end("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nd8:\r\n0\r\n\r\n"),
        "the connection was closed before an answer"
      ],
      [
        "redirects in a loop",
        (_, response) => response.writeHead(301, { location: "/announce" }).end(),
        "it redirects more than 5 times"
      ]
    ] satisfies ReadonlyArray<[string, http.RequestListener, string]>) {
      it.effect(`fault 57: reports a server that ${name}`, () =>
        Effect.gen(function* () {
          const url = yield* serve(respond)
          const tracker = yield* Tracker

          const error = yield* Effect.flip(tracker.announce(url, announceOf(1)))

          assert.strictEqual(error.why, why)
        })
      )
    }

    it.effect("fault 57: closes the connection if an answer does not end", () =>
      Effect.gen(function* () {
        const closed = yield* Deferred.make<number>()
        const chunk = Buffer.alloc(65_536, "d")
        const url = yield* serve((_, response) => {
          let sent = 0
          const more = () => {
            while (response.write(chunk)) sent += chunk.length
          }
          response.on("drain", more)
          response.on("close", () => Deferred.doneUnsafe(closed, Effect.succeed(sent)))
          more()
        })
        const tracker = yield* Tracker

        const error = yield* Effect.flip(tracker.announce(url, announceOf(1)))
        yield* Deferred.await(closed)

        assert.strictEqual(error.why, `the answer is longer than ${HttpTracker.maxBodyBytes} bytes`)
      })
    )

    it.effect("closes the connection if the announce is interrupted during an answer", () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const closed = yield* Deferred.make<void>()
        const url = yield* serve((_, response) => {
          response.write("d8:interval", () => Deferred.doneUnsafe(begun, Effect.void))
          response.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
        })
        const tracker = yield* Tracker
        const fiber = yield* Effect.forkScoped(tracker.announce(url, announceOf(1)))
        yield* Deferred.await(begun)

        yield* Fiber.interrupt(fiber)

        yield* Deferred.await(closed)
      })
    )
  })
})
