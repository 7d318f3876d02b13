/**
 * The output of a command: results on standard output, notes on standard error, and on a terminal some lines that are
 * redrawn in place, or a page that fills the screen. The only owner of the cursor and of the screen: the cursor is hidden
 * while lines are drawn, notes are printed above them, and both are as they were however the program ends, except by
 * SIGKILL.
 */
import * as Util from "node:util"
import type { Style } from "./Progress.ts"
import * as TerminalText from "./TerminalText.ts"

/** A stream of the process, or a test double. */
export interface Stream {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly rows?: number | undefined
  /** Bytes that were written and are still in the process's memory. */
  readonly writableLength?: number | undefined
  readonly write: (text: string) => unknown
}

/** The streams and environment of an output. */
export interface Options {
  readonly stdout: Stream
  readonly stderr: Stream
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Each call writes at most once to each stream. */
export interface Output {
  /** Whether standard output is a terminal, on which lines can be redrawn in place. */
  readonly isTerminal: boolean
  /** The current style of standard output. A terminal's width may change. */
  readonly style: () => Style
  /** How many lines the terminal has now. */
  readonly rows: () => number
  /**
   * Whether the reader of standard output is slower than the writer. Output that can be spared should then be skipped.
   */
  readonly isBehind: () => boolean
  /** Prints result lines. Untrusted text must be cleaned first (`TerminalText.clean`). */
  readonly print: (lines: ReadonlyArray<string>) => void
  /** Prints a line to standard error, above the drawn lines. Cleans the text. */
  readonly note: (text: string) => void
  /** On a terminal, draws lines in place of the previous ones. They must fit `Style.columns`. */
  readonly draw: (lines: ReadonlyArray<string>) => void
  /**
   * On a terminal, fills the whole screen with lines, which must fit. What was on it is back after `release`, and notes
   * are printed then. Do not mix with `draw`.
   */
  readonly page: (lines: ReadonlyArray<string>) => void
  /** Leaves the drawn lines on the terminal and shows the cursor. Can be repeated. */
  readonly release: () => void
}

const hideCursor = "\x1b[?25l"
const showCursor = "\x1b[?25h"

/** Switches to a screen without history, and back to what was shown before (xterm's 1049). */
const enterScreen = "\x1b[?1049h"
const leaveScreen = "\x1b[?1049l"

/** The size of a terminal that does not report one. */
const defaultColumns = 80
const defaultRows = 24

/** `isBehind` is true if more bytes than this wait for the reader. A pipe on Linux holds as many. */
const behindBytes = 65_536

const isUnicode = ({ LANG, LC_ALL, LC_CTYPE }: Options["environment"]): boolean =>
  process.platform === "win32" || /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || "")

/** Makes an output that writes to the given streams. */
export const make = ({ environment, stderr, stdout }: Options): Output => {
  const { NO_COLOR, TERM } = environment
  const isTerminal = stdout.isTTY === true && TERM !== "dumb"
  const sharesTerminal = isTerminal && stderr.isTTY === true
  const unicode = isUnicode(environment)
  let drawn: ReadonlyArray<string> = []
  let hidden = false
  /** What fills the screen; `undefined` if nothing does. */
  let page: string | undefined
  /** Notes that wait until the screen is as it was. */
  const waiting: Array<string> = []

  const columns = () => stdout.columns || defaultColumns

  /**
   * Moves the cursor to the first of the drawn lines. If the window has become narrower, they wrap and take more rows.
   */
  const back = (): string => {
    let rows = 0
    for (const line of drawn) {
      const width = TerminalText.width(Util.stripVTControlCharacters(line))
      rows += Math.max(1, Math.ceil(width / columns()))
    }
    return rows === 0 ? "" : `\r\x1b[${rows}A`
  }

  const picture = (): string => drawn.map((line) => `${line}\x1b[K\n`).join("")

  return {
    isTerminal,
    // https://no-color.org: set and not empty means no colour.
    style: () => ({ columns: columns(), unicode, color: isTerminal && !NO_COLOR }),
    rows: () => stdout.rows || defaultRows,
    isBehind: () => (stdout.writableLength ?? 0) > behindBytes,
    print: (lines) => {
      if (lines.length > 0) stdout.write(`${lines.join("\n")}\n`)
    },
    note: (text) => {
      const line = `${TerminalText.clean(text)}\n`
      if (page !== undefined && sharesTerminal) {
        waiting.push(line)
        return
      }
      if (drawn.length === 0 || !sharesTerminal) {
        stderr.write(line)
        return
      }
      stdout.write(`${back()}\x1b[J`)
      stderr.write(line)
      stdout.write(picture())
    },
    draw: (lines) => {
      if (!isTerminal || (lines.length === 0 && drawn.length === 0)) return
      const same = lines.length === drawn.length && lines.every((line, index) => line === drawn[index])
      if (same && hidden) return
      const start = `${hidden ? "" : hideCursor}${back()}`
      drawn = lines
      hidden = true
      stdout.write(`${start}${picture()}\x1b[J`)
    },
    page: (lines) => {
      if (!isTerminal) return
      const next = lines.map((line) => `${line}\x1b[K`).join("\r\n")
      if (next === page) return
      const start = page === undefined ? `${enterScreen}${hideCursor}` : ""
      page = next
      stdout.write(`${start}\x1b[H${next}\x1b[J`)
    },
    release: () => {
      drawn = []
      if (page !== undefined) stdout.write(`${leaveScreen}${showCursor}`)
      page = undefined
      for (const line of waiting.splice(0)) stderr.write(line)
      if (hidden) stdout.write(showCursor)
      hidden = false
    }
  }
}
