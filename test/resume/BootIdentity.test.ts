import { assert, describe, it } from "@effect/vitest"
import * as BootIdentity from "../../src/resume/BootIdentity.ts"

describe("BootIdentity", () => {
  it("is the same for the same name, however it is padded", () => {
    const self = BootIdentity.fromName("4f2c4b52-0d2e-4be6-a0cf-9f6d2b3a8f11\n")

    assert.isTrue(BootIdentity.isSame(self, BootIdentity.fromName("4f2c4b52-0d2e-4be6-a0cf-9f6d2b3a8f11")))
    assert.isFalse(BootIdentity.isSame(self, BootIdentity.fromName("4f2c4b52-0d2e-4be6-a0cf-9f6d2b3a8f12")))
  })

  it("is the same for two readings of one time, and no other time", () => {
    const self = BootIdentity.fromTime(1_700_000_000.4)

    assert.isTrue(BootIdentity.isSame(self, BootIdentity.fromTime(1_700_000_003)))
    assert.isTrue(BootIdentity.isSame(self, BootIdentity.fromTime(1_699_999_997)))
    assert.isFalse(BootIdentity.isSame(self, BootIdentity.fromTime(1_700_000_004)))
  })

  it("is unlike any other if nothing is known", () => {
    const strange = BootIdentity.fromName("no\u0000name")

    assert.strictEqual(strange, BootIdentity.unknown)
    assert.isFalse(BootIdentity.isSame(strange, strange))
    assert.isFalse(BootIdentity.isSame(BootIdentity.fromName("1700000000"), BootIdentity.fromTime(1_700_000_000)))
  })
})
