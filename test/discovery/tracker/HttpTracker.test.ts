import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as TestClock from "effect/testing/TestClock"
import * as Version from "../../../src/base/Version.ts"
import * as HttpTracker from "../../../src/discovery/tracker/provider/HttpTracker.ts"
import * as Hops from "../../../src/network/Hops.ts"
import * as NodeUnpacking from "../../../src/network/provider/node/NodeUnpacking.ts"
import { Unpacking } from "../../../src/network/Unpacking.ts"
import { request } from "./requests.ts"

const publicUrl = "http://tracker.example/announce"
const answer = "d8:intervali900e5:peers6:\x01\x02\x03\x04\x00\x50e"

const latin1 = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(text, "latin1"))

/** Makes a client that answers with `respond` and records its requests. */
const makeClient = (respond: (url: URL) => Response | Effect.Effect<never, HttpClientError.HttpClientError>) => {
  const asked: Array<{ readonly url: URL; readonly headers: HttpClientRequest.HttpClientRequest["headers"] }> = []
  const client = HttpClient.make((request, url) => {
    asked.push({ url, headers: request.headers })
    const response = respond(url)
    return Effect.isEffect(response) ? response : Effect.succeed(HttpClientResponse.fromWeb(request, response))
  })
  const tracker = HttpTracker.make().pipe(Effect.provideService(HttpClient.HttpClient, client))
  const announce = (url: string) => Effect.flatMap(tracker, (tracker) => tracker.announce(url, request))
  const scrape = (url: string) => Effect.flatMap(tracker, (tracker) => tracker.scrape(url, request.infoHash))
  return { announce, scrape, asked }
}

/** The reason why announcing to `url` fails if every request is answered with `respond`. */
const whyOf = (respond: (url: URL) => Response, url = publicUrl) =>
  Effect.map(Effect.flip(makeClient(respond).announce(url)), (error) => error.why)

const errorOf = (respond: (url: URL) => Response) => Effect.flip(makeClient(respond).announce(publicUrl))

const redirect = (location: string) => new Response(null, { status: 302, headers: { location } })

describe("HttpTracker", () => {
  it.effect("reads the answer to an announce", () =>
    Effect.gen(function* () {
      const client = makeClient(() => new Response(latin1(answer)))

      const response = yield* client.announce(publicUrl)

      assert.deepStrictEqual(response.peers, [{ host: "1.2.3.4", port: 80 }])
      assert.strictEqual(response.intervalSeconds, 900)
      assert.strictEqual(client.asked[0]?.url.searchParams.get("event"), "started")
    })
  )

  it.effect("sends its user agent and no tracing headers", () =>
    Effect.gen(function* () {
      const client = makeClient(() => new Response(latin1(answer)))

      yield* client.announce(publicUrl).pipe(Effect.withSpan("download"))

      assert.deepStrictEqual(
        { ...client.asked[0]?.headers },
        { "user-agent": Version.userAgent, "accept-encoding": "gzip" }
      )
    })
  )

  it.effect("sends a user and a password as a header, not in the URL", () =>
    Effect.gen(function* () {
      const client = makeClient(() => new Response(latin1(answer)))

      yield* client.announce("http://me:p%40ss@tracker.example/announce")

      assert.strictEqual(client.asked[0]?.url.username, "")
      assert.deepInclude({ ...client.asked[0]?.headers }, { authorization: `Basic ${btoa("me:p@ss")}` })
    })
  )

  it.effect("unpacks a compressed answer", () =>
    Effect.gen(function* () {
      const packed = Uint8Array.from(zlib.gzipSync(latin1(answer)))
      const client = makeClient(() => new Response(packed, { headers: { "content-encoding": "gzip" } }))

      const response = yield* client.announce(publicUrl)

      assert.strictEqual(response.intervalSeconds, 900)
    })
  )

  for (const [where, unpacking] of [
    ["a page", Effect.provideService(Unpacking, Unpacking.defaultValue())],
    ["Node", Effect.provideService(Unpacking, NodeUnpacking.unpack)]
  ] as const) {
    it.effect(`unpacks every member of a compressed answer in ${where}`, () =>
      Effect.gen(function* () {
        const parts = [answer.slice(0, 20), answer.slice(20)].map((part) => zlib.gzipSync(latin1(part)))
        const client = makeClient(() => new Response(Uint8Array.from(Buffer.concat(parts))))

        const response = yield* client.announce(publicUrl)

        assert.deepStrictEqual(response.peers, [{ host: "1.2.3.4", port: 80 }])
      }).pipe(unpacking)
    )

    it.effect(`fault 57: stops unpacking a gzip bomb in ${where}, also one of many members`, () =>
      Effect.gen(function* () {
        const half = zlib.gzipSync(new Uint8Array(HttpTracker.maxBodyBytes / 2))
        const bombs = [zlib.gzipSync(new Uint8Array(64 * HttpTracker.maxBodyBytes)), Buffer.concat([half, half, half])]

        const whys = yield* Effect.forEach(bombs, (bomb) => whyOf(() => new Response(Uint8Array.from(bomb))))

        assert.isBelow(bombs[0]!.length, HttpTracker.maxBodyBytes)
        assert.deepStrictEqual(whys, Array(2).fill(`the answer is longer than ${HttpTracker.maxBodyBytes} bytes`))
      }).pipe(unpacking)
    )
  }

  it.effect("fault 57: reports a compressed answer that is truncated", () =>
    Effect.gen(function* () {
      const packed = Uint8Array.from(zlib.gzipSync(latin1(answer)).subarray(0, 20))

      const why = yield* whyOf(() => new Response(packed))

      assert.strictEqual(why, "the answer's compressed data is damaged")
    })
  )

  it.effect("fault 57: stops reading an endless answer", () =>
    Effect.gen(function* () {
      let sent = 0
      let isCancelled = false
      const endless = () =>
        new ReadableStream<Uint8Array>({
          pull: (controller) => {
            sent += 65_536
            controller.enqueue(new Uint8Array(65_536).fill(100))
          },
          cancel: () => {
            isCancelled = true
          }
        })

      const why = yield* whyOf(() => new Response(endless()))

      assert.strictEqual(why, `the answer is longer than ${HttpTracker.maxBodyBytes} bytes`)
      assert.isTrue(isCancelled)
      assert.isAtMost(sent, HttpTracker.maxBodyBytes + 4 * 65_536)
    })
  )

  it.effect("accepts an answer of exactly the allowed length", () =>
    Effect.gen(function* () {
      const full = latin1(answer.padEnd(HttpTracker.maxBodyBytes, "\n"))
      const client = makeClient(() => new Response(full))

      const response = yield* client.announce(publicUrl)

      assert.strictEqual(response.intervalSeconds, 900)
    })
  )

  it.effect("fault 57: reports a web page with status 200", () =>
    Effect.gen(function* () {
      const why = yield* whyOf(() => new Response("<html><body>Domain for sale</body></html>"))

      assert.strictEqual(why, "the answer is a web page")
    })
  )

  it.effect("reports the status, or the tracker's reason if there is one", () =>
    Effect.gen(function* () {
      const bare = yield* whyOf(() => new Response("<html>", { status: 503 }))
      const reasoned = yield* whyOf(() => new Response("d14:failure reason7:no suche", { status: 404 }))

      assert.strictEqual(bare, "HTTP status 503")
      assert.strictEqual(reasoned, "refused: no such")
    })
  )

  it.effect("says of a tracker that is not there that it refused for good", () =>
    Effect.gen(function* () {
      const errors = yield* Effect.forEach([404, 410, 503], (status) => errorOf(() => new Response("", { status })))

      assert.deepStrictEqual(
        errors.map(({ isFinal, retryAfter }) => [isFinal, retryAfter]),
        [
          [true, undefined],
          [true, undefined],
          [false, undefined]
        ]
      )
    })
  )

  it.effect("reports when the tracker wants to be asked again (BEP 31)", () =>
    Effect.gen(function* () {
      const client = makeClient(() => new Response("d14:failure reason4:busy8:retry ini5ee"))

      const error = yield* Effect.flip(client.announce(publicUrl))

      assert.strictEqual(error.retryAfter, 300)
      assert.strictEqual(error.message, "Tracker http://tracker.example/announce: refused: busy.")
    })
  )

  it.effect("scrapes at the tracker's scrape URL, under the same rules (BEP 48)", () =>
    Effect.gen(function* () {
      const file = "d8:completei5e10:downloadedi6e10:incompletei7ee"
      const client = makeClient((url) => {
        if (url.pathname === "/moved") return new Response(latin1(`d5:filesd20:${"\x01".repeat(20)}${file}ee`))
        return url.hostname === "evil.example" ? redirect("http://127.0.0.1/announce") : redirect("/moved")
      })

      const response = yield* client.scrape("http://me:pass@tracker.example/announce.php?passkey=x")
      const error = yield* Effect.flip(client.scrape("http://evil.example/announce"))

      assert.deepStrictEqual(response, { seeders: 5, leechers: 7, downloads: 6 })
      assert.strictEqual(
        client.asked[0]?.url.href,
        `http://tracker.example/scrape.php?passkey=x&info_hash=${"%01".repeat(20)}`
      )
      assert.deepInclude({ ...client.asked[0]?.headers }, { authorization: `Basic ${btoa("me:pass")}` })
      assert.strictEqual(error.why, "it redirects into the local network, to 127.0.0.1")
    })
  )

  it.effect("fails for a tracker whose URL allows no scrape", () =>
    Effect.gen(function* () {
      const client = makeClient(() => new Response(latin1(answer)))

      const error = yield* Effect.flip(client.scrape("http://tracker.example/a"))

      assert.strictEqual(error.why, "it cannot be scraped, because its URL does not end in /announce")
      assert.strictEqual(error.retryAfter, "never")
      assert.strictEqual(client.asked.length, 0)
    })
  )

  it.effect("gives up on a tracker that sends no answer", () =>
    Effect.gen(function* () {
      const client = HttpClient.make(() => Effect.never)
      const tracker = yield* HttpTracker.make().pipe(Effect.provideService(HttpClient.HttpClient, client))
      const fiber = yield* Effect.forkChild(Effect.flip(tracker.announce(publicUrl, request)), {
        startImmediately: true
      })

      yield* TestClock.adjust(HttpTracker.defaultTimeout)
      const error = yield* Fiber.join(fiber)

      assert.strictEqual(error.why, "no answer in time")
    })
  )

  it.effect("gives up on a tracker that stalls in the middle of an answer", () =>
    Effect.gen(function* () {
      const stalled = new ReadableStream({ start: (controller) => controller.enqueue(latin1("d8:interval")) })
      const client = makeClient(() => new Response(stalled))
      const fiber = yield* Effect.forkChild(Effect.flip(client.announce(publicUrl)), { startImmediately: true })

      yield* TestClock.adjust(HttpTracker.defaultTimeout)
      const error = yield* Fiber.join(fiber)

      assert.strictEqual(error.why, "no answer in time")
    })
  )

  it.effect("follows absolute and relative redirects, and sends no password to another host", () =>
    Effect.gen(function* () {
      const client = makeClient((url) => {
        if (url.pathname === "/announce") return redirect(`/moved${url.search}`)
        return url.hostname === "tracker.example"
          ? redirect("https://other.example/a?b=%FF")
          : new Response(latin1(answer))
      })

      yield* client.announce("http://me:pass@tracker.example/announce")

      assert.deepStrictEqual(
        client.asked.map(({ url }) => `${url.host}${url.pathname}`),
        ["tracker.example/announce", "tracker.example/moved", "other.example/a"]
      )
      assert.strictEqual(client.asked[1]?.url.search, client.asked[0]?.url.search)
      assert.strictEqual(client.asked[2]?.url.search, "?b=%FF")
      assert.deepStrictEqual(
        client.asked.map(({ headers }) => "authorization" in headers),
        [true, true, false]
      )
    })
  )

  it.effect("fault 57: gives up in a redirect loop", () =>
    Effect.gen(function* () {
      const client = makeClient((url) => redirect(url.href))

      const error = yield* Effect.flip(client.announce(publicUrl))

      assert.strictEqual(error.why, `it redirects more than ${Hops.maxRedirects} times`)
      assert.strictEqual(client.asked.length, Hops.maxRedirects + 1)
    })
  )

  for (const location of [
    ...[
      "http://127.0.0.1/announce",
      "http://127.1:9091/x",
      "http://0x7f000001/",
      "http://[::1]/",
      "http://localhost./"
    ],
    ...["http://10.0.0.1/", "http://192.168.1.1/", "http://172.31.0.1/", "http://169.254.169.254/latest/meta-data"],
    ...[
      "http://[::ffff:127.0.0.1]/",
      "http://[fe80::1]/",
      "http://[fd00::1]/",
      "http://[64:ff9b::7f00:1]/",
      "http://0/"
    ],
    ...["http://router/", "http://printer.local/", "http://nas.lan/", "http://a.localhost/"]
  ]) {
    it.effect(`fault 24, fault 57: a public tracker cannot redirect to ${location}`, () =>
      Effect.gen(function* () {
        const client = makeClient(() => redirect(location))

        const error = yield* Effect.flip(client.announce(publicUrl))

        assert.match(error.why, /^it redirects into the local network, to /)
        assert.strictEqual(client.asked.length, 1)
      })
    )
  }

  it.effect("fault 24: no tracker redirects to anything but HTTP", () =>
    Effect.gen(function* () {
      const why = yield* whyOf(() => redirect("file:///etc/passwd"))

      assert.strictEqual(why, "it redirects to a file: URL")
    })
  )

  it.effect("a tracker in the local network may redirect inside it", () =>
    Effect.gen(function* () {
      const client = makeClient((url) =>
        url.hostname === "192.168.1.2" ? redirect("http://192.168.1.3/announce") : new Response(latin1(answer))
      )

      const response = yield* client.announce("http://192.168.1.2/announce")

      assert.strictEqual(response.intervalSeconds, 900)
    })
  )

  it.effect("fault 24: requests nothing from this machine except an announce", () =>
    Effect.gen(function* () {
      const client = makeClient(() => new Response(latin1(answer)))

      const error = yield* Effect.flip(client.announce("http://localhost:8080/api/shutdown?now=1"))
      yield* client.announce("http://localhost:8080/passkey/announce.php?x=1")
      yield* client.announce("http://127.0.0.1:8080/announce/passkey")

      assert.strictEqual(
        error.why,
        "a tracker on this machine must have a component in its path that begins with announce"
      )
      assert.strictEqual(error.retryAfter, "never")
      assert.strictEqual(client.asked.length, 2)
    })
  )

  for (const host of ["0.0.0.0", "0", "[::]", "[::ffff:0.0.0.0]", "169.254.169.254", "[fd00:ec2::254]"]) {
    it.effect(`fault 24: requests nothing from ${host}, not even an announce`, () =>
      Effect.gen(function* () {
        const client = makeClient(() => new Response(latin1(answer)))

        const announced = yield* Effect.flip(client.announce(`http://${host}:8080/announce`))
        const scraped = yield* Effect.flip(client.scrape(`http://${host}:8080/announce`))

        for (const error of [announced, scraped]) {
          assert.strictEqual(error.why, "it leads to an address that no tracker has")
          assert.strictEqual(error.retryAfter, "never")
        }
        assert.deepStrictEqual(client.asked, [])
      })
    )
  }

  it.effect("fault 24: a tracker on this machine cannot redirect to another service of it", () =>
    Effect.gen(function* () {
      const client = makeClient((url) =>
        url.port === "6969" ? redirect("http://127.0.0.1:8080/api/shutdown") : new Response(latin1(answer))
      )

      const error = yield* Effect.flip(client.announce("http://127.0.0.1:6969/announce"))

      assert.match(error.why, /^a tracker on this machine must have a component/)
      assert.strictEqual(client.asked.length, 1)
    })
  )

  it.effect(
    "says which address the answer came from, behind redirects too, or the host if the client does not report it",
    () =>
      Effect.gen(function* () {
        const reached: Record<string, string> = { "tracker.example": "9.0.0.1", "moved.example": "9.0.0.2" }
        const client = HttpClient.make((request, url, _, fiber) =>
          Effect.sync(() => {
            const address = reached[url.hostname]
            if (address !== undefined) fiber.getRef(Hops.Route).reached(address)
            const moved = url.pathname === "/announce/moving"
            return HttpClientResponse.fromWeb(
              request,
              moved ? redirect(`http://${url.search.slice(4, 17)}/announce`) : new Response(latin1(answer))
            )
          })
        )
        const tracker = yield* HttpTracker.make().pipe(Effect.provideService(HttpClient.HttpClient, client))
        const from = (url: string) => Effect.map(tracker.announce(url, request), ({ from }) => from)

        assert.strictEqual(yield* from(publicUrl), "9.0.0.1")
        assert.strictEqual(yield* from("http://tracker.example/announce/moving?to=moved.example"), "9.0.0.2")
        // The client does not report where the last server is. That it is not the first one is known all the same.
        assert.strictEqual(yield* from("http://tracker.example/announce/moving?to=other.example"), "other.example")
        assert.strictEqual(yield* from("http://127.0.0.1:6969/announce/moving?to=other.example"), "other.example")
      })
  )

  it.effect("fails for good for URLs that are not HTTP", () =>
    Effect.gen(function* () {
      const client = makeClient(() => new Response(latin1(answer)))
      const urls = [
        "udp://tracker.example:6969/announce",
        "wss://tracker.example",
        "ftp://tracker.example/announce",
        "x"
      ]

      const errors = yield* Effect.forEach(urls, (url) => Effect.flip(client.announce(url)))

      assert.deepStrictEqual(
        errors.map((error) => [error.why, error.retryAfter]),
        [
          ["this is not an HTTP URL", "never"],
          ["this is not an HTTP URL", "never"],
          ["this is not an HTTP URL", "never"],
          ["this is not a URL", "never"]
        ]
      )
      assert.strictEqual(client.asked.length, 0)
    })
  )

  for (const [cause, why] of [
    [{ code: "ECONNREFUSED" }, "connection refused"],
    [{ cause: { code: "ENOTFOUND" } }, "the name is unknown"],
    [{ code: "ABORTED", cause: { code: "UND_ERR_SOCKET" } }, "the connection was closed before an answer"],
    [{ code: "HPE_INVALID_CONSTANT" }, "the answer is not HTTP"],
    [{ code: "EWHATEVER" }, "the request failed (EWHATEVER)"],
    ["odd", "the request failed"]
  ] as const) {
    it.effect(`describes a failed request: ${why}`, () =>
      Effect.gen(function* () {
        const client = HttpClient.make((request) =>
          Effect.fail(
            new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
          )
        )
        const tracker = yield* HttpTracker.make().pipe(Effect.provideService(HttpClient.HttpClient, client))

        const error = yield* Effect.flip(tracker.announce(publicUrl, request))

        assert.strictEqual(error.why, why)
      })
    )
  }
})
