import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as PieceDigests from "../../src/storage/provider/node/PieceDigests.ts"
import { StorageError, StorageUnavailable } from "../../src/storage/Storage.ts"

const piecesOf = (geometry: PieceGeometry.PieceGeometry, ...indices: ReadonlyArray<number>) =>
  indices.map((index) => PieceGeometry.pieceIndexUnsafe(geometry, index))

/** A hasher that returns length and first byte, so that a test can see what was hashed. */
const readable = PieceHasher.of({
  sha1: (bytes) => Effect.sync(() => new TextEncoder().encode(`${bytes.length} of ${bytes[0]}`)),
  sha256: () => Effect.die("not asked for")
})

const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes)

describe("PieceDigests", () => {
  it.effect("reads neighbouring small pieces together, and starts again after a gap", () =>
    Effect.gen(function* () {
      const geometry = PieceGeometry.make({ totalLength: 100, pieceLength: 8 })
      const reads: Array<readonly [number, number]> = []
      const digests = PieceDigests.make({
        geometry,
        hasher: readable,
        pieces: piecesOf(geometry, 3, 4, 5, 9, 12, 11),
        read: (begin, into) =>
          Effect.sync(() => {
            reads.push([begin, into.length])
            for (let at = 0; at < into.length; at++) into[at] = (begin + at) / 8
            return []
          })
      })

      const seen = yield* Stream.runCollect(digests)

      assert.deepStrictEqual(reads, [
        [24, 24],
        [72, 8],
        [96, 4],
        [88, 8]
      ])
      assert.deepStrictEqual(
        seen.map(({ sha1 }) => text(sha1)),
        ["8 of 3", "8 of 4", "8 of 5", "8 of 9", "4 of 12", "8 of 11"]
      )
    })
  )

  it("fault 74: takes no more memory than two copies of a small torrent", () => {
    const small = PieceGeometry.make({ totalLength: 20_000, pieceLength: 16_384 })
    const large = PieceGeometry.make({ totalLength: 1 << 30, pieceLength: 16_384 })

    assert.strictEqual(PieceDigests.memoryOf(small, readable), 40_000)
    assert.strictEqual(PieceDigests.memoryOf(large, readable), 2 * PieceDigests.readLength)
  })

  it("takes a buffer for each digest that the hasher works on, within twice what is read ahead", () => {
    const hasher = { ...readable, atOnce: 3 }
    const bytesOf = (pieceLength: number) =>
      PieceDigests.memoryOf(PieceGeometry.make({ totalLength: 1 << 30, pieceLength }), hasher)

    assert.deepStrictEqual(
      [1, 4, 8, 16].map((size) => bytesOf(size << 20) / (size << 20)),
      [4, 4, 2, 1]
    )
  })

  it.effect("begins as many digests as the hasher works on, and returns them in order", () =>
    Effect.gen(function* () {
      const pieceLength = PieceDigests.readLength
      const geometry = PieceGeometry.make({ totalLength: pieceLength * 7, pieceLength })
      const pieces = piecesOf(geometry, 0, 1, 2, 3, 4, 5, 6)
      let digesting = 0
      const most = { digests: 0 }
      const hasher = PieceHasher.of({
        ...readable,
        atOnce: 3,
        sha1: (bytes) =>
          Effect.gen(function* () {
            const first = bytes[0]!
            most.digests = Math.max(most.digests, ++digesting)
            // The first ones take longest.
            for (let turn = 7 - first; turn > 0; turn--) yield* Effect.yieldNow
            digesting--
            assert.strictEqual(bytes[0], first)
            return Uint8Array.of(first)
          })
      })
      const read = (begin: number, into: Uint8Array) =>
        Effect.sync(() => void into.fill(begin / pieceLength)).pipe(Effect.as([]))

      const seen = yield* Stream.runCollect(PieceDigests.make({ geometry, hasher, pieces, read }))

      assert.deepStrictEqual(
        seen.map(({ piece, sha1 }) => [Number(piece), sha1?.[0]]),
        pieces.map((piece) => [Number(piece), Number(piece)])
      )
      assert.strictEqual(most.digests, 3)
    })
  )

  for (const atOnce of [1, 3]) {
    it.effect(`returns the digests of what was read before a read that fails, ${atOnce} at once`, () =>
      Effect.gen(function* () {
        const pieceLength = PieceDigests.readLength
        const geometry = PieceGeometry.make({ totalLength: pieceLength * 7, pieceLength })
        const failure = StorageError.of("read", [
          new StorageUnavailable({ path: "a", why: "the disk reports an error" })
        ])
        const seen: Array<number> = []
        const digests = PieceDigests.make({
          geometry,
          hasher: { ...readable, atOnce },
          pieces: piecesOf(geometry, 0, 1, 2, 3, 4, 5, 6),
          read: (begin) => (begin === 2 * pieceLength ? Effect.fail(failure) : Effect.succeed([]))
        })

        const error = yield* Effect.flip(Stream.runForEach(digests, ({ piece }) => Effect.sync(() => seen.push(piece))))

        assert.strictEqual(error, failure)
        assert.deepStrictEqual(seen, [0, 1])
      })
    )
  }

  it.effect("reads no more at once than its buffer holds", () =>
    Effect.gen(function* () {
      const pieceLength = PieceDigests.readLength / 4
      const geometry = PieceGeometry.make({ totalLength: pieceLength * 9, pieceLength })
      const reads: Array<number> = []
      const digests = PieceDigests.make({
        geometry,
        hasher: readable,
        pieces: piecesOf(geometry, 0, 1, 2, 3, 4, 5, 6, 7, 8),
        read: (_, into) =>
          Effect.sync(() => {
            reads.push(into.length / pieceLength)
            return []
          })
      })

      yield* Stream.runDrain(digests)

      assert.deepStrictEqual(reads, [4, 4, 1])
    })
  )

  it.effect("returns no digest for exactly the pieces that a missing range touches", () =>
    Effect.gen(function* () {
      const geometry = PieceGeometry.make({ totalLength: 40, pieceLength: 8 })
      const digests = PieceDigests.make({
        geometry,
        hasher: readable,
        pieces: piecesOf(geometry, 0, 1, 2, 3, 4),
        read: () => Effect.succeed([{ begin: 15, end: 24 }])
      })

      const seen = yield* Stream.runCollect(digests)

      assert.deepStrictEqual(
        seen.map(({ sha1 }) => sha1 !== undefined),
        [true, false, false, true, true]
      )
    })
  )

  it.effect("does not read what is known to be missing, and keeps the order", () =>
    Effect.gen(function* () {
      const pieceLength = PieceDigests.readLength
      const geometry = PieceGeometry.make({ totalLength: pieceLength * 10_000, pieceLength })
      const reads: Array<number> = []
      const digests = PieceDigests.make({
        geometry,
        hasher: readable,
        pieces: piecesOf(geometry, ...Array.from({ length: geometry.pieceCount }, (_, index) => index)),
        read: (begin) =>
          Effect.sync(() => {
            reads.push(begin / pieceLength)
            // One file ends in its first piece, and another one begins in the last but one.
            return begin > 0 ? [] : [{ begin: 5, end: pieceLength * 9_998 }]
          })
      })

      const seen = yield* Stream.runCollect(digests)

      assert.deepStrictEqual(reads, [0, 9_998, 9_999])
      assert.deepStrictEqual(
        seen.map(({ piece }) => Number(piece)),
        Array.from({ length: geometry.pieceCount }, (_, index) => index)
      )
      assert.isTrue(seen.every(({ piece, sha1 }) => (sha1 !== undefined) === piece >= 9_998))
    })
  )

  it.effect("fills one buffer while the other is hashed, and never the one that is", () =>
    Effect.gen(function* () {
      const pieceLength = PieceDigests.readLength
      const geometry = PieceGeometry.make({ totalLength: pieceLength * 5, pieceLength })
      const steps: Array<string> = []
      const memory = new Set<ArrayBufferLike>()
      let hashing: ArrayBufferLike | undefined
      const digests = PieceDigests.make({
        geometry,
        hasher: PieceHasher.of({
          ...readable,
          sha1: (bytes) =>
            Effect.gen(function* () {
              hashing = bytes.buffer
              steps.push(`hash ${bytes[0]}`)
              yield* Effect.yieldNow
              hashing = undefined
              return bytes.slice(0, 1)
            })
        }),
        pieces: piecesOf(geometry, 0, 1, 2, 3, 4),
        read: (begin, into) =>
          Effect.sync(() => {
            assert.notStrictEqual(into.buffer, hashing)
            memory.add(into.buffer)
            into[0] = begin / pieceLength
            steps.push(`read ${into[0]}`)
            return []
          })
      })

      const seen = yield* Stream.runCollect(digests)

      assert.deepStrictEqual(
        seen.map(({ sha1 }) => sha1![0]),
        [0, 1, 2, 3, 4]
      )
      assert.deepStrictEqual(steps.slice(0, 5), ["read 0", "read 1", "hash 0", "read 2", "hash 1"])
      assert.strictEqual(memory.size, 2)
    })
  )

  it.effect("fails when a read fails", () =>
    Effect.gen(function* () {
      const geometry = PieceGeometry.make({ totalLength: 8, pieceLength: 8 })
      const error = StorageError.of("digest", [new StorageUnavailable({ path: "f", why: "the disk is gone" })])
      const digests = PieceDigests.make({
        geometry,
        hasher: readable,
        pieces: piecesOf(geometry, 0),
        read: () => Effect.fail(error)
      })

      const failed = yield* Effect.flip(Stream.runDrain(digests))

      assert.strictEqual(failed, error)
    })
  )
})
