import { assert, describe, it } from "@effect/vitest"
import * as Units from "../../src/cli/Units.ts"

describe("Units", () => {
  it.each([
    [0, "0 B"],
    [1_023, "1023 B"],
    [1_024, "1.0 KiB"],
    [1_048_575, "1.0 MiB"],
    [1_610_612_736, "1.5 GiB"],
    [2 ** 53, "8.0 PiB"]
  ])("writes %d bytes as %s", (count, expected) => {
    assert.strictEqual(Units.bytes(count), expected)
  })

  it.each([
    [0.4, "0 s"],
    [59.4, "59 s"],
    [59.6, "1 min 0 s"],
    [3_599, "59 min 59 s"],
    [7_500, "2 h 5 min"],
    [273_600, "3 d 4 h"],
    [9_999 * 86_400, "9999 d 0 h"],
    [9_999 * 86_400 + 1, "over 9999 d"],
    [Number.POSITIVE_INFINITY, "over 9999 d"]
  ])("writes %d seconds as %s", (seconds, expected) => {
    assert.strictEqual(Units.duration(seconds), expected)
  })

  it.each([
    ["65536", 65_536],
    ["16KiB", 16_384],
    ["1 MiB", 1_048_576],
    ["1.5m", 1_572_864],
    ["2G", 2_147_483_648],
    ["1kB", 1_000],
    ["", undefined],
    ["-1", undefined],
    ["1.2", undefined],
    ["1e3", undefined],
    ["9PiB", undefined],
    ["99999999999999999", undefined]
  ])("reads %s as %d bytes", (text, expected) => {
    assert.strictEqual(Units.parseBytes(text), expected)
  })

  it.each([
    ["500KiB", 512_000],
    ["2 MiB/s", 2_097_152],
    ["100", 100],
    ["1.1MiB", 1_153_434],
    ["0.3 B", undefined],
    ["0", undefined],
    ["/s", undefined],
    ["2MiB/h", undefined]
  ])("reads %s as %d bytes per second", (text, expected) => {
    assert.strictEqual(Units.parseRate(text), expected)
  })

  it.each([
    ["90s", 90_000],
    ["30m", 1_800_000],
    ["1.5 h", 5_400_000],
    ["7d", 604_800_000],
    ["0s", 0],
    ["30", undefined],
    ["-1h", undefined],
    ["1h30m", undefined],
    [`${"9".repeat(310)}s`, undefined],
    ["99999999999999999999d", undefined]
  ])("reads %s as %d milliseconds", (text, expected) => {
    assert.strictEqual(Units.parseDuration(text), expected)
  })

  it("rounds percentages down, so that only the whole is 100%", () => {
    assert.deepStrictEqual(
      [Units.percent(0, 3), Units.percent(2, 3), Units.percent(999_999, 1_000_000), Units.percent(3, 3)],
      ["0.0%", "66.6%", "99.9%", "100.0%"]
    )
  })

  it("writes indices as ranges, and not more than 20 of them", () => {
    const many = Array.from({ length: 50 }, (_, index) => index * 2)

    assert.strictEqual(Units.ranges([0, 3, 4, 5, 9]), "0, 3-5, 9")
    assert.match(Units.ranges(many), /^0, 2, .*38, \.\.\.$/)
  })
})
