import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as Bencode from "../../src/bencode/Bencode.ts"
import * as BencodeSpan from "../../src/bencode/BencodeSpan.ts"

const find = (text: string) => {
  const span = BencodeSpan.find(Bytes.fromLatin1Unsafe(text), "info")
  return span === undefined ? undefined : Bytes.toLatin1(span, 0, span.length)
}

describe("BencodeSpan.find", () => {
  it("finds the value of a key of the root, and the first of several", () => {
    assert.strictEqual(find("d1:ai1e4:infod4:infoi2eee"), "d4:infoi2ee")
    assert.strictEqual(find("d1:ad4:infoi1ee4:infoi-2ee"), "i-2e")
    assert.strictEqual(find("d4:infole4:infoi2ee"), "le")
    assert.strictEqual(find("d1:a4:info4:info0:e"), "0:")
    assert.strictEqual(find("d4:info3:abcthe rest is not read"), "3:abc")
  })

  it("finds nothing in what is damaged or has no such key", () => {
    const texts = [
      "",
      "d",
      "de",
      "4:info",
      "l4:infoi1ee",
      "d4:infoe",
      "d4:info",
      "d4:info9:abce",
      "d4:infoi1",
      "d5:infoxi1ee"
    ]
    for (const text of [...texts, "d4:infodd", "d4:info:e", "d4:infoxe", `d4:info${"9".repeat(40)}:e`]) {
      assert.isUndefined(find(text), text)
    }
  })

  it("fault 77: builds nothing, however many values there are", () => {
    assert.strictEqual(find(`d1:al${"le".repeat(1_000_000)}e4:infoi1ee`), "i1e")
    assert.isUndefined(find("l".repeat(1_000_000)))
  })

  it("law: finds what the decoder finds", () => {
    const { value } = fc.letrec<{ value: Bencode.Encodable }>((tie) => ({
      value: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        fc.integer(),
        fc.string(),
        fc.array(tie("value")),
        fc.dictionary(fc.constantFrom("info", "a", "inf", "z"), tie("value"))
      )
    }))
    fc.assert(
      fc.property(value, (value) => {
        const bytes = Bencode.encode(value)
        const { spans } = Result.getOrThrow(Bencode.decode(bytes))
        assert.deepStrictEqual(BencodeSpan.find(bytes, "info"), spans.get("info"))
      })
    )
  })
})
