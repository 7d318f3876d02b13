import { assert, describe, it } from "@effect/vitest"
import * as Content from "../../scripts/bench/content.ts"
import * as Report from "../../scripts/bench/report.ts"

const run = (mebibytesPerSecond: number, user: number): Report.Run => ({ mebibytesPerSecond, user, kernel: 1 })

const batch = (rates: ReadonlyArray<number>): Report.Batch => ({
  when: "2026-01-01 00:00",
  machine: "a machine",
  versions: { piecewise: "1", aria2: "2" },
  seeder: "3",
  mebibytes: 1_024,
  runs: rates.length,
  rows: { one: { piecewise: rates.map((rate) => run(rate, 1)), aria2: [run(200, 3)] } }
})

describe("the report of benchmarks", () => {
  it("has the medians of each batch, and no column that nobody measured", () => {
    const text = Report.markdown([batch([100, 900, 400]), batch([300])])

    assert.include(text, "### One file of 1024 MiB, one seeder")
    assert.include(text, "| client | runs | MiB/s from first byte | CPU s | user | kernel |")
    assert.include(text, "| piecewise | 3 / 1 | 400 / 300 | 2.00 / 2.00 | 1.00 / 1.00 | 1.00 / 1.00 |")
  })

  it("has the ratio of piecewise to each other client", () => {
    const text = Report.markdown([batch([400]), batch([100])])

    assert.include(text, "| piecewise to | MiB/s | CPU s |")
    assert.include(text, "| aria2 | 2.00 / 0.50 | 0.50 / 0.50 |")
  })

  it("replaces what was between the marks of a document", () => {
    const document = "before\n<!-- measured -->\nold\n<!-- end of measured -->\nafter\n"

    const written = Report.insert(Report.insert(document, "one\n"), "two\n")

    assert.strictEqual(written, "before\n<!-- measured -->\n\ntwo\n\n<!-- end of measured -->\nafter\n")
  })

  it("refuses a document without marks", () => {
    assert.throws(() => Report.insert("nothing", "x"))
  })
})

describe("the content of benchmarks", () => {
  it.each([16, 512])("has 2,000 files of %s MiB together, the same each time", (mebibytes) => {
    const lengths = Content.fileLengths(mebibytes << 20)

    assert.deepStrictEqual(Content.fileLengths(mebibytes << 20), lengths)
    assert.lengthOf(lengths, 2_000)
    assert.strictEqual(
      lengths.reduce((sum, length) => sum + length, 0),
      mebibytes << 20
    )
    assert.isAtLeast(Math.min(...lengths), 0)
  })
})
