import { assert, describe, it } from "@effect/vitest"
import * as IoDaemonUrl from "../../src/io-daemon/IoDaemonUrl.ts"

describe("IoDaemonUrl", () => {
  it.each([
    "http://localhost:4710",
    "http://LOCALHOST:4710",
    "http://localhost.:4710",
    "http://daemon.localhost:4710",
    "http://[::1]:4710",
    "http://[0:0:0:0:0:0:0:1]:4710/",
    "http://[::ffff:127.0.0.1]:4710",
    "http://[::ffff:7f00:1]:4710",
    "http://[::]:4710",
    "http://0.0.0.0:4710",
    "http://127.0.0.2:4710",
    "http://127.1:4710",
    "http://2130706433:4710",
    "http://127.0.0.1:4710"
  ])("pins %s to the one address where the daemon listens", (url) => {
    assert.strictEqual(IoDaemonUrl.pinned(url), "http://127.0.0.1:4710")
  })

  it.each(["http://192.0.2.1:4710", "http://localhost.example:4710", "127.0.0.1 port 4710", "https://[2001:db8::1]"])(
    "leaves %s unchanged",
    (url) => {
      assert.strictEqual(IoDaemonUrl.pinned(url), url)
    }
  )
})
