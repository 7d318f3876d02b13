/**
 * Where a command writes: results to standard output, notes to standard error, and on a terminal some lines that are
 * drawn again and again in place. The one owner of the cursor: while lines are drawn it is hidden, notes go above them,
 * and it comes back whatever ends the program, short of SIGKILL.
 */
import * as Util from "node:util"
import type { Style } from "./Progress.ts"
import * as TerminalText from "./TerminalText.ts"

/** A stream of the process, or a test's. */
export interface Stream {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  /** Bytes that were written and have not left the process yet. */
  readonly writableLength?: number | undefined
  readonly write: (text: string) => unknown
}

/** What it writes to, and what the user wants of it. */
export interface Options {
  readonly stdout: Stream
  readonly stderr: Stream
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Writes, in one call for each call of a function. */
export interface Output {
  /** Whether standard output is a terminal on which lines can be drawn in place. */
  readonly isTerminal: boolean
  /** How standard output looks now; a terminal changes its width. */
  readonly style: () => Style
  /** Whether standard output is read more slowly than it is written, so that what can be spared is better not written. */
  readonly isBehind: () => boolean
  /** Lines of results. What comes from strangers must be clean (`TerminalText.clean`). */
  readonly print: (lines: ReadonlyArray<string>) => void
  /** A line for whoever watches, above what is drawn; it is cleaned here. */
  readonly note: (text: string) => void
  /** Draws lines in place of those drawn before, on a terminal. They must fit (`Style.columns`). */
  readonly draw: (lines: ReadonlyArray<string>) => void
  /** Leaves what was drawn where it is and gives the cursor back. Repeating it is harmless. */
  readonly release: () => void
}

const hideCursor = "\x1b[?25l"
const showCursor = "\x1b[?25h"

/** Of a terminal that does not tell its width. */
const defaultColumns = 80

/** Bytes that wait for a reader before output is behind: as many as a pipe holds on Linux. */
const behindBytes = 65_536

const isUnicode = ({ LANG, LC_ALL, LC_CTYPE }: Options["environment"]): boolean =>
  process.platform === "win32" || /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || "")

/** Writes to these streams. */
export const make = ({ environment, stderr, stdout }: Options): Output => {
  const { NO_COLOR, TERM } = environment
  const isTerminal = stdout.isTTY === true && TERM !== "dumb"
  const sharesTerminal = isTerminal && stderr.isTTY === true
  const unicode = isUnicode(environment)
  let drawn: ReadonlyArray<string> = []
  let hidden = false

  const columns = () => stdout.columns || defaultColumns

  /**
   * Brings the cursor to the first of the drawn lines; in a window that became narrower they wrap and take more rows.
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
    // https://no-color.org: set and not empty.
    style: () => ({ columns: columns(), unicode, color: isTerminal && !NO_COLOR }),
    isBehind: () => (stdout.writableLength ?? 0) > behindBytes,
    print: (lines) => {
      if (lines.length > 0) stdout.write(`${lines.join("\n")}\n`)
    },
    note: (text) => {
      const line = `${TerminalText.clean(text)}\n`
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
    release: () => {
      drawn = []
      if (hidden) stdout.write(showCursor)
      hidden = false
    }
  }
}
