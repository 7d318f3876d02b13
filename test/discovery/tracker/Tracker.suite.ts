/**
 * The tests that every `Tracker` layer must pass against a real tracker on loopback, the npm package
 * bittorrent-tracker, with helpers that tests of such layers share.
 */
import type * as net from "node:net"
import { assert, layer as withLayer } from "@effect/vitest"
import Server from "bittorrent-tracker/server"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import type { PeerSourceEvent } from "../../../src/discovery/PeerSource.ts"
import { type AnnounceRequest, Tracker } from "../../../src/discovery/tracker/Tracker.ts"
import * as TrackerSource from "../../../src/discovery/tracker/TrackerSource.ts"
import { listeningPort, peerSourceContext } from "../peerSourceContext.ts"

export const infoHash = InfoHash.fromHex("00ff20267e3d0a0d7f80c3a9252b2d2e5f61417a")!

/** An announce of a peer that has nothing yet. Its port is 7000 plus its number. */
export const announceOf = (peer: number, event?: AnnounceRequest["event"]): AnnounceRequest => ({
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

/** Starts a real tracker on loopback, until the scope closes. All its sockets are IPv4, which every machine has. */
export const realTracker = (options: ConstructorParameters<typeof Server>[0]) =>
  Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = new Server({ http: false, udp: false, ws: false, stats: false, interval: 900_000, ...options })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.http?.closeAllConnections()
      })
  )

/** The port that a server or socket is bound to. */
export const portOf = (server: { readonly address: () => unknown }) => (server.address() as net.AddressInfo).port

/** What the tracker knows about the torrent. */
export const swarmOf = (server: Server) => server.torrents[Bytes.toHex(infoHash)]

/** How a layer is tested: the kind of tracker to start, and its URL. */
export interface Options {
  readonly server: ConstructorParameters<typeof Server>[0]
  readonly urlOf: (server: Server) => string
}

export const suite = (name: string, layer: Layer.Layer<Tracker>, { server: kind, urlOf }: Options) =>
  withLayer(layer, { excludeTestServices: true })(name, (it) => {
    it.effect("returns peers that have announced, and none that have stopped", () =>
      Effect.gen(function* () {
        const server = yield* realTracker(kind)
        const tracker = yield* Tracker

        yield* tracker.announce(urlOf(server), announceOf(1, "started"))
        const second = yield* tracker.announce(urlOf(server), announceOf(2, "started"))
        yield* tracker.announce(urlOf(server), announceOf(1, "stopped"))
        const third = yield* tracker.announce(urlOf(server), announceOf(3, "started"))

        assert.deepStrictEqual(second.peers.map(({ port }) => port).sort(), [7001, 7002])
        assert.deepStrictEqual(third.peers.map(({ port }) => port).sort(), [7002, 7003])
        assert.strictEqual(third.peers[0]?.host, "127.0.0.1")
        assert.strictEqual(third.intervalSeconds, 900)
        assert.strictEqual(third.leechers, 2)
      })
    )

    it.effect("scrapes", () =>
      Effect.gen(function* () {
        const server = yield* realTracker(kind)
        const tracker = yield* Tracker
        yield* tracker.announce(urlOf(server), announceOf(1, "started"))
        yield* tracker.announce(urlOf(server), { ...announceOf(2, "started"), left: 0 })

        const response = yield* tracker.scrape(urlOf(server), infoHash)

        assert.deepInclude(response, { seeders: 1, leechers: 1 })
      })
    )

    it.effect("reports why the tracker refused", () =>
      Effect.gen(function* () {
        const server = yield* realTracker({
          ...kind,
          filter: (_infoHash, _parameters, allow) => allow(new Error("not registered"))
        })
        const tracker = yield* Tracker

        const error = yield* Effect.flip(tracker.announce(urlOf(server), announceOf(1)))

        assert.strictEqual(error.why, "refused: not registered")
      })
    )

    it.effect("announces started, completed and stopped", () =>
      Effect.gen(function* () {
        const server = yield* realTracker(kind)
        const heard = yield* Queue.bounded<string>(16)
        for (const event of ["start", "complete", "stop", "update"]) {
          server.on(event, () => Queue.offerUnsafe(heard, event))
        }
        const completed = yield* Deferred.make<void>()
        const told = yield* Queue.bounded<PeerSourceEvent>(16)
        const source = yield* TrackerSource.make()
        let left = 1000
        const fiber = yield* source
          .peers(
            peerSourceContext({
              infoHash,
              port: listeningPort(7009),
              trackers: [[urlOf(server)]],
              facts: () => ({ uploaded: 0, downloaded: 0, left }),
              completed: Deferred.await(completed)
            })
          )
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
  })
