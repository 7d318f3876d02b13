import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Arguments from "../../../src/cli/Arguments.ts"
import * as Commands from "../../../src/cli/Commands.ts"

const unit = path.resolve(import.meta.dirname, "../../../docs/systemd/piecewise.service")

/** Runs `systemd-analyze` with the unit. */
const analyze = (...words: ReadonlyArray<string>) => {
  const { error, status, stderr, stdout } = spawnSync("systemd-analyze", [...words, unit], { encoding: "utf8" })
  return { isMissing: error !== undefined, status, stderr, stdout }
}

/** A newcomer may have no systemd. */
const { CI } = process.env
const isLeftOut = CI === undefined && spawnSync("systemd-analyze", ["--version"]).error !== undefined

describe("the unit for systemd", () => {
  it.skipIf(isLeftOut)("is a valid one", () => {
    const { status, stderr, stdout } = analyze("verify")

    assert.deepStrictEqual([status, stderr, stdout], [0, "", ""])
  })

  // The scale goes from 0 to 10, and 1.5 is "OK". The threshold is ten times that.
  it.skipIf(isLeftOut)("exposes little", () => {
    const { status, stderr, stdout } = analyze("security", "--offline=true", "--threshold=15", "--no-pager")

    assert.strictEqual(status, 0, `${stderr}${stdout.split("\n").at(-2)}`)
  })

  it("starts a service with options that there are", () => {
    const [, start] = /^ExecStart=\/usr\/bin\/env piecewise (.*)$/m.exec(readFileSync(unit, "utf8"))!
    const [name, ...words] = start!.split(" ")
    const command = Commands.all.find((command) => command.name === name)!

    assert.deepStrictEqual(Arguments.read(command, words).operands, ["/srv/piecewise"])
  })
})
