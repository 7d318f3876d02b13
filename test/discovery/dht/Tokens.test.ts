import { assert, describe, it } from "@effect/vitest"
import * as Tokens from "../../../src/discovery/dht/Tokens.ts"

const hash = new Uint8Array(20).fill(1)
const otherHash = new Uint8Array(20).fill(2)
const minute = 60_000

/** Counts up, so that no two secrets are equal. */
const makeEntropy = () => {
  let count = 0
  return (length: number) => new Uint8Array(length).fill(++count)
}

describe("Tokens", () => {
  it("accepts a token from the host and for the hash that it was issued to", () => {
    const tokens = Tokens.make(makeEntropy(), 0)

    const token = Tokens.issue(tokens, "192.0.2.1", hash, 0)

    assert.strictEqual(token.length, Tokens.length)
    assert.isTrue(Tokens.isValid(tokens, token, "192.0.2.1", hash, 0))
  })

  it("fault 82: refuses a token of another host, for another hash, of another node, or cut short", () => {
    const tokens = Tokens.make(makeEntropy(), 0)
    const token = Tokens.issue(tokens, "192.0.2.1", hash, 0)
    const other = Tokens.make((length) => new Uint8Array(length).fill(99), 0)

    assert.isFalse(Tokens.isValid(tokens, token, "192.0.2.2", hash, 0))
    assert.isFalse(Tokens.isValid(tokens, token, "192.0.2.1", otherHash, 0))
    assert.isFalse(Tokens.isValid(other, token, "192.0.2.1", hash, 0))
    assert.isFalse(Tokens.isValid(tokens, token.subarray(0, 7), "192.0.2.1", hash, 0))
    assert.isFalse(Tokens.isValid(tokens, new Uint8Array(), "192.0.2.1", hash, 0))
  })

  it("fault 82: accepts a token for five minutes at least, and ten at most", () => {
    for (const issuedAt of [0, 1, 4, 4.99]) {
      const tokens = Tokens.make(makeEntropy(), 0)
      const token = Tokens.issue(tokens, "192.0.2.1", hash, issuedAt * minute)

      assert.isTrue(Tokens.isValid(tokens, token, "192.0.2.1", hash, (issuedAt + 5) * minute), `${issuedAt}`)
      assert.isFalse(Tokens.isValid(tokens, token, "192.0.2.1", hash, (issuedAt + 10) * minute), `${issuedAt}`)
    }
    // Nobody asked for a long time.
    const tokens = Tokens.make(makeEntropy(), 0)
    const token = Tokens.issue(tokens, "192.0.2.1", hash, 0)
    assert.isFalse(Tokens.isValid(tokens, token, "192.0.2.1", hash, 60 * minute))
  })
})
