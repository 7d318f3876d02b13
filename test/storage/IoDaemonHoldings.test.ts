import { assert, describe, it } from "@effect/vitest"
import * as IoDaemonHoldings from "../../src/storage/provider/io-daemon/IoDaemonHoldings.ts"
import * as IoDaemonReasons from "../../src/storage/provider/io-daemon/IoDaemonReasons.ts"

const deleted = IoDaemonReasons.refusedBy(IoDaemonReasons.deleted("a"))
const conflict = IoDaemonReasons.refusedBy({ kind: "writer_conflict", message: "a is written by others" })

/** Holdings with the files 0 and 1 reserved, and 0 claimed with four bytes. */
const make = () => {
  const holdings = IoDaemonHoldings.make()
  IoDaemonHoldings.reserve(holdings, [0, 1])
  IoDaemonHoldings.claim(holdings, 0, { identity: "i", length: 4 })
  return holdings
}

describe("IoDaemonHoldings", () => {
  it("knows how far a claimed file was written, and no file that was not claimed", () => {
    const holdings = make()

    for (const [file, end] of [
      [0, 9],
      [0, 6],
      [1, 5]
    ] as const)
      IoDaemonHoldings.noteWritten(holdings, file, end)

    assert.deepStrictEqual([...holdings.claims], [[0, { identity: "i", length: 9 }]])
  })

  it("remembers why a claim ended until the file is claimed again, but not of a file that was not claimed", () => {
    const holdings = make()

    IoDaemonHoldings.endClaim(holdings, 0, deleted)
    IoDaemonHoldings.endClaim(holdings, 1, deleted)
    const losses = [0, 1].map((file) => IoDaemonHoldings.lossOf(holdings, file))
    IoDaemonHoldings.claim(holdings, 0, { identity: "j", length: 0 })

    assert.deepStrictEqual(losses, [deleted, undefined])
    assert.isUndefined(IoDaemonHoldings.lossOf(holdings, 0))
  })

  it("releases only what it has reserved, with its claim", () => {
    const holdings = make()

    assert.deepStrictEqual(IoDaemonHoldings.release(holdings, [0, 2]), [0])
    assert.deepStrictEqual([[...holdings.reserved], holdings.claims.size], [[1], 0])
  })

  it("loses every file to another program, until some are reserved again", () => {
    const holdings = make()

    IoDaemonHoldings.loseAll(holdings, conflict)
    const lost = [holdings.reserved.size, holdings.claims.size, IoDaemonHoldings.lossOf(holdings, 1)]
    IoDaemonHoldings.reserve(holdings, [1])

    assert.deepStrictEqual(lost, [0, 0, conflict])
    assert.isUndefined(IoDaemonHoldings.lossOf(holdings, 1))
  })
})
