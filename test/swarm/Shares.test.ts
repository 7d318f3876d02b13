import { assert, describe, it } from "@effect/vitest"
import * as Shares from "../../src/swarm/Shares.ts"

/** A peer with `count` of 10 pieces of 100 bytes. */
const peer = (count: number, isChoking = false) => ({
  has: { length: 10, count },
  uploads: { isChoking, pieceLength: 100 },
  uploadedBytes: 0
})

describe("Shares", () => {
  it("prefers the quarter of the unchoked peers that lacks least, if they are nearly done", () => {
    const peers = [7, 9, 0, 8, 3, 9, 7, 10, 6].map((count) => peer(count))
    const choked = peer(9, true)

    const chosen = Shares.choose(Shares.make(), [choked, ...peers])

    assert.deepStrictEqual([...chosen], [peers[1], peers[5]])
  })

  it("prefers one peer even if there are few, and nobody who is not nearly done", () => {
    const one = peer(7)

    assert.deepStrictEqual([...Shares.choose(Shares.make(), [one, peer(6)])], [one])
    assert.deepStrictEqual([...Shares.choose(Shares.make(), [peer(6)])], [])
  })

  it("does not prefer a peer that has received what it lacked and still lacks it", () => {
    const self = Shares.make<ReturnType<typeof peer>>()
    const liar = peer(8)
    const before = Shares.choose(self, [liar]).size
    liar.uploadedBytes += 200

    assert.deepStrictEqual([before, Shares.choose(self, [liar]).size], [1, 0])
  })
})
