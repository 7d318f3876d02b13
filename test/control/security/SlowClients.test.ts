/**
 * Clients that are slow, greedy or hostile, against a real server with short limits. What they get is asserted, not when.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as IpRanges from "../../../src/base/IpRanges.ts"
import * as NodeHttpLimits from "../../../src/control/security/provider/node/NodeHttpLimits.ts"
import * as Service from "./serving.ts"

const short = { headTimeout: "50 millis", requestTimeout: "50 millis", checkInterval: "10 millis" } as const

describe("NodeHttpLimits", () => {
  it.live("fault 104: a head that does not end is answered with 408, and its connection closed", () =>
    Effect.gen(function* () {
      const { raw } = yield* Service.serve({ limits: short })
      assert.match(yield* raw("GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: "), /^HTTP\/1\.1 408 /)
    })
  )

  it.live("fault 104: a body that does not end is answered with 408, and its connection closed", () =>
    Effect.gen(function* () {
      const { raw, send } = yield* Service.serve({ limits: short })
      const head = `POST /v1/length HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${Service.token}\r\n`
      assert.match(yield* raw(`${head}Content-Length: 9\r\n\r\n1234`), /^HTTP\/1\.1 408 /)
      assert.match(yield* raw(`${head}Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n`), /^HTTP\/1\.1 408 /)
      assert.equal((yield* send({ path: "/health" })).status, 200)
    })
  )

  it.live("a body of a client without credentials is not waited for", () =>
    Effect.gen(function* () {
      const { raw } = yield* Service.serve({ limits: short })
      const head = "POST /v1/length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n"
      assert.match(yield* raw(head), /^HTTP\/1\.1 401 /)
    })
  )

  it("sets what Node limits", () => {
    const server = NodeHttpLimits.createServer()

    const { headersTimeout, keepAliveTimeout, maxConnections, maxRequestsPerSocket, requestTimeout } = server
    assert.deepEqual([headersTimeout, requestTimeout, keepAliveTimeout], [10_000, 300_000, 30_000])
    assert.deepEqual([maxConnections, maxRequestsPerSocket], [1_024, 10_000])
  })

  it.live("fault 105: a head that is too long is refused", () =>
    Effect.gen(function* () {
      const { raw, send } = yield* Service.serve()
      const long = "a".repeat(16_384)
      assert.match(yield* raw(`GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ${long}\r\n\r\n`), /^HTTP\/1\.1 431 /)
      assert.match(yield* raw(`GET /${long} HTTP/1.1\r\nHost: localhost\r\n\r\n`), /^HTTP\/1\.1 431 /)
      assert.equal((yield* send({ path: "/health" })).status, 200)
    })
  )

  it.live("fault 103: requests that two parsers could read differently are refused", () =>
    Effect.gen(function* () {
      const { raw } = yield* Service.serve()
      const post = "POST /v1/login HTTP/1.1\r\nHost: localhost\r\n"
      for (const request of [
        `${post}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        `${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
        `${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
        `${post}Content-Length: +1\r\n\r\na`,
        "GET /health HTTP/1.1\nHost: localhost\n\n"
      ]) {
        assert.match(yield* raw(request), /^HTTP\/1\.1 400 /, request)
      }
    })
  )

  it.live("a connection beyond the limit is closed, and a place that is given back can be used", () =>
    Effect.gen(function* () {
      const { raw, send } = yield* Service.serve({ limits: { maxConnections: 1 } })
      const [first, second] = yield* Effect.all(
        Array.from({ length: 2 }, () => raw("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")),
        { concurrency: "unbounded" }
      )
      assert.deepEqual([first!, second!].filter((text) => text === "").length, 1)
      assert.equal((yield* send({ path: "/health" })).status, 200)
    })
  )
})

describe("countByAddress", () => {
  /** Opens a connection from an address; returns whether it was closed, and how to close it. */
  const opener = (most: number, unlimited: IpRanges.IpRanges) => {
    const count = NodeHttpLimits.countByAddress(most, unlimited)
    return (remoteAddress: string) => {
      let isDestroyed = false
      let close = () => {}
      count({
        remoteAddress,
        destroy: () => {
          isDestroyed = true
        },
        once: (_: string, listener: () => void) => {
          close = listener
        }
      } as never)
      return { isDestroyed, close: () => close() }
    }
  }

  it("fault 104: limits the connections of one address, and those of a /64 of IPv6 together", () => {
    const open = opener(2, IpRanges.make([]))

    const first = open("192.0.2.1")
    const others = ["::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"].map(open)
    assert.deepEqual(
      [first, ...others].map(({ isDestroyed }) => isDestroyed),
      [false, false, true, false]
    )
    first.close()
    assert.deepEqual(
      ["192.0.2.1", "192.0.2.1"].map((address) => open(address).isDestroyed),
      [false, true]
    )

    const six = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"].map(
      (address) => open(address).isDestroyed
    )
    assert.deepEqual(six, [false, false, true, false])
  })

  it("counts neither this machine nor a proxy", () => {
    const open = opener(0, IpRanges.make([IpRanges.parse("192.0.2.0/24")!]))
    const addresses = ["127.0.0.1", "::1", "192.0.2.9", "198.51.100.1"]
    assert.deepEqual(
      addresses.map((address) => open(address).isDestroyed),
      [false, false, false, true]
    )
  })
})
