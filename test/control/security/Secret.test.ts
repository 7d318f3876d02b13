import { assert, describe, it } from "@effect/vitest"
import * as Secret from "../../../src/control/security/Secret.ts"

describe("Secret", () => {
  it("has 256 bits that are never the same", () => {
    const secrets = Array.from({ length: 1_000 }, () => Secret.make())
    assert.equal(new Set(secrets.map(Secret.keyOf)).size, 1_000)
    for (const secret of secrets) assert.isTrue(Secret.isSecret(secret))
    assert.equal(Buffer.from(secrets[0]!, "base64url").length, 32)
  })

  it("is compared whole", () => {
    const secret = Secret.make()
    assert.isTrue(Secret.equals(secret, `${secret.slice(0, 20)}${secret.slice(20)}`))
    for (let index = 0; index < secret.length; index++) {
      const other = secret.slice(0, index) + (secret[index] === "A" ? "B" : "A") + secret.slice(index + 1)
      assert.isFalse(Secret.equals(secret, other))
    }
    for (const other of ["", secret.slice(1), `${secret}A`, `${secret}\0`]) assert.isFalse(Secret.equals(secret, other))
  })

  it("is nothing else", () => {
    for (const text of [
      "",
      "a".repeat(42),
      "a".repeat(44),
      `${"a".repeat(42)}=`,
      `${"a".repeat(42)}\n`,
      "é".repeat(43)
    ]) {
      assert.isFalse(Secret.isSecret(text), text)
    }
  })
})
