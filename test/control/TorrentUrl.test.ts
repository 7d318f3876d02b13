import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as TorrentUrl from "../../src/control/TorrentUrl.ts"

const hash = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"

/** A server elsewhere that answers every request alike. */
const answering = (make: () => Response) =>
  Effect.provideService(
    HttpClient.HttpClient,
    HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, make())))
  )

const redirecting = (location: string) => answering(() => new Response(null, { status: 302, headers: { location } }))

describe("TorrentUrl.source", () => {
  it.effect("is a torrent file as it came", () =>
    Effect.gen(function* () {
      const found = yield* answering(() => new Response("d4:infodee"))(TorrentUrl.source("https://a.example/t"))

      assert.deepStrictEqual(found, { metainfo: new TextEncoder().encode("d4:infodee") })
    })
  )

  it.effect("fault 91: is a magnet link without the peers that the server may not name", () =>
    Effect.gen(function* () {
      const link = `magnet:?xt=urn:btih:${hash}&x.pe=198.51.100.1:1&x.pe=127.0.0.1:22&x.pe=10.0.0.1:1&x.pe=peer.example:1`
      const found = yield* redirecting(link)(TorrentUrl.source("https://a.example/t"))

      assert.deepStrictEqual(found, { magnet: `magnet:?xt=urn:btih:${hash}&x.pe=198.51.100.1:1` })
    })
  )

  it.effect("fails for a page, a bad link and other schemes", () =>
    Effect.gen(function* () {
      const page = yield* Effect.flip(
        answering(() => new Response("\n<html>"))(TorrentUrl.source("https://a.example/t"))
      )
      const bad = yield* Effect.flip(redirecting("magnet:?dn=x")(TorrentUrl.source("https://a.example/t")))
      const others = yield* Effect.forEach(["file:///etc/passwd", "ftp://a.example/t", "data:,x", "nothing"], (url) =>
        Effect.map(Effect.flip(redirecting("/")(TorrentUrl.source(url))), ({ why }) => why)
      )

      assert.strictEqual(page.message, "https://a.example/t: the server sent a web page, not a torrent file")
      assert.match(bad.why, /^it redirects to a magnet link, and it has no info hash/)
      assert.deepStrictEqual(others, [
        "only http and https URLs can be fetched",
        "only http and https URLs can be fetched",
        "only http and https URLs can be fetched",
        "this is not a URL"
      ])
    })
  )
})
