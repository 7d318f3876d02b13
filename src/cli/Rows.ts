/**
 * Lines of names with their values, in which the values are aligned.
 */
import * as TerminalText from "./TerminalText.ts"

/** A row. Each value of a row has a line, and the name is shown in the first of them. */
export type Row = readonly [name: string, values: ReadonlyArray<string | undefined>]

/** Formats rows. Leaves out rows without a value, and cleans the values. */
export const lines = (rows: ReadonlyArray<Row>): ReadonlyArray<string> => {
  const known = rows.map(([name, values]) => ({ name, values: values.filter((value) => value !== undefined) }))
  const width = Math.max(...known.map(({ name, values }) => (values.length > 0 ? name.length : 0)))
  return known.flatMap(({ name, values }) =>
    values.map((value, index) => `${(index === 0 ? name : "").padEnd(width)}  ${TerminalText.clean(value)}`)
  )
}
