/** What every `PieceHasher` does, whichever library computes the digests. */
import * as Effect from "effect/Effect"
import * as Bytes from "../../base/Bytes.ts"
import { PieceHasher } from "../../hash/PieceHasher.ts"
import * as WebCryptoPieceHasher from "../../hash/provider/WebCryptoPieceHasher.ts"
import * as Assert from "./Assert.ts"
import * as Suite from "./Suite.ts"

const text = (string: string) => new TextEncoder().encode(string)

/** Bytes without a period that a wrong offset could hide behind. */
const noise = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  let state = 0x9e3779b9
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[index] = state >>> 24
  }
  return bytes
}

/** Messages and digests of FIPS 180-4, as published in NIST's examples with intermediate values. */
const vectors = [
  {
    name: "no bytes",
    message: "",
    sha1: "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  },
  {
    name: "one block",
    message: "abc",
    sha1: "a9993e364706816aba3e25717850c26c9cd0d89d",
    sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
  },
  {
    name: "two blocks",
    message: "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
    sha1: "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
    sha256: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
  },
  {
    name: "a million times a",
    message: "a".repeat(1_000_000),
    sha1: "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
    sha256: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
  }
]

/** Lengths at which implementations cut their input: SHA blocks, and slices of 1, 2 and 4 MiB. */
const lengths = [63, 64, 65, ...[1 << 20, 2 << 20, 4 << 20].flatMap((slice) => [slice - 1, slice, slice + 1])]

/** The SHA-1 as the platform computes it, in hex. */
const referenceSha1 = (bytes: Uint8Array) =>
  Effect.flatMap(WebCryptoPieceHasher.make, (hasher) => Effect.map(hasher.sha1(bytes), Bytes.toHex))

/** SHA-1 and SHA-256 as the platform computes them, in hex. */
const reference = Effect.fnUntraced(function* (bytes: Uint8Array) {
  const hasher = yield* WebCryptoPieceHasher.make
  return [Bytes.toHex(yield* hasher.sha1(bytes)), Bytes.toHex(yield* hasher.sha256(bytes))]
})

const published = vectors.map((vector) =>
  Suite.test(
    `computes the published digests of ${vector.name}`,
    Effect.gen(function* () {
      const hasher = yield* PieceHasher

      const sha1 = yield* hasher.sha1(text(vector.message))
      const sha256 = yield* hasher.sha256(text(vector.message))

      Assert.strictEqual(Bytes.toHex(sha1), vector.sha1)
      Assert.strictEqual(Bytes.toHex(sha256), vector.sha256)
    })
  )
)

/** What every hasher does. */
export const cases: ReadonlyArray<Suite.Case<PieceHasher>> = [
  ...published,

  Suite.test(
    "returns plain arrays of 20 and 32 bytes and keeps no reference to them",
    Effect.gen(function* () {
      const hasher = yield* PieceHasher

      const first = yield* hasher.sha1(text("abc"))
      const second = yield* hasher.sha256(text("abc"))
      first.fill(0)
      second.fill(0)
      const again = [yield* hasher.sha1(text("abc")), yield* hasher.sha256(text("abc"))]

      Assert.strictEqual(Object.getPrototypeOf(first), Uint8Array.prototype)
      Assert.strictEqual(Object.getPrototypeOf(second), Uint8Array.prototype)
      Assert.deepStrictEqual([first.length, second.length], [20, 32])
      Assert.deepStrictEqual(again.map(Bytes.toHex), [vectors[1]!.sha1, vectors[1]!.sha256])
    })
  ),

  Suite.test(
    "computes the same digest on either side of every slice's end",
    Effect.gen(function* () {
      const hasher = yield* PieceHasher
      const bytes = noise((4 << 20) + 1)

      for (const length of lengths) {
        const piece = bytes.subarray(0, length)

        const digests = [yield* hasher.sha1(piece), yield* hasher.sha256(piece)]

        const expected = yield* reference(piece)
        Assert.deepStrictEqual(digests.map(Bytes.toHex), expected, `${length} bytes`)
      }
    })
  ),

  Suite.test(
    "hashes the bytes of a view and none around it",
    Effect.gen(function* () {
      const hasher = yield* PieceHasher
      const bytes = noise((3 << 20) + 31)

      for (const [begin, end] of [
        [1, 4],
        [7, 16_391],
        [13, (3 << 20) + 17]
      ] as const) {
        const view = bytes.subarray(begin, end)

        const digests = [yield* hasher.sha1(view), yield* hasher.sha256(view)]

        const expected = yield* reference(bytes.slice(begin, end))
        Assert.deepStrictEqual(digests.map(Bytes.toHex), expected, `${begin} to ${end}`)
      }
    })
  ),

  Suite.test(
    "keeps concurrent pieces apart",
    Effect.gen(function* () {
      const hasher = yield* PieceHasher
      const bytes = noise(5 << 20)
      const pieces = [5 << 20, 100, 3 << 20, 1 << 20, 0, (2 << 20) + 1].map((length) => bytes.subarray(0, length))

      const digests = yield* Effect.forEach(pieces, hasher.sha1, { concurrency: "unbounded" })

      Assert.deepStrictEqual(digests.map(Bytes.toHex), yield* Effect.forEach(pieces, referenceSha1))
    })
  ),

  Suite.test(
    "continues to hash after a caller was interrupted",
    Effect.gen(function* () {
      const hasher = yield* PieceHasher
      const piece = noise(5 << 20)

      const interrupted = yield* Effect.forkChild(hasher.sha1(piece), { startImmediately: true })
      interrupted.interruptUnsafe()
      const digest = yield* hasher.sha1(piece)

      Assert.strictEqual(Bytes.toHex(digest), yield* referenceSha1(piece))
    })
  )
]
