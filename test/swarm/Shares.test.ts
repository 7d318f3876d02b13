import { assert, describe, it } from "@effect/vitest"
import { blockLength } from "../../src/base/PieceGeometry.ts"
import * as Shares from "../../src/swarm/Shares.ts"

const pieceLength = 65_536

/** A peer with `count` of 10 pieces, of which we sent it `sent`. */
const peer = (count: number, { isChoking = false, sent = 10 } = {}) => ({
  has: { length: 10, count },
  uploads: { isChoking, pieceLength },
  uploadedBytes: sent * pieceLength
})

const chosen = (peers: Array<ReturnType<typeof peer>>) => [...Shares.choose(Shares.make(), peers).keys()]

/** The bytes that a seed sends a liar, as a multiple of what it sends each of nine others. */
const shareOfLiar = (claim: number, secondsPerConnection: number): number => {
  const shares = Shares.make()
  const connect = (part: number) => ({
    has: { length: 100, count: part * 100 },
    uploads: { isChoking: false, pieceLength: 262_144 },
    uploadedBytes: 0,
    /** As `RateLimiter.ts` shares a limit. */
    served: 0,
    weight: 1,
    end: 0
  })
  let liar = connect(claim)
  const others = Array.from({ length: 9 }, () => connect(0))
  let received = 0
  for (let second = 0; second < 600; second++) {
    if (second % secondsPerConnection === 0)
      liar = { ...connect(claim), served: Math.min(...others.map((one) => one.served)) }
    const peers = [liar, ...others]
    const preferred = Shares.choose(shares, peers)
    for (const one of peers) {
      one.weight = preferred.has(one) ? Shares.largerWeight : 1
      one.end = one.uploadedBytes + (preferred.get(one) ?? 0)
    }
    for (let block = 0; block < 20; block++) {
      const next = peers.reduce((least, one) => (one.served < least.served ? one : least))
      next.uploadedBytes += blockLength
      next.served += blockLength / next.weight
      if (next.uploadedBytes >= next.end) next.weight = 1
      if (next === liar) received += blockLength
    }
  }
  return received / (others.reduce((sum, { uploadedBytes }) => sum + uploadedBytes, 0) / others.length)
}

describe("Shares", () => {
  it("prefers the quarter of the unchoked peers that lacks least, if they are nearly done", () => {
    const peers = [7, 9, 0, 8, 3, 9, 7, 10, 6].map((count) => peer(count))
    const choked = peer(9, { isChoking: true })

    assert.deepStrictEqual(chosen([choked, ...peers]), [peers[1], peers[5]])
  })

  it("prefers one peer even if there are few, and nobody who is not nearly done", () => {
    const one = peer(7)

    assert.deepStrictEqual(chosen([one, peer(6)]), [one])
    assert.deepStrictEqual(chosen([peer(6)]), [])
  })

  it("prefers a peer for what it lacks if we sent it the rest, and nobody to whom we sent nothing", () => {
    const bytes = (sent: number) => [...Shares.choose(Shares.make(), [peer(7, { sent })]).values()]

    assert.isAtLeast(bytes(7)[0]!, 3 * pieceLength - 2 * blockLength - 1)
    assert.deepStrictEqual([bytes(20), bytes(0)], [[3 * pieceLength], []])
  })

  it("does not prefer a peer that has received what it lacked and still lacks it", () => {
    const self = Shares.make<ReturnType<typeof peer>>()
    const liar = peer(8)
    const before = Shares.choose(self, [liar]).size
    liar.uploadedBytes += 2 * pieceLength

    assert.deepStrictEqual([before, Shares.choose(self, [liar]).size], [1, 0])
  })

  it("gives a liar at most 1.5 times as much as others, however often it connects again", () => {
    for (const claim of [0.7, 0.9, 0.99]) {
      for (const seconds of [1, 2, 3, 5, 10, 30, 100, 600]) {
        assert.isAtMost(shareOfLiar(claim, seconds), 1.5, `${claim} for ${seconds} s`)
      }
    }
  })
})
