/**
 * A line of small bars that shows how a number went. Pure.
 */

const bars = { unicode: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"], ascii: [".", ":", "-", "=", "+", "*", "%", "#"] }

/** What is drawn. */
export interface Options {
  /** The last samples, the newest one at the end. */
  readonly samples: ReadonlyArray<number>
  /** How many samples there were in all: bars that stand for several samples keep theirs when new ones come. */
  readonly total: number
  /** How many samples the whole line stands for. */
  readonly span: number
  readonly width: number
  readonly unicode: boolean
}

/** The line, `width` columns wide. The highest bar is the largest average of a bar; 0 is the lowest. */
export const render = ({ samples, span, total, unicode, width }: Options): string => {
  const each = Math.max(1, Math.ceil(span / width))
  const last = Math.floor(Math.max(0, total - 1) / each)
  const averages: Array<number | undefined> = Array.from({ length: width }, (_, column) => {
    const bar = last - (width - 1 - column)
    const begin = Math.max(0, bar * each - (total - samples.length))
    const end = (bar + 1) * each - (total - samples.length)
    const taken = end <= 0 ? [] : samples.slice(begin, end)
    return taken.length === 0 ? undefined : taken.reduce((sum, sample) => sum + sample, 0) / taken.length
  })
  const highest = averages.reduce<number>((most, average) => Math.max(most, average ?? 0), 0)
  const shapes = unicode ? bars.unicode : bars.ascii
  return averages
    .map((average) => {
      if (average === undefined) return " "
      return shapes[highest === 0 ? 0 : Math.round((average / highest) * (shapes.length - 1))]!
    })
    .join("")
}
