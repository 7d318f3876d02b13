import { assert, describe, it } from "@effect/vitest"
import * as Transactions from "../../../src/discovery/dht/Transactions.ts"

const address = { host: "20.1.1.1", port: 6881 }

const make = () => {
  let count = 0
  return Transactions.make<string>((length) => new Uint8Array(length).fill(++count))
}

describe("Transactions", () => {
  it("fault 79: ends a wait only for its id from the address that was asked, and once", () => {
    const transactions = make()
    const id = Transactions.begin(transactions, { address, purpose: "one", sentAt: 0 })

    assert.isUndefined(Transactions.end(transactions, id, { ...address, port: 6882 }))
    assert.isUndefined(Transactions.end(transactions, id, { ...address, host: "20.1.1.2" }))
    assert.isUndefined(Transactions.end(transactions, Uint8Array.of(9, 9, 9, 9), address))
    assert.isUndefined(Transactions.end(transactions, id.subarray(0, 2), address))
    assert.strictEqual(Transactions.end(transactions, id, address)?.purpose, "one")
    assert.isUndefined(Transactions.end(transactions, id, address))
  })

  it("takes no id that another query has", () => {
    const ids = [1, 1, 1, 2]
    const transactions = Transactions.make<string>((length) => new Uint8Array(length).fill(ids.shift()!))

    Transactions.begin(transactions, { address, purpose: "one", sentAt: 0 })
    const second = Transactions.begin(transactions, { address, purpose: "two", sentAt: 0 })

    assert.deepStrictEqual(second, Uint8Array.of(2, 2, 2, 2))
  })

  it("ends waits that last too long, and says when", () => {
    const transactions = make()
    assert.strictEqual(Transactions.nextAt(transactions), Number.POSITIVE_INFINITY)
    for (const sentAt of [0, 10, 20]) Transactions.begin(transactions, { address, purpose: `${sentAt}`, sentAt })

    assert.strictEqual(Transactions.nextAt(transactions), Transactions.timeoutMillis)
    const expired = Transactions.expire(transactions, Transactions.timeoutMillis + 10)

    assert.deepStrictEqual(
      expired.map(({ purpose }) => purpose),
      ["0", "10"]
    )
    assert.strictEqual(transactions.pending.size, 1)
  })

  it("is full at its limit", () => {
    const transactions = Transactions.make<number>((length) =>
      Uint8Array.from({ length }, () => Math.floor(Math.random() * 256))
    )
    for (let count = 0; count < Transactions.maxPending; count++) {
      assert.isFalse(Transactions.isFull(transactions))
      Transactions.begin(transactions, { address, purpose: count, sentAt: 0 })
    }
    assert.isTrue(Transactions.isFull(transactions))
  })
})
