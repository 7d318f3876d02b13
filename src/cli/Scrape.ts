/**
 * `piecewise scrape`: asks the trackers of a torrent or magnet link for its numbers of peers, without joining its swarm.
 * The DHT is asked for its estimate if there is no tracker.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type { InfoHash } from "../base/InfoHash.ts"
import { Dht, type ScrapeEstimate } from "../discovery/dht/Dht.ts"
import * as DhtSource from "../discovery/dht/DhtSource.ts"
import type { ScrapeResponse } from "../discovery/tracker/Tracker.ts"
import { Tracker } from "../discovery/tracker/Tracker.ts"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import type { UdpHub } from "../network/UdpHub.ts"
import * as NodeDht from "../node/NodeDht.ts"
import * as NodeTracker from "../node/NodeTracker.ts"
import * as NodeUdpHub from "../node/NodeUdpHub.ts"
import * as Arguments from "./Arguments.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as DhtOptions from "./DhtOptions.ts"
import * as JsonResult from "./JsonResult.ts"
import type { Output } from "./Output.ts"
import * as PeerOptions from "./PeerOptions.ts"
import * as TerminalText from "./TerminalText.ts"
import * as TorrentInput from "./TorrentInput.ts"

/**
 * Trackers that are asked at once. Lists are long and mostly dead, and a dead tracker takes half a minute to time out.
 */
const concurrency = 32

/** Asks all trackers, and the DHT if there is none, and shows each answer when it arrives. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const from = yield* PeerOptions.readFrom(args)
  const options = yield* DhtOptions.read(args)
  const dht: Layer.Layer<never, never, UdpHub> = options === false ? Layer.empty : NodeDht.layerHub(options)
  const services = Layer.merge(NodeTracker.layerHub(undefined, from), dht)
  // Any port: a program that runs meanwhile may have the one that the user chose.
  const { host } = yield* PeerOptions.readUdp(from)
  yield* Effect.provide(scrape(args, output, from), Layer.provide(services, NodeUdpHub.layerPort({ host })))
})

const scrape = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output, from: string | undefined) {
  const text = args.operands[0]!
  const asJson = Arguments.has(args, "json")
  const { infoHash, isPrivate, urls } = yield* read(text, from)
  const dht = Option.getOrUndefined(yield* Effect.serviceOption(Dht))
  const asksDht = dht !== undefined && !isPrivate && (urls.length === 0 || Arguments.has(args, "dht"))
  if (urls.length === 0 && !asksDht) return yield* failed(`${text}: there is no tracker to ask`)
  const tracker = yield* Tracker
  const ask = (url: string): Effect.Effect<Answer> =>
    Effect.map(Effect.result(tracker.scrape(url, infoHash)), (result) =>
      Result.isSuccess(result) ? { url, ...result.success } : { url, error: result.failure.why }
    )
  const asking = [...urls.map(ask), ...(asksDht ? [askDht(dht, infoHash)] : [])]
  const answers = yield* Effect.forEach(
    asking,
    (answering) =>
      Effect.tap(answering, (answer) =>
        Effect.sync(() => {
          if (!asJson) output.print([TerminalText.clean(lineOf(answer))])
        })
      ),
    { concurrency }
  )
  if (asJson) {
    const trackers = answers.map((answer) => ({ ...silent, ...answer }))
    yield* JsonResult.print(output, { _tag: "Scraped", version: 1, infoHash, trackers })
  }
  if (answers.every((answer) => "error" in answer))
    return yield* failed(
      `${text}: ${urls.length === 0 ? "the DHT has no numbers of peers" : "no tracker answered with its numbers of peers"}`
    )
})

/** How long the DHT may take. Its first nodes take a few seconds. */
const dhtTime = "10 seconds"

/** With fewer answers than this, nodes closer to the torrent may know its peers: as many as store an announce (BEP 5). */
const enoughAnswers = 8

/** Why there is no estimate although nodes of the DHT answer. */
export const unknownTorrent = "no node of the DHT that answered knows peers of this torrent"

/** Asks the DHT for its estimate, again and again until enough nodes have answered or one has sent numbers. */
export const askDht = (dht: Dht["Service"], infoHash: InfoHash): Effect.Effect<Answer> => {
  let last: ScrapeEstimate | undefined
  const ask = Effect.map(dht.scrape(infoHash), (found) => {
    last = found
    return found.nodes === 0 && found.answered < enoughAnswers
  })
  const answer = Effect.map(dht.status, ({ ipv4, ipv6 }): Answer => {
    const url = DhtSource.name
    if (last !== undefined && last.nodes > 0) {
      return { url, seeders: last.seeds, leechers: last.downloaders, downloads: undefined }
    }
    const hasAnswered = (last?.answered ?? 0) > 0
    const knowsNodes = (ipv4?.goodNodes ?? 0) + (ipv6?.goodNodes ?? 0) > 0
    return { url, error: hasAnswered || knowsNodes ? unknownTorrent : DhtSource.noNodes }
  })
  return ask.pipe(
    Effect.repeat({ while: (isUnsure) => isUnsure, schedule: Schedule.spaced("500 millis") }),
    Effect.timeoutOption(dhtTime),
    Effect.andThen(answer)
  )
}

/** What is known of a tracker that says nothing. */
const silent = { seeders: undefined, leechers: undefined, downloads: undefined, error: undefined }

type Answer = ({ readonly url: string } & ScrapeResponse) | { readonly url: string; readonly error: string }

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

const read = Effect.fnUntraced(function* (text: string, from: string | undefined) {
  const found = yield* Effect.provide(TorrentInput.find(text, from), NodePieceHasher.layer)
  if (found._tag === "Torrent") {
    const { infoHash, isPrivate, trackers } = found.metainfo
    return { infoHash, isPrivate, urls: trackers.flat() }
  }
  const link = Magnet.parse(found.link)
  if (Result.isFailure(link)) return yield* failed(link.failure.message)
  const { infoHash, trackers } = link.success
  // A tracker does not know a torrent by the 32 bytes of its v2 hash.
  if (infoHash === undefined) return yield* failed("magnet links with only a v2 hash cannot be scraped yet")
  return { infoHash, isPrivate: false, urls: trackers }
})

const lineOf = (answer: Answer): string => {
  if ("error" in answer) return `${answer.url}: ${answer.error}`
  const { downloads, leechers, seeders, url } = answer
  const counts = [count(seeders, "seeder"), count(leechers, "leecher"), count(downloads, "download")]
  return `${url}: ${counts.filter((text) => text !== undefined).join(", ") || "the answer contains no numbers"}`
}

const count = (number: number | undefined, noun: string): string | undefined =>
  number === undefined ? undefined : `${number} ${noun}${number === 1 ? "" : "s"}`
