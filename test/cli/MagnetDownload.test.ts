import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { serve } from "../network/httpServer.ts"
import { endedOf, folderScoped, type Running, runScoped, startScoped } from "./program.ts"

const hash = `magnet:?xt=urn:btih:${"ab".repeat(20)}`

/** A link whose only peer refuses connections. */
const link = `${hash}&x.pe=127.0.0.1:1`

describe("piecewise download of a magnet link", () => {
  it.live("says at SIGINT and when it gives up that the metadata was not found", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const people = yield* startScoped(["download", link], folder)
      const program = yield* startScoped(["download", link, "--json"], folder)
      yield* Effect.promise(() => Promise.all([people.wrote("fetching its"), program.wrote("MetadataProgress")]))
      for (const { child } of [people, program]) child.kill("SIGINT")
      const [text, json] = yield* Effect.promise(() => Promise.all([people.ended, program.ended]))
      const over = yield* runScoped(["download", link, "--give-up", "1s"], folder)
      const failed = yield* runScoped(["download", link, "--give-up", "1s", "--json"], folder)

      assert.strictEqual(text.stderr, "stopped; the metadata was not found yet, and what is stored is kept\n")
      assert.deepInclude(endedOf(json.stdout), { exit: "stopped", why: null, status: null as never })
      const why = "no peer sent the metadata for 1s, so it ends: the only known peer has not sent it"
      assert.strictEqual(over.stderr, `piecewise: ${why}\n`)
      assert.deepInclude(endedOf(failed.stdout), { exit: "failure", why, status: null as never })
      assert.deepStrictEqual([text.code, json.code, over.code, failed.code], [130, 130, 1, 1])
    })
  )

  it.live("shows why nobody has the metadata: a tracker that refused, or peers that close at once", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const tracker = yield* serve((_, response) => response.end("d14:failure reason9:forbidden8:retry in5:nevere"))
      const closing = yield* listen((socket) => socket.destroy())
      const refused = `${hash}&tr=${tracker}/announce`
      const closed = `${hash}&x.pe=127.0.0.1:${closing}`
      const why = (text: string) => `"why":"${text}`

      const running = yield* Effect.forEach([[refused], [closed], [refused, "--json"], [closed, "--json"]], (words) =>
        startScoped(["download", ...words], folder)
      )
      const [first, second, third, fourth] = running as [Running, Running, Running, Running]

      const refusal = `no tracker serves this torrent: ${tracker}/announce: `
      const hangUp = "1 peer closed at once, with and without encryption; it may have no room"
      yield* Effect.promise(() =>
        Promise.all([
          first.wrote(`from 0 of 0 peers; ${refusal}`),
          second.wrote(`from 0 of 1 peer; ${hangUp}`),
          third.wrote(why(refusal)),
          fourth.wrote(why(hangUp))
        ])
      )
    })
  )

  it.live("ends at once if its only trackers are not supported", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const ended = yield* runScoped(["download", `${hash}&tr=wss://tracker.example`, "--no-dht"], folder)

      assert.match(
        ended.stderr,
        /^piecewise: the magnet link names no peer, and trackers such as wss:\/\/tracker\.example\/? are not supported yet; add/
      )
    })
  )
})

const close = (server: Server) => Effect.sync(() => server.close())

/** Accepts connections on this machine until the scope closes. Returns the port. */
const listen = (accept: (socket: Socket) => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer(accept)
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return server
    }),
    close
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))
