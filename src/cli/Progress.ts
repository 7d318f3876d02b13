/**
 * How a download looks on a terminal: a pure function from its status to lines that fit. `Output.ts` draws them and
 * restores the cursor.
 */
import * as Bottleneck from "../torrent/Bottleneck.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as TerminalText from "./TerminalText.ts"
import * as Units from "./Units.ts"

/** What is shown. */
export interface View {
  readonly name: string
  readonly status: TorrentStatus
  /** The progress of checking stored pieces; `undefined` if none is running. */
  readonly checking: { readonly checkedPieces: number; readonly totalPieces: number } | undefined
  /** Whether it seeds after completion. */
  readonly seeds: boolean
  /** Seconds since the download began. */
  readonly elapsedSeconds: number
}

/** The abilities of the terminal. */
export interface Style {
  readonly columns: number
  readonly color: boolean
  /** Whether it can show more than ASCII. */
  readonly unicode: boolean
}

const codes = { bold: 1, dim: 2, inverse: 7, green: 32, yellow: 33, cyan: 36 } as const

/** A colour, or another way to stand out. */
export type Color = keyof typeof codes

/** Paints a text if the terminal shows colours. */
export const paint = (style: Style, color: Color, text: string): string =>
  style.color && text !== "" ? `\x1b[${codes[color]}m${text}\x1b[0m` : text

/** The state in words, with its colour. */
const stateOf = ({
  checking,
  elapsedSeconds,
  seeds,
  status
}: View): { readonly text: string; readonly color: Color } => {
  const { state } = status
  switch (state._tag) {
    case "Checking":
      return checking === undefined
        ? { text: "looking for stored pieces", color: "cyan" }
        : { text: `checking, ${checking.checkedPieces} of ${checking.totalPieces} pieces`, color: "cyan" }
    case "Downloading": {
      const { bottleneck } = status
      if (bottleneck._tag === "PeersSlow" || bottleneck._tag === "WebSeedsSlow" || bottleneck._tag === "Nothing")
        return { text: "downloading", color: "cyan" }
      const why = TerminalText.clean(Bottleneck.describe(bottleneck))
      if (status.connectedPeers === 0 && status.webSeeds === 0) return { text: why, color: "yellow" }
      return { text: `downloading, ${why}`, color: bottleneck._tag === "PiecesDamaged" ? "yellow" : "cyan" }
    }
    case "FetchingMetadata":
    case "FilesMissing":
    case "Paused":
    case "Stopped":
      return { text: TerminalText.clean(Bottleneck.describe(status.bottleneck)), color: "yellow" }
    case "Flushing":
      return { text: "stored, flushing to the disk", color: "cyan" }
    case "StorageFailing":
      return { text: `${TerminalText.clean(state.error.message)}; waiting`, color: "yellow" }
    case "Failed":
      return { text: TerminalText.clean(state.error.message), color: "yellow" }
    case "Complete":
      if (seeds) return { text: "seeding", color: "green" }
      return { text: `complete${averageOf(status, elapsedSeconds)}`, color: "green" }
  }
}

const averageOf = (status: TorrentStatus, seconds: number): string => {
  const fetched = status.storedBytes - status.resumedBytes
  if (fetched === 0) return ", already stored"
  const rate = seconds > 0 ? `, ${Units.bytes(fetched / seconds)}/s` : ""
  // Times under 10 s get a decimal: otherwise half a second would be shown as 0 s.
  return ` in ${seconds < 9.95 ? `${seconds.toFixed(1)} s` : Units.duration(seconds)}${rate}`
}

/** A number of a download or a seed. If there is no room for all of them, those of the lowest rank are shown. */
export interface Fact {
  readonly text: string
  readonly rank: number
}

/** The facts, in the order in which they are shown. */
const facts = ({ seeds, status }: View): ReadonlyArray<Fact> => {
  const { downloadBytesPerSecond: rate, state } = status
  const fact = (rank: number, text: string | undefined): ReadonlyArray<Fact> =>
    text === undefined ? [] : [{ text, rank }]
  const counted = (rank: number, number: number, noun: string) =>
    fact(rank, number === 0 ? undefined : Units.count(number, noun))
  const peers = [...fact(1, Units.count(status.connectedPeers, "peer")), ...counted(3, status.webSeeds, "web seed")]
  const up = `${Units.bytes(status.uploadBytesPerSecond)}/s`
  if (state._tag === "Complete" && seeds) {
    return [
      ...fact(2, `${Units.bytes(status.uploadedBytes)} uploaded`),
      ...fact(3, `ratio ${status.shareRatio.toFixed(2)}`),
      ...fact(0, up),
      ...peers,
      ...counted(4, status.unreadablePieces, "unreadable piece")
    ]
  }
  const stored = fact(
    3,
    `${Units.bytes(status.wantedBytes - status.missingBytes)} of ${Units.bytes(status.wantedBytes)}`
  )
  const damaged = status.damagedPieces.length
  const bad = [
    ...counted(5, status.rejectedPieces, "bad piece"),
    ...fact(6, damaged === 0 ? undefined : `${damaged} damaged at every source`),
    ...fact(7, status.bannedPeers === 0 ? undefined : `${Units.count(status.bannedPeers, "peer")} banned`)
  ]
  if (state._tag === "Complete" || state._tag === "Failed") return [...stored, ...bad]
  if (state._tag === "Checking") return fact(0, Units.bytes(status.totalBytes))
  // The remaining time is unknown while nothing can be stored.
  const isMoving = rate > 0 && state._tag === "Downloading"
  return [
    ...stored,
    ...fact(2, `${Units.bytes(rate)}/s`),
    ...fact(4, status.uploadBytesPerSecond > 0 ? `${up} up` : undefined),
    ...fact(0, isMoving ? `${Units.duration(Math.ceil(status.missingBytes / rate))} left` : undefined),
    ...peers,
    ...bad,
    ...fact(8, `${Units.bytes(status.bufferedBytes)} buffered`)
  ]
}

/** The stored and the total bytes of the wanted pieces. */
const fetchedOf = ({ missingBytes, wantedBytes }: TorrentStatus) => [wantedBytes - missingBytes, wantedBytes] as const

/** Joins as many facts as fit. */
export const join = (facts: ReadonlyArray<Fact>, separator: string, columns: number): string => {
  const shown = new Set<Fact>()
  const text = () => facts.flatMap((fact) => (shown.has(fact) ? fact.text : [])).join(separator)
  for (const fact of [...facts].sort((one, other) => one.rank - other.rank)) {
    shown.add(fact)
    if (TerminalText.width(text()) <= columns) continue
    shown.delete(fact)
    break
  }
  return text()
}

/** A bar of `width` columns. With Unicode it has steps of an eighth of a column. */
export const bar = (part: number, whole: number, width: number, style: Style, color: Color): string => {
  const share = whole === 0 ? 1 : Math.min(1, part / whole)
  if (!style.unicode) {
    const filled = Math.floor(share * (width - 2))
    return `[${"#".repeat(filled)}${"-".repeat(width - 2 - filled)}]`
  }
  const eighths = Math.floor(share * width * 8)
  const filled = "█".repeat(Math.floor(eighths / 8)) + ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]!
  return paint(style, color, filled) + paint(style, "dim", "░".repeat(width - filled.length))
}

/** A wider bar is not more informative. */
const maxBarWidth = 60

/**
 * The lines that show a download: always three, so that the display does not jump. Each is narrower than the terminal,
 * so that none wraps.
 */
export const render = (view: View, style: Style): ReadonlyArray<string> => {
  const columns = Math.max(1, style.columns - 1)
  const ellipsis = style.unicode ? "…" : "..."
  const separator = style.unicode ? " · " : ", "
  const { status } = view
  const state = stateOf(view)
  const name = TerminalText.clean(view.name)
  // The state may explain why nothing moves, so it takes precedence over the name.
  const stateText = TerminalText.fit(state.text, columns, ellipsis)
  const room = columns - TerminalText.width(stateText) - 2
  const nameText = room < 4 ? "" : TerminalText.fit(name, room, ellipsis)
  const head =
    nameText === ""
      ? paint(style, state.color, stateText)
      : `${paint(style, "bold", nameText)}  ${paint(style, state.color, stateText)}`

  const checking = status.state._tag === "Checking" ? view.checking : undefined
  const [part, whole] = checking === undefined ? fetchedOf(status) : [checking.checkedPieces, checking.totalPieces]
  const percent = Units.percent(part, whole).padStart(6)
  const barWidth = Math.min(maxBarWidth, columns - percent.length - 1)
  const progress =
    barWidth < 4
      ? TerminalText.fit(percent.trim(), columns, "")
      : `${bar(part, whole, barWidth, style, state.color)} ${percent}`
  return [head, progress, join(facts(view), separator, columns)]
}

/** The status in one plain line, for a log: `sample: downloading, 12.5%, 25.0 MiB of 200.0 MiB, 10.1 MiB/s, ...`. */
export const line = (view: View): string => {
  const { status } = view
  const percent = status.state._tag === "Checking" ? [] : [Units.percent(...fetchedOf(status))]
  return `${TerminalText.clean(view.name)}: ${[stateOf(view).text, ...percent, ...facts(view).map(({ text }) => text)].join(", ")}`
}
