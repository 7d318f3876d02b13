import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import { Credentials } from "../../../src/control/security/Credentials.ts"
import * as Security from "../../../src/control/security/Security.ts"
import * as Service from "./serving.ts"

const test = (
  name: string,
  program: (served: Service.Served) => Effect.Effect<void, unknown, Scope.Scope>,
  options: Security.Options = {}
) => it.live(name, () => Effect.flatMap(Service.serve(options), program))

/** Asserts that an answer is a refusal with a sentence. */
const refused = (answer: Service.Answer, status: number, tag: string) => {
  if (status === 401) assert.match(String(answer.headers["www-authenticate"]), /Bearer realm="piecewise"/)
  assert.deepEqual([answer.status, answer.json._tag], [status, `piecewise/${tag}`])
  assert.match(String(answer.json.message), /^[A-Z].*\.$/)
}

/** Logs in, and returns the cookie and the token against forged requests. */
const login = Effect.fnUntraced(function* (served: Service.Served, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ password: Service.password })
  const answer = yield* served.send({ method: "POST", path: "/v1/login", headers, body })
  assert.equal(answer.status, 200)
  const [set = ""] = answer.headers["set-cookie"] ?? []
  return { set, cookie: set.split(";", 1)[0]!, csrf: String(answer.json.csrfToken) }
})

describe("credentials", () => {
  test("every route but the open ones needs them", ({ send }) =>
    Effect.gen(function* () {
      for (const path of ["/health", "/ready", "/v1/login"]) assert.equal((yield* send({ path })).status, 200, path)
      for (const path of ["/v1/torrents", "/metrics", "/transmission/rpc", "/nothing", "/", "/v1/streams/x"]) {
        refused(yield* send({ path }), 401, "Unauthenticated")
      }
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"]) {
        refused(yield* send({ path: "/health", method }), 401, "Unauthenticated")
      }
      refused(yield* send({ path: "/v1/login", method: "DELETE" }), 401, "Unauthenticated")
    }))

  test("only other programs' routes make a browser ask for a password", ({ send }) =>
    Effect.gen(function* () {
      const challenge = (path: string) => Effect.map(send({ path }), ({ headers }) => headers["www-authenticate"])
      assert.equal(yield* challenge("/v1/torrents"), 'Bearer realm="piecewise"')
      assert.match(String(yield* challenge("/metrics")), /^Basic .*Bearer /)
      assert.match(String(yield* challenge("/transmission/rpc")), /^Basic .*Bearer /)
      assert.match(String(yield* challenge("/transmission/rpc/")), /^Basic .*Bearer /)
    }))

  test("the token is good as Bearer and as the password of Basic", ({ send }) =>
    Effect.gen(function* () {
      const caller = (headers: Record<string, string>) =>
        Effect.map(send({ path: "/v1/x", headers }), ({ json }) => json.caller)
      assert.equal(yield* caller(Service.bearer), "Token")
      assert.equal(yield* caller(Service.basic(Service.token)), "Token")
      assert.equal(yield* caller(Service.basic(Service.password, "")), "Password")
    }))

  test("wrong ones are refused, and a cookie does not make up for them", (served) =>
    Effect.gen(function* () {
      const { cookie } = yield* login(served)
      for (const authorization of ["Bearer x", "Basic x", "Digest x", "", "Bearer", `bearer ${Service.token}x`]) {
        const headers = { authorization, cookie }
        refused(yield* served.send({ path: "/v1/x", headers }), 401, "Unauthenticated")
      }
      refused(yield* served.send({ path: "/v1/login", headers: Service.basic("wrong") }), 401, "Unauthenticated")
    }))

  test("the handler sees the address of the client, and believes no header about it", ({ send }) =>
    Effect.gen(function* () {
      const headers = { ...Service.bearer, "x-forwarded-for": "1.2.3.4", "x-forwarded-host": "evil.example" }
      assert.equal((yield* send({ path: "/v1/x", headers })).json.address, "127.0.0.1")
    }))
})

describe("sessions of browsers", () => {
  test("the cookie is for our own pages alone, and no script reads it", (served) =>
    Effect.gen(function* () {
      const { set } = yield* login(served)
      assert.match(set, /^piecewise_session=[A-Za-z0-9_-]{43}; /)
      assert.deepEqual(set.split("; ").slice(1).sort(), ["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Strict"])
    }))

  test("a session reads, and changes things only with its token against forged requests", (served) =>
    Effect.gen(function* () {
      const { cookie, csrf } = yield* login(served)
      const send = (method: string, headers: Record<string, string> = {}) =>
        served.send({ path: "/v1/x", method, headers: { cookie, ...headers } })
      assert.equal((yield* send("GET")).json.caller, "Cookie")
      for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
        refused(yield* send(method), 403, "CsrfTokenMissing")
        refused(yield* send(method, { "x-csrf-token": `${csrf}x` }), 403, "CsrfTokenMissing")
        refused(yield* send(method, { "x-csrf-token": "" }), 403, "CsrfTokenMissing")
        assert.equal((yield* send(method, { "x-csrf-token": csrf })).status, 200)
      }
      const other = yield* login(served)
      refused(yield* send("POST", { "x-csrf-token": other.csrf }), 403, "CsrfTokenMissing")
    }))

  test("says who is logged in", (served) =>
    Effect.gen(function* () {
      const who = (headers: Record<string, string>) =>
        Effect.map(served.send({ path: "/v1/login", headers }), ({ json }) => json)
      assert.deepEqual(yield* who({}), { caller: "Nobody", hasPassword: true })
      assert.deepEqual(yield* who(Service.bearer), { caller: "Token", hasPassword: true })
      const { cookie, csrf } = yield* login(served)
      assert.deepEqual(yield* who({ cookie }), { caller: "Cookie", hasPassword: true, csrfToken: csrf })
    }))

  test("logging out ends the session and removes the cookie", (served) =>
    Effect.gen(function* () {
      const { cookie, csrf } = yield* login(served)
      const headers = { cookie, "x-csrf-token": csrf }
      refused(yield* served.send({ path: "/v1/login", method: "DELETE", headers: { cookie } }), 403, "CsrfTokenMissing")
      const answer = yield* served.send({ path: "/v1/login", method: "DELETE", headers })
      assert.match(String(answer.headers["set-cookie"]), /^piecewise_session=; Max-Age=0;/)
      refused(yield* served.send({ path: "/v1/x", headers }), 401, "Unauthenticated")
    }))

  test("fault 100: a session is always new: a cookie that somebody planted is not adopted", (served) =>
    Effect.gen(function* () {
      const planted = `piecewise_session=${"a".repeat(43)}`
      const { cookie } = yield* login(served, { cookie: planted })
      assert.notEqual(cookie, planted)
      refused(yield* served.send({ path: "/v1/x", headers: { cookie: planted } }), 401, "Unauthenticated")
      // A planted cookie beside it does not shut the user out either.
      const both = yield* served.send({ path: "/v1/x", headers: { cookie: `${planted}; ${cookie}` } })
      assert.equal(both.json.caller, "Cookie")
      // A login ends the session before it.
      yield* login(served, { cookie })
      refused(yield* served.send({ path: "/v1/x", headers: { cookie } }), 401, "Unauthenticated")
    }))

  test("all of them, and all links, end when the password changes", (served) =>
    Effect.gen(function* () {
      const { cookie } = yield* login(served)
      const ticket = yield* served.tickets.make(hash)
      const stream = { path: `/v1/stream/${ticket}/film.mp4` }
      assert.equal((yield* served.send(stream)).status, 200)
      yield* served.credentials.setPassword("another one")
      refused(yield* served.send({ path: "/v1/x", headers: { cookie } }), 401, "Unauthenticated")
      refused(yield* served.send(stream), 403, "Forbidden")
    }))

  it.live("a session does not start with a password that changes while it is checked", () =>
    Effect.gen(function* () {
      const changing = Layer.effect(
        Credentials,
        Credentials.useSync((credentials) => ({
          ...credentials,
          isPassword: (text) =>
            Effect.tap(credentials.isPassword(text), () => Effect.orDie(credentials.setPassword("b")))
        }))
      ).pipe(Layer.provide(Service.credentials()))
      const served = yield* Service.serve({ credentials: changing })
      const body = JSON.stringify({ password: Service.password })
      const answer = yield* served.send({ path: "/v1/login", method: "POST", body })
      refused(answer, 401, "Unauthenticated")
      assert.isUndefined(answer.headers["set-cookie"])
    })
  )

  it.live("no session starts without a password", () =>
    Effect.gen(function* () {
      const served = yield* Service.serve({ credentials: Service.credentials({}) })
      const body = JSON.stringify({ password: "" })
      refused(yield* served.send({ path: "/v1/login", method: "POST", body }), 401, "Unauthenticated")
      assert.equal((yield* served.send({ path: "/v1/login" })).json.hasPassword, false)
    })
  )
})

const hash = InfoHash.fromHex("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")!

describe("links for players", () => {
  test("are good for reading their torrent and nothing else", ({ send, tickets }) =>
    Effect.gen(function* () {
      const ticket = yield* tickets.make(hash)
      const path = `/v1/stream/${ticket}/folder/film.mp4`
      assert.equal((yield* send({ path })).json.caller, "Ticket")
      assert.equal((yield* send({ path, method: "HEAD" })).status, 200)
      refused(yield* send({ path, method: "POST" }), 401, "Unauthenticated")
      refused(yield* send({ path: `/v1/stream/${ticket.slice(1)}x/film.mp4` }), 403, "Forbidden")
      refused(yield* send({ path: `/v1/stream/${ticket.toUpperCase()}/film.mp4` }), 403, "Forbidden")
      refused(yield* send({ path: `/v1/torrents/${ticket}` }), 401, "Unauthenticated")
      refused(yield* send({ path: "/v1/x", headers: { authorization: `Bearer ${ticket}` } }), 401, "Unauthenticated")
      yield* tickets.endOf(hash)
      refused(yield* send({ path }), 403, "Forbidden")
    }))
})

describe("fault 100: requests that other sites forge (CSRF)", () => {
  test("a form of another site changes nothing", (served) =>
    Effect.gen(function* () {
      const { cookie, csrf } = yield* login(served)
      const form = { cookie, "content-type": "text/plain", origin: "http://evil.example" }
      const post = (headers: Record<string, string>) =>
        served.send({ path: "/v1/x", method: "POST", headers, body: '{"a":"="}' })
      refused(yield* post(form), 403, "CrossSite")
      // Whatever else it guesses or has.
      refused(yield* post({ ...form, "x-csrf-token": csrf }), 403, "CrossSite")
      refused(yield* post({ ...form, ...Service.bearer }), 403, "CrossSite")
      refused(yield* post({ ...form, ...Service.basic(Service.password) }), 403, "CrossSite")
      refused(yield* post({ ...form, origin: "null" }), 403, "CrossSite")
    }))

  test("a browser that names no origin says that the site is another one", (served) =>
    Effect.gen(function* () {
      for (const site of ["cross-site", "same-site", "something new"]) {
        for (const path of ["/v1/x", "/health", "/v1/stream/x/y", "/metrics"]) {
          const headers = { ...Service.bearer, "sec-fetch-site": site }
          refused(yield* served.send({ path, headers }), 403, "CrossSite")
        }
      }
      for (const site of ["same-origin", "none"]) {
        const headers = { ...Service.bearer, "sec-fetch-site": site }
        assert.equal((yield* served.send({ path: "/v1/x", headers })).status, 200)
      }
    }))

  test("another port of this machine is another site", (served) =>
    Effect.gen(function* () {
      const origin = (port: number) => ({ ...Service.bearer, origin: `http://127.0.0.1:${port}` })
      assert.equal((yield* served.send({ path: "/v1/x", headers: origin(served.port) })).status, 200)
      refused(yield* served.send({ path: "/v1/x", headers: origin(served.port + 1) }), 403, "CrossSite")
    }))

  test("another site cannot log a user in", (served) =>
    Effect.gen(function* () {
      const body = JSON.stringify({ password: Service.password })
      const headers = { origin: "https://evil.example" }
      const answer = yield* served.send({ path: "/v1/login", method: "POST", headers, body })
      refused(answer, 403, "CrossSite")
      assert.isUndefined(answer.headers["set-cookie"])
    }))

  test("no answer lets another site read it", (served) =>
    Effect.gen(function* () {
      for (const method of ["GET", "OPTIONS"]) {
        const headers = { origin: "https://evil.example", "access-control-request-method": "GET" }
        const answer = yield* served.send({ path: "/health", method, headers })
        assert.deepEqual(
          Object.keys(answer.headers).filter((name) => name.startsWith("access-control")),
          []
        )
      }
    }))
})

describe("pages elsewhere that are allowed", () => {
  const origin = "https://panel.example.org"
  const options = { allowedOrigins: [origin] }

  test(
    "use the token, and learn that they may",
    ({ send }) =>
      Effect.gen(function* () {
        const asked = { origin, "access-control-request-method": "POST", "sec-fetch-site": "cross-site" }
        const preflight = yield* send({ path: "/v1/x", method: "OPTIONS", headers: asked })
        assert.equal(preflight.status, 204)
        assert.equal(preflight.headers["access-control-allow-origin"], origin)
        assert.match(String(preflight.headers["access-control-allow-headers"]), /authorization/)
        assert.isUndefined(preflight.headers["access-control-allow-credentials"])

        const headers = { ...Service.bearer, origin, "sec-fetch-site": "cross-site" }
        const answer = yield* send({ path: "/v1/x", method: "POST", headers })
        assert.equal(answer.json.caller, "Token")
        assert.equal(answer.headers["access-control-allow-origin"], origin)
        // It can read why it was refused, too.
        const refusal = yield* send({ path: "/v1/x", headers: { origin } })
        assert.equal(refusal.headers["access-control-allow-origin"], origin)
        refused(refusal, 401, "Unauthenticated")
      }),
    options
  )

  test(
    "have no use of cookies, and others are not allowed",
    (served) =>
      Effect.gen(function* () {
        const { cookie, csrf } = yield* login(served)
        const headers = { cookie, "x-csrf-token": csrf, origin }
        refused(yield* served.send({ path: "/v1/x", method: "POST", headers }), 401, "Unauthenticated")
        for (const other of [
          `${origin}.evil.example`,
          "http://panel.example.org",
          `${origin}:444`,
          origin.toUpperCase()
        ]) {
          refused(
            yield* served.send({ path: "/v1/x", headers: { ...Service.bearer, origin: other } }),
            403,
            "CrossSite"
          )
        }
      }),
    options
  )
})

describe("fault 101: names that are rebound to this machine (DNS rebinding)", () => {
  test("no route answers to them, and the refusal names the option", ({ port, send }) =>
    Effect.gen(function* () {
      for (const host of ["evil.example", `evil.example:${port}`, "localhost.evil.example", "127.0.0.1.evil.example"]) {
        for (const path of ["/v1/x", "/health", "/metrics", "/v1/login"]) {
          const answer = yield* send({ path, headers: { ...Service.bearer, host } })
          refused(answer, 421, "HostNotAllowed")
          assert.include(String(answer.json.message), "--allow-host")
        }
      }
      // A rebound page can send any other header.
      const headers = {
        ...Service.bearer,
        host: "evil.example",
        "x-forwarded-host": "localhost",
        forwarded: "host=localhost"
      }
      refused(yield* send({ path: "/v1/x", headers }), 421, "HostNotAllowed")
    }))

  test("IP addresses and localhost are answered", ({ port, send }) =>
    Effect.gen(function* () {
      for (const host of ["127.0.0.1", `[::1]:${port}`, "localhost", "LOCALHOST.:80", "192.168.1.2:9"]) {
        assert.equal((yield* send({ path: "/health", headers: { host } })).status, 200, host)
      }
    }))

  test(
    "names that are allowed are answered, and no others",
    ({ send }) =>
      Effect.gen(function* () {
        const status = (host: string) => Effect.map(send({ path: "/health", headers: { host } }), (it) => it.status)
        assert.equal(yield* status("seedbox.example.org:9"), 200)
        assert.equal(yield* status("a.b.example.net."), 200)
        assert.equal(yield* status("example.net"), 421)
        assert.equal(yield* status("evilexample.net"), 421)
      }),
    { allowedHosts: ["seedbox.example.org", "*.example.net"] }
  )

  test("requests without a host, with two, or with an absolute target are read the same way", ({ raw }) =>
    Effect.gen(function* () {
      const status = (head: string) => Effect.map(raw(`${head}\r\n\r\n`), (text) => text.slice(0, 12))
      assert.equal(yield* status("GET /health HTTP/1.0"), "HTTP/1.1 421")
      assert.equal(yield* status("GET /health HTTP/1.0\r\nHost: evil.example"), "HTTP/1.1 421")
      assert.equal(yield* status("GET /health HTTP/1.0\r\nHost: localhost"), "HTTP/1.1 200")
      assert.equal(yield* status("GET /health HTTP/1.1\r\nConnection: close"), "HTTP/1.1 400")
      const close = "\r\nConnection: close"
      assert.equal(yield* status(`GET http://evil.example/health HTTP/1.1\r\nHost: localhost${close}`), "HTTP/1.1 421")
      assert.equal(yield* status(`GET http://localhost/v1/x HTTP/1.1\r\nHost: localhost${close}`), "HTTP/1.1 401")
      assert.equal(yield* status(`GET http:evil.example/health HTTP/1.1\r\nHost: localhost${close}`), "HTTP/1.1 400")
      assert.equal(yield* status(`OPTIONS * HTTP/1.1\r\nHost: localhost${close}`), "HTTP/1.1 404")
    }))
})

describe("requests that are not for a route", () => {
  test("upgrade nothing, and connect to nothing", ({ raw }) =>
    Effect.gen(function* () {
      const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a"
      const status = (request: string) => Effect.map(raw(`${request}\r\n\r\n`), (text) => text.slice(0, 12))
      assert.equal(yield* status(`GET /v1/x HTTP/1.1\r\nHost: localhost\r\n${upgrade}`), "HTTP/1.1 401")
      assert.equal(yield* status(`GET /v1/x HTTP/1.1\r\nHost: evil.example\r\n${upgrade}`), "HTTP/1.1 421")
      assert.equal(yield* status("CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22"), "")
      assert.equal(yield* status("TRACE /health HTTP/1.1\r\nHost: localhost\r\nConnection: close"), "HTTP/1.1 401")
    }))
})

describe("options", () => {
  it("are checked before they are used", () => {
    assert.isUndefined(
      Security.whyNot({
        allowedHosts: ["*.example.org"],
        allowedOrigins: ["https://a.example:8443"],
        basePath: "/a/b/",
        trustedProxies: ["::1", "10.0.0.0/8"]
      })
    )
    assert.match(Security.whyNot({ allowedHosts: ["*"] })!, /^"\*" is no name/)
    assert.match(Security.whyNot({ allowedOrigins: ["https://a.example/"] })!, /is no origin/)
    assert.match(Security.whyNot({ basePath: "torrents" })!, /is no base path/)
    assert.match(Security.whyNot({ trustedProxies: ["proxy"] })!, /is no address/)
  })

  it.live("that are wrong let no service start", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Service.serve({ allowedHosts: ["*"] }))
      assert.isTrue(Exit.isFailure(exit))
    })
  )
})

describe("fault 103: paths with several readings", () => {
  test("reach no route, least of all one that needs no credentials", ({ send }) =>
    Effect.gen(function* () {
      for (const path of [
        "/health/../v1/x",
        "/v1/stream/../x",
        "/v1/%2e%2e/health",
        "/v1/.%2E/health",
        "/./health",
        "//health",
        "/health//",
        "/v1/login/..",
        "/health%2fx",
        "/v1%2Flogin",
        "/health;/../v1/x",
        "/health\\x",
        "/v1/%",
        "/v1/%ff",
        "/health%00",
        "/v1/x#y"
      ]) {
        refused(yield* send({ path, headers: Service.bearer }), 400, "PathNotAllowed")
        refused(yield* send({ path }), 400, "PathNotAllowed")
      }
      // Other spellings of open routes are not open.
      for (const path of ["/HEALTH", "/health/", "/%68ealth", "/V1/login", "/v1/login/", "/health%20"]) {
        refused(yield* send({ path }), 401, "Unauthenticated")
      }
      assert.equal((yield* send({ path: "/health?a=//../%2f;" })).status, 200)
    }))
})

describe("a base path", () => {
  const options = { basePath: "/torrents/" }

  test(
    "is before every route, and not in what a handler sees",
    ({ send }) =>
      Effect.gen(function* () {
        for (const path of ["/health", "/v1/x", "/torrentsx/health", "/"]) {
          assert.equal((yield* send({ path, headers: Service.bearer })).status, 404, path)
        }
        const answer = yield* send({ path: "/torrents/v1/x?a=b", headers: Service.bearer })
        assert.equal(answer.json.url, "/v1/x?a=b")
        assert.equal((yield* send({ path: "/torrents/health" })).status, 200)
        refused(yield* send({ path: "/torrents/../torrents/health" }), 400, "PathNotAllowed")
        refused(yield* send({ path: "/torrents" }), 401, "Unauthenticated")
      }),
    options
  )

  it.live("is the path of cookies", () =>
    Effect.gen(function* () {
      const served = yield* Service.serve(options)
      const body = JSON.stringify({ password: Service.password })
      const answer = yield* served.send({ path: "/torrents/v1/login", method: "POST", body })
      assert.match(String(answer.headers["set-cookie"]), /; Path=\/torrents(;|$)/)
    })
  )
})

describe("a proxy", () => {
  const options = { trustedProxies: ["127.0.0.0/8"], allowedHosts: ["seedbox.example.org"] }
  const forwarded = {
    "x-forwarded-for": "2001:db8::7",
    "x-forwarded-host": "seedbox.example.org",
    "x-forwarded-proto": "https"
  }

  test(
    "that is trusted says who the client is, and that its cookies need https",
    (served) =>
      Effect.gen(function* () {
        const answer = yield* served.send({ path: "/v1/x", headers: { ...Service.bearer, ...forwarded } })
        assert.equal(answer.json.address, "2001:db8::7")
        const { set } = yield* login(served, { ...forwarded, origin: "https://seedbox.example.org" })
        assert.match(set, /; Secure(;|$)/)
        const headers = { ...Service.bearer, ...forwarded, origin: "http://seedbox.example.org" }
        refused(yield* served.send({ path: "/v1/x", headers }), 403, "CrossSite")
      }),
    options
  )

  test(
    "cannot be used by its clients to be somebody else, or to have another name",
    ({ send }) =>
      Effect.gen(function* () {
        const spoofed = { ...forwarded, "x-forwarded-for": "9.9.9.9, 2001:db8::7" }
        const answer = yield* send({ path: "/v1/x", headers: { ...Service.bearer, ...spoofed } })
        assert.equal(answer.json.address, "2001:db8::7")
        const evil = { ...Service.bearer, ...forwarded, "x-forwarded-host": "evil.example" }
        refused(yield* send({ path: "/v1/x", headers: evil }), 421, "HostNotAllowed")
        const rebound = { ...Service.bearer, ...forwarded, host: "evil.example" }
        refused(yield* send({ path: "/v1/x", headers: rebound }), 421, "HostNotAllowed")
      }),
    options
  )
})

describe("answers", () => {
  const names = [
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "cross-origin-resource-policy",
    "cache-control"
  ]

  test("all have the headers that keep a browser from using them as anything else", ({ raw, send }) =>
    Effect.gen(function* () {
      const requests: ReadonlyArray<Service.Sent> = [
        { path: "/health" },
        { path: "/v1/x", headers: Service.bearer },
        { path: "/v1/x" },
        { path: "/nothing", headers: Service.bearer },
        { path: "/v1/fails", headers: Service.bearer },
        { path: "/health", headers: { host: "evil.example" } },
        { path: "//" }
      ]
      for (const request of requests) {
        const { headers } = yield* send(request)
        assert.deepEqual(
          names.filter((name) => headers[name] === undefined),
          [],
          request.path
        )
        assert.isFalse("server" in headers)
        assert.isFalse("x-powered-by" in headers)
      }
      // Node answers this one itself.
      assert.notMatch(yield* raw("GARBAGE\r\n\r\n"), /server|node/i)
    }))

  test("no header of a request gets into one of an answer", ({ raw }) =>
    Effect.gen(function* () {
      const injected = "x%0d%0aset-cookie:a=b"
      for (const target of [`/v1/${injected}`, `/health?${injected}`, `/v1/stream/${injected}/y`]) {
        const text = yield* raw(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
        assert.notMatch(text.split("\r\n\r\n", 1)[0]!, /set-cookie/i)
      }
      const host = yield* raw("GET /health HTTP/1.1\r\nHost: a\rset-cookie: b\r\nConnection: close\r\n\r\n")
      assert.notMatch(host, /set-cookie/i)
    }))
})

describe("fault 105: bodies", () => {
  test("that are too long are refused before they are read", ({ send }) =>
    Effect.gen(function* () {
      const post = (path: string, bytes: number, headers: Record<string, string> = Service.bearer) =>
        send({ path, method: "POST", headers, body: new Uint8Array(bytes) })
      assert.deepEqual((yield* post("/v1/length", 1_048_576)).json, { byteLength: 1_048_576 })
      const answer = yield* post("/v1/length", 1_048_577)
      refused(answer, 413, "TooLarge")
      assert.equal(answer.json.maxBytes, 1_048_576)
      // The handler of this one reads no body.
      refused(yield* post("/v1/x", 1_048_577), 413, "TooLarge")
      refused(yield* post("/v1/login", 8_193, {}), 413, "TooLarge")
      assert.equal((yield* post("/v1/torrents", 2_000_000)).status, 200)
    }))

  test("that do not say how long they are end at the same limit", ({ send }) =>
    Effect.gen(function* () {
      const headers = { ...Service.bearer, "transfer-encoding": "chunked" }
      const body = new Uint8Array(1_048_577)
      const answer = yield* send({ path: "/v1/length", method: "POST", headers, body })
      refused(answer, 413, "TooLarge")
      assert.equal(answer.headers["cache-control"], "no-store")
    }))
})
