import * as Crypto from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as fc from "fast-check"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as Arbitrary from "../../src/testing/arbitrary/Metainfo.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

const make = (options: KnownTorrent.Options) => Effect.provide(KnownTorrent.make(options), WebCryptoPieceHasher.layer)

const piecesOf = ({ content, metainfo }: KnownTorrent.KnownTorrent) =>
  Array.from({ length: metainfo.layout.geometry.pieceCount }, (_, index) =>
    content(PieceGeometry.pieceIndexUnsafe(metainfo.layout.geometry, index))
  )

describe("KnownTorrent", () => {
  it("has pieces with the digests of its metainfo, and files that consist of these pieces", () =>
    fc.assert(
      fc.asyncProperty(Arbitrary.knownTorrent, async (plan) => {
        const known = await Effect.runPromise(make(plan))

        const pieces = piecesOf(known)

        const digests = Buffer.concat(pieces.map((piece) => Crypto.createHash("sha1").update(piece).digest()))
        assert.isTrue(digests.equals(known.metainfo.pieceDigests))
        const files = known.metainfo.layout.files.map((_, file) => known.fileContent(file))
        assert.isTrue(Buffer.concat(files).equals(Buffer.concat(pieces)))
      }),
      { numRuns: 30 }
    ))

  it.effect("makes the same torrent from the same seed, and another one from another seed", () =>
    Effect.gen(function* () {
      const plan = { files: [{ path: ["a"], length: 50_000 }], pieceLength: 16_384 }

      const [first, again, other] = yield* Effect.all([
        make({ ...plan, seed: 3 }),
        make({ ...plan, seed: 3 }),
        make(plan)
      ])

      assert.deepStrictEqual(first.bytes, again.bytes)
      assert.notDeepEqual(first.metainfo.infoHash, other.metainfo.infoHash)
      assert.deepStrictEqual(yield* Metainfo.fromBytes(first.bytes), first.metainfo)
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )

  it("makes the same noise wherever a read begins", () => {
    const whole = new Uint8Array(64)
    KnownTorrent.fill(whole, 1_000, 5)

    for (let begin = 0; begin < 60; begin++) {
      const part = new Uint8Array(4)
      KnownTorrent.fill(part, 1_000 + begin, 5)
      assert.deepStrictEqual(part, whole.slice(begin, begin + 4))
    }
  })

  it.effect("has no two equal pieces, so that a piece in the wrong place is noticed", () =>
    Effect.gen(function* () {
      const known = yield* make({ files: [{ path: [], length: 64 * 256 }], pieceLength: 64 })

      assert.strictEqual(new Set(piecesOf(known).map((piece) => piece.join())).size, 256)
    })
  )

  it.effect("is made of a torrent and the bytes of its files, and refuses other bytes", () =>
    Effect.gen(function* () {
      const known = yield* make({
        files: [
          { path: ["a"], length: 100 },
          { path: [".pad", "28"], length: 28, padding: true },
          { path: ["b"], length: 50 }
        ],
        pieceLength: 64
      })
      const content = Uint8Array.from(Buffer.concat(piecesOf(known)))

      const own = yield* KnownTorrent.fromContent(known.bytes, content)
      content[149]! ^= 1
      const exit = yield* Effect.exit(KnownTorrent.fromContent(known.bytes, content))

      assert.deepStrictEqual(piecesOf(own), piecesOf(known))
      assert.deepStrictEqual([own.fileContent(0), own.fileContent(2)], [known.fileContent(0), known.fileContent(2)])
      assert.deepStrictEqual(exit, Exit.die(new Error("the bytes of piece 2 do not have the digest of the torrent")))
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )
})
