import { assert, describe, it } from "@effect/vitest"
import * as SocketErrno from "../../src/network/SocketErrno.ts"

describe("SocketErrno", () => {
  it.each([
    ["ECONNREFUSED", "connection refused"],
    ["ENOTFOUND", "host not found"],
    ["ENETUNREACH", "network unreachable"],
    ["EHOSTUNREACH", "host unreachable"],
    ["ECONNRESET", "connection reset"],
    ["EPIPE", "connection reset"],
    ["ETIMEDOUT", "timed out"],
    ["EMFILE", "too many open files"]
  ])("says in words what %s means", (code, why) => {
    assert.strictEqual(SocketErrno.why(code), why)
  })

  it("shows an unknown code", () => {
    assert.strictEqual(SocketErrno.why("EWHATEVER"), "connection failed (EWHATEVER)")
    assert.strictEqual(SocketErrno.why("constructor"), "connection failed (constructor)")
    assert.strictEqual(SocketErrno.why(undefined), "connection failed")
  })

  it("names the port that cannot be listened on", () => {
    assert.strictEqual(SocketErrno.whyNotListening("EADDRINUSE", 6881), "port 6881 is in use")
    assert.strictEqual(SocketErrno.whyNotListening("EACCES", 80), "port 80 may not be used: permission denied")
    assert.strictEqual(SocketErrno.whyNotListening("EADDRNOTAVAIL", 1), "address is not available on this machine")
  })

  it("finds the code of an error, and of nothing else", () => {
    assert.strictEqual(SocketErrno.codeOf(Object.assign(new Error("no"), { code: "EPIPE" })), "EPIPE")
    for (const other of [undefined, null, "EPIPE", new Error("no"), { code: 7 }]) {
      assert.isUndefined(SocketErrno.codeOf(other))
    }
  })
})
