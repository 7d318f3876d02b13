import { assert, describe, it } from "@effect/vitest"
import * as Output from "../../src/cli/Output.ts"

/** A terminal that records what both streams wrote, in order. */
const terminal = (options: { readonly isTTY?: boolean; readonly environment?: Record<string, string> } = {}) => {
  const written: Array<string> = []
  const stream = { isTTY: options.isTTY ?? true, columns: 20, write: (text: string) => written.push(text) }
  const output = Output.make({ stdout: stream, stderr: stream, environment: options.environment ?? {} })
  return { output, stream, written }
}

describe("Output", () => {
  it("hides the cursor while lines are drawn, and shows it again once", () => {
    const { output, written } = terminal()

    output.draw(["one", "two"])
    output.draw(["ONE", "two"])
    output.release()
    output.release()

    assert.deepStrictEqual(written, [
      "\x1b[?25lone\x1b[K\ntwo\x1b[K\n\x1b[J",
      "\r\x1b[2AONE\x1b[K\ntwo\x1b[K\n\x1b[J",
      "\x1b[?25h"
    ])
  })

  it("writes nothing if nothing has changed", () => {
    const { output, written } = terminal()
    output.draw(["one"])
    written.length = 0

    output.draw(["one"])

    assert.deepStrictEqual(written, [])
  })

  it("prints a note above the drawn lines", () => {
    const { output, written } = terminal()
    output.draw(["one"])
    written.length = 0

    output.note("a\x1b[2J note")

    assert.deepStrictEqual(written, ["\r\x1b[1A\x1b[J", "a\ufffd[2J note\n", "one\x1b[K\n"])
  })

  it("redraws lines that a narrower window has wrapped", () => {
    const { output, stream, written } = terminal()
    output.draw(["\x1b[1mfifteen columns\x1b[0m", "ten column"])
    written.length = 0

    stream.columns = 8
    output.draw(["x", "y"])

    assert.strictEqual(written[0], "\r\x1b[4Ax\x1b[K\ny\x1b[K\n\x1b[J")
  })

  it("draws nothing without a terminal", () => {
    const { output, written } = terminal({ isTTY: false })

    output.draw(["one"])
    output.release()
    output.print(["result"])

    assert.isFalse(output.isTerminal)
    assert.deepStrictEqual(written, ["result\n"])
  })

  it.each([
    [{}, true],
    [{ NO_COLOR: "" }, true],
    [{ NO_COLOR: "1" }, false],
    [{ TERM: "dumb" }, false]
  ])("with %j has colour: %s", (environment, expected) => {
    const { output } = terminal({ environment })

    assert.strictEqual(output.style().color, expected)
  })

  it("is behind while more bytes wait than a pipe holds", () => {
    const stream = { writableLength: 65_536, write: () => {} }
    const output = Output.make({ stdout: stream, stderr: stream, environment: {} })

    const before = output.isBehind()
    stream.writableLength++

    assert.deepStrictEqual([before, output.isBehind()], [false, true])
  })

  it("fills the screen, and gives back what was on it, with notes behind it", () => {
    const { output, written } = terminal()

    output.page(["one", "two"])
    output.page(["one", "two"])
    output.note("a\x1b[2J note")
    output.page(["ONE"])
    output.release()
    output.release()

    assert.deepStrictEqual(written, [
      "\x1b[?1049h\x1b[?25l\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J",
      "\x1b[HONE\x1b[K\x1b[J",
      "\x1b[?1049l\x1b[?25h",
      "a\ufffd[2J note\n"
    ])
  })

  it("fills no screen if there is no terminal", () => {
    const { output, written } = terminal({ isTTY: false })

    output.page(["one"])
    output.release()

    assert.deepStrictEqual(written, [])
  })
})
