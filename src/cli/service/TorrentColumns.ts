/**
 * The columns of tables of torrents, for `list` and `watch`.
 */
import type { TorrentItem } from "../../control/api/TorrentModel.ts"
import * as Progress from "../Progress.ts"
import type * as Table from "../Table.ts"
import * as TerminalText from "../TerminalText.ts"
import * as TorrentWords from "./TorrentWords.ts"

type Column = Table.Column<TorrentItem>

const colors = { good: "green", busy: "cyan", bad: "yellow", rest: "dim" } as const

/** The colour of a torrent's state. */
export const colorOf = (torrent: TorrentItem): Progress.Color => colors[TorrentWords.stateOf(torrent).mood]

const hash: Column = {
  title: "hash",
  width: 8,
  rank: 1,
  align: "left",
  text: TorrentWords.shortHash
}
const name: Column = { title: "name", width: 14, widest: 100, rank: 0, align: "left", text: TorrentWords.nameOf }
const size: Column = { title: "size", width: 10, rank: 6, align: "right", text: TorrentWords.sizeOf }
const done: Column = { title: "done", width: 6, rank: 1, align: "right", text: TorrentWords.percentOf }
const state = (style: Progress.Style): Column => ({
  title: "state",
  width: 11,
  rank: 3,
  align: "left",
  text: (torrent) => TorrentWords.stateOf(torrent).word,
  paint: (text, torrent) => Progress.paint(style, colorOf(torrent), text)
})
const down: Column = {
  title: "down/s",
  width: 10,
  rank: 2,
  align: "right",
  text: ({ downloadBytesPerSecond }) => TorrentWords.rateOf(downloadBytesPerSecond)
}
const up: Column = {
  title: "up/s",
  width: 10,
  rank: 3,
  align: "right",
  text: ({ uploadBytesPerSecond }) => TorrentWords.rateOf(uploadBytesPerSecond)
}
const left: Column = { title: "left", width: 11, rank: 4, align: "right", text: TorrentWords.leftOf }
const peers: Column = { title: "peers", width: 5, rank: 7, align: "right", text: TorrentWords.peersOf }
const ratio: Column = { title: "ratio", width: 6, rank: 8, align: "right", text: TorrentWords.ratioOf }
const labels: Column = {
  title: "labels",
  width: 14,
  rank: 11,
  align: "left",
  text: (torrent) => TerminalText.clean(torrent.labels.join(", "))
}

const bar = (style: Progress.Style): Column => ({
  title: "",
  width: style.columns < bothRates ? 8 : 16,
  rank: 5,
  align: "left",
  text: (torrent, width) => {
    const stored = TorrentWords.storedOf(torrent)
    return stored === undefined ? "" : Progress.bar(...stored, width, { ...style, color: false }, "cyan")
  },
  paint: (text, torrent) => Progress.paint(style, colorOf(torrent), text)
})

/** Whichever rate matters, with an arrow, where there is no room for both. */
const rate = ({ unicode }: Progress.Style): Column => ({
  title: "rate",
  width: 12,
  rank: 2,
  align: "right",
  text: ({ downloadBytesPerSecond, uploadBytesPerSecond }) => {
    const [downward, upward] = unicode ? ["↓", "↑"] : ["v", "^"]
    if (downloadBytesPerSecond >= 1) return `${downward} ${TorrentWords.rateOf(downloadBytesPerSecond)}`
    return uploadBytesPerSecond >= 1 ? `${upward} ${TorrentWords.rateOf(uploadBytesPerSecond)}` : ""
  }
})

/** The columns of `list`. */
export const list = (style: Progress.Style): ReadonlyArray<Column> => [
  hash,
  name,
  size,
  done,
  state(style),
  down,
  up,
  left,
  peers,
  ratio,
  labels
]

/** Terminals that are narrower have one column for both rates. */
const bothRates = 110

/** The columns of `watch`. */
export const watch = (style: Progress.Style): ReadonlyArray<Column> => [
  name,
  size,
  bar(style),
  done,
  state(style),
  ...(style.columns < bothRates ? [rate(style)] : [down, up]),
  left,
  peers,
  ratio,
  labels
]
