import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as TerminalText from "../../src/cli/TerminalText.ts"

/**
 * Characters that a terminal interprets, or that reorder or hide text: C0, DEL, C1, separators, bidirectional marks,
 * tags.
 */
const interpreted = /[\p{Cc}\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0001}-\u{e007f}]/u

describe("TerminalText", () => {
  it("writes JSON without a character that a terminal interprets", () => {
    const value = { "\x9bname": "a\x1b[2J\x7f\x85\x9b31m\u202egnp.\u2066x\u2028\u{e0041}\u{e0010}", plain: "é日本🎉" }

    const text = TerminalText.json(value)

    assert.notMatch(text, interpreted)
    assert.include(text, "é日本🎉")
    assert.include(text, "\\u009b31m\\u202egnp.")
    assert.deepStrictEqual(JSON.parse(text), value)
  })

  it("writes JSON that parses to the same value for any text", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: "binary" }), fc.string({ unit: "binary" })), (value) => {
        const text = TerminalText.json(value)

        assert.notMatch(text, interpreted)
        assert.deepStrictEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)))
      })
    )
  })
})
