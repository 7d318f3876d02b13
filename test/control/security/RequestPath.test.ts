import { assert, describe, it } from "@effect/vitest"
import * as FindMyWay from "effect/http/FindMyWay"
import * as fc from "fast-check"
import * as RequestPath from "../../../src/control/security/RequestPath.ts"

/** A router as `HttpRouter` has it, whose handlers are their own paths. */
const router = () => {
  const made = FindMyWay.make<string>()
  for (const path of ["/health", "/ready", "/v1/login", "/v1/torrents/:infoHash/files"] as const) made.all(path, path)
  made.on("GET", "/v1/stream/:ticket/*", "stream")
  made.on("GET", "/metrics", "/metrics")
  return made
}

/** Request targets with much of what parsers disagree about. */
const target = fc
  .array(
    fc.oneof(
      fc.constantFrom("/", "/", "/", "health", "ready", "v1", "login", "stream", "torrents", "metrics", "files"),
      fc.constantFrom(
        "..",
        ".",
        "%2e",
        "%2E%2e",
        "%2f",
        "%5c",
        "\\",
        ";",
        "//",
        "%00",
        "%",
        "%ff",
        "?",
        "#",
        "*",
        ":",
        "@"
      ),
      fc.constantFrom("%68ealth", "HEALTH", "V1", "a".repeat(43), "http:", "é", " ", "\t")
    ),
    { maxLength: 12 }
  )
  .map((parts) => `/${parts.join("")}`)

describe("RequestPath", () => {
  it("is what comes before the query", () => {
    assert.equal(RequestPath.parse("/v1/torrents?a=/../%2f;#"), "/v1/torrents")
    for (const path of ["/", "/v1/", "/a%20b/%C3%A9/...", "/a..b/.c", "/@:,=+$!*'()~-_", "/%5C"]) {
      assert.equal(RequestPath.parse(path), path)
    }
  })

  it("fault 103: has one reading", () => {
    for (const path of [
      ["", "a", "*", "http://a/b", "//", "/a//b", "/a//", "/.", "/..", "/a/../b", "/a/./b", "/%2e%2E/a", "/a/.%2e"],
      [
        "/a%2Fb",
        "/a%2fb",
        "/a%00",
        "/a;b",
        "/a#b",
        "/a\\b",
        "/a b",
        "/é",
        "/%",
        "/%4",
        "/%zz",
        "/%ff",
        "/%c3",
        "/a\n",
        '/"'
      ]
    ].flat()) {
      assert.isUndefined(RequestPath.parse(path), path)
    }
  })

  it("needs no credentials only if the router leads it to a route that needs none", () => {
    const open: Record<string, ReadonlyArray<string | undefined>> = {
      Nothing: ["/health", "/ready"],
      Anybody: ["/v1/login"],
      Ticket: ["stream", undefined]
    }
    const routes = router()
    fc.assert(
      fc.property(fc.constantFrom("GET", "POST", "DELETE"), target, (method, text) => {
        const path = RequestPath.parse(text)
        if (path === undefined) return
        const { _tag } = RequestPath.needOf(method, path)
        if (_tag !== "Credentials") assert.include(open[_tag]!, routes.find(method, text)?.handler)
      }),
      { numRuns: 3_000 }
    )
  })

  it("reads a ticket as one component of a path that is read", () => {
    assert.deepEqual(RequestPath.needOf("GET", "/v1/stream/abc/a/b"), { _tag: "Ticket", ticket: "abc" })
    assert.deepEqual(RequestPath.needOf("HEAD", "/v1/stream/abc"), { _tag: "Ticket", ticket: "abc" })
    for (const [method, path] of [
      ["POST", "/v1/stream/abc/a"],
      ["GET", "/v1/stream/"],
      ["GET", "/v1/stream"],
      ["GET", "/v1/streams/abc"],
      ["GET", "/V1/stream/abc"]
    ] as const) {
      assert.equal(RequestPath.needOf(method, path)._tag, "Credentials", path)
    }
  })

  it("takes long bodies only where torrents are added", () => {
    const max = (path: string, method = "POST") => RequestPath.maxBodyOf(method, path)
    for (const path of [
      "/v1/torrents",
      "/v1/torrents/",
      "/v1/torrents/file",
      "/transmission/rpc",
      "/transmission/rpc/"
    ]) {
      assert.equal(max(path), 100_663_296)
    }
    assert.equal(max("/v1/torrents/c12f/files"), 1_048_576)
    assert.equal(max("/v1/torrents", "PUT"), 1_048_576)
    assert.equal(max("/v1/login"), 8_192)
    assert.equal(max("/health", "GET"), 8_192)
  })
})

describe("a base path", () => {
  const component = fc.stringMatching(/^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,5}$/)
  const base = fc.array(component, { maxLength: 3 }).map((parts) => parts.map((part) => `/${part}`).join(""))

  it("has a canonical form", () => {
    assert.equal(RequestPath.parseBase("/"), "")
    assert.equal(RequestPath.parseBase("/torrents/"), "/torrents")
    assert.equal(RequestPath.parseBase("/a/b.c"), "/a/b.c")
    for (const text of [
      "torrents",
      "//",
      "/a//b",
      "/..",
      "/a/../b",
      "/a?",
      "/a b",
      "/%41",
      "/a;",
      "/a\r\nSet-Cookie: b"
    ]) {
      assert.isUndefined(RequestPath.parseBase(text), text)
    }
  })

  it("is taken from before a target, which stays as it is, and from before nothing else", () => {
    fc.assert(
      fc.property(base, target, component, (base, text, more) => {
        assert.equal(RequestPath.parseBase(base), base)
        assert.equal(RequestPath.parseBase(`${base}/`), base)
        assert.equal(RequestPath.withoutBase(base, base + text), text)
        assert.equal(RequestPath.withoutBase(base, `${base}?a`), "/?a")
        if (base !== "") assert.isUndefined(RequestPath.withoutBase(base, base + more + text))
      })
    )
  })
})
