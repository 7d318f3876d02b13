import { execFile } from "node:child_process"
import { createServer } from "node:http"
import { promisify } from "node:util"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { PeerSources } from "../../src/discovery/PeerSources.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import * as MemoryResumeStore from "../../src/resume/provider/MemoryResumeStore.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import type { Torrent } from "../../src/torrent/Torrent.ts"
import { TorrentStopped } from "../../src/torrent/TorrentStopped.ts"
import type * as Listing from "../../src/web/Listing.ts"
import * as TorrentHttp from "../../src/web/TorrentHttp.ts"
import { make } from "../simulation/torrents.ts"

const hostile = `<img src=x onerror=alert(1)>"'&é%2F#?.html`
const long = `${"x".repeat(200)}.txt`

/** Names that a stranger could choose. */
const names = await make({
  name: "</title><script>alert(1)</script>",
  pieceLength: 16_384,
  files: [
    { path: ["a.bin"], length: 1_000 },
    { path: ["empty.txt"], length: 0 },
    { path: [hostile], length: 50 },
    { path: ["folder", long], length: 5 }
  ]
})

type Served = Pick<Torrent, "metainfo" | "read" | "status">

/** A torrent whose bytes are all there. */
const whole = ({ fileContent, metainfo }: KnownTorrent.KnownTorrent): Served => ({
  metainfo: Effect.succeed(metainfo),
  read: (file, { begin = 0, end } = {}) =>
    Stream.suspend(() => {
      const bytes = fileContent(file).subarray(begin, end)
      return bytes.length === 0 ? Stream.empty : Stream.make(bytes.slice())
    }),
  status: Effect.succeed({ state: { _tag: "Complete" } } as never)
})

/** Serves routes on this machine, and returns their URL without a slash at the end. */
const serve = Effect.fnUntraced(function* (routes: Layer.Layer<never, never, HttpRouter.HttpRouter>) {
  const server = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
  )
  const { address } = Context.get(yield* Layer.build(server), HttpServer.HttpServer)
  return `http://127.0.0.1:${(address as { readonly port: number }).port}`
})

/** Fetches without following redirects. */
const get = (url: string, headers: Record<string, string> = {}, method = "GET") =>
  Effect.promise(async () => {
    const response = await fetch(url, { headers, method, redirect: "manual" })
    return { response, bytes: Buffer.from(await response.arrayBuffer()), headers: response.headers }
  })

const folder = encodeURIComponent(names.metainfo.name.replaceAll("/", ""))
const fileUrl = (base: string, file: number) =>
  `${base}/${names.metainfo.layout.files[file]!.path.map(encodeURIComponent).join("/")}`

const etag = /^"[0-9a-f]{40}-\d+"$/

const test = (name: string, program: (base: string) => Effect.Effect<void>) =>
  it.live(name, () =>
    Effect.flatMap(serve(TorrentHttp.layer(whole(names), { prefix: "/files" })), (origin) => program(`${origin}/files`))
  )

describe("TorrentHttp", () => {
  test("serves a whole file, with its type, its length and a strong tag", (base) =>
    Effect.gen(function* () {
      const { bytes, headers, response } = yield* get(fileUrl(base, 0))

      assert.strictEqual(response.status, 200)
      assert.isTrue(bytes.equals(names.fileContent(0)))
      assert.deepStrictEqual(
        [headers.get("content-length"), headers.get("content-type"), headers.get("accept-ranges")],
        ["1000", "application/octet-stream", "bytes"]
      )
      assert.match(headers.get("etag")!, etag)
      assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
    }))

  test("answers HEAD with the headers of the whole file and no body, whatever range it names", (base) =>
    Effect.gen(function* () {
      const { headers: expected } = yield* get(fileUrl(base, 0))
      const { bytes, headers, response } = yield* get(fileUrl(base, 0), { range: "bytes=0-1" }, "HEAD")

      assert.deepStrictEqual([response.status, bytes.length], [200, 0])
      for (const name of ["content-length", "content-type", "etag", "accept-ranges", "content-disposition"]) {
        assert.strictEqual(headers.get(name), expected.get(name), name)
      }
    }))

  test("serves one range, refuses one behind the end, and ignores what it does not serve", (base) =>
    Effect.gen(function* () {
      const ask = (range: string) => get(fileUrl(base, 0), { range })
      const [first, last, outside, several, unknown] = [
        yield* ask("bytes=10-19"),
        yield* ask("bytes=-5"),
        yield* ask("bytes=1000-"),
        yield* ask("bytes=0-1,3-4"),
        yield* ask("pieces=0-1")
      ]

      const content = names.fileContent(0)
      assert.deepStrictEqual([first.response.status, first.headers.get("content-range")], [206, "bytes 10-19/1000"])
      assert.isTrue(first.bytes.equals(content.subarray(10, 20)))
      assert.strictEqual(first.headers.get("content-length"), "10")
      assert.deepStrictEqual([last.response.status, last.headers.get("content-range")], [206, "bytes 995-999/1000"])
      assert.isTrue(last.bytes.equals(content.subarray(995)))
      assert.deepStrictEqual([outside.response.status, outside.headers.get("content-range")], [416, "bytes */1000"])
      for (const { bytes, response } of [several, unknown]) {
        assert.strictEqual(response.status, 200)
        assert.isTrue(bytes.equals(content))
      }
    }))

  test("serves a range under If-Range only if the tag is that of the file", (base) =>
    Effect.gen(function* () {
      const tag = (yield* get(fileUrl(base, 0))).headers.get("etag")!
      const other = (yield* get(fileUrl(base, 2))).headers.get("etag")!
      const ask = (condition: string) => get(fileUrl(base, 0), { range: "bytes=0-9", "if-range": condition })

      const statuses = yield* Effect.forEach([tag, other, `W/${tag}`, "Sat, 29 Oct 1994 19:43:31 GMT"], (condition) =>
        Effect.map(ask(condition), ({ response }) => response.status)
      )

      assert.deepStrictEqual(statuses, [206, 200, 200, 200])
    }))

  test("answers 304 to a client that has the file, and 412 to one that has another", (base) =>
    Effect.gen(function* () {
      const tag = (yield* get(fileUrl(base, 0))).headers.get("etag")!
      const ask = (headers: Record<string, string>) =>
        Effect.map(get(fileUrl(base, 0), headers), ({ bytes, response }) => [response.status, bytes.length])

      assert.deepStrictEqual(yield* ask({ "if-none-match": `"x", W/${tag}` }), [304, 0])
      assert.deepStrictEqual(yield* ask({ "if-none-match": "*" }), [304, 0])
      assert.deepStrictEqual(yield* ask({ "if-none-match": '"x"' }), [200, 1_000])
      assert.deepStrictEqual(yield* ask({ "if-match": `"x", ${tag}` }), [200, 1_000])
      assert.deepStrictEqual(yield* ask({ "if-match": "*" }), [200, 1_000])
      assert.deepStrictEqual(yield* ask({ "if-match": `W/${tag}` }), [412, 0])
    }))

  test("serves a file without bytes, whatever range is asked for", (base) =>
    Effect.gen(function* () {
      const { bytes, headers, response } = yield* get(fileUrl(base, 1), { range: "bytes=0-" })

      assert.deepStrictEqual([response.status, bytes.length, headers.get("content-length")], [200, 0, "0"])
    }))

  test("lists the files as JSON, and as a page for clients that prefer HTML", (base) =>
    Effect.gen(function* () {
      const json = yield* get(`${base}/`)
      const page = yield* get(`${base}/`, { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" })
      const preferred = yield* get(`${base}/`, { accept: "text/html;q=0.5, application/json" })

      const listed = JSON.parse(json.bytes.toString())
      assert.strictEqual(json.headers.get("content-type"), "application/json")
      assert.strictEqual(preferred.headers.get("content-type"), "application/json")
      assert.strictEqual(listed.name, names.metainfo.name)
      assert.deepStrictEqual(
        listed.files.map(({ index, length, path }: Listing.ListedFile) => ({ index, length, path })),
        names.metainfo.layout.files.map(({ length, path }, index) => ({ index, length, path }))
      )
      assert.strictEqual(page.headers.get("content-type"), "text/html; charset=utf-8")
      assert.strictEqual(page.headers.get("vary"), "accept")
      // Every link of either list leads to its file.
      const links = [...page.bytes.toString().matchAll(/href="([^"]*)"/g)].map(([, link]) => link!)
      assert.deepStrictEqual(links.length, 4)
      for (const [index, { url }] of (listed.files as ReadonlyArray<Listing.ListedFile>).entries()) {
        const href = links[index]!.replaceAll("&#39;", "'").replaceAll("&amp;", "&")
        assert.strictEqual(href, url)
        const { bytes, response } = yield* get(new URL(url, `${base}/`).href)
        assert.strictEqual(response.status, 200)
        assert.isTrue(bytes.equals(names.fileContent(index)))
      }
    }))

  test("leads from the prefix without a slash to the list, by a relative link", (base) =>
    Effect.gen(function* () {
      const { headers, response } = yield* get(`${base}?x=//y`)

      assert.strictEqual(response.status, 308)
      assert.strictEqual(headers.get("location"), "./files/")
    }))

  test("lets no name become markup, a header, or a program", (base) =>
    Effect.gen(function* () {
      const page = (yield* get(`${base}/`, { accept: "text/html" })).bytes.toString()
      const { headers } = yield* get(fileUrl(base, 2))

      assert.notMatch(page, /<(?:script|img)/)
      assert.include(page, "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;é")
      assert.strictEqual(headers.get("content-security-policy"), "sandbox")
      assert.strictEqual(
        headers.get("content-disposition"),
        `inline; filename="<img src=x onerror=alert(1)>_'&__2F#?.html"; ` +
          "filename*=UTF-8''%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%22%27%26%C3%A9%252F%23%3F.html"
      )
    }))

  test("does not find what is no file of the torrent", (base) =>
    Effect.gen(function* () {
      const paths = [
        "a.bin",
        folder,
        `${folder}/`,
        `${folder}/a.bin/`,
        `${folder}/A.bin`,
        `${folder}/../a.bin`,
        `${folder}/%2e%2e/a.bin`,
        `${folder}%2Fa.bin`,
        `${folder}/%ff`,
        `${folder}/%`,
        `${folder}/folder`,
        `/${folder}/a.bin`
      ]

      const statuses = yield* Effect.forEach(paths, (path) =>
        Effect.map(get(`${base}/${path}`), ({ response }) => [path, response.status])
      )

      assert.deepStrictEqual(
        statuses,
        paths.map((path) => [path, 404])
      )
    }))

  it.live("answers in a route of one's own, such as one for each torrent of an engine", () =>
    Effect.gen(function* () {
      const torrents = new Map([["first", whole(names)]])
      const respond = Effect.flatMap(HttpRouter.params, ({ id = "" }) => {
        const torrent = torrents.get(id)
        return torrent === undefined
          ? Effect.succeed(HttpServerResponse.empty({ status: 404 }))
          : TorrentHttp.respond(torrent)
      })
      const origin = yield* serve(
        HttpRouter.use((router) => router.prefixed("/torrents/:id").add("GET", "/*", respond))
      )

      const file = yield* get(fileUrl(`${origin}/torrents/first`, 0))
      const list = yield* get(`${origin}/torrents/first/`)
      const none = yield* get(`${origin}/torrents/second/`)
      const bare = yield* get(`${origin}/torrents/first`)

      assert.isTrue(file.bytes.equals(names.fileContent(0)))
      assert.strictEqual(JSON.parse(list.bytes.toString()).files.length, 4)
      assert.strictEqual(none.response.status, 404)
      assert.strictEqual(bare.headers.get("location"), "./first/")
    })
  )

  it.live("says that the torrent has failed, and breaks off a response whose torrent stops", () =>
    Effect.gen(function* () {
      const failed: Served = { ...whole(names), status: Effect.succeed({ state: { _tag: "Failed" } } as never) }
      const stopping: Served = {
        ...whole(names),
        read: () =>
          Stream.concat(
            Stream.make(new Uint8Array(10)),
            Stream.fail(new TorrentStopped({ infoHash: names.metainfo.infoHash }))
          )
      }
      const origin = yield* serve(
        Layer.merge(TorrentHttp.layer(failed, { prefix: "/a" }), TorrentHttp.layer(stopping, { prefix: "/b" }))
      )

      const { response } = yield* get(fileUrl(`${origin}/a`, 0))
      const broken = yield* Effect.exit(
        Effect.tryPromise(() => fetch(fileUrl(`${origin}/b`, 0)).then((response) => response.arrayBuffer()))
      )

      assert.strictEqual(response.status, 503)
      assert.strictEqual(broken._tag, "Failure")
    })
  )
})

/** Downloads a torrent of 64 pieces from a peer of this machine that sends so much a second. */
const downloading = Effect.fnUntraced(function* (bytesPerSecond: number) {
  const known = yield* KnownTorrent.make({
    pieceLength: 65_536,
    files: [
      { path: ["film.mp4"], length: 63 * 65_536 },
      { path: ["b.bin"], length: 60_000 }
    ]
  })
  const { infoHash, layout } = known.metainfo
  const { address } = yield* ScriptedPeer.serve({
    infoHash,
    geometry: layout.geometry,
    content: known.content,
    behaviour: { bytesPerSecond }
  })
  const engine = yield* Engine.make()
  return { known, torrent: yield* engine.add(known.metainfo, { peers: [address] }) }
})

const services = Layer.mergeAll(
  MemoryStorage.layer(),
  MemoryResumeStore.layer,
  TcpTransport.layerDialer,
  TcpTransport.layerListener,
  Layer.succeed(PeerSources, [])
).pipe(Layer.provideMerge(NodePieceHasher.layer))

describe("TorrentHttp over a torrent that downloads", () => {
  it.live("serves ranges before the rest of the file is there, and the whole file as it arrives", () =>
    Effect.gen(function* () {
      const { known, torrent } = yield* downloading(1_500_000)
      const base = yield* serve(TorrentHttp.layer(torrent))
      const url = `${base}/known/film.mp4`
      const length = 63 * 65_536

      const end = yield* get(url, { range: "bytes=-1000" })
      const { storedPieces } = yield* torrent.status
      const middle = yield* get(url, { range: "bytes=2000000-2000099" })
      const all = yield* get(url)

      assert.isBelow(storedPieces, 64)
      assert.deepStrictEqual([end.response.status, end.headers.get("content-type")], [206, "video/mp4"])
      assert.isTrue(end.bytes.equals(known.fileContent(0).subarray(length - 1_000)))
      assert.isTrue(middle.bytes.equals(known.fileContent(0).subarray(2_000_000, 2_000_100)))
      assert.isTrue(all.bytes.equals(known.fileContent(0)))
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("stops reading when the client hangs up", () =>
    Effect.gen(function* () {
      const { torrent } = yield* downloading(200_000)
      let reading = 0
      const watched: Served = {
        metainfo: torrent.metainfo,
        status: torrent.status,
        read: (file, range) =>
          Stream.unwrap(
            Effect.as(
              Effect.acquireRelease(
                Effect.sync(() => void reading++),
                () => Effect.sync(() => void reading--)
              ),
              torrent.read(file, range)
            )
          )
      }
      const base = yield* serve(TorrentHttp.layer(watched))
      const abort = new AbortController()
      const response = yield* Effect.promise(() => fetch(`${base}/known/film.mp4`, { signal: abort.signal }))
      const during = reading

      abort.abort()
      yield* Effect.repeat(Effect.sleep("5 millis"), { while: () => reading > 0, times: 1_000 })

      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual([during, reading], [1, 0])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("answers curl with a range, and lets it go on with half a file", () =>
    Effect.gen(function* () {
      const { known, torrent } = yield* downloading(4_000_000)
      const url = `${yield* serve(TorrentHttp.layer(torrent))}/known/film.mp4`
      const curl = (...args: ReadonlyArray<string>) =>
        Effect.promise(() =>
          promisify(execFile)("curl", ["--silent", "--show-error", "--fail", ...args], {
            encoding: "buffer",
            maxBuffer: 1 << 24
          }).catch((error: { readonly code?: unknown }) =>
            error.code === "ENOENT" ? undefined : Promise.reject(error)
          )
        )

      const range = yield* curl("--range", "4000000-4000999", url)
      const rest = yield* curl("--range", "2000000-", url)

      // No curl on this machine.
      if (range === undefined || rest === undefined) return
      const content = known.fileContent(0)
      assert.isTrue(Buffer.from(range.stdout).equals(content.subarray(4_000_000, 4_001_000)))
      assert.isTrue(Buffer.from(rest.stdout).equals(content.subarray(2_000_000)))
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})
