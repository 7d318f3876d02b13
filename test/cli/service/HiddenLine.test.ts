import { assert, describe, it } from "@effect/vitest"
import * as HiddenLine from "../../../src/cli/service/HiddenLine.ts"

/** What is typed in several pieces. */
const typed = (...pieces: ReadonlyArray<string>) => pieces.reduce(HiddenLine.type, HiddenLine.empty)

describe("HiddenLine", () => {
  it("is what was typed until the line ends", () => {
    assert.deepStrictEqual(typed("sec", "ret"), { text: "secret", end: "none" })
    assert.deepStrictEqual(typed("sec", "ret\rmore"), { text: "secret", end: "done" })
    assert.deepStrictEqual(typed("secret\n"), { text: "secret", end: "done" })
  })

  it("can be corrected", () => {
    assert.deepStrictEqual(typed("x", "\x7f\x7f", "s🔒\x7fx\r"), { text: "sx", end: "done" })
    assert.deepStrictEqual(typed("wrong\x15right\r"), { text: "right", end: "done" })
  })

  it("has no keys that are no characters", () => {
    assert.deepStrictEqual(typed("\x1b[200~pasted\x1b[201~\x1b[A\x1bOB\t\r"), { text: "pasted", end: "done" })
  })

  it("ends without a text by Ctrl-D and Ctrl-C", () => {
    assert.strictEqual(typed("abc\x04").end, "cancelled")
    assert.strictEqual(typed("abc\x03def").end, "interrupt")
  })
})
