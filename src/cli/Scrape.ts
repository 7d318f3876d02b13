/**
 * `piecewise scrape`: asks the trackers of a torrent or magnet link for its numbers of peers, without joining its
 * swarm.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { ScrapeResponse } from "../discovery/tracker/Tracker.ts"
import { Tracker } from "../discovery/tracker/Tracker.ts"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import * as NodeTracker from "../node/NodeTracker.ts"
import * as Arguments from "./Arguments.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as JsonResult from "./JsonResult.ts"
import type { Output } from "./Output.ts"
import * as PeerOptions from "./PeerOptions.ts"
import * as TerminalText from "./TerminalText.ts"
import * as TorrentInput from "./TorrentInput.ts"

/**
 * Trackers that are asked at once. Lists are long and mostly dead, and a dead tracker takes half a minute to time out.
 */
const concurrency = 32

/** Asks all trackers, and shows each answer when it arrives. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const from = yield* PeerOptions.readFrom(args)
  yield* Effect.provide(scrape(args, output, from), NodeTracker.layerFrom(from))
})

const scrape = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output, from: string | undefined) {
  const text = args.operands[0]!
  const asJson = Arguments.has(args, "json")
  const { infoHash, urls } = yield* read(text, from)
  if (urls.length === 0) return yield* failed(`${text}: there is no tracker to ask`)
  const tracker = yield* Tracker
  const answers = yield* Effect.forEach(
    urls,
    (url) =>
      Effect.map(Effect.result(tracker.scrape(url, infoHash)), (result) => {
        const answer: Answer = Result.isSuccess(result)
          ? { url, ...result.success }
          : { url, error: result.failure.why }
        if (!asJson) output.print([TerminalText.clean(lineOf(answer))])
        return answer
      }),
    { concurrency }
  )
  if (asJson) {
    const trackers = answers.map((answer) => ({ ...silent, ...answer }))
    yield* JsonResult.print(output, { _tag: "Scraped", version: 1, infoHash, trackers })
  }
  if (answers.every((answer) => "error" in answer))
    return yield* failed(`${text}: no tracker answered with its numbers of peers`)
})

/** What is known of a tracker that says nothing. */
const silent = { seeders: undefined, leechers: undefined, downloads: undefined, error: undefined }

type Answer = ({ readonly url: string } & ScrapeResponse) | { readonly url: string; readonly error: string }

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

const read = Effect.fnUntraced(function* (text: string, from: string | undefined) {
  const found = yield* Effect.provide(TorrentInput.find(text, from), NodePieceHasher.layer)
  if (found._tag === "Torrent") {
    const { infoHash, trackers } = found.metainfo
    return { infoHash, urls: trackers.flat() }
  }
  const link = Magnet.parse(found.link)
  if (Result.isFailure(link)) return yield* failed(link.failure.message)
  const { infoHash, trackers } = link.success
  // A tracker does not know a torrent by the 32 bytes of its v2 hash.
  if (infoHash === undefined) return yield* failed("magnet links with only a v2 hash cannot be scraped yet")
  return { infoHash, urls: trackers }
})

const lineOf = (answer: Answer): string => {
  if ("error" in answer) return `${answer.url}: ${answer.error}`
  const { downloads, leechers, seeders, url } = answer
  const counts = [count(seeders, "seeder"), count(leechers, "leecher"), count(downloads, "download")]
  return `${url}: ${counts.filter((text) => text !== undefined).join(", ") || "the answer contains no numbers"}`
}

const count = (number: number | undefined, noun: string): string | undefined =>
  number === undefined ? undefined : `${number} ${noun}${number === 1 ? "" : "s"}`
