import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as MetadataMessage from "../../../src/wire/extension/MetadataMessage.ts"
import { decodeDamaged, mutated } from "./mutations.ts"

const { pieceLength } = MetadataMessage

const bytesOf = (text: string) => Bytes.fromLatin1Unsafe(text)

const decode = (text: string) => Result.getOrThrow(MetadataMessage.decode(bytesOf(text)))

const refusal = (payload: Uint8Array) => Result.getOrThrow(Result.flip(MetadataMessage.decode(payload))).why

/** The examples of BEP 9. BEP 9 prints the reject with the type of data. */
const golden: ReadonlyArray<readonly [string, Exclude<MetadataMessage.MetadataMessage, { _tag: "Unknown" }>]> = [
  ["d8:msg_typei0e5:piecei0ee", { _tag: "Request", piece: 0 }],
  [
    "d8:msg_typei1e5:piecei0e10:total_sizei3425eexxxxxxxx",
    { _tag: "Data", piece: 0, totalSize: 3425, bytes: bytesOf("xxxxxxxx") }
  ],
  ["d8:msg_typei2e5:piecei0ee", { _tag: "Reject", piece: 0 }]
]

/** A reject of libtorrent 2.0.8 for a piece past the end, with a key that is not in BEP 9. */
const libtorrentReject = "d8:msg_typei2e5:piecei9e10:total_sizei208ee"

const piece = fc.oneof(fc.nat(2_000), fc.maxSafeInteger().map(Math.abs))

const message: fc.Arbitrary<Exclude<MetadataMessage.MetadataMessage, { _tag: "Unknown" }>> = fc.oneof(
  fc.record({ _tag: fc.constantFrom("Request" as const, "Reject" as const), piece }),
  fc.record({
    _tag: fc.constant("Data" as const),
    piece,
    totalSize: fc.maxSafeInteger().map((size) => Math.abs(size) || 1),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 200 })
  })
)

describe("MetadataMessage", () => {
  for (const [text, expected] of golden) {
    it(`reads and writes ${expected._tag} as BEP 9 does`, () => {
      assert.deepStrictEqual(decode(text), expected)
      assert.deepStrictEqual(MetadataMessage.encode(expected), bytesOf(text))
    })
  }

  it("reads the reject of libtorrent", () => {
    assert.deepStrictEqual(decode(libtorrentReject), { _tag: "Reject", piece: 9 })
  })

  it("reads what it wrote", () => {
    fc.assert(
      fc.property(message, (written) => {
        assert.deepStrictEqual(Result.getOrThrow(MetadataMessage.decode(MetadataMessage.encode(written))), written)
      })
    )
  })

  it("returns the bytes of a piece as a view", () => {
    const payload = bytesOf("d8:msg_typei1e5:piecei0e10:total_sizei8eexxxxxxxx")

    const data = Result.getOrThrow(MetadataMessage.decode(payload))

    assert.strictEqual(data._tag === "Data" && data.bytes.buffer, payload.buffer)
  })

  it("ignores types of later versions and keys that it does not know", () => {
    assert.deepStrictEqual(decode("d8:msg_typei3e5:piecei0ee"), { _tag: "Unknown" })
    assert.deepStrictEqual(decode("d8:msg_typei-1ee"), { _tag: "Unknown" })
    assert.deepStrictEqual(decode("d1:al1:be8:msg_typei0e5:piecei7ee"), { _tag: "Request", piece: 7 })
  })

  it("accepts a whole piece and not a byte more", () => {
    const header = { _tag: "Data", piece: 0, totalSize: 2 ** 30 } as const
    const exact = MetadataMessage.encode({ ...header, bytes: new Uint8Array(pieceLength) })
    const longer = MetadataMessage.encode({ ...header, bytes: new Uint8Array(pieceLength + 1) })
    const none = MetadataMessage.encode({ ...header, bytes: new Uint8Array() })

    assert.isTrue(Result.isSuccess(MetadataMessage.decode(exact)))
    assert.strictEqual(refusal(longer), "a piece of metadata of 16385 bytes")
    assert.strictEqual(refusal(none), "a piece of metadata of 0 bytes")
  })

  it.each([0, -1])("refuses a total size of %d bytes", (totalSize) => {
    const payload = bytesOf(`d8:msg_typei1e5:piecei0e10:total_sizei${totalSize}eex`)

    assert.strictEqual(refusal(payload), `metadata of a total size of ${totalSize} bytes`)
  })

  it.each([
    ["", "a metadata message that is not bencoded"],
    ["i0e", "a metadata message that is no dictionary"],
    ["d5:piecei0ee", "a metadata message without a type"],
    ["d8:msg_type1:05:piecei0ee", "a metadata message without a type"],
    ["d8:msg_typei0ee", "a metadata message without a piece"],
    ["d8:msg_typei0e5:piecei-1ee", "a metadata message without a piece"],
    ["d8:msg_typei0e5:piecei18446744073709551615ee", "a metadata message without a piece"],
    ["d8:msg_typei1e5:piecei0eex", "metadata of a total size of undefined bytes"]
  ])("refuses %s", (text, why) => {
    assert.strictEqual(refusal(bytesOf(text)), why)
  })

  it("fault 36: refuses bytes after a request and a reject", () => {
    for (const type of [0, 2]) {
      assert.strictEqual(
        refusal(bytesOf(`d8:msg_typei${type}e5:piecei0eex`)),
        "a metadata message with bytes after its end"
      )
    }
  })

  it("refuses a message that is cut at any byte, except within the bytes of a piece", () => {
    for (const [text, { _tag }] of golden) {
      const least = _tag === "Data" ? text.indexOf("ee") + 3 : text.length
      for (let length = 0; length < least; length++) {
        assert.isUndefined(decodeDamaged(MetadataMessage.decode, bytesOf(text.slice(0, length))), `${_tag}, ${length}`)
      }
    }
  })

  it("returns a message or a WireError, whatever the input, and never more than a piece", () => {
    fc.assert(
      fc.property(mutated([...golden.map(([text]) => text), libtorrentReject].map(bytesOf)), (payload) => {
        const result = decodeDamaged(MetadataMessage.decode, payload)

        if (result?._tag === "Data") assert.isTrue(MetadataMessage.isSize(result.totalSize))
        if (result !== undefined && result._tag !== "Unknown") assert.isTrue(Number.isSafeInteger(result.piece))
      }),
      { numRuns: 2_000 }
    )
  })

  it("cuts an info dict into pieces of 16 KiB", () => {
    assert.deepStrictEqual([1, 16_384, 16_385, 31_235].map(MetadataMessage.pieceCount), [1, 1, 2, 2])
    assert.strictEqual(MetadataMessage.pieceSize(31_235, 0), 16_384)
    assert.strictEqual(MetadataMessage.pieceSize(31_235, 1), 31_235 - 16_384)
    assert.isAtMost(MetadataMessage.pieceSize(31_235, 2), 0)
  })
})
