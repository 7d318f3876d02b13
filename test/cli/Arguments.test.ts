import { assert, describe, it } from "@effect/vitest"
import * as Arguments from "../../src/cli/Arguments.ts"
import * as Commands from "../../src/cli/Commands.ts"

const download = Commands.all.find(({ name }) => name === "download")!
const verify = Commands.all.find(({ name }) => name === "verify")!

describe("Arguments", () => {
  it("reads operands and options in any order and form", () => {
    const args = Arguments.read(download, ["--peer", "a:1", "-oDIR", "x.torrent", "--peer=b:2", "--json"])

    assert.deepStrictEqual(args.operands, ["x.torrent"])
    assert.strictEqual(Arguments.get(args, "output"), "DIR")
    assert.deepStrictEqual(Arguments.all(args, "peer"), ["a:1", "b:2"])
    assert.isTrue(Arguments.has(args, "json"))
    assert.isFalse(Arguments.has(args, "quiet"))
  })

  it("takes everything after -- as an operand", () => {
    const args = Arguments.read(verify, ["--", "-x.torrent", "--json"])

    assert.deepStrictEqual(args.operands, ["-x.torrent", "--json"])
  })

  it("reads operands that repeat or may be left out", () => {
    const operand = { name: "A", about: "first" }
    const repeating: Arguments.Command = {
      name: "x",
      about: "",
      options: [],
      operands: [operand, { name: "B", about: "more", repeats: true }]
    }
    const optional = { ...repeating, operands: [operand, { ...repeating.operands[1]!, optional: true }] }

    assert.deepStrictEqual(Arguments.read(repeating, ["1", "-", "3"]).operands, ["1", "-", "3"])
    assert.deepStrictEqual(Arguments.read(optional, ["1"]).operands, ["1"])
    assert.throws(() => Arguments.read(repeating, ["1"]), "x needs B: more")
    assert.throws(() => Arguments.read(optional, []), "x needs A: first")
    assert.throws(() => Arguments.read(repeating, ["1", "2", ""]), "x needs B, but it is an empty text")
    assert.throws(() => Arguments.read(verify, ["1", "2", ""]), "verify does not accept another operand")
  })

  it("accepts a value that begins with a dash if it is joined with =", () => {
    const args = Arguments.read(download, ["x", "--output=-o"])

    assert.strictEqual(Arguments.get(args, "output"), "-o")
  })

  it.each([
    [[], "download needs TORRENT: a torrent file, or its http(s) URL"],
    [["a", "b"], "download does not accept another operand: b"],
    [["a", "--pear", "x"], "--pear is not an option of download; did you mean --peer?"],
    [["a", "-x"], "-x is not an option of download"],
    [["a", "--peer"], "--peer needs a value, HOST:PORT"],
    [["a", "-o", "--json"], "-o needs a value, DIR, but is followed by --json"],
    [["a", "--output="], "--output needs a value, DIR"],
    [["a", "--json=yes"], "--json takes no value"],
    [["a", "-o", "x", "--output", "y"], "--output is given more than once"]
  ])("refuses %j", (words, why) => {
    assert.throws(() => Arguments.read(download, words), why)
  })

  it("checks nothing else if help is requested", () => {
    const args = Arguments.read(download, ["--help"])

    assert.isTrue(Arguments.has(args, "help"))
  })

  it("names every option and operand in the help of its command", () => {
    for (const command of Commands.all) {
      const help = Commands.helpOf(command)

      for (const { name } of command.options) assert.include(help, `--${name}`)
      for (const { name } of command.operands) assert.include(help, name)
      for (const line of help.split("\n")) assert.isAtMost(line.length, 100, line)
    }
  })
})
