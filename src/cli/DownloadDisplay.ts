/**
 * The ways to show a download: lines redrawn in place on a terminal, a line now and then in a log, JSON for programs,
 * or only errors. A display receives events and, at intervals, the status; it starts nothing by itself.
 */
import type * as PeerAddress from "../base/PeerAddress.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as Bottleneck from "../torrent/Bottleneck.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as DownloadNotes from "./DownloadNotes.ts"
import type { Line } from "./JsonLines.ts"
import type { JsonOutput } from "./JsonOutput.ts"
import type { Output } from "./Output.ts"
import * as Progress from "./Progress.ts"

/** Shows a download. It shows nothing more after `fail`, and after `Completed` or, when seeding, `SeedingEnded`. */
export interface Display {
  /** Shows new events, and the status after them. */
  readonly report: (events: ReadonlyArray<TorrentEvent>, status: TorrentStatus) => void
  /** Reports the address that peers can connect to. */
  readonly listen: (address: PeerAddress.PeerAddress) => void
  /**
   * Shows the status, every `intervalMillis`. Skipped while nobody reads the output, so that memory does not fill up.
   */
  readonly tick: (status: TorrentStatus) => void
  /** Milliseconds between ticks; `undefined` if the display needs none. */
  readonly intervalMillis: number | undefined
  /** Shows that a signal ended it. `status` is the last one, and `kept` a sentence for people about what is kept. */
  readonly stop: (status: TorrentStatus, kept: string | undefined) => void
  /** Shows nothing more, because the download failed. `Run.ts` prints the error, and `JsonOutput.ts` the last line. */
  readonly fail: (why: string) => void
}

/** What a display is made from. */
export interface Options {
  readonly metainfo: Metainfo
  readonly output: Output
  /** Whether it continues to seed after completion. */
  readonly seeds: boolean
  /** A monotonic clock in milliseconds. */
  readonly now: () => number
}

/** For people: redrawn in place on a terminal, else a line every 5 seconds. Both end with the time it took. */
export const people = ({ metainfo, now, output, seeds }: Options): Display => {
  const started = now()
  const toNote = DownloadNotes.makeNotes()
  let checking: Progress.View["checking"]
  let isOver = false

  const view = (status: TorrentStatus): Progress.View => ({
    name: metainfo.name,
    status,
    checking,
    seeds,
    elapsedSeconds: (now() - started) / 1_000
  })
  const show = (status: TorrentStatus): void => {
    if (output.isTerminal) output.draw(Progress.render(view(status), output.style()))
    else output.print([Progress.line(view(status))])
  }

  return {
    report: (events, status) => {
      for (const event of events) {
        if (isOver) return
        if (event._tag === "Checking") checking = event
        // While it downloads, the state says so as long as it matters.
        const isTold = event._tag === "PeersHungUp" && status.state._tag !== "Complete"
        const note = isTold ? undefined : toNote(event)
        if (note !== undefined) output.note(note)
        if (event._tag !== "Completed" && event._tag !== "SeedingEnded") continue
        show(status)
        if (seeds && event._tag === "Completed") continue
        isOver = true
        output.release()
      }
    },
    listen: ({ port }) => output.note(DownloadNotes.listeningNote(port)),
    tick: (status) => {
      if (!isOver && !output.isBehind()) show(status)
    },
    intervalMillis: output.isTerminal ? 100 : 5_000,
    stop: (_status, kept) => {
      isOver = true
      output.release()
      if (kept !== undefined) output.note(kept)
    },
    fail: () => {
      isOver = true
      output.release()
    }
  }
}

/** For programs: JSON lines (`JsonLines.ts`). `JsonOutput.run` prints the first and the last one. */
export const json =
  (lines: JsonOutput) =>
  ({ metainfo, output, seeds }: Options): Display => {
    const toNote = DownloadNotes.makeNotes()
    let isOver = false
    lines.print([ofTorrent(metainfo)])
    return {
      report: (events, status) => {
        const printed: Array<Line> = []
        lines.note(status)
        for (const event of events) {
          if (isOver) break
          const note = event._tag === "PeersHungUp" ? undefined : toNote(event)
          if (note !== undefined) output.note(note)
          printed.push(lines.ofEvent(event))
          isOver = event._tag === "SeedingEnded" || (event._tag === "Completed" && !seeds)
        }
        lines.print(printed)
      },
      listen: ({ port }) => lines.print([{ _tag: "Listening", port }]),
      tick: (status) => {
        lines.note(status)
        if (!isOver && !output.isBehind()) lines.print([lines.ofStatus(status, Bottleneck.describe(status.bottleneck))])
      },
      intervalMillis: 1_000,
      stop: (status) => {
        lines.note(status)
        isOver = true
      },
      fail: () => {
        isOver = true
      }
    }
  }

const ofTorrent = ({ infoHash, isPrivate, layout, name }: Metainfo): Line => ({
  _tag: "Torrent",
  name,
  infoHash,
  totalBytes: layout.geometry.totalLength,
  pieceLength: layout.geometry.pieceLength,
  pieces: layout.geometry.pieceCount,
  isPrivate,
  files: FileLayout.realFiles(layout).length
})

/** For `--quiet`: only failures that block the download until a person does something. */
export const silent = ({ output }: Options): Display => {
  const toNote = DownloadNotes.makeNotes()
  return {
    report: (events) => {
      for (const event of events) {
        const isFailure = event._tag === "StorageFailed" || event._tag === "FlushFailed"
        if (!isFailure && event._tag !== "StorageRecovered") continue
        const note = toNote(event)
        if (note !== undefined && isFailure) output.note(`piecewise: ${note}`)
      }
    },
    listen: () => {},
    tick: () => {},
    intervalMillis: undefined,
    stop: () => {},
    fail: () => {}
  }
}
