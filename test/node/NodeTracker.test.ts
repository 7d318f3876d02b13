import * as Http from "node:http"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TorrentFetch from "../../src/cli/TorrentFetch.ts"
import { Tracker } from "../../src/discovery/tracker/Tracker.ts"
import type * as NodeLookup from "../../src/node/NodeLookup.ts"
import * as NodeRoutedHttp from "../../src/node/NodeRoutedHttp.ts"
import * as NodeTracker from "../../src/node/NodeTracker.ts"
import { announceOf, infoHash, portOf, realTracker, swarmOf } from "../discovery/tracker/Tracker.suite.ts"
import { online } from "../network/online.ts"

/** Starts a server at `host` until the scope closes. Returns its port and the paths that were requested. */
const serve = (respond: Http.RequestListener, host = "127.0.0.1") =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: Http.Server; readonly asked: Array<string> }>((resume) => {
      const asked: Array<string> = []
      const server = Http.createServer((request, response) => {
        asked.push(request.url!)
        respond(request, response)
      })
      server.listen(0, host, () => resume(Effect.succeed({ server, asked })))
    }),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  ).pipe(Effect.map(({ asked, server }) => ({ asked, port: portOf(server) })))

const answer: Http.RequestListener = (_, response) => response.end("d8:intervali900e5:peers0:e")

/** Resolves every name to the given addresses. */
const leadsTo =
  (...addresses: ReadonlyArray<string>): NodeLookup.NodeLookup =>
  async () =>
    addresses.map((address) => ({ address, family: Net.isIP(address) }))

const announce = (url: string, lookup: NodeLookup.NodeLookup) =>
  Effect.flatMap(Tracker, (tracker) => tracker.announce(url, announceOf(1))).pipe(
    Effect.provide(NodeTracker.layerLookup(lookup))
  )

const scrape = (url: string, lookup: NodeLookup.NodeLookup) =>
  Effect.flatMap(Tracker, (tracker) => tracker.scrape(url, infoHash)).pipe(
    Effect.provide(NodeTracker.layerLookup(lookup))
  )

const onlyHere = "a tracker on this machine must have a component in its path that begins with announce"

/** An address of this machine that others can see, local or public. */
const outer = Object.values(Os.networkInterfaces())
  .flatMap((all) => all ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address

describe("NodeTracker", () => {
  it.live("unpacks every member of gzip", () =>
    Effect.gen(function* () {
      const members = ["d8:intervali9", "00e5:peers0:e"].map((part) => Zlib.gzipSync(part))
      const { port } = yield* serve((_, response) => response.end(Buffer.concat(members)))

      const response = yield* announce(`http://127.0.0.1:${port}/announce`, leadsTo())

      assert.strictEqual(response.intervalSeconds, 900)
    })
  )

  it.live("fault 24: a public name that leads to this machine reaches no path except an announce", () =>
    Effect.gen(function* () {
      const { asked, port } = yield* serve(answer)
      const lookup = leadsTo("127.0.0.1")

      const error = yield* Effect.flip(announce(`http://tracker.example:${port}/api/shutdown`, lookup))
      const response = yield* announce(`http://tracker.example:${port}/announce/KEY`, lookup)

      assert.strictEqual(error.why, onlyHere)
      assert.strictEqual(response.intervalSeconds, 900)
      assert.deepStrictEqual(
        asked.map((path) => path.split("?")[0]),
        ["/announce/KEY"]
      )
    })
  )

  it.live("fault 24: every address of a name is checked", () =>
    Effect.gen(function* () {
      const { asked, port } = yield* serve(answer)
      // Nothing listens at the first address, which is on this machine too; Node goes on to the next.
      const addresses = ["0.0.0.0", "::ffff:127.0.0.1", "127.0.0.1", "::"]

      const error = yield* Effect.flip(announce(`http://tracker.example:${port}/x`, leadsTo(...addresses)))
      const nowhere = yield* Effect.flip(announce(`http://tracker.example:${port}/announce`, leadsTo("0.0.0.0", "::")))

      assert.strictEqual(error.why, "it leads to an address that no tracker has")
      assert.strictEqual(nowhere.why, "it leads to an address that no tracker has")
      assert.deepStrictEqual(asked, [])
    })
  )

  it.live.each(["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"])("fault 24: requests nothing from a service at %s", (host) =>
    Effect.gen(function* () {
      const { asked, port } = yield* serve(answer)
      const lookup = leadsTo("127.0.0.1")

      const announced = yield* Effect.flip(announce(`http://${host}:${port}/announce`, lookup))
      const scraped = yield* Effect.flip(scrape(`http://${host}:${port}/announce`, lookup))
      const udp = yield* Effect.flip(announce(`udp://${host}:${port}/announce`, lookup))

      assert.deepStrictEqual(
        [announced, scraped, udp].map(({ retryAfter }) => retryAfter),
        ["never", "never", "never"]
      )
      assert.deepStrictEqual(asked, [])
    })
  )

  it.live("announces to HTTP and UDP trackers on this machine and behind names, and scrapes them", () =>
    Effect.gen(function* () {
      const server = yield* realTracker({ http: true, udp: { type: "udp4" } })
      const http = portOf(server.http)
      const udp = portOf(server.udp4)
      const lookup = leadsTo("127.0.0.1")
      const urls = [
        `http://127.0.0.1:${http}/announce`,
        `http://localhost:${http}/announce`,
        `http://tracker.example:${http}/announce`,
        `udp://127.0.0.1:${udp}`,
        `udp://tracker.example:${udp}/announce`
      ]

      for (const url of urls) assert.strictEqual((yield* announce(url, lookup)).intervalSeconds, 900, url)
      const scraped = yield* Effect.forEach(urls, (url) => scrape(url, lookup))

      assert.deepStrictEqual(
        scraped.map(({ leechers }) => leechers),
        [1, 1, 1, 1, 1]
      )
      assert.strictEqual(swarmOf(server)?.peers.keys.length, 1)
    })
  )

  it.live("fault 24: a UDP tracker's public name leads to this machine only for an announce", () =>
    Effect.gen(function* () {
      const server = yield* realTracker({ udp: { type: "udp4" } })
      const url = `udp://tracker.example:${portOf(server.udp4)}/x`

      const announced = yield* Effect.flip(announce(url, leadsTo("127.0.0.1")))
      const scraped = yield* Effect.flip(scrape(url, leadsTo("127.0.0.1")))

      assert.deepStrictEqual([announced.why, scraped.why], [onlyHere, onlyHere])
    })
  )

  it.live("reports a name that has no address", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(announce("http://tracker.example/announce", leadsTo()))

      assert.strictEqual(error.why, "the name is unknown")
    })
  )

  it.live.runIf(outer !== undefined)("fault 24: a tracker elsewhere cannot redirect to this machine", () =>
    Effect.gen(function* () {
      yield* online
      const { asked, port } = yield* serve(answer)
      for (const location of [
        `http://127.0.0.1:${port}/announce`,
        `http://localhost:${port}/announce`,
        `http://tracker.example:${port}/announce`
      ]) {
        const elsewhere = yield* serve((_, response) => response.writeHead(302, { location }).end(), outer)

        const error = yield* Effect.flip(announce(`http://${outer}:${elsewhere.port}/announce`, leadsTo("127.0.0.1")))

        assert.match(error.why, /^it redirects into the local network, to /)
      }
      assert.deepStrictEqual(asked, [])
    })
  )
})

describe("TorrentFetch over sockets", () => {
  const fetch = (url: string, lookup: NodeLookup.NodeLookup) =>
    TorrentFetch.fetchTorrent(url, NodeRoutedHttp.make(lookup)).pipe(
      Effect.map((found) => ("url" in found ? found.url : Buffer.from(found).toString()))
    )

  it.live("fetches any URL that the user typed, and follows no redirect to a less public place", () =>
    Effect.gen(function* () {
      const here = yield* serve((request, response) => {
        if (request.url === "/moved") response.writeHead(301, { location: `http://localhost:${here.port}/any` }).end()
        else response.end("torrent")
      })
      const lookup = leadsTo("127.0.0.1")

      for (const url of [
        `http://127.0.0.1:${here.port}/any`,
        `http://localhost:${here.port}/moved`,
        `http://files.example:${here.port}/moved`,
        `http://0.0.0.0:${here.port}/any`
      ]) {
        assert.strictEqual(yield* fetch(url, lookup), "torrent", url)
      }
    })
  )

  it.live.runIf(outer !== undefined)("fault 24: a server elsewhere cannot redirect to this machine", () =>
    Effect.gen(function* () {
      yield* online
      const here = yield* serve((_, response) => response.end("secret"))
      for (const host of ["127.0.0.1", "localhost", "files.example", "0.0.0.0"]) {
        const location = `http://${host}:${here.port}/secret`
        const elsewhere = yield* serve((_, response) => response.writeHead(302, { location }).end(), outer)
        const url = `http://${outer}:${elsewhere.port}/x.torrent`

        const error = yield* Effect.flip(fetch(url, leadsTo("127.0.0.1")))

        assert.strictEqual(error.why, `${url}: it redirects into the local network, to ${host}`)
      }
      assert.deepStrictEqual(here.asked, [])
    })
  )
})
