import { assert, describe, it } from "@effect/vitest"
import * as Listening from "../../../src/control/security/Listening.ts"

describe("Listening", () => {
  it("needs no password on this machine", () => {
    for (const host of ["127.0.0.1", "127.1.2.3", "::1", "localhost", "::ffff:127.0.0.1"]) {
      assert.isUndefined(Listening.whyNot(host, false), host)
    }
  })

  it("needs a password everywhere else", () => {
    for (const host of ["", "0.0.0.0", "::", "192.168.1.2", "fe80::1%eth0", "seedbox.example.org", "2130706433"]) {
      assert.match(String(Listening.whyNot(host, false)?.message), /password/, host)
      assert.isUndefined(Listening.whyNot(host, true), host)
    }
  })
})
