/**
 * Resolves a magnet link: fetches the metainfo from peers through an engine that exists only for this, and shows the
 * progress in one line.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as InfoHash from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type * as Reach from "../base/Reach.ts"
import * as Engine from "../engine/Engine.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import * as Bottleneck from "../torrent/Bottleneck.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as DownloadNotes from "./DownloadNotes.ts"
import * as GivingUp from "./GivingUp.ts"
import * as MagnetTrouble from "./MagnetTrouble.ts"
import type { Output } from "./Output.ts"
import * as TerminalText from "./TerminalText.ts"
import * as TorrentInput from "./TorrentInput.ts"
import type * as TorrentSession from "./TorrentSession.ts"
import * as Units from "./Units.ts"

/** Milliseconds between two lines of a log. */
const logInterval = 5_000

/** How a link is resolved and its progress is shown. */
export interface Options {
  readonly peers: ReadonlyArray<PeerAddress>
  /** The reach of whoever the link is from: peers that it may not name are left out (`base/Naming.ts`). */
  readonly reach: Reach.Reach
  readonly engine: Layer.Layer<Engine.Engine, CommandFailed>
  readonly output: Output
  readonly show: TorrentSession.Show
  readonly json: TorrentSession.Json
  /** How long to wait for the metadata; `undefined` for no limit. */
  readonly giveUp: GivingUp.GiveUp | undefined
  /** Whether somebody who knows our port may connect, so that nobody has to be known. */
  readonly mayBeCalled: boolean
  /** Whether the DHT may find peers. */
  readonly usesDht: boolean
}

/**
 * Fetches the metainfo, with the files that the link selects (BEP 53). Retries until a peer sends it. Fails at once if
 * there is no DHT, no tracker, no peer and no URL of a torrent file, and as soon as every such URL has failed if there is
 * nothing else. Waits instead if somebody may call.
 */
export const load = Effect.fnUntraced(function* (text: string, options: Options) {
  const parsed = Magnet.parse(text)
  if (Result.isFailure(parsed)) return yield* failed(parsed.failure.message)
  const link = { ...parsed.success, peers: Magnet.peersNamedBy(parsed.success, options.reach) }
  const trackers = link.trackers.filter(isUsable)
  const hasPeers =
    options.mayBeCalled || options.usesDht || trackers.length + link.peers.length + options.peers.length > 0
  if (!hasPeers && link.exactSources.length + link.acceptableSources.length === 0) {
    return yield* failed(`the magnet link ${whyNobody(link)}; ${addPeer}`)
  }
  const troubles = MagnetTrouble.make(trackers.length)
  const show = makeReport(link, troubles, options)
  let latest: Engine.MetadataProgress = {
    peers: 0,
    knownPeers: 0,
    closedPeers: 0,
    encryption: "prefer",
    isAskingElsewhere: true
  }
  const nowhere = yield* Deferred.make<never, CommandFailed>()
  return yield* Effect.gen(function* () {
    const engine = Context.get(yield* Layer.build(options.engine), Engine.Engine)
    if (options.mayBeCalled && engine.listening !== undefined) showPort(engine.listening.port, options)
    const metadata = yield* Effect.mapError(
      engine.metadata(link, {
        peers: options.peers,
        platform: TorrentInput.platform,
        report: (progress, event) => {
          latest = progress
          show(progress, event)
          if (!hasPeers && !progress.isAskingElsewhere)
            Deferred.doneUnsafe(nowhere, Effect.fail(new CommandFailed({ why: whyNoFile(link) })))
        }
      }),
      ({ message }) => new CommandFailed({ why: message })
    ).pipe(Effect.raceFirst(Deferred.await(nowhere)))
    return { ...metadata, select: link.select }
  }).pipe(Effect.scoped, (metadata) =>
    GivingUp.bound(metadata, options.giveUp, () => MagnetTrouble.whyNotFound(troubles, latest))
  )
})

const showPort = (port: number, { json, output, show }: Options): void => {
  json?.print([{ _tag: "Listening", port }])
  if (show === "people") output.note(DownloadNotes.listeningNote(port))
}

const addPeer = "add a peer with --peer HOST:PORT"

/** Whether we can ask a tracker. */
const isUsable = (url: string): boolean => /^(?:https?|udp):/i.test(url)

const whyNobody = ({ trackers: [url] }: Magnet.Magnet): string =>
  url === undefined
    ? "names no tracker and no peer"
    : `names no peer, and trackers such as ${url} are not supported yet`

const whyNoFile = (link: Magnet.Magnet): string =>
  `no URL that the magnet link names has its torrent file, and it ${whyNobody(link)}; ${addPeer}`

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

type Report = NonNullable<Engine.MetadataOptions["report"]>

/** Shows the progress for a terminal, a log or a program. */
const makeReport = (
  link: Magnet.Magnet,
  troubles: MagnetTrouble.MagnetTrouble,
  { json, output, show }: Options
): Report => {
  const name = link.name ?? (link.infoHash === undefined ? "the torrent" : InfoHash.toHex(link.infoHash))
  let last = Number.NEGATIVE_INFINITY
  /** What the last line of JSON said. */
  let printed = ""
  /** The kinds of trouble that a log has a line about. */
  const told = new Set<string>()
  const hasUrls = link.exactSources.length + link.acceptableSources.length > 0
  return (progress, event) => {
    const { isAskingElsewhere, knownPeers, peers } = progress
    if (event !== undefined) MagnetTrouble.note(troubles, event)
    const trouble = MagnetTrouble.of(troubles, progress)
    const why = trouble === undefined ? undefined : Bottleneck.describe(trouble)
    if (json !== undefined) {
      const fields = `${peers} ${knownPeers} ${why}`
      if (fields !== printed && !output.isBehind()) json.print([{ _tag: "MetadataProgress", peers, knownPeers, why }])
      printed = fields
      if (event?._tag === "Failed") json.print([{ _tag: "SourceFailed", source: event.source, why: event.why }])
      return
    }
    if (show === "silent") return
    const now = performance.now()
    // Nothing may be reported after the last tracker has refused, so a log is told at once of what is new.
    const isNew = trouble !== undefined && !told.has(trouble._tag)
    if (!output.isTerminal && !isNew && now - last < logInterval) return
    last = now
    if (trouble !== undefined) told.add(trouble._tag)
    const urls = hasUrls && isAskingElsewhere ? " and the URLs that the link names" : ""
    const line = TerminalText.clean(
      `${name}: fetching its metadata from ${peers} of ${Units.count(knownPeers, "peer")}${urls}${why === undefined ? "" : `; ${why}`}`
    )
    if (output.isTerminal) output.draw([line])
    else output.print([line])
  }
}
