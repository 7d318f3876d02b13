/**
 * How `watch` looks: a pure function from what it knows to lines that fit the terminal.
 */
import type { ServiceStatus } from "../../control/api/ServiceApi.ts"
import * as TorrentModel from "../../control/api/TorrentModel.ts"
import * as Progress from "../Progress.ts"
import * as Sparkline from "../Sparkline.ts"
import * as Table from "../Table.ts"
import * as TerminalText from "../TerminalText.ts"
import * as Units from "../Units.ts"
import * as TorrentColumns from "./TorrentColumns.ts"
import * as TorrentWords from "./TorrentWords.ts"
import * as WatchState from "./WatchState.ts"

/** Which lines besides the rows of torrents there is room for. */
const partsOf = (rows: number) => ({
  head: rows >= 6,
  titles: rows >= 4,
  space: rows >= 12,
  detail: rows >= 9,
  keys: rows >= 7
})

/** How many torrents fit on a terminal of so many rows: at least one. */
export const pageLength = (rows: number): number => {
  const { detail, head, keys, space, titles } = partsOf(rows)
  const others = 1 + Number(head) + Number(titles) + 2 * Number(space) + Number(detail) + Number(keys)
  return Math.max(1, rows - others)
}

/** The lines, as many as the terminal has rows at most. */
export const render = (state: WatchState.WatchState, terminal: Progress.Style, rows: number): ReadonlyArray<string> => {
  // A terminal may wrap a line that fills it.
  const style = { ...terminal, columns: Math.max(1, terminal.columns - 1) }
  const parts = partsOf(rows)
  const page = pageLength(rows)
  const chosen = WatchState.chosenIndex(state)
  // The chosen row is in the middle, unless that would leave rows empty.
  const top = Math.max(0, Math.min(state.sorted.length - page, chosen - Math.floor(page / 2)))
  const shown = state.sorted.slice(top, top + page)
  const body = tableOf(shown, chosen - top, style)
  const empty = Array.from({ length: page - shown.length }, (_, index) =>
    index === 0 && shown.length === 0 ? Progress.paint(style, "dim", nothingText(state, style)) : ""
  )
  const spacer = parts.space ? [""] : []
  return [
    ...(parts.head ? [headOf(state, style)] : []),
    ratesOf(state, style),
    ...spacer,
    ...(parts.titles ? body.slice(0, 1) : []),
    ...body.slice(1),
    ...empty,
    ...spacer,
    ...(parts.detail ? [detailOf(state, style)] : []),
    ...(parts.keys ? [keysOf(state, top, shown.length, style)] : [])
  ]
}

const ellipsisOf = ({ unicode }: Progress.Style): string => (unicode ? "…" : "...")

const separatorOf = ({ unicode }: Progress.Style): string => (unicode ? " · " : ", ")

const cut = (text: string, style: Progress.Style): string => TerminalText.fit(text, style.columns, ellipsisOf(style))

const nothingText = ({ service }: WatchState.WatchState, style: Progress.Style): string =>
  cut(service === undefined ? "" : "There are no torrents. Add some with: piecewise add", style)

/** What a row begins with: it shows which one is chosen also without colours. A tiny terminal has no room for it. */
const markersIn = ({ columns }: Progress.Style) =>
  columns < 12 ? { chosen: "", other: "" } : { chosen: "> ", other: "  " }

/** The titles, and the rows. */
const tableOf = (
  torrents: ReadonlyArray<TorrentModel.TorrentItem>,
  chosen: number,
  style: Progress.Style
): ReadonlyArray<string> => {
  const ellipsis = ellipsisOf(style)
  const markers = markersIn(style)
  const width = Math.max(1, style.columns - markers.other.length)
  const layout = Table.layout(TorrentColumns.watch(style), width)
  const plain = Table.layout(TorrentColumns.watch({ ...style, color: false }), width)
  return [
    Progress.paint(style, "dim", cut(`${markers.other}${Table.titles(layout, ellipsis)}`, style)),
    ...torrents.map((torrent, index) =>
      index === chosen
        ? // Colours within would end the inverse.
          Progress.paint(style, "inverse", `${markers.chosen}${Table.line(plain, torrent, ellipsis)}`)
        : `${markers.other}${Table.line(layout, torrent, ellipsis)}`
    )
  ]
}

/** The first line: what the service is and how many torrents do what, or that it does not answer. */
const headOf = ({ away, service, url }: WatchState.WatchState, style: Progress.Style): string => {
  if (away !== undefined) {
    const text = `The service is away, and is asked again. ${TerminalText.clean(away)}`
    return Progress.paint(style, "yellow", cut(text, style))
  }
  const facts: ReadonlyArray<Progress.Fact> = [
    { rank: 0, text: "piecewise" },
    ...(service === undefined ? [] : countsOf(service)),
    { rank: 9, text: TerminalText.clean(url) }
  ]
  return Progress.paint(style, "bold", cut(Progress.join(facts, separatorOf(style), style.columns), style))
}

const countsOf = ({ torrents }: ServiceStatus): ReadonlyArray<Progress.Fact> =>
  TorrentModel.kinds.flatMap((kind, rank) => {
    const count = torrents[kind]
    return count > 0 ? { rank: 1 + rank, text: `${count} ${kind}` } : []
  })

const rateWidth = "1023.9 KiB/s".length

/** A narrower line of bars says nothing. */
const minSparkWidth = 6

/** The second line: both rates with the last minute, and what else fits. */
const ratesOf = (state: WatchState.WatchState, style: Progress.Style): string => {
  const { service } = state
  const [downName, upName] = style.unicode ? ["↓", "↑"] : ["down", "up"]
  const text = (name: string, rate: number): string => `${name} ${`${Units.bytes(rate)}/s`.padEnd(rateWidth)}`
  const down = text(downName, service?.downloadBytesPerSecond ?? 0)
  const up = text(upName, service?.uploadBytesPerSecond ?? 0)
  const free = service?.freeBytes
  const facts = [
    ...(service === undefined ? [] : [{ rank: 0, text: Units.count(service.connectedPeers, "peer") }]),
    ...(free === undefined ? [] : [{ rank: 1, text: `${Units.bytes(free)} free` }])
  ]
  const taken = down.length + up.length + 3
  // Bars come first: what else there is to say needs room that they do not.
  const most = Math.min(WatchState.historyLength, style.columns - taken)
  const width = style.columns >= 2 * WatchState.historyLength ? WatchState.historyLength : Math.floor((most - 1) / 2)
  const both = width >= minSparkWidth + 2
  const single = both ? width : most
  const spark = (samples: ReadonlyArray<number>): string =>
    Sparkline.render({
      samples,
      total: state.samples,
      span: WatchState.historyLength,
      width: single,
      unicode: style.unicode
    })
  const pieces: Array<readonly [text: string, color: Progress.Color | undefined]> = [[`${down} `, undefined]]
  if (single >= minSparkWidth) pieces.push([`${spark(state.down)} `, "cyan"])
  pieces.push([up, undefined])
  if (both) pieces.push([` ${spark(state.up)}`, "green"])
  const used = pieces.reduce((sum, [piece]) => sum + TerminalText.width(piece), 0)
  if (used > style.columns) return cut(`${down} ${up}`, style)
  const more = Progress.join(facts, separatorOf(style), style.columns - used - 2)
  if (more !== "") pieces.push([`  ${more}`, undefined])
  return pieces.map(([piece, color]) => (color === undefined ? piece : Progress.paint(style, color, piece))).join("")
}

/** What there is to say of the torrent that is chosen, or what went wrong. */
const detailOf = (state: WatchState.WatchState, style: Progress.Style): string => {
  if (state.trouble !== undefined) {
    return Progress.paint(style, "yellow", cut(TerminalText.clean(state.trouble), style))
  }
  const torrent = WatchState.chosenOf(state)
  if (torrent === undefined) return ""
  const trouble = TorrentWords.troubleOf(torrent)
  const parts = [
    TorrentWords.shortHash(torrent),
    ...(trouble === undefined ? [] : [trouble]),
    TorrentWords.nameOf(torrent),
    ...(torrent.options.folder === undefined ? [] : [TerminalText.clean(torrent.options.folder)])
  ]
  return Progress.paint(style, TorrentColumns.colorOf(torrent), cut(parts.join(separatorOf(style)), style))
}

/** The last line: keys, and which rows are shown. */
const keysOf = ({ sorted }: WatchState.WatchState, top: number, shown: number, style: Progress.Style): string => {
  const facts = [
    { rank: 0, text: "q ends" },
    { rank: 2, text: style.unicode ? "↑↓ choose" : "j/k choose" },
    { rank: 3, text: "p pauses or resumes" },
    ...(shown < sorted.length ? [{ rank: 1, text: `${top + 1} to ${top + shown} of ${sorted.length}` }] : [])
  ]
  return Progress.paint(style, "dim", Progress.join(facts, separatorOf(style), style.columns))
}

/** A torrent in one plain line, for a log. */
export const line = (torrent: TorrentModel.TorrentItem): string => {
  const left = TorrentWords.leftOf(torrent)
  const { connectedPeers, downloadBytesPerSecond, uploadBytesPerSecond } = torrent
  const facts = [
    TorrentWords.stateOf(torrent).word,
    TorrentWords.troubleOf(torrent),
    TorrentWords.percentOf(torrent),
    downloadBytesPerSecond >= 1 ? `${Units.bytes(downloadBytesPerSecond)}/s` : "",
    uploadBytesPerSecond >= 1 ? `${Units.bytes(uploadBytesPerSecond)}/s up` : "",
    left === "" ? "" : `${left} left`,
    connectedPeers > 0 ? Units.count(connectedPeers, "peer") : ""
  ]
  return `${TorrentWords.nameOf(torrent)}: ${facts.filter((fact) => fact !== undefined && fact !== "").join(", ")}`
}
