import { existsSync, readdirSync, readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { createServer, get, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schedule } from "effect"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as TorrentFile from "../../../src/metainfo/TorrentFile.ts"
import * as ServiceFolder from "../../../src/node/ServiceFolder.ts"
import { make, small } from "../../simulation/torrents.ts"
import { runScoped } from "../program.ts"
import { places, put, putTorrentFile, serve } from "./services.ts"

/** Waits until something is there. */
const eventually = (isThere: () => boolean) =>
  Effect.repeat(Effect.sync(isThere), { until: (found) => found, schedule: Schedule.spaced("50 millis") })

/** A tracker that answers an announce of `started` at `once`, and none at `never`, and nothing else. */
const hungTracker = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = createServer(({ url = "" }, response) => {
      if (url.startsWith("/once") && url.includes("event=started")) response.end("d8:intervali1800e5:peers0:e")
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return server
  }),
  (server) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
).pipe(
  Effect.map((server) => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return { once: `${url}/once/announce`, never: `${url}/never/announce` }
  })
)

/** Sends a request, and returns what waits until its answer has begun, which is not read. Ends when the scope closes. */
const unread = (url: string, authorization: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const request = get(url, { agent: false, headers: { authorization } })
      request.on("error", () => {})
      const response = new Promise<IncomingMessage>((resolve) => request.once("response", resolve))
      return { request, response }
    }),
    ({ request }) => Effect.sync(() => request.destroy())
  ).pipe(
    Effect.map(({ response }) =>
      Effect.promise(async () => {
        const answer = await response
        answer.pause().on("error", () => {})
        return answer.statusCode
      })
    )
  )

/** A collector that keeps what it is sent. */
const collector = Effect.gen(function* () {
  const bodies: Array<readonly [path: string, body: string]> = []
  const server = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer((request, response) => {
        let body = ""
        request.setEncoding("utf8").on("data", (text: string) => {
          body += text
        })
        request.on("end", () => {
          bodies.push([request.url!, body])
          response.end("{}")
        })
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return server
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )
  return { bodies, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
})

const film = await make({
  name: "film",
  seed: 3,
  pieceLength: 1_048_576,
  files: [{ path: [], length: 48 * 1_048_576 }]
})

describe("serve", () => {
  it.live("adds what is put into a watched folder, and runs a command when it is complete", () =>
    Effect.gen(function* () {
      const { base, ...folders } = yield* places
      const [incoming, out, config] = ["incoming", "out", "config.json"].map((name) => path.join(base, name)) as [
        string,
        string,
        string
      ]
      const script = `require("fs").writeFileSync(process.argv[1], process.env.PIECEWISE_NAME + " " +
        process.env.PIECEWISE_LABELS + " " + process.env.PIECEWISE_FOLDER)`
      const content = {
        completionHooks: [{ command: process.execPath, args: ["-e", script, out], labels: ["new"] }],
        watchFolders: [{ folder: "incoming", labels: ["new"], downloadFolder: "watched" }]
      }
      yield* Effect.promise(() => writeFile(config, JSON.stringify(content)))
      yield* put(path.join(folders.directory, "watched"), small)
      yield* putTorrentFile(path.join(incoming, "a.torrent"), small)
      yield* serve(folders, "--config", config)
      yield* eventually(() => existsSync(out) && readFileSync(out).length > 0)

      assert.deepStrictEqual(readdirSync(incoming), ["a.torrent.added"])
      assert.strictEqual(readFileSync(out, "utf8"), `known new ${path.join(folders.directory, "watched")}`)
    })
  )

  it.live(
    "ends soon after SIGTERM, and as it should, whatever hangs",
    () =>
      Effect.gen(function* () {
        const { base, ...folders } = yield* places
        const config = path.join(base, "config.json")
        const stubborn = `process.on("SIGTERM", () => {}); setTimeout(() => {}, 60_000)
          require("fs").writeFileSync(process.argv[1], "")`
        const completionHooks = [{ command: process.execPath, args: ["-e", stubborn, path.join(base, "hook")] }]
        yield* Effect.promise(() => writeFile(config, JSON.stringify({ completionHooks })))
        yield* put(folders.directory, film)
        yield* put(folders.directory, small)
        const { never, once } = yield* hungTracker
        const service = yield* serve(folders, "--config", config)
        const { client } = service
        const add = (source: Parameters<typeof client.torrents.add>[0]["payload"]["source"]) =>
          client.torrents.add({ payload: { source, labels: ["kept"] } })
        yield* add({ _tag: "Metainfo", bytes: TorrentFile.encode({ ...film.metainfo, trackers: [[once]] }) })
        const stored = client.torrents.get({ params: { infoHash: film.metainfo.infoHash } })
        yield* eventually(() => existsSync(path.join(base, "hook")))
        for (const digit of ["1", "2", "3"]) {
          yield* add({ _tag: "Magnet", link: `magnet:?xt=urn:btih:${digit.repeat(40)}&tr=${never}` })
        }
        const authorization = `Bearer ${Redacted.value(service.token)}`
        const hash = InfoHash.toHex(film.metainfo.infoHash)
        const events = yield* unread(`${service.url}v1/events`, authorization)
        const stream = yield* unread(`${service.url}v1/torrents/${hash}/content/film`, authorization)
        assert.strictEqual(yield* stream, 200)
        assert.strictEqual((yield* stored).torrent.state._tag, "Active")
        // It verifies that while it is asked to end.
        yield* client.torrents.recheck({ params: { infoHash: film.metainfo.infoHash } })
        assert.strictEqual(yield* events, 200)

        const began = performance.now()
        service.child.kill("SIGTERM")
        const { code, stderr } = yield* Effect.promise(() => service.ended)

        console.log(`piecewise serve: ended ${Math.round(performance.now() - began)} ms after SIGTERM`)
        assert.strictEqual(code, 0, stderr)
        assert.isFalse(existsSync(path.join(folders.state, ServiceFolder.names.service)))
        const again = yield* serve(folders)
        const { torrents } = yield* again.client.torrents.list({ query: {} })
        assert.deepStrictEqual(
          torrents.map(({ labels }) => labels),
          Array.from({ length: 4 }, () => ["kept"])
        )
      }),
    { timeout: 30_000 }
  )

  it.live(
    "sends metrics, spans and logs to a collector, and no secret in them",
    () =>
      Effect.gen(function* () {
        const folders = yield* places
        const received = yield* collector
        yield* put(folders.directory, small)
        const service = yield* serve(folders, "--otlp", received.url)
        const { infoHash } = small.metainfo
        const source = { _tag: "Metainfo", bytes: TorrentFile.encode(small.metainfo) } as const
        yield* service.client.torrents.add({ payload: { source } })
        const link = yield* service.client.torrents.link({ params: { infoHash }, payload: {} } as never)
        const answer = yield* Effect.promise(() => fetch(`${service.url}${link.path}known/a.bin`))
        assert.strictEqual((yield* Effect.promise(() => answer.arrayBuffer())).byteLength, 500_000)
        service.child.kill("SIGTERM")
        const { code, stderr } = yield* Effect.promise(() => service.ended)

        assert.strictEqual(code, 0, stderr)
        const all = received.bodies.map(([path, body]) => `${path} ${body}`)
        const sent = (path: string, text: string) => all.some((line) => line.startsWith(path) && line.includes(text))
        assert.isTrue(sent("/v1/metrics ", "piecewise_pieces_stored_total"))
        assert.isTrue(sent("/v1/traces ", "piecewise.torrent"))
        assert.isTrue(sent("/v1/traces ", "/v1/torrents"))
        assert.isTrue(sent("/v1/logs ", "a torrent is added"))
        const [, ticket] = /stream\/([^/]+)\//.exec(link.path)!
        assert.notInclude(all.join(), ticket!)
        assert.notInclude(all.join(), Redacted.value(service.token))
      }),
    { timeout: 20_000 }
  )

  it.live("ends at once after a second SIGTERM", () =>
    Effect.gen(function* () {
      const folders = yield* places
      const { once } = yield* hungTracker
      yield* put(folders.directory, small)
      const service = yield* serve(folders)
      const bytes = TorrentFile.encode({ ...small.metainfo, trackers: [[once]] })
      yield* service.client.torrents.add({ payload: { source: { _tag: "Metainfo", bytes } } })
      const infoHash = small.metainfo.infoHash
      yield* Effect.repeat(service.client.torrents.trackers({ params: { infoHash } }), {
        until: ({ sources }) => sources.some(({ hasAnswered }) => hasAnswered),
        schedule: Schedule.spaced("50 millis")
      })
      service.child.kill("SIGTERM")
      // A second one within 0.3 s counts as the same one.
      yield* Effect.sleep("400 millis")
      service.child.kill("SIGTERM")
      const { code } = yield* Effect.promise(() => service.ended)

      assert.strictEqual(code, 130)
    })
  )

  it.live("does not start with a configuration that it cannot use", () =>
    Effect.gen(function* () {
      const { base, directory, state } = yield* places
      const config = path.join(base, "config.json")
      yield* Effect.promise(() => writeFile(config, '{"watch":[]}'))
      const { code, stderr } = yield* runScoped(["serve", directory, "--state", state, "--config", config])

      assert.strictEqual(stderr, `piecewise: the configuration ${config} cannot be used: watch is not known\n`)
      assert.deepStrictEqual([code, existsSync(state)], [1, false])
    })
  )

  it.live("does not start with a file in place of the folder for torrents", () =>
    Effect.gen(function* () {
      const { base, state } = yield* places
      const file = path.join(base, "file")
      yield* Effect.promise(() => writeFile(file, ""))
      const ended = yield* runScoped(["serve", file, "--state", state])
      const below = yield* runScoped(["serve", path.join(file, "downloads"), "--state", state])

      assert.deepStrictEqual([ended.code, ended.stderr], [1, `piecewise: ${file}: it is not a folder\n`])
      assert.deepStrictEqual(
        below.stderr,
        `piecewise: ${path.join(file, "downloads")}: a file is in the way of a folder\n`
      )
      assert.isFalse(existsSync(state))
    })
  )
})
