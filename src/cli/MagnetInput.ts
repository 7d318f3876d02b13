/**
 * The torrent behind a magnet link: fetched from its peers by an engine that is there for nothing else, while a line shows
 * how that goes.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as InfoHash from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as Engine from "../engine/Engine.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import { CommandFailed } from "./CommandFailed.ts"
import type { Output } from "./Output.ts"
import * as TerminalText from "./TerminalText.ts"
import * as TorrentInput from "./TorrentInput.ts"
import type * as TorrentSession from "./TorrentSession.ts"
import * as Units from "./Units.ts"

/** Milliseconds between two lines of a log while nothing changes but the time. */
const logInterval = 5_000

/** How a link is resolved, and for whom that is shown. */
export interface Options {
  readonly peers: ReadonlyArray<PeerAddress>
  readonly engine: Layer.Layer<Engine.Engine, CommandFailed>
  readonly output: Output
  readonly show: TorrentSession.Show
}

/**
 * Fetches the metainfo, and tells which files the link selects (BEP 53); goes on until some peer gives it. Fails at once
 * where there is nobody to ask.
 */
export const load = Effect.fnUntraced(function* (text: string, options: Options) {
  const parsed = Magnet.parse(text)
  if (Result.isFailure(parsed)) return yield* failed(parsed.failure.message)
  const link = parsed.success
  if (link.trackers.length + link.peers.length + options.peers.length === 0) {
    return yield* failed(
      "there is nobody to ask for what the magnet link names, as it has no tracker; give a peer with --peer HOST:PORT"
    )
  }
  const show = shower(link, options)
  return yield* Effect.gen(function* () {
    const engine = Context.get(yield* Layer.build(options.engine), Engine.Engine)
    const metadata = yield* Effect.mapError(
      engine.metadata(link, { peers: options.peers, platform: TorrentInput.platform, report: show }),
      ({ message }) => new CommandFailed({ why: message })
    )
    return { ...metadata, select: link.select }
  }).pipe(Effect.scoped)
})

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

type Report = NonNullable<Engine.MetadataOptions["report"]>

/** Shows how it goes, as a terminal, a log or a program wants it. */
const shower = (link: Magnet.Magnet, { output, show }: Options): Report => {
  const name = link.name ?? (link.infoHash === undefined ? "the torrent" : InfoHash.toHex(link.infoHash))
  let last = Number.NEGATIVE_INFINITY
  return ({ knownPeers, peers }, event) => {
    if (show === "json") {
      output.print([TerminalText.json({ event: "metadata", peers, knownPeers })])
      if (event?._tag === "Failed") {
        output.print([TerminalText.json({ event: "tracker", url: event.source, error: event.why })])
      }
      return
    }
    if (show === "silent") return
    const now = performance.now()
    const isDue = output.isTerminal || now - last >= logInterval
    if (!isDue) return
    last = now
    const line = TerminalText.clean(`${name}: fetching what it is from ${peers} of ${Units.count(knownPeers, "peer")}`)
    if (output.isTerminal) output.draw([line])
    else output.print([line])
  }
}
