import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { InfoHash } from "../../../src/base/InfoHash.ts"
import * as HttpMetadataSource from "../../../src/discovery/provider/HttpMetadataSource.ts"

const infoHash = new Uint8Array(20) as InfoHash

/** A client that answers by path, and counts what it is asked. `/slow` is never answered. */
const makeClient = () => {
  const asked: Array<string> = []
  const authorized: Array<string> = []
  const counts = { now: 0, most: 0 }
  const client = HttpClient.make((request, url) => {
    asked.push(url.href)
    const { authorization } = request.headers
    if (authorization !== undefined) authorized.push(url.href)
    counts.most = Math.max(counts.most, ++counts.now)
    if (url.pathname.startsWith("/slow")) return Effect.onInterrupt(Effect.never, () => Effect.sync(() => counts.now--))
    const init =
      url.pathname === "/link" ? { status: 302, headers: { location: `magnet:?xt=urn:btih:${"a".repeat(40)}` } } : {}
    const body = url.pathname.startsWith("/long") ? "x".repeat(101) : url.pathname
    return Effect.sync(() => {
      counts.now--
      return HttpClientResponse.fromWeb(request, new Response(init.status === undefined ? body : null, init))
    })
  })
  return { asked, authorized, client, counts }
}

const fetchAll = (client: HttpClient.HttpClient, urls: ReadonlyArray<string>) =>
  HttpMetadataSource.make(client)
    .metadata({ infoHash, urls, maxBytes: 100 })
    .pipe(
      Stream.map((bytes) => Buffer.from(bytes).toString()),
      Stream.runCollect
    )

describe("HttpMetadataSource", () => {
  it.effect("returns the files at the URLs, and skips what is no such file", () =>
    Effect.gen(function* () {
      const { client } = makeClient()

      const files = yield* fetchAll(client, [
        "no URL",
        "http://a.example/long",
        "http://a.example/1",
        "http://a.example/link",
        "http://a.example/2"
      ])

      assert.deepStrictEqual(files, ["/1", "/2"])
    })
  )

  it.effect("fault 77: sends nothing to places that a stranger may not name, and only to torrent files here", () =>
    Effect.gen(function* () {
      const { asked, authorized, client } = makeClient()

      const files: Array<string> = []
      for (const url of [
        "http://127.0.0.1/shutdown",
        "http://localhost/x?y.torrent",
        "http://[::1]/..%2fx.torrent",
        "http://0.0.0.0/x.torrent",
        "http://169.254.169.254/x.torrent",
        "http://10.0.0.9/x",
        "http://nas.lan/x",
        "http://admin:secret@127.0.0.1/x.torrent",
        "http://10.0.0.9/y.torrent"
      ]) {
        files.push(...(yield* fetchAll(client, [url])))
      }

      assert.deepStrictEqual(asked, ["http://127.0.0.1/x.torrent", "http://10.0.0.9/y.torrent"])
      assert.deepStrictEqual(files, ["/x.torrent", "/y.torrent"])
      assert.deepStrictEqual(authorized, [])
    })
  )

  it.effect("fault 77: tries eight of a thousand URLs, two at a time, and ends although no server answers", () =>
    Effect.gen(function* () {
      const { asked, client, counts } = makeClient()
      const urls = Array.from({ length: 1_000 }, (_, index) => `http://a.example/slow${index}`)

      const fiber = yield* Effect.forkChild(fetchAll(client, urls))
      for (let minutes = 0; minutes < 4; minutes++) yield* TestClock.adjust("60 seconds")
      const files = yield* Fiber.join(fiber)

      assert.deepStrictEqual(files, [])
      assert.deepStrictEqual(asked, urls.slice(0, 8))
      assert.deepStrictEqual(counts, { now: 0, most: 2 })
    })
  )

  it.effect("ends its requests when it is interrupted", () =>
    Effect.gen(function* () {
      const { client, counts } = makeClient()
      const fiber = yield* Effect.forkChild(fetchAll(client, ["http://a.example/slow"]))
      yield* TestClock.adjust("1 second")
      const before = counts.now

      yield* Fiber.interrupt(fiber)

      assert.deepStrictEqual([before, counts.now], [1, 0])
    })
  )
})
