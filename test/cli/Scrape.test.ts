import * as dgram from "node:dgram"
import { writeFile } from "node:fs/promises"
import type * as net from "node:net"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Server from "bittorrent-tracker/server"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as InfoHash from "../../src/base/InfoHash.ts"
import { askDht, unknownTorrent } from "../../src/cli/Scrape.ts"
import type { ScrapeEstimate } from "../../src/discovery/dht/Dht.ts"
import { Tracker } from "../../src/discovery/tracker/Tracker.ts"
import * as NodeTracker from "../../src/node/NodeTracker.ts"
import * as FakeDht from "../discovery/dht/fakeDht.ts"
import { prepare, services } from "./downloads.ts"
import { eventsOf, run, runScoped } from "./program.ts"

/** A tracker on loopback that speaks HTTP and UDP, until the scope closes. Returns the announce URLs of both. */
const realTracker = Effect.acquireRelease(
  Effect.callback<Server>((resume) => {
    const server = new Server({ http: true, udp: { type: "udp4" }, ws: false, stats: false })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.http.closeAllConnections()
    })
).pipe(
  Effect.map(({ http, udp4 }) => ({
    http: `http://127.0.0.1:${(http.address() as net.AddressInfo).port}/announce`,
    udp: `udp://127.0.0.1:${(udp4.address() as net.AddressInfo).port}/announce`
  }))
)

/** A UDP tracker (BEP 15) on loopback that remembers who asked it, until the scope closes. */
const udpTracker = Effect.acquireRelease(
  Effect.callback<{ readonly socket: dgram.Socket; readonly askedFrom: Set<string> }>((resume) => {
    const socket = dgram.createSocket("udp4")
    const askedFrom = new Set<string>()
    socket.on("message", (query, from) => {
      askedFrom.add(from.address)
      const isConnect = query.readUInt32BE(8) === 0
      const answer = Buffer.alloc(isConnect ? 16 : 20)
      answer.writeUInt32BE(isConnect ? 0 : 2, 0)
      query.copy(answer, 4, 12, 16)
      if (!isConnect) for (const [index, count] of [1, 2, 3].entries()) answer.writeUInt32BE(count, 8 + 4 * index)
      socket.send(answer, from.port, from.address)
    })
    socket.bind(0, "127.0.0.1", () => resume(Effect.succeed({ socket, askedFrom })))
  }),
  ({ socket }) => Effect.sync(() => void socket.close())
).pipe(Effect.map(({ askedFrom, socket }) => ({ askedFrom, url: `udp://127.0.0.1:${socket.address().port}/announce` })))

const dead = "http://127.0.0.1:1/announce"
const odd = "http://127.0.0.1:1/x/announce?\u202e"

/** Announces one seeder and two leechers. */
const populate = (url: string, infoHash: Uint8Array) =>
  Effect.flatMap(Tracker, (tracker) =>
    Effect.forEach([0, 10, 10], (left, index) =>
      tracker.announce(url, {
        infoHash,
        peerId: new Uint8Array(20).fill(index),
        port: 7000 + index,
        uploaded: 0,
        downloaded: 0,
        left,
        event: "started",
        numWant: 0,
        key: index,
        trackerId: undefined
      })
    )
  ).pipe(Effect.provide(NodeTracker.layer))

describe("piecewise scrape", () => {
  it.live("asks every tracker of a torrent file, and shows each answer", () =>
    Effect.gen(function* () {
      const { http, udp } = yield* realTracker
      const { folder, known } = yield* prepare([[http], [dead, udp], ["wss://tracker.example"]])
      yield* populate(udp, known.metainfo.infoHash)

      const ended = yield* runScoped(["scrape", "known.torrent"], folder)

      assert.deepStrictEqual(
        ended.stdout.trimEnd().split("\n").sort(),
        [
          `${http}: 1 seeder, 2 leechers, 1 download`,
          `${udp}: 1 seeder, 2 leechers, 1 download`,
          `${dead}: connection refused`,
          "wss://tracker.example: WebSocket trackers are not supported yet"
        ].sort()
      )
      assert.deepStrictEqual([ended.code, ended.stderr], [0, ""])
    }).pipe(Effect.provide(services))
  )

  it.live("writes JSON in the torrent's order, also for a magnet link", () =>
    Effect.gen(function* () {
      const { udp } = yield* realTracker
      const { known } = yield* prepare()
      const { infoHash } = known.metainfo
      yield* populate(udp, infoHash)
      const link = `magnet:?xt=urn:btih:${InfoHash.toHex(infoHash)}&tr=${encodeURIComponent(dead)}&tr=${udp}`

      const ended = yield* runScoped(["scrape", link, "--json"])

      const unknown = { seeders: null, leechers: null, downloads: null }
      assert.deepStrictEqual(eventsOf(ended.stdout), [
        {
          _tag: "Scraped",
          version: 1,
          infoHash: InfoHash.toHex(infoHash),
          trackers: [
            { url: dead, ...unknown, error: "connection refused" },
            { url: udp, seeders: 1, leechers: 2, downloads: 1, error: null }
          ]
        }
      ])
      assert.strictEqual(ended.code, 0)
    }).pipe(Effect.provide(services))
  )

  it.live("asks from the local address that PIECEWISE_UDP_BIND names", () =>
    Effect.gen(function* () {
      const { askedFrom, url } = yield* udpTracker
      const { folder } = yield* prepare([[url]])
      const env = { PIECEWISE_BIND: "", PIECEWISE_UDP_BIND: "127.0.0.2" }

      const ended = yield* runScoped(["scrape", "known.torrent"], folder, env)

      assert.strictEqual(ended.stdout, `${url}: 1 seeder, 3 leechers, 2 downloads\n`)
      assert.deepStrictEqual([...askedFrom], ["127.0.0.2"])
    }).pipe(Effect.provide(services))
  )

  it.live("fault 24: sends nothing to a service on this machine that a torrent names", () =>
    Effect.gen(function* () {
      const { http } = yield* realTracker
      const port = new URL(http).port
      const urls = [
        `http://127.0.0.1:${port}/announce/../scrape`,
        ...["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"].map((host) => `http://${host}:${port}/announce`)
      ]
      const { folder } = yield* prepare([urls])

      const ended = yield* runScoped(["scrape", "known.torrent", "--json"], folder)

      const { trackers } = JSON.parse(ended.stdout) as { readonly trackers: ReadonlyArray<{ readonly error: string }> }
      assert.deepStrictEqual(
        trackers.map(({ error }) => error),
        [
          "a tracker on this machine must have a component in its path that begins with announce",
          ...Array<string>(3).fill("it leads to an address that no tracker has")
        ]
      )
      assert.strictEqual(ended.code, 1)
    }).pipe(Effect.provide(services))
  )

  it.live("fails if no tracker answers, and writes no control characters", () =>
    Effect.gen(function* () {
      const { folder } = yield* prepare([[dead, odd]])

      const ended = yield* runScoped(["scrape", "known.torrent"], folder)

      const lines = ended.stdout.trimEnd().split("\n")
      assert.strictEqual(lines.length, 2)
      for (const line of lines) assert.match(line, /^http:[^\u202e]+: connection refused$/)
      assert.strictEqual(ended.stderr, "piecewise: known.torrent: no tracker answered with its numbers of peers\n")
      assert.strictEqual(ended.code, 1)
    }).pipe(Effect.provide(services))
  )

  it.live("asks the DHT if there is no tracker, and says that no node answers", () =>
    Effect.gen(function* () {
      const { folder } = yield* prepare()

      const ended = yield* runScoped(["scrape", "known.torrent"], folder, { PIECEWISE_DHT_ROUTERS: "127.0.0.1:1" })

      assert.strictEqual(ended.stdout, "DHT: no node of the DHT answers\n")
      assert.strictEqual(ended.stderr, "piecewise: known.torrent: the DHT has no numbers of peers\n")
      assert.strictEqual(ended.code, 1)
      assert.isBelow(ended.millis, 20_000)
    }).pipe(Effect.provide(services))
  )

  it.effect("tells a DHT that does not answer from one that knows no peers of the torrent", () =>
    Effect.gen(function* () {
      const infoHash = new Uint8Array(20) as InfoHash.InfoHash
      const ask = Effect.fnUntraced(function* (estimate: ScrapeEstimate, knownNodes: number) {
        const dht = FakeDht.make()
        dht.knownNodes = knownNodes
        let asked = 0
        const scrape = () =>
          Effect.sync(() => {
            asked++
            return estimate
          })
        const answering = yield* Effect.forkChild(askDht({ ...dht.service, scrape }, infoHash))
        yield* TestClock.adjust("10 seconds")
        return { answer: yield* Fiber.join(answering), asked }
      })
      const none = { seeds: 0, downloaders: 0, nodes: 0, answered: 0 }

      const silent = yield* ask(none, 0)
      const few = yield* ask({ ...none, answered: 3 }, 3)
      const many = yield* ask({ ...none, answered: 8 }, 8)
      const known = yield* ask({ seeds: 2, downloaders: 1, nodes: 1, answered: 3 }, 3)

      assert.deepStrictEqual(silent.answer, { url: "DHT", error: "no node of the DHT answers" })
      assert.deepStrictEqual(few.answer, { url: "DHT", error: unknownTorrent })
      assert.deepStrictEqual(many, { answer: { url: "DHT", error: unknownTorrent }, asked: 1 })
      const counts = { seeders: 2, leechers: 1, downloads: undefined }
      assert.deepStrictEqual<unknown>(known, { answer: { url: "DHT", ...counts }, asked: 1 })
      assert.isAbove(few.asked, 10)
    })
  )

  it.live("fails with one sentence if there is nothing to ask for, or no tracker", () =>
    Effect.gen(function* () {
      const { folder } = yield* prepare()
      yield* Effect.promise(() => writeFile(path.join(folder, "page.torrent"), "<html>"))

      const nobody = yield* runScoped(["scrape", "known.torrent", "--no-dht"], folder)
      const page = yield* runScoped(["scrape", "page.torrent"], folder)
      const v2 = yield* Effect.promise(() => run(["scrape", `magnet:?xt=urn:btmh:1220${"ab".repeat(32)}`]))
      const bad = yield* Effect.promise(() => run(["scrape", "magnet:?dn=x"]))

      assert.strictEqual(nobody.stderr, "piecewise: known.torrent: there is no tracker to ask\n")
      assert.match(page.stderr, /^piecewise: page\.torrent: this is not a torrent file: .*\n$/)
      assert.strictEqual(v2.stderr, "piecewise: magnet links with only a v2 hash cannot be scraped yet\n")
      assert.match(bad.stderr, /^piecewise: Bad magnet link: .*\n$/)
      assert.deepStrictEqual(
        [nobody, page, v2, bad].map(({ code }) => code),
        [1, 1, 1, 1]
      )
    }).pipe(Effect.provide(services))
  )
})
