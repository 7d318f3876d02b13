import { getRandomValues } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as DiffieHellman from "../../../src/connect/mse/DiffieHellman.ts"
import * as NodeDiffieHellman from "../../../src/connect/provider/node/NodeDiffieHellman.ts"

const node = NodeDiffieHellman.make()
const { bigInt } = DiffieHellman

const prime = BigInt(`0x${DiffieHellman.primeHex}`)

const key = (number: bigint) => Bytes.fromHex(number.toString(16).padStart(2 * DiffieHellman.keyLength, "0"))!

const privateKey = fc.uint8Array({
  minLength: DiffieHellman.privateKeyLength,
  maxLength: DiffieHellman.privateKeyLength
})

describe("DiffieHellman", () => {
  it.each([
    ["big integers", bigInt],
    ["Node", node]
  ] as const)("computes powers of 2 below the prime, and what is left of those above it (%s)", (_, { publicKey }) => {
    const small = new Uint8Array(DiffieHellman.privateKeyLength)
    const keyOf = (exponent: number) => {
      Bytes.writeUint16Unsafe(small, DiffieHellman.privateKeyLength - 2, exponent)
      return publicKey(small)
    }

    assert.deepStrictEqual([keyOf(1), keyOf(2), keyOf(767)], [key(2n), key(4n), key(1n << 767n)])
    assert.deepStrictEqual(keyOf(768), key((1n << 768n) - prime))
    assert.deepStrictEqual(keyOf(1_000), key((1n << 1_000n) % prime))
  })

  it("gives both sides one secret, on Node and with big integers", () => {
    fc.assert(
      fc.property(privateKey, privateKey, (ours, theirs) => {
        const publicKeys = [node.publicKey(ours), bigInt.publicKey(theirs)] as const
        assert.deepStrictEqual([bigInt.publicKey(ours), node.publicKey(theirs)], [...publicKeys])
        fc.pre(!publicKeys.some(DiffieHellman.isDegenerate))

        const secrets = [
          node.agree(ours, publicKeys[1]),
          bigInt.agree(ours, publicKeys[1]),
          node.agree(theirs, publicKeys[0]),
          bigInt.agree(theirs, publicKeys[0])
        ]

        for (const secret of secrets) assert.deepStrictEqual(secret, secrets[0])
        assert.strictEqual(secrets[0]!.length, DiffieHellman.keyLength)
      }),
      { numRuns: 100 }
    )
  })

  it("fault 33: finds the keys that make the secret known, and those that are no numbers below the prime", () => {
    const degenerate = [0n, 1n, prime - 1n, prime, prime + 1n, (1n << 768n) - 1n]
    const others = [2n, 3n, 255n, 256n, 1n << 8n, 1n << 767n, prime - 2n, prime - 256n, prime - (1n << 700n)]

    assert.deepStrictEqual(
      degenerate.map(key).map(DiffieHellman.isDegenerate),
      degenerate.map(() => true)
    )
    assert.deepStrictEqual(
      others.map(key).map(DiffieHellman.isDegenerate),
      others.map(() => false)
    )
    for (let turn = 0; turn < 50; turn++) {
      const ours = node.publicKey(getRandomValues(new Uint8Array(DiffieHellman.privateKeyLength)))
      assert.isFalse(DiffieHellman.isDegenerate(ours))
    }
  })
})
