import { assert, describe, it } from "@effect/vitest"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import * as KnownWays from "../../../src/connect/mse/KnownWays.ts"

const there: PeerAddress = { host: "10.0.0.1", port: 6_881 }
const elsewhere: PeerAddress = { host: "10.0.0.2", port: 6_881 }

describe("KnownWays", () => {
  it("tries plain first at an address of which nothing is known", () => {
    assert.deepStrictEqual(KnownWays.waysTo(KnownWays.make(), there), ["plain", "encrypted"])
  })

  it("tries encryption first at an address that is said to prefer it", () => {
    const known = KnownWays.make()

    KnownWays.prefer(known, there)

    assert.deepStrictEqual(
      [there, elsewhere].map((address) => KnownWays.waysTo(known, address)),
      [
        ["encrypted", "plain"],
        ["plain", "encrypted"]
      ]
    )
  })

  it("tries only what has worked, until it fails", () => {
    for (const way of ["plain", "encrypted"] as const) {
      const known = KnownWays.make()
      KnownWays.prefer(known, there)
      KnownWays.note(known, there, way, true)
      const worked = KnownWays.waysTo(known, there)
      KnownWays.note(known, there, way, false)

      const other = way === "plain" ? "encrypted" : "plain"
      assert.deepStrictEqual([worked, KnownWays.waysTo(known, there)], [[way], [other, way]])
    }
  })

  it("tries one way at a time, in turn, where both have failed, until one works", () => {
    const known = KnownWays.make()
    KnownWays.note(known, there, "plain", false)
    KnownWays.note(known, there, "encrypted", false)

    const tried = Array.from({ length: 3 }, () => {
      const ways = KnownWays.waysTo(known, there)
      KnownWays.note(known, there, ways[0]!, false)
      return ways
    })
    KnownWays.note(known, there, "encrypted", true)

    assert.deepStrictEqual(tried, [["plain"], ["encrypted"], ["plain"]])
    assert.deepStrictEqual(KnownWays.waysTo(known, there), ["encrypted"])
  })

  const many = Array.from({ length: KnownWays.maxAddresses }, (_, index) => ({
    host: `10.${1 + (index >>> 8)}.${index & 255}.1`,
    port: 6_881
  }))

  const waysToBoth = (known: KnownWays.KnownWays) =>
    [there, elsewhere].map((address) => KnownWays.waysTo(known, address))

  it("fault 99: forgets the addresses that were dialled longest ago", () => {
    const known = KnownWays.make()
    KnownWays.note(known, there, "encrypted", true)
    KnownWays.note(known, elsewhere, "encrypted", true)
    for (const [index, address] of many.slice(1).entries()) {
      KnownWays.note(known, address, index % 2 === 0 ? "plain" : "encrypted", false)
      if (index === 100) KnownWays.note(known, there, "encrypted", true)
    }

    assert.strictEqual(known.tried.size, KnownWays.maxAddresses)
    assert.deepStrictEqual(waysToBoth(known), [["encrypted"], ["plain", "encrypted"]])
  })

  it("fault 99: forgets the addresses of which a preference was said longest ago", () => {
    const known = KnownWays.make()
    KnownWays.prefer(known, there)
    KnownWays.prefer(known, elsewhere)
    for (const [index, address] of many.slice(1).entries()) {
      KnownWays.prefer(known, address)
      if (index === 100) KnownWays.prefer(known, there)
    }

    assert.strictEqual(known.preferring.size, KnownWays.maxAddresses)
    assert.deepStrictEqual(waysToBoth(known), [
      ["encrypted", "plain"],
      ["plain", "encrypted"]
    ])
  })

  it("fault 99: forgets nothing that dials have shown, whatever is said of other addresses", () => {
    const known = KnownWays.make()
    KnownWays.note(known, there, "encrypted", true)
    KnownWays.note(known, elsewhere, "plain", false)

    for (const address of many) KnownWays.prefer(known, address)

    assert.deepStrictEqual(waysToBoth(known), [["encrypted"], ["encrypted", "plain"]])
  })

  it("keeps no preference of an address that was dialled", () => {
    const known = KnownWays.make()
    KnownWays.prefer(known, there)
    KnownWays.note(known, there, "encrypted", false)
    KnownWays.prefer(known, there)

    assert.deepStrictEqual([known.tried.size, known.preferring.size], [1, 0])
    assert.deepStrictEqual(KnownWays.waysTo(known, there), ["plain", "encrypted"])
  })
})
