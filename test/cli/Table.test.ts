import { assert, describe, it } from "@effect/vitest"
import * as Table from "../../src/cli/Table.ts"

type Row = readonly [name: string, size: string, state: string]

const columns: ReadonlyArray<Table.Column<Row>> = [
  { title: "name", width: 6, widest: 12, rank: 0, align: "left", text: ([name]) => name },
  { title: "size", width: 5, rank: 2, align: "right", text: ([, size]) => size },
  { title: "state", width: 6, rank: 1, align: "left", text: ([, , state]) => state, paint: (text) => `<${text}>` }
]

const row: Row = ["日本語の名前です", "1 MiB", "ok"]

const lines = (width: number): ReadonlyArray<string> => {
  const layout = Table.layout(columns, width)
  return [Table.titles(layout, "…"), Table.line(layout, row, "…")]
}

describe("Table", () => {
  it("shows all columns if there is room, and gives one the rest", () => {
    assert.deepStrictEqual(lines(24), ["name        size  state", "日本語の…  1 MiB  <ok>"])
    assert.deepStrictEqual(lines(40), ["name           size  state", "日本語の名…   1 MiB  <ok>"])
  })

  it("leaves out columns of a high rank first", () => {
    assert.deepStrictEqual(lines(20), ["name          state", "日本語の名…   <ok>"])
    assert.deepStrictEqual(lines(13), ["name", "日本語の名…"])
    assert.deepStrictEqual(lines(3), ["na…", "日…"])
  })

  it("is as wide as its texts without a terminal", () => {
    const layout = Table.natural(columns, [row, ["a", "", ""]])

    assert.deepStrictEqual(
      [Table.titles(layout, "…"), Table.line(layout, row, "…"), Table.line(layout, ["a", "", ""], "…")],
      ["name               size  state", "日本語の名前です  1 MiB  <ok>", "a                        <>"]
    )
  })
})
