/**
 * Lays out rows in columns that fit a terminal: those of the lowest rank are shown as long as there is room, and one
 * column takes what is left. Pure.
 */
import * as TerminalText from "./TerminalText.ts"

/** A column. */
export interface Column<Row> {
  readonly title: string
  /** How wide it is, or how wide it must be at least if it takes what is left. */
  readonly width: number
  /** Whether it takes what is left, and how wide it may be then. Only one column does. */
  readonly widest?: number | undefined
  /** Columns of a higher rank are left out first. */
  readonly rank: number
  readonly align: "left" | "right"
  /** Returns the text of a cell. It must be clean, and is cut if it is wider than `width`. */
  readonly text: (row: Row, width: number) => string
  /** Adds colours to a text that fits, after it was cut. */
  readonly paint?: ((text: string, row: Row) => string) | undefined
}

/** Columns that fit, with their widths. */
export interface Layout<Row> {
  readonly columns: ReadonlyArray<{ readonly column: Column<Row>; readonly width: number }>
}

const gap = 2

/** Chooses the columns that fit in `width`, in their order. The one of the lowest rank is always there. */
export const layout = <Row>(columns: ReadonlyArray<Column<Row>>, width: number): Layout<Row> => {
  const shown = new Set<Column<Row>>()
  let used = -gap
  for (const column of [...columns].sort((one, other) => one.rank - other.rank)) {
    const more = column.width + gap
    if (shown.size > 0 && used + more > width) break
    shown.add(column)
    used += more
  }
  return {
    columns: columns
      .filter((column) => shown.has(column))
      .map((column) => {
        const left = column.widest === undefined ? 0 : Math.max(0, width - used)
        const own = Math.min(column.widest ?? column.width, column.width + left)
        return { column, width: Math.max(1, Math.min(own, width)) }
      })
  }
}

/** A layout in which each column is as wide as its widest text, for a reader that is no terminal. */
export const natural = <Row>(columns: ReadonlyArray<Column<Row>>, rows: ReadonlyArray<Row>): Layout<Row> => ({
  columns: columns.map((column) => {
    const widths = rows.map((row) => TerminalText.width(column.text(row, Number.POSITIVE_INFINITY)))
    return { column, width: widths.reduce((one, other) => Math.max(one, other), column.title.length) }
  })
})

const pad = (text: string, width: number, align: Column<never>["align"]): readonly [before: string, after: string] => {
  const spaces = " ".repeat(Math.max(0, width - TerminalText.width(text)))
  return align === "left" ? ["", spaces] : [spaces, ""]
}

/** The line with the titles. */
export const titles = <Row>({ columns }: Layout<Row>, ellipsis: string): string =>
  columns
    .map(({ column: { align, title }, width }) => {
      const text = TerminalText.fit(title, width, ellipsis)
      return pad(text, width, align).join(text)
    })
    .join(" ".repeat(gap))
    .trimEnd()

/** The line of a row. */
export const line = <Row>({ columns }: Layout<Row>, row: Row, ellipsis: string): string =>
  columns
    .map(({ column, width }, index) => {
      const text = TerminalText.fit(column.text(row, width), width, ellipsis)
      const [before, after] = pad(text, width, column.align)
      const isLast = index === columns.length - 1
      return `${before}${column.paint?.(text, row) ?? text}${isLast ? "" : after}`
    })
    .join(" ".repeat(gap))
