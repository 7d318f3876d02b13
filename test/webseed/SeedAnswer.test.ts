import { assert, describe, it } from "@effect/vitest"
import * as SeedAnswer from "../../src/webseed/SeedAnswer.ts"
import type { SeedFetch } from "../../src/webseed/SeedFetch.ts"

const url = new URL("http://s.example/")

/** Bytes 20,000 to 59,999 of a file of 100,000 bytes that begins at 1,000 of the torrent. */
const ranged: SeedFetch = {
  url,
  range: { first: 20_000, last: 59_999 },
  begin: 21_000,
  end: 61_000,
  source: { begin: 1_000, length: 100_000 }
}

const whole: SeedFetch = { ...ranged, range: undefined, begin: 1_000, end: 101_000 }

const judge = (fetch: SeedFetch, status: number, headers: Record<string, string> = {}) => {
  const verdict = SeedAnswer.judge(fetch, { status, headers })
  return verdict._tag === "Body" ? verdict.body : `${verdict.fault.kind}: ${verdict.fault.why}`
}

describe("SeedAnswer", () => {
  it("takes the range that was asked for, and a shorter one with the same beginning", () => {
    const body = { begin: 21_000, end: 61_000, ignoresRange: false }

    assert.deepStrictEqual(judge(ranged, 206, { "content-range": "bytes 20000-59999/100000" }), body)
    assert.deepStrictEqual(judge(ranged, 206, { "content-range": "bytes 20000-59999/*" }), body)
    assert.deepStrictEqual(
      judge(ranged, 206, {
        "content-range": "bytes 20000-59999/100000",
        "content-length": "40000",
        "content-encoding": "identity"
      }),
      body
    )
    assert.deepStrictEqual(judge(ranged, 206, { "content-range": "bytes 20000-49999/100000" }), {
      ...body,
      end: 51_000
    })
  })

  it("fault 88: refuses other ranges, and files of another length", () => {
    const unasked = "Strange: it sent a range that was not asked for"

    for (const range of [
      "bytes 20001-59999/100000",
      "bytes 0-59999/100000",
      "bytes 20000-60000/100000",
      "bytes 20000-20001/100000",
      "bytes 20000-19999/100000",
      "bytes 2-1",
      "items 20000-59999/100000",
      ""
    ]) {
      assert.strictEqual(judge(ranged, 206, { "content-range": range }), unasked, range)
    }
    assert.strictEqual(judge(whole, 206, { "content-range": "bytes 0-99999/100000" }), unasked)
    assert.strictEqual(judge(ranged, 206), "Strange: it sent a range without saying which")
    assert.match(
      `${judge(ranged, 206, { "content-range": "bytes 20000-59999/100001" })}`,
      /^Missing: its file has another/
    )
    assert.match(
      `${judge(ranged, 206, { "content-range": "bytes 20000-59999/100000", "content-length": "40001" })}`,
      /^Strange: its answer has another length/
    )
  })

  it("takes a whole file for a range, and says that it is one", () => {
    assert.deepStrictEqual(judge(ranged, 200), { begin: 1_000, end: 101_000, ignoresRange: true })
    assert.deepStrictEqual(judge(ranged, 200, { "content-length": "100000" }), {
      begin: 1_000,
      end: 101_000,
      ignoresRange: true
    })
    assert.match(`${judge(ranged, 200, { "content-length": "99999" })}`, /^Missing/)
    // Nothing is known of a server that was asked for the whole file.
    const all = { ...ranged, range: { first: 0, last: 99_999 } }
    assert.deepInclude(judge(all, 200) as object, { ignoresRange: false })
    assert.deepInclude(judge(whole, 200) as object, { begin: 1_000, end: 101_000, ignoresRange: false })
  })

  it("refuses what is compressed, without repeating what the server wrote", () => {
    assert.strictEqual(
      judge(ranged, 200, { "content-encoding": `gzip\u001b[31m${"x".repeat(100)}` }),
      "Strange: it compressed the file: gzip31mxxxxxxxxxxxxx"
    )
    assert.match(
      `${judge(ranged, 206, { "content-range": "bytes 20000-59999/100000", "content-encoding": "br" })}`,
      /^Strange/
    )
  })

  it("tells what a status means", () => {
    const kinds = Object.fromEntries(
      [204, 304, 400, 401, 403, 404, 408, 410, 416, 425, 429, 451, 500, 502, 503, 504].map((status) => [
        status,
        `${judge(ranged, status)}`.split(":")[0]
      ])
    )

    assert.deepStrictEqual(kinds, {
      204: "Strange",
      304: "Strange",
      400: "Missing",
      401: "Missing",
      403: "Missing",
      404: "Missing",
      408: "Unreachable",
      410: "Missing",
      416: "Missing",
      425: "Unreachable",
      429: "Busy",
      451: "Missing",
      500: "Unreachable",
      502: "Unreachable",
      503: "Busy",
      504: "Unreachable"
    })
  })

  it("reads how long to wait, by the server's own clock, and not for ever", () => {
    const retryAfter = (headers: Record<string, string>) => SeedAnswer.retryAfterOf({ status: 503, headers })
    const date = "Wed, 21 Oct 2015 07:28:00 GMT"

    assert.strictEqual(retryAfter({}), undefined)
    assert.strictEqual(retryAfter({ "retry-after": "120" }), 120_000)
    assert.strictEqual(retryAfter({ "retry-after": "99999999" }), SeedAnswer.longestRetryAfter)
    assert.strictEqual(retryAfter({ "retry-after": "-1" }), undefined)
    assert.strictEqual(retryAfter({ "retry-after": "soon" }), undefined)
    assert.strictEqual(retryAfter({ "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", date }), 30_000)
    assert.strictEqual(retryAfter({ "retry-after": "Wed, 21 Oct 2015 07:27:30 GMT", date }), 0)
    assert.strictEqual(retryAfter({ "retry-after": date }), undefined)
  })
})
