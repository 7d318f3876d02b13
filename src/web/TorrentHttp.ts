/**
 * Serves the files of a torrent over HTTP, also while they are fetched: routes for `HttpRouter` of `effect/http`, for
 * players, browsers and `curl`. Each response reads the torrent as `Torrent.read` does, so the bytes that a client asks
 * for are fetched before all others, and a slow client holds its stream back.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { HttpRouter } from "effect/http"
 * import { Engine } from "piecewise"
 * import { TorrentHttp } from "piecewise/http"
 * import { KnownTorrent, PeerBehaviour, TestEngine } from "piecewise/testing"
 *
 * const files = [{ path: ["film.mp4"], length: 300_000 }]
 * const program = Effect.gen(function* () {
 *   const { during, join } = yield* TestEngine.TestEngine
 *   const known = yield* KnownTorrent.make({ files, pieceLength: 65_536 })
 *   yield* join(known, PeerBehaviour.honest)
 *   const torrent = yield* Engine.Engine.use((engine) => engine.add(known.metainfo))
 *   yield* during(torrent.completed)
 *   // `HttpRouter.serve` serves the same routes at a port.
 *   const { dispose, handler } = HttpRouter.toWebHandler(TorrentHttp.layer(torrent, { prefix: "/a" }))
 *   const url = "http://localhost/a/known/film.mp4"
 *   const response = yield* Effect.promise(() => handler(new Request(url, { headers: { range: "bytes=-4" } })))
 *   const bytes = yield* Effect.promise(() => response.arrayBuffer())
 *   assert.deepEqual(new Uint8Array(bytes), known.fileContent(0).slice(-4))
 *   yield* Effect.promise(dispose)
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(TestEngine.layer())))
 * ```
 *
 * Answers GET and HEAD. A request for a torrent whose metadata is being fetched waits for that. The files are below the
 * prefix by their paths, and the prefix itself is a list of them: a page for clients that prefer HTML, otherwise JSON
 * (`Listing.ts`). One range of bytes is served (RFC 9110, section 14), also under `If-Range`. A file's ETag is strong and
 * made of the info hash and its index, because its bytes never change.
 *
 * Whoever reaches the server can read the torrent. Names and bytes are a stranger's: a browser treats them as the type
 * that their extension says, and runs nothing in them with the rights of other pages of the server.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as InfoHash from "../base/InfoHash.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import * as ByteRange from "./ByteRange.ts"
import * as ContentType from "./ContentType.ts"
import * as Listing from "./Listing.ts"

export type { ListedFile } from "./Listing.ts"

/** Where a torrent is served. */
export interface Options {
  /** The path below which its routes are; default `/`. */
  readonly prefix?: `/${string}` | undefined
}

/** What is used of a torrent. */
export type Served = Pick<Torrent, "metainfo" | "read" | "status">

/** The routes of a torrent: the list of its files at `prefix/`, and each file by its path below that. */
export const layer = (torrent: Served, options: Options = {}): Layer.Layer<never, never, HttpRouter.HttpRouter> =>
  HttpRouter.use((router) => router.prefixed(options.prefix ?? "/").add("GET", "/*", respond(torrent)))

/**
 * Answers a request whose URL is that of the list or of a file, without a prefix, as it is in a handler that was added
 * to a router with a prefix. For routes of your own, such as one for each torrent of an engine: a handler for `/*` below
 * `router.prefixed("/torrents/:id")`, which finds the torrent by the `id` in `HttpRouter.params`.
 */
export const respond = (
  torrent: Served
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const path = componentsOf(request.url)
    if (path === undefined) return notFound
    const metainfo = Option.getOrUndefined(yield* Effect.option(torrent.metainfo))
    if (metainfo === undefined) return ended
    if (path.length === 0) return listing(metainfo, request)
    const file = FileLayout.find(metainfo.layout, path)
    return file === undefined ? notFound : yield* serveFile(torrent, metainfo, file, request)
  })

const notFound = HttpServerResponse.text("not found\n", { status: 404 })
const ended = HttpServerResponse.text("the torrent has stopped or failed\n", { status: 503 })

const withoutQuery = (url: string): string => url.split(/[?#]/, 1)[0]!

/** The components of a URL's path; `undefined` if they are not encoded UTF-8. */
const componentsOf = (url: string): ReadonlyArray<string> | undefined => {
  const path = withoutQuery(url).replace(/^\//, "")
  if (path === "") return []
  try {
    return path.split("/").map(decodeURIComponent)
  } catch {
    return undefined
  }
}

const listing = (
  metainfo: Metainfo,
  { headers, originalUrl }: HttpServerRequest.HttpServerRequest
): HttpServerResponse.HttpServerResponse => {
  const path = withoutQuery(originalUrl)
  const last = path.slice(path.lastIndexOf("/") + 1)
  // Links are relative to a folder. The redirect is relative too, because a proxy may serve it under another path.
  if (last !== "") return HttpServerResponse.redirect(`./${last}/`, { status: 308 })
  const { accept = "*/*" } = headers
  const isPage = prefersHtml(accept)
  const text = Stream.fromIterable(isPage ? Listing.html(metainfo) : Listing.json(metainfo))
  return HttpServerResponse.stream(Stream.encodeText(text), {
    contentType: isPage ? "text/html; charset=utf-8" : "application/json",
    headers: {
      vary: "accept",
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"
    }
  })
}

/** Whether HTML is preferred to JSON (RFC 9110, section 12.5.1); JSON if a client does not care. */
const prefersHtml = (accept: string): boolean => {
  const html = qualityOf(accept, "text/html")
  const json = qualityOf(accept, "application/json")
  return html > json || (html === json && html > 0 && /\btext\/html\b/i.test(accept))
}

/** The quality of a media type, from the most specific range that contains it; 0 if none does. */
const qualityOf = (accept: string, type: string): number => {
  const ranges = [type, `${type.split("/", 1)[0]}/*`, "*/*"]
  let best = ranges.length
  let quality = 0
  for (const part of accept.split(",")) {
    const [range = "", ...parameters] = part.split(";").map((piece) => piece.trim().toLowerCase())
    const at = ranges.indexOf(range)
    if (at < 0 || at >= best) continue
    const q = parameters.find((parameter) => parameter.startsWith("q="))
    best = at
    quality = q === undefined ? 1 : Number(q.slice(2)) || 0
  }
  return quality
}

const serveFile = Effect.fnUntraced(function* (
  torrent: Served,
  { infoHash, layout }: Metainfo,
  file: number,
  { headers: asked, method }: HttpServerRequest.HttpServerRequest
) {
  const name = FileLayout.pathOf(layout, file).at(-1)!
  const length = FileLayout.lengthOf(layout, file)
  const contentType = ContentType.of(name)
  const etag = `"${InfoHash.toHex(infoHash)}-${file}"`
  const headers = {
    etag,
    "accept-ranges": "bytes",
    "content-disposition": inline(name),
    "x-content-type-options": "nosniff",
    ...(ContentType.isActive(contentType) && { "content-security-policy": "sandbox" })
  }
  // RFC 9110, section 13.2.2.
  if (asked["if-match"] !== undefined && !names(asked["if-match"], etag)) {
    return HttpServerResponse.empty({ status: 412, headers: { etag } })
  }
  if (asked["if-none-match"] !== undefined && names(asked["if-none-match"].replaceAll("W/", ""), etag)) {
    return HttpServerResponse.empty({ status: 304, headers: { etag } })
  }
  const { state } = yield* torrent.status
  if (state._tag === "Failed" || state._tag === "Stopped") return ended
  const { range: header } = asked
  const isRange = method === "GET" && header !== undefined && (asked["if-range"] ?? etag).trim() === etag
  const range = isRange ? ByteRange.parse(header, length) : undefined
  if (range === "unsatisfiable") {
    const unsatisfied = { ...headers, "content-range": ByteRange.contentRange(undefined, length) }
    return HttpServerResponse.empty({ status: 416, headers: unsatisfied })
  }
  const { begin, end } = range ?? { begin: 0, end: length }
  return HttpServerResponse.stream(torrent.read(file, { begin, end }), {
    status: range === undefined ? 200 : 206,
    contentType,
    contentLength: end - begin,
    headers: range === undefined ? headers : { ...headers, "content-range": ByteRange.contentRange(range, length) }
  })
})

/** Whether a list of entity tags contains ours, or is `*`. */
const names = (list: string, etag: string): boolean =>
  list.trim() === "*" || list.split(",").some((tag) => tag.trim() === etag)

/** Shows a file in the browser, and names it for whoever saves it (RFC 6266): in UTF-8, and in ASCII for old clients. */
const inline = (name: string): string => {
  const ascii = name.replaceAll(/[^ -~]|["%\\]/g, "_")
  const encoded = encodeURIComponent(name.toWellFormed()).replaceAll(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`
  )
  return `inline; filename="${ascii}"; filename*=UTF-8''${encoded}`
}
