/**
 * The ways to show a download: lines drawn in place on a terminal, a line now and then in a log, JSON for programs, or
 * nothing but errors. Told what happens and, at intervals, how it stands; starts nothing by itself.
 */
import type * as PeerAddress from "../base/PeerAddress.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as DownloadEvents from "./DownloadEvents.ts"
import type { Output } from "./Output.ts"
import * as Progress from "./Progress.ts"
import * as TerminalText from "./TerminalText.ts"

/** Shows a download. After `fail`, or `Completed` or, where it seeds, `SeedingEnded`, nothing is shown any more. */
export interface Display {
  /** What happened since, and how it stands after that. */
  readonly tell: (events: ReadonlyArray<TorrentEvent>, status: TorrentStatus) => void
  /** Peers can connect to this address. */
  readonly listen: (address: PeerAddress.PeerAddress) => void
  /** How it stands, every `intervalMillis`; left out while nobody reads, as it would fill the memory for ever. */
  readonly tick: (status: TorrentStatus) => void
  /** Milliseconds between ticks; `undefined` where none are wanted. */
  readonly intervalMillis: number | undefined
  /** It failed; who runs the command tells that to people. */
  readonly fail: (why: string) => void
}

/** What a display is made of. */
export interface Options {
  readonly metainfo: Metainfo
  readonly output: Output
  /** Whether it goes on when it is complete. */
  readonly seeds: boolean
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number
}

/** For people: in place on a terminal, else a line every 5 seconds. Both end with how long it took. */
export const people = ({ metainfo, now, output, seeds }: Options): Display => {
  const started = now()
  const toNote = DownloadEvents.makeNotes()
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
    tell: (events, status) => {
      for (const event of events) {
        if (isOver) return
        if (event._tag === "Checking") checking = event
        const note = toNote(event)
        if (note !== undefined) output.note(note)
        if (event._tag !== "Completed" && event._tag !== "SeedingEnded") continue
        show(status)
        if (seeds && event._tag === "Completed") continue
        isOver = true
        output.release()
      }
    },
    listen: ({ port }) => output.note(`peers can connect to port ${port}`),
    tick: (status) => {
      if (!isOver && !output.isBehind()) show(status)
    },
    intervalMillis: output.isTerminal ? 100 : 5_000,
    fail: () => {
      isOver = true
      output.release()
    }
  }
}

/** For programs: `DownloadEvents` says what the lines are. */
export const json = ({ metainfo, now, output, seeds }: Options): Display => {
  const started = now()
  const toNote = DownloadEvents.makeNotes()
  let isOver = false

  const print = (lines: ReadonlyArray<DownloadEvents.Line>): void =>
    output.print(lines.map((line) => TerminalText.json(line)))

  return {
    tell: (events, status) => {
      const lines: Array<DownloadEvents.Line> = []
      for (const event of events) {
        if (isOver) break
        const note = toNote(event)
        if (note !== undefined) output.note(note)
        const line = DownloadEvents.line(event, metainfo, status)
        if (line !== undefined) lines.push(line)
        if (event._tag === "SeedingEnded") isOver = true
        if (event._tag !== "Completed") continue
        lines.push(DownloadEvents.complete(status, (now() - started) / 1_000))
        isOver = !seeds
      }
      print(lines)
    },
    listen: ({ port }) => print([DownloadEvents.listening(port)]),
    tick: (status) => {
      if (!isOver && !output.isBehind()) print([DownloadEvents.progress(status)])
    },
    intervalMillis: 1_000,
    fail: (why) => {
      if (!isOver) print([DownloadEvents.failed(why)])
      isOver = true
    }
  }
}

/** For nobody: only what holds the download up until a person does something. */
export const silent = ({ output }: Options): Display => {
  const toNote = DownloadEvents.makeNotes()
  return {
    tell: (events) => {
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
    fail: () => {}
  }
}
