import { assert, describe, it } from "@effect/vitest"
import * as Keyboard from "../../../src/cli/service/Keyboard.ts"

describe("Keyboard", () => {
  it("reads keys, and several at once", () => {
    assert.deepStrictEqual(Keyboard.parse("jk\x1b[A\x1b[B\x1bOA\x1b[5~\x1b[6~\x1b[H\x1b[Fp q\x03\x1a"), [
      "down",
      "up",
      "up",
      "down",
      "up",
      "pageUp",
      "pageDown",
      "home",
      "end",
      "toggle",
      "toggle",
      "quit",
      "interrupt",
      "stop"
    ])
  })

  it("leaves out what means nothing", () => {
    assert.deepStrictEqual(Keyboard.parse("x\x1b[1;5C\x1b[19~é🎬\nconstructor\x1b"), [])
  })
})
