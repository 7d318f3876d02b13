import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as AllowedFast from "../../src/peer/AllowedFast.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const infoHash = InfoHash.fromBytes(new Uint8Array(20).fill(0xaa))!

/** Two or three digests of 24 bytes do not suspend. */
const setOf = (options: Partial<AllowedFast.Options>) =>
  Effect.runSync(
    AllowedFast.make({ infoHash, pieceCount: 1313, host: "80.4.4.200", ...options }).pipe(
      Effect.provide(NodePieceHasher.layer)
    )
  ).map(Number)

describe("AllowedFast", () => {
  it("computes the examples of BEP 6", () => {
    assert.deepStrictEqual(setOf({ size: 7 }), [1059, 431, 808, 1217, 287, 376, 1188])
    assert.deepStrictEqual(setOf({ size: 9 }), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508])
  })

  it("has ten pieces", () => {
    assert.strictEqual(setOf({}).length, 10)
    assert.deepStrictEqual(setOf({}).slice(0, 9), setOf({ size: 9 }))
  })

  it("is the same for a whole network of 256 addresses, and differs outside of it", () => {
    assert.deepStrictEqual(setOf({ host: "80.4.4.1" }), setOf({}))
    assert.notDeepEqual(setOf({ host: "80.4.5.200" }), setOf({}))
  })

  it("is the same for the whole /64 of an IPv6 customer, and differs outside of it", () => {
    const set = setOf({ host: "2001:db8:1:2::1" })

    assert.strictEqual(new Set(set).size, 10)
    assert.deepStrictEqual(setOf({ host: "2001:db8:1:2:ffff::9" }), set)
    assert.deepStrictEqual(setOf({ host: "fe80::1%eth0" }), setOf({ host: "fe80::2" }))
    assert.notDeepEqual(setOf({ host: "2001:db8:1:3::1" }), set)
  })

  it("is every piece of a torrent that has no more", () => {
    assert.deepStrictEqual(setOf({ pieceCount: 1 }), [0])
    assert.deepStrictEqual(setOf({ pieceCount: 10 }), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert.strictEqual(setOf({ pieceCount: 11 }).length, 10)
  })

  it("is empty for a host name", () => {
    assert.deepStrictEqual(setOf({ host: "peer.example" }), [])
  })

  it("holds different pieces of the torrent, as many as were asked for", () => {
    fc.assert(
      fc.property(
        Values.peerAddress,
        Values.infoHash,
        fc.integer({ min: 1, max: 3_000 }),
        fc.nat(20),
        (peer, hash, pieceCount, size) => {
          const set = setOf({ host: peer.host, infoHash: hash, pieceCount, size })

          assert.strictEqual(new Set(set).size, Math.min(size, pieceCount))
          assert.strictEqual(set.length, Math.min(size, pieceCount))
          for (const piece of set) assert.isTrue(Number.isInteger(piece) && piece >= 0 && piece < pieceCount)
        }
      )
    )
  })
})
