import * as http from "node:http"
import type * as net from "node:net"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, layer } from "@effect/vitest"
import Server from "bittorrent-tracker/server"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PeerSourceEvent } from "../../src/discovery/PeerSource.ts"
import * as HttpTracker from "../../src/tracker/HttpTracker.ts"
import { type AnnounceRequest, Tracker } from "../../src/tracker/Tracker.ts"
import * as TrackerSource from "../../src/tracker/TrackerSource.ts"

const infoHash = Bytes.fromHex("00ff20267e3d0a0d7f80c3a9252b2d2e5f61417a")!

const announceOf = (peer: number, event?: AnnounceRequest["event"]): AnnounceRequest => ({
  infoHash,
  peerId: new Uint8Array(20).fill(peer),
  port: 7000 + peer,
  uploaded: 0,
  downloaded: 0,
  left: 1000,
  event,
  numWant: 50,
  key: peer,
  trackerId: undefined
})

const portOf = (server: net.Server) => (server.address() as net.AddressInfo).port

/** A real tracker on loopback, until the scope closes. */
const realTracker = Effect.acquireRelease(
  Effect.callback<Server>((resume) => {
    const server = new Server({ http: true, udp: false, ws: false, stats: false, interval: 900_000 })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.http.closeAllConnections()
    })
)

/** An HTTP server on loopback that answers as `respond` does, until the scope closes; its announce URL. */
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

const urlOf = (server: Server) => `http://127.0.0.1:${portOf(server.http)}/announce`

const swarmOf = (server: Server) => server.torrents[Bytes.toHex(infoHash)]

const overNode = Layer.provide(HttpTracker.layer, NodeHttpClient.layerNodeHttp)

layer(overNode, { excludeTestServices: true })("HttpTracker against a real tracker", (it) => {
  it.effect("tells the peers that have announced, and those that stopped no more", () =>
    Effect.gen(function* () {
      const server = yield* realTracker
      const tracker = yield* Tracker

      yield* tracker.announce(urlOf(server), announceOf(1, "started"))
      const second = yield* tracker.announce(urlOf(server), announceOf(2, "started"))
      yield* tracker.announce(urlOf(server), announceOf(1, "stopped"))
      const third = yield* tracker.announce(urlOf(server), announceOf(3, "started"))

      assert.deepStrictEqual(second.peers.map(({ port }) => port).sort(), [7001, 7002])
      assert.deepStrictEqual(third.peers.map(({ port }) => port).sort(), [7002, 7003])
      assert.deepStrictEqual(third.peers[0]?.host, "127.0.0.1")
      assert.strictEqual(third.intervalSeconds, 900)
      assert.strictEqual(third.leechers, 2)
    })
  )

  it.effect("runs a torrent's life: started, completed, stopped", () =>
    Effect.gen(function* () {
      const server = yield* realTracker
      const heard = yield* Queue.bounded<string>(16)
      for (const event of ["start", "complete", "stop", "update"]) {
        server.on(event, () => Queue.offerUnsafe(heard, event))
      }
      const completed = yield* Deferred.make<void>()
      const told = yield* Queue.bounded<PeerSourceEvent>(16)
      const peerId = new Uint8Array(20).fill(9)
      const source = yield* TrackerSource.make({ tiers: [[urlOf(server)]], infoHash, peerId, port: 7009 })
      let left = 1000
      const fiber = yield* source
        .peers({
          facts: () => ({ uploaded: 0, downloaded: 0, left }),
          completed: Deferred.await(completed)
        })
        .pipe(
          Stream.runForEach((event) => Queue.offer(told, event)),
          Effect.forkScoped
        )

      const first = yield* Queue.take(told)
      const leechers = swarmOf(server)?.incomplete
      left = 0
      yield* Deferred.succeed(completed, undefined)
      yield* Queue.take(told)
      const seeders = swarmOf(server)?.complete
      yield* Fiber.interrupt(fiber)
      const events = yield* Queue.takeN(heard, 3)

      assert.deepStrictEqual(first._tag === "Peers" ? first.addresses : first, [{ host: "127.0.0.1", port: 7009 }])
      assert.deepStrictEqual([leechers, seeders], [1, 1])
      assert.deepStrictEqual(events, ["start", "complete", "stop"])
      assert.deepStrictEqual(swarmOf(server)?.peers.keys, [])
    })
  )

  it.effect("scrapes", () =>
    Effect.gen(function* () {
      const server = yield* realTracker
      const tracker = yield* Tracker
      yield* tracker.announce(urlOf(server), announceOf(1, "started"))
      yield* tracker.announce(urlOf(server), { ...announceOf(2, "started"), left: 0 })

      const response = yield* tracker.scrape(urlOf(server), infoHash)

      assert.deepInclude(response, { seeders: 1, leechers: 1 })
    })
  )

  it.effect("tells what the tracker refuses", () =>
    Effect.gen(function* () {
      const server = yield* realTracker
      const tracker = yield* Tracker

      const error = yield* Effect.flip(tracker.announce(urlOf(server), { ...announceOf(1), port: 0 }))

      assert.strictEqual(error.why, "refused: invalid port")
    })
  )

  it.effect("goes on to the next tracker when nobody listens at the first", () =>
    Effect.gen(function* () {
      const server = yield* realTracker
      const dead = "http://127.0.0.1:1/announce"
      const peerId = new Uint8Array(20).fill(9)
      const source = yield* TrackerSource.make({ tiers: [[dead], [urlOf(server)]], infoHash, peerId, port: 7009 })
      const context = { facts: () => ({ uploaded: 0, downloaded: 0, left: 1 }), completed: Effect.never }

      const events = yield* source.peers(context).pipe(Stream.take(2), Stream.runCollect)

      assert.deepStrictEqual(events[0], { _tag: "Failed", source: dead, why: "connection refused" })
      assert.strictEqual(events[1]?._tag, "Peers")
      assert.deepStrictEqual(swarmOf(server)?.peers.keys, [])
    })
  )
})

describe("HttpTracker against a hostile server", () => {
  layer(overNode, { excludeTestServices: true })("over sockets", (it) => {
    for (const [name, respond, why] of [
      ["closes the connection", (_, response) => response.destroy(), "the connection was closed before an answer"],
      ["does not speak HTTP", (_, response) => response.socket?.end("tracker v1\r\n\r\n"), "the answer is not HTTP"],
      [
        "sends fewer bytes than it said",
        (_, response) => {
          response.writeHead(200, { "content-length": 100 })
          response.write("d8:interval", () => response.destroy())
        },
        "the connection was closed before an answer"
      ],
      [
        "sends a chunk that is shorter than it said",
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
      it.effect(`fault 57: tells of a server that ${name}`, () =>
        Effect.gen(function* () {
          const url = yield* serve(respond)
          const tracker = yield* Tracker

          const error = yield* Effect.flip(tracker.announce(url, announceOf(1)))

          assert.strictEqual(error.why, why)
        })
      )
    }

    it.effect("fault 57: hangs up on an answer that does not end", () =>
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

    it.effect("hangs up when the announce is interrupted in the middle of an answer", () =>
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
