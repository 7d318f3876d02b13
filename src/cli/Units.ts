/**
 * Formats and parses sizes and times for people. Sizes use powers of 1024, like piece lengths.
 */

/** The unit for each power of 1024. */
const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]

/** Formats a size: `0 B`, `16.0 KiB`, `1.2 GiB`. */
export const bytes = (count: number): string => {
  let unit = 0
  let value = Math.max(0, count)
  // A value that would be shown as 1024.0 becomes 1.0 of the next unit.
  while (unit < names.length - 1 && value >= (unit === 0 ? 1_024 : 1_023.95)) {
    value /= 1_024
    unit++
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${names[unit]}`
}

/** Formats a part of a whole in steps of 0.1, rounded down, so that `100.0%` means all of it. */
export const percent = (part: number, whole: number): string =>
  `${(whole === 0 ? 100 : Math.floor((Math.min(part, whole) / whole) * 1_000) / 10).toFixed(1)}%`

/** The longest time that is shown. */
const maxShownDays = 9_999

/** Formats a time: `7 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. A longer one than `maxShownDays` is `over 9999 d`. */
export const duration = (seconds: number): string => {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  if (whole < 86_400) return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`
  if (!(whole <= maxShownDays * 86_400)) return `over ${maxShownDays} d`
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3_600)} h`
}

/** Formats a number with its noun: `1 piece`, `2 pieces`. */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`

const factors: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1_024,
  kib: 1_024,
  m: 1_048_576,
  mib: 1_048_576,
  g: 1_073_741_824,
  gib: 1_073_741_824,
  kb: 1_000,
  mb: 1_000_000,
  gb: 1_000_000_000
}

/** Parses a number of bytes, which may have decimals. */
const readBytes = (text: string): number | undefined => {
  const match = /^\s*(\d+(?:\.\d+)?)(?:\s*([a-z]{1,3}))?\s*$/i.exec(text)
  const factor = match === null ? undefined : factors[(match[2] ?? "").toLowerCase()]
  return match === null || factor === undefined ? undefined : Number(match[1]) * factor
}

/**
 * Parses a size: `65536`, `256KiB`, `1.5 MiB`, `1M`; `kB`, `MB` and `GB` are powers of 1000. `undefined` if it is not a
 * size.
 */
export const parseBytes = (text: string): number | undefined => {
  const size = readBytes(text)
  return Number.isSafeInteger(size) ? size : undefined
}

/** Parses bytes per second: a size, with or without `/s`. `undefined` if it is not a rate, or 0. */
export const parseRate = (text: string): number | undefined => {
  const rate = Math.round(readBytes(text.replace(/\/s\s*$/i, "")) ?? 0)
  return rate > 0 && Number.isSafeInteger(rate) ? rate : undefined
}

const unitMillis: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * Parses a time to milliseconds: `90s`, `30m`, `1.5h`, `7d`. `undefined` if it is not a time, or longer than a number
 * can tell to the millisecond.
 */
export const parseDuration = (text: string): number | undefined => {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([smhd])\s*$/.exec(text)
  const millis = match === null ? undefined : Math.round(Number(match[1]) * unitMillis[match[2]!]!)
  return Number.isSafeInteger(millis) ? millis : undefined
}

/** Formats indices as ranges: `0, 3-5, 9`. Shows the first 20 ranges. */
export const ranges = (indices: ReadonlyArray<number>): string => {
  const found: Array<string> = []
  for (let at = 0; at < indices.length; ) {
    let end = at
    while (end + 1 < indices.length && indices[end + 1] === indices[end]! + 1) end++
    if (found.length === 20) return `${found.join(", ")}, ...`
    found.push(end === at ? `${indices[at]}` : `${indices[at]}-${indices[end]}`)
    at = end + 1
  }
  return found.join(", ")
}
