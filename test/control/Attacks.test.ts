/**
 * What hostile clients, pages, torrents and servers try with a service. The first part speaks to a service as it runs on
 * Node, at a port of this machine; the second one has a session in a simulated world behind the same routes.
 *
 * Passwords, tokens and slow clients have tests of their own in `security/`, events in `server/EventStream.test.ts`.
 */
import { existsSync, globSync } from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as List from "../../src/cli/service/List.ts"
import * as Show from "../../src/cli/service/Show.ts"
import { Credentials } from "../../src/control/security/Credentials.ts"
import * as NodeService from "../../src/node/NodeService.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { folderScoped } from "../cli/program.ts"
import { run } from "../cli/service/server.ts"
import { other, small } from "../simulation/torrents.ts"
import { type Sent, test, until } from "./server/serving.ts"

const bencode = (value: number | string | Uint8Array | ReadonlyArray<unknown> | object): Buffer => {
  if (typeof value === "number") return Buffer.from(`i${value}e`)
  if (typeof value === "string") return bencode(Buffer.from(value))
  if (value instanceof Uint8Array) return Buffer.concat([Buffer.from(`${value.length}:`), value])
  const parts = Array.isArray(value)
    ? value.map(bencode)
    : Object.entries(value)
        .sort(([one], [two]) => (one < two ? -1 : 1))
        .flatMap(([key, member]) => [bencode(key), bencode(member)])
  return Buffer.concat([Buffer.from(Array.isArray(value) ? "l" : "d"), ...parts, Buffer.from("e")])
}

/** A torrent file of one piece with a name and paths as they are. */
const hostileTorrent = (name: string, paths: ReadonlyArray<ReadonlyArray<string>>): Buffer =>
  bencode({
    info: {
      name,
      "piece length": 16_384,
      pieces: Buffer.alloc(20, 7),
      ...(paths.length === 0 ? { length: 5 } : { files: paths.map((path) => ({ length: 5, path })) })
    }
  })

interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: what is in JSON depends on the operation
  readonly json: any
}

interface Request {
  readonly method?: string
  readonly path: string
  readonly headers?: Http.OutgoingHttpHeaders
  /** A text or bytes, or chunks that do not say how many will come. */
  readonly body?: string | Uint8Array | ReadonlyArray<Uint8Array>
}

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A service at a port, with its token, its folders, and what it has logged. */
const start = Effect.gen(function* () {
  const state = yield* folderScoped
  const top = yield* folderScoped
  const directory = path.join(top, "downloads")
  const lines: Array<string> = []
  const logger = Logger.layer([Logger.map(Logger.formatLogFmt, (line) => void lines.push(line))])
  const options = { state, directory, dht: false, http: { port: 0 } } as const
  const context = yield* Layer.build(Layer.provideMerge(NodeService.layer(options), logger))
  const { port } = Context.get(context, HttpServer.HttpServer).address as { readonly port: number }
  const token = Redacted.value(Context.get(context, Credentials).token)
  const bearer = { authorization: `Bearer ${token}` }
  const send = ({ body, headers = bearer, method = "GET", path }: Request) =>
    Effect.callback<Answer>((resume) => {
      const request = Http.request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (response) => {
        const chunks: Array<Uint8Array> = []
        response.on("data", (chunk: Uint8Array) => chunks.push(chunk))
        response.on("error", () => {})
        response.on("close", () => {
          const text = Buffer.concat(chunks).toString()
          const { headers, statusCode: status = 0 } = response
          resume(Effect.succeed({ status, headers, text, json: jsonOf(text) }))
        })
      })
      // The service may close the connection before it has read everything.
      request.on("error", (error) => resume(Effect.succeed({ status: 0, headers: {}, text: String(error), json: {} })))
      if (Array.isArray(body)) {
        for (const chunk of body) request.write(chunk)
        request.end()
      } else request.end(body)
      return Effect.sync(() => request.destroy())
    })
  const add = (file: Uint8Array, query = "isPaused=true") =>
    send({
      method: "POST",
      path: `/v1/torrents/file?${query}`,
      headers: { ...bearer, "content-type": "application/x-bittorrent" },
      body: file
    })
  return { state, directory, top, port, token, bearer, lines, send, add }
})

type Started = Effect.Success<typeof start>

const attack = (name: string, program: (service: Started) => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, () => Effect.flatMap(start, program))

const json = (bearer: object) => ({ ...bearer, "content-type": "application/json" })

describe("a service at a port", () => {
  attack("is not reached by a name that an attacker has rebound to it", ({ bearer, port, send }) =>
    Effect.gen(function* () {
      for (const path of [
        "/v1/torrents",
        "/health",
        "/v1/login",
        "/metrics",
        "/transmission/rpc",
        "/v1/stream/x/",
        "/"
      ]) {
        for (const host of [
          "evil.example",
          `evil.example:${port}`,
          "localhost.evil.example",
          "127.0.0.1.evil.example"
        ]) {
          const { json, status } = yield* send({ path, headers: { ...bearer, host } })
          assert.deepStrictEqual([status, json?._tag], [421, "piecewise/HostNotAllowed"], `${host} ${path}`)
        }
      }
      const forwarded = { ...bearer, host: "evil.example", "x-forwarded-host": "localhost" }
      assert.strictEqual((yield* send({ path: "/health", headers: forwarded })).status, 421)
    })
  )

  attack("does nothing for a page of another site, whatever that has", ({ bearer, send }) =>
    Effect.gen(function* () {
      const put = (headers: object, body = "{}") =>
        Effect.map(send({ method: "PUT", path: "/v1/labels/a", headers: { ...headers }, body }), ({ status }) => status)
      const type = { "content-type": "application/json" }
      for (const origin of ["https://evil.example", "null", "http://localhost:1"]) {
        assert.strictEqual(yield* put({ ...bearer, ...type, origin }), 403, origin)
      }
      assert.strictEqual(yield* put({ ...bearer, ...type, "sec-fetch-site": "cross-site" }), 403)
      // A form needs no permission of the browser for its type, but has no credentials that count.
      assert.strictEqual(yield* put({ "content-type": "text/plain" }), 401)
      assert.deepStrictEqual((yield* send({ path: "/v1/labels" })).json, [])
      const preflight = { origin: "https://evil.example", "access-control-request-method": "PUT" }
      const answer = yield* send({ method: "OPTIONS", path: "/v1/labels/a", headers: preflight })
      assert.notProperty(answer.headers, "access-control-allow-origin")
    })
  )

  attack("locks out who guesses tokens, and says how long", ({ send }) =>
    Effect.gen(function* () {
      const statuses: Array<number> = []
      for (let guess = 0; guess < 12; guess++) {
        const { headers, status } = yield* send({ path: "/v1/torrents", headers: { authorization: `Bearer ${guess}` } })
        statuses.push(status)
        if (status === 429) assert.isAbove(Number(headers["retry-after"]), 0)
      }
      assert.deepStrictEqual(new Set(statuses), new Set([401, 429]))
      assert.strictEqual(statuses.at(-1), 429)
    })
  )

  attack(
    "sends a listener the head at once, and is not held up by listeners that read nothing",
    ({ bearer, port, send }) =>
      Effect.gen(function* () {
        const listen = Effect.callback<Http.IncomingMessage>((resume) => {
          const request = Http.get({ host: "127.0.0.1", port, path: "/v1/events", headers: bearer, agent: false })
          request.on("error", () => {})
          request.on("response", (response) => resume(Effect.succeed(response.on("error", () => {}))))
        })
        const listening = Effect.acquireRelease(listen, (response) => Effect.sync(() => response.destroy()))
        const listeners = yield* Effect.forEach(Array.from({ length: 200 }), () => listening, { concurrency: 50 })
        assert.isTrue(listeners.every(({ statusCode }) => statusCode === 200))
        const link = (index: number) => `magnet:?xt=urn:btih:${String(index).padStart(40, "0")}&dn=${"x".repeat(1_000)}`
        for (let index = 0; index < 20; index++) {
          const body = JSON.stringify({ source: { _tag: "Magnet", link: link(index) }, isPaused: true })
          const { status } = yield* send({ method: "POST", path: "/v1/torrents", headers: json(bearer), body })
          assert.strictEqual(status, 201)
        }
        assert.strictEqual((yield* send({ path: "/v1/torrents?limit=1" })).json.total, 20)
      })
  )

  attack("reads no more of a body than it takes", ({ bearer, lines, send }) =>
    Effect.gen(function* () {
      const MiB = new Uint8Array(1_048_576).fill(0x20)
      const large = { ...json(bearer), "content-length": String(1e12) }
      for (const path of ["/v1/limits", "/v1/torrents", "/v1/labels/a"]) {
        const method = path === "/v1/torrents" ? "POST" : "PUT"
        const declared = yield* send({ method, path, headers: large, body: "{}" })
        assert.deepStrictEqual([declared.status, declared.json?._tag], [413, "piecewise/TooLarge"], path)
      }
      const chunked = yield* send({ method: "PUT", path: "/v1/limits", headers: json(bearer), body: [MiB, MiB, MiB] })
      assert.include([413, 0], chunked.status)
      const login = { "content-type": "application/json" }
      const unknown = yield* send({
        method: "POST",
        path: "/v1/login",
        headers: login,
        body: [MiB.subarray(0, 20_000)]
      })
      assert.include([413, 0], unknown.status)
      assert.strictEqual((yield* send({ path: "/health" })).status, 200)
      assert.notMatch(lines.join("\n"), /level=ERROR/i)
    })
  )

  attack("takes JSON that is deep, long or full of names of prototypes as what it is", ({ bearer, send }) =>
    Effect.gen(function* () {
      const put = (body: string) => send({ method: "PUT", path: "/v1/limits", headers: json(bearer), body })
      const add = (body: string) => send({ method: "POST", path: "/v1/torrents", headers: json(bearer), body })
      const deep = "[".repeat(500_000)
      assert.strictEqual((yield* put(deep)).status, 400)
      assert.strictEqual((yield* put(`${deep}${"]".repeat(500_000)}`)).status, 400)
      assert.strictEqual((yield* put(`{"downloads":${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}}`)).status, 400)
      assert.strictEqual((yield* put(`{"downloads":1e400}`)).status, 400)
      assert.strictEqual((yield* put(`{"downloads":${"9".repeat(1_000_000)}}`)).status, 400)
      const polluted = `{"__proto__":{"downloads":7,"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}},"seeds":2}`
      const set = yield* put(polluted)
      assert.deepStrictEqual([set.status, set.json.downloads ?? null, set.json.seeds], [200, null, 2])
      assert.notProperty({}, "isAdmin")
      const source = `"source":{"_tag":"Magnet","link":"magnet:?xt=urn:btih:${"ab".repeat(20)}"}`
      const labels = `[${Array.from({ length: 200_000 }, (_, index) => `"${index}"`).join(",")}]`
      assert.strictEqual((yield* add(`{${source},"labels":${labels}}`)).status, 400)
      assert.strictEqual((yield* add(`{${source},"labels":{"length":1e9}}`)).status, 400)
      assert.strictEqual((yield* add(`{"source":{"_tag":"__proto__"}}`)).status, 400)
      assert.strictEqual((yield* add(`{"source":{"_tag":"Metainfo","bytes":"${"A".repeat(4_000_001)}"}}`)).status, 400)
      assert.deepStrictEqual((yield* send({ path: "/v1/torrents" })).json.total, 0)
    })
  )

  attack("refuses torrent files that are bombs", ({ add, bearer, send }) =>
    Effect.gen(function* () {
      const limit = 64 * 1_048_576
      const longest = Buffer.alloc(limit, "d")
      assert.deepStrictEqual((yield* add(longest)).json._tag, "piecewise/SourceRefused")
      const tooLong = yield* add(Buffer.alloc(limit + 1, "d"))
      assert.deepStrictEqual([tooLong.status, tooLong.json._tag], [400, "piecewise/RequestRefused"])
      const bomb = gzipSync(Buffer.alloc(80 * 1_048_576))
      const server = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const server = Http.createServer((_, response) =>
            response
              .writeHead(200, { "content-encoding": "gzip", "content-type": "application/x-bittorrent" })
              .end(bomb)
          )
          await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
          return server
        }),
        (server) => Effect.sync(() => server.close())
      )
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      const body = JSON.stringify({ source: { _tag: "Url", url } })
      const fetched = yield* send({ method: "POST", path: "/v1/torrents", headers: json(bearer), body })
      assert.deepStrictEqual([fetched.status, fetched.json._tag], [502, "piecewise/SourceUnavailable"])
      assert.include(fetched.json.message, "64 MiB")
    })
  )

  const name = "x\r\nSet-Cookie: evil=1\u001b[2J\u009b31m\n\"><script>alert(1)</script>\u202eexe.'"

  attack("lets no name of a torrent out of its place", ({ add, bearer, lines, send, state }) =>
    Effect.gen(function* () {
      const { json: added } = yield* add(
        hostileTorrent(name, [["<img src=x onerror=alert(1)>.html"], ["a\r\nb\u001b[1m"]]),
        ""
      )
      const torrent = `/v1/torrents/${added.infoHash}`
      let page: Answer
      do page = yield* send({ path: `${torrent}/content/`, headers: { ...bearer, accept: "text/html" } })
      while (page.status === 409)
      assert.strictEqual(page.status, 200)
      assert.notMatch(page.text, /<script|<img|onerror=alert\(1\)>[^&]/)
      assert.match(String(page.headers["content-security-policy"]), /default-src 'none'/)
      const files = (yield* send({ path: `${torrent}/content/`, headers: { ...bearer, accept: "application/json" } }))
        .json.files
      for (const { url } of files) {
        const { headers } = yield* send({ method: "HEAD", path: `${torrent}/content/${String(url).slice(2)}` })
        assert.notProperty(headers, "set-cookie")
        assert.match(
          String(headers["content-disposition"]),
          /^inline; filename="[ -~]*"; filename\*=UTF-8''[\w%.~!&+^`|#$-]*$/
        )
        assert.strictEqual(headers["x-content-type-options"], "nosniff")
      }
      const metrics = (yield* send({ path: "/metrics" })).text
      assert.notInclude(metrics, "script")
      yield* send({ method: "POST", path: `${torrent}/recheck` })
      yield* send({
        method: "PATCH",
        path: torrent,
        headers: json(bearer),
        body: JSON.stringify({ labels: ["a<b>\u202e"] })
      })
      const listed = yield* run(List.run, ["list", "--state", state])
      const shown = yield* run(Show.run, ["show", added.infoHash, "--state", state])
      for (const line of [...listed.printed, ...listed.notes, ...shown.printed, ...shown.notes, ...lines]) {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
        assert.notMatch(line, /[\u0000-\u001f\u007f-\u009f\u202e]/)
      }
      assert.isTrue(listed.printed.some((line) => line.includes("script")))
      yield* send({ method: "DELETE", path: `${torrent}?data=true` })
    })
  )

  attack("has no path outside of its folder, by whatever name", ({ add, bearer, directory, send, top }) =>
    Effect.gen(function* () {
      const hostile = [
        ["..", "..", "evil"],
        ["/etc/evil"],
        ["a/../../evil"],
        ["a\\..\\..\\evil"],
        ["C:", "evil"],
        ["\0evil"],
        [".", "..", "evil"],
        ["\uFF0E\uFF0E", "evil"],
        ["evil\u0000.txt"]
      ]
      const added = yield* add(hostileTorrent("..", hostile), "folder=films")
      assert.strictEqual(added.status, 201)
      const torrent = `/v1/torrents/${added.json.infoHash}`
      const { json: files } = yield* send({ path: `${torrent}/files` })
      assert.strictEqual(files.length, hostile.length)
      for (const { path: place } of files) {
        assert.notMatch(place, /(^|[/\\])\.\.?([/\\]|$)|^[/\\]|[\0\\]/)
        assert.isTrue(path.resolve(directory, place).startsWith(directory + path.sep))
      }
      const post = (what: string, body: object) =>
        send({ method: "POST", path: `${torrent}/${what}`, headers: json(bearer), body: JSON.stringify(body) })
      for (const place of [
        ...hostile,
        ["a\nb"],
        ["CON"],
        ["a."],
        ["a "],
        ["."],
        [""],
        ["x".repeat(300)],
        ["a\u202eb"]
      ]) {
        if (place[0] === "\uFF0E\uFF0E") continue
        const answer = yield* post("files/0/path", { path: place })
        assert.strictEqual(answer.json?._tag, "piecewise/PathTaken", JSON.stringify(place))
      }
      for (const folder of ["..", "../evil", "films/../../evil", "/etc/../evil", "a\0b", "a\nb", "\\..\\evil"]) {
        assert.strictEqual((yield* post("folder", { folder })).status, 400, folder)
        assert.strictEqual(
          (yield* add(hostileTorrent("other", []), `folder=${encodeURIComponent(folder)}`)).status,
          400
        )
        const body = JSON.stringify({ folder })
        const label = yield* send({ method: "PUT", path: "/v1/labels/a", headers: json(bearer), body })
        assert.strictEqual(label.status, 400, folder)
      }
      for (const below of ["../../token", "..%2f..%2ftoken", "%2e%2e/token", "....//token", "/etc/passwd", "%00"]) {
        assert.include([400, 404, 409], (yield* send({ path: `${torrent}/content/${below}` })).status, below)
      }
      const { json: again } = yield* send({ path: `${torrent}/files` })
      assert.deepStrictEqual(again, files)
      assert.isFalse(existsSync(path.join(top, "evil")))
      assert.deepStrictEqual(globSync("**/*evil*", { cwd: top }), [])
    })
  )
})

const params = { infoHash: small.metainfo.infoHash }
const hex = InfoHash.toHex(params.infoHash)

describe("many clients at once", () => {
  const addFile: Sent = {
    method: "POST",
    headers: { "content-type": "application/x-bittorrent" },
    body: small.bytes
  }

  test("add a torrent once, and remove it once", ({ client, send }) =>
    Effect.gen(function* () {
      const fifty = Array.from({ length: 50 })
      const added = yield* Effect.forEach(fifty, () => send("/v1/torrents/file", addFile), { concurrency: "unbounded" })
      assert.deepStrictEqual(added.map(({ status }) => status).sort(), [201, ...Array.from({ length: 49 }, () => 409)])
      const removed = yield* Effect.forEach(fifty, () => send(`/v1/torrents/${hex}`, { method: "DELETE" }), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(removed.map(({ status }) => status).sort(), [
        200,
        ...Array.from({ length: 49 }, () => 404)
      ])
      assert.strictEqual((yield* client.torrents.list({ query: {} })).total, 0)
    }))

  test("change one torrent in every way, and nothing breaks", (served) =>
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
      const { client, send } = served
      const torrent = `/v1/torrents/${hex}`
      const requests: ReadonlyArray<readonly [string, Sent]> = [
        ["/v1/torrents/file", addFile],
        [torrent, { method: "DELETE" }],
        [`${torrent}?data=true`, { method: "DELETE" }],
        [`${torrent}/pause`, { method: "POST" }],
        [`${torrent}/resume`, { method: "POST", body: {} }],
        [`${torrent}/recheck`, { method: "POST" }],
        [`${torrent}/position`, { method: "POST", body: { place: "first" } }],
        [`${torrent}/files`, { method: "PATCH", body: { files: [{ index: 0, priority: "high" }] } }],
        [`${torrent}/files/0/path`, { method: "POST", body: { path: ["known", "new.bin"] } }],
        [torrent, { method: "PATCH", body: { labels: ["a"], options: { order: "sequential" } } }],
        [`${torrent}/link`, { method: "POST" }],
        [torrent, {}],
        [`${torrent}/pieces`, {}]
      ]
      const all = Array.from({ length: 400 }, (_, index) => requests[(index * index + 3 * index) % requests.length]!)
      const answers = yield* Effect.forEach(all, ([path, sent]) => send(path, sent), { concurrency: 50 })
      const statuses = new Set(answers.map(({ status }) => status))
      assert.isTrue(
        [...statuses].every((status) => status < 500),
        [...statuses].join(" ")
      )
      yield* send(torrent, { method: "DELETE" })
      const added = yield* served.add(small)
      yield* until(added, "Active Complete")
      assert.strictEqual((yield* client.torrents.list({ query: {} })).total, 1)
    }))

  test("do not keep a link to what was removed", ({ add, client, send }) =>
    Effect.gen(function* () {
      yield* add(small, { isPaused: true })
      yield* add(other, { isPaused: true })
      const links = yield* Effect.forEach(Array.from({ length: 20 }), () => client.torrents.link({ params }), {
        concurrency: "unbounded"
      })
      const kept = yield* client.torrents.link({ params: { infoHash: other.metainfo.infoHash } })
      yield* client.torrents.remove({ params, query: {} })
      yield* Effect.sleep("1 second")
      const nobody = { headers: { authorization: undefined } }
      for (const { path } of links) assert.strictEqual((yield* send(`/${path}`, nobody)).status, 403)
      assert.strictEqual((yield* send(`/${kept.path}`, nobody)).status, 409)
    }))
})
