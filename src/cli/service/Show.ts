/**
 * Implements `piecewise show`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../base/InfoHash.ts"
import * as PeerAddress from "../../base/PeerAddress.ts"
import { TorrentNotReady } from "../../control/api/ApiErrors.ts"
import type { TorrentDetails, TorrentTrackers } from "../../control/api/TorrentModel.ts"
import type { PeerStatus } from "../../swarm/PeerStatus.ts"
import * as Bottleneck from "../../torrent/Bottleneck.ts"
import type { FileProgress } from "../../torrent/FileProgress.ts"
import * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as Progress from "../Progress.ts"
import * as Rows from "../Rows.ts"
import * as TerminalText from "../TerminalText.ts"
import * as Units from "../Units.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"
import * as TorrentChoice from "./TorrentChoice.ts"
import * as TorrentWords from "./TorrentWords.ts"

/** How many files are shown unless `--files` asks for all. */
const firstFiles = 20

/** Shows all about a torrent: details, and the parts that are asked for. */
export const run = (args: Arguments.Arguments, output: Output) =>
  ServiceConnection.use(args, (client) =>
    Effect.gen(function* () {
      const [torrent] = yield* TorrentChoice.findAll(client, args.operands)
      const params = { infoHash: torrent!.infoHash }
      const isDefault = !["files", "trackers", "peers"].some((name) => Arguments.has(args, name))
      const [details, files, trackers, peers] = yield* Effect.all(
        [
          client.torrents.get({ params }),
          part(isDefault || Arguments.has(args, "files"), client.torrents.files({ params })),
          part(isDefault || Arguments.has(args, "trackers"), client.torrents.trackers({ params })),
          part(Arguments.has(args, "peers"), client.torrents.peers({ params }))
        ],
        { concurrency: "unbounded" }
      )
      if (Arguments.has(args, "json")) {
        return ServiceLines.print(output, { _tag: "Shown", ...details, files, trackers, peers })
      }
      const style = output.style()
      output.print([
        ...detailLines(details, style),
        ...(files === undefined ? [] : ["", ...fileLines(files, isDefault ? firstFiles : files.length, style)]),
        ...(trackers === undefined ? [] : ["", ...trackerLines(trackers)]),
        ...(peers === undefined ? [] : ["", ...peerLines(peers)])
      ])
    })
  )

/** A part that is asked for; `undefined` if it is not, or if it is not known before the metadata of a magnet link. */
const part = <A, E, R>(isAsked: boolean, get: Effect.Effect<A, E, R>): Effect.Effect<A | undefined, E, R> =>
  isAsked
    ? Effect.catchIf(
        get,
        (error) => error instanceof TorrentNotReady,
        () => Effect.undefined
      )
    : Effect.undefined

const timeText = (millis: number | undefined): string | undefined =>
  millis === undefined ? undefined : new Date(millis).toISOString().replace(/\.\d+Z$/, "Z")

const rateText = (bytesPerSecond: number): string => `${Units.bytes(bytesPerSecond)}/s`

const limitText = (limit: Parameters<typeof Number>[0]): string | undefined =>
  limit === undefined ? undefined : rateText(Number(limit))

const detailLines = ({ engine, metainfo, torrent }: TorrentDetails, style: Progress.Style): ReadonlyArray<string> => {
  const { goal, limits, order } = torrent.options
  const stored = TorrentWords.storedOf(torrent)
  const left = TorrentWords.leftOf(torrent)
  const bottleneck = engine === undefined ? "" : Bottleneck.describe(engine.bottleneck)
  const why = TorrentWords.troubleOf(torrent) ?? (bottleneck === "" ? undefined : bottleneck)
  const isIdle = torrent.state._tag !== "Active"
  const time = goal?.time === undefined ? undefined : Duration.toSeconds(Duration.fromInputUnsafe(goal.time))
  return [
    ...(stored === undefined
      ? []
      : [`${Progress.bar(...stored, barWidth(style), style, "cyan")} ${Units.percent(...stored)}`]),
    ...Rows.lines([
      ["name", [torrent.name]],
      ["info hash", [InfoHash.toHex(torrent.infoHash)]],
      ["state", [TorrentWords.stateOf(torrent).word]],
      ["why", [why]],
      ["stored", [stored === undefined ? undefined : `${Units.bytes(stored[0])} of ${Units.bytes(stored[1])}`]],
      ["download", [isIdle ? undefined : rateText(torrent.downloadBytesPerSecond)]],
      ["upload", [isIdle ? undefined : rateText(torrent.uploadBytesPerSecond)]],
      ["left", [left === "" ? undefined : left]],
      ["peers", [isIdle ? undefined : peersText(torrent.connectedPeers, engine?.knownPeers)]],
      ["downloaded", [Units.bytes(torrent.statistics.downloadedBytes)]],
      ["uploaded", [`${Units.bytes(torrent.statistics.uploadedBytes)}, ratio ${torrent.shareRatio.toFixed(2)}`]],
      [
        "seeded for",
        [torrent.statistics.seedingMillis === 0 ? undefined : seededText(torrent.statistics.seedingMillis)]
      ],
      ["added", [timeText(torrent.addedAtMillis)]],
      ["completed", [timeText(torrent.completedAtMillis)]],
      ["labels", [torrent.labels.length === 0 ? undefined : torrent.labels.join(", ")]],
      ["folder", [torrent.options.folder]],
      ["order", [order]],
      ["limit down", [limitText(limits?.downloadBytesPerSecond)]],
      ["limit up", [limitText(limits?.uploadBytesPerSecond)]],
      ["seed ratio", [goal?.ratio === undefined ? undefined : String(goal.ratio)]],
      ["seed time", [time === undefined ? undefined : Units.duration(time)]],
      ["pieces", [metainfo === undefined ? undefined : `${metainfo.pieces} of ${Units.bytes(metainfo.pieceLength)}`]],
      ["private", [metainfo?.isPrivate === true ? "yes, it uses peers from its trackers only" : undefined]],
      ["web seeds", metainfo?.webSeeds ?? []],
      ["comment", [metainfo?.comment]],
      ["made by", [metainfo?.createdBy]]
    ])
  ]
}

const seededText = (millis: number): string => Units.duration(millis / 1_000)

const peersText = (connected: number, known: number | undefined): string =>
  known === undefined ? `${connected} connected` : `${connected} connected, ${known} known`

/** A wider bar is not more informative. */
const maxBarWidth = 60

const barWidth = ({ columns }: Progress.Style): number => Math.max(8, Math.min(maxBarWidth, columns - 8))

const fileBarWidth = 10

const fileLines = (files: ReadonlyArray<FileProgress>, most: number, style: Progress.Style): ReadonlyArray<string> => {
  const shown = files.slice(0, most)
  const sizes = shown.map(({ length }) => Units.bytes(length))
  const width = sizes.reduce((widest, size) => Math.max(widest, size.length), 0)
  const more = files.length - shown.length
  return [
    Units.count(files.length, "file"),
    ...shown.map(({ length, path, priority, storedBytes }, index) => {
      const isSkipped = priority === "skip"
      const bar = Progress.bar(storedBytes, length, fileBarWidth, style, isSkipped ? "dim" : "cyan")
      const note = priority === "normal" ? "" : `  (${priority})`
      return [
        `  ${bar}`,
        Units.percent(storedBytes, length).padStart(6),
        ` ${sizes[index]!.padStart(width)}`,
        ` ${TerminalText.clean(path)}${note}`
      ].join(" ")
    }),
    ...(more > 0 ? [`  and ${more} more; --files shows all`] : [])
  ]
}

const trackerLines = ({ sources, trackers }: TorrentTrackers): ReadonlyArray<string> => {
  const known = new Map(sources.map((source) => [source.source, source]))
  const urls = trackers.flat()
  const names = [...urls, ...sources.map(({ source }) => source).filter((name) => !urls.includes(name))]
  return [
    Units.count(urls.length, "tracker"),
    ...names.map((name) => TerminalText.clean(`  ${name}: ${sourceText(known.get(name))}`))
  ]
}

const sourceText = (source: TorrentTrackers["sources"][number] | undefined): string => {
  if (source === undefined) return "not asked yet"
  const { failure, hasAnswered, leechers, peers, reportedMillisAgo, seeders, warning } = source
  const counts = [
    Units.count(peers, "peer"),
    seeders === undefined ? undefined : Units.count(seeders, "seeder"),
    leechers === undefined ? undefined : Units.count(leechers, "leecher")
  ]
  const ago = `${Units.duration(reportedMillisAgo / 1_000)} ago`
  return [
    ...(hasAnswered ? counts : []),
    failure === undefined ? undefined : `failed: ${failure}`,
    warning === undefined ? undefined : `warning: ${warning}`,
    ago
  ]
    .filter((text) => text !== undefined)
    .join(", ")
}

/** What is worth knowing of a peer, in a word each. */
const traitsOf = (peer: PeerStatus): ReadonlyArray<string> => [
  ...(peer.isSeed ? ["seed"] : []),
  ...(peer.isIncoming ? ["incoming"] : []),
  ...(peer.isEncrypted ? ["encrypted"] : []),
  ...(peer.amInterested && peer.peerChoking ? ["chokes us"] : []),
  ...(peer.peerInterested && !peer.amChoking ? ["downloads"] : []),
  ...(peer.isSnubbed ? ["snubbed"] : [])
]

const peerLines = (peers: ReadonlyArray<PeerStatus>): ReadonlyArray<string> => [
  Units.count(peers.length, "peer"),
  ...peers.map((peer) => {
    const traits = traitsOf(peer).join(", ")
    return TerminalText.clean(
      [
        `  ${PeerAddress.format(peer.address)}`,
        peer.client,
        `${rateText(peer.downloadBytesPerSecond)} down`,
        `${rateText(peer.uploadBytesPerSecond)} up`,
        ...(traits === "" ? [] : [traits])
      ].join(", ")
    )
  })
]
