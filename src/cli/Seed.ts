/**
 * Implements `piecewise seed`, which verifies the files of a torrent and uploads them until it is stopped or reaches
 * its limit. It changes none of the files and keeps no resume data. So each run verifies the files again, at about a
 * gigabyte per second.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import * as ThreadedPieceHasher from "../hash/provider/node/ThreadedPieceHasher.ts"
import * as NodeEngine from "../node/NodeEngine.ts"
import * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
import * as FileSystemStorage from "../storage/provider/node/FileSystemStorage.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import * as Arguments from "./Arguments.ts"
import * as Blocklist from "./Blocklist.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as ContentPlace from "./ContentPlace.ts"
import * as DownloadServices from "./DownloadServices.ts"
import * as LogOptions from "./LogOptions.ts"
import type { Output } from "./Output.ts"
import * as PeerOptions from "./PeerOptions.ts"
import * as SeedOptions from "./SeedOptions.ts"
import * as TorrentInput from "./TorrentInput.ts"
import * as TorrentSession from "./TorrentSession.ts"

/**
 * Seeds the torrent of the first operand from the file or folder of the second. Fails if a piece is missing or wrong.
 */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const [torrent, path] = args.operands as [string, string]
  const { dht, encryption, from, limits, listen, maxConnections, peers, udp } = yield* PeerOptions.read(args)
  const goal = yield* SeedOptions.read(args)
  const policy = yield* Blocklist.read(args)
  const show = yield* TorrentSession.readShow(args)
  yield* TorrentSession.withJson(show, "seed", output, (json) =>
    Effect.gen(function* () {
      const metainfo = yield* Effect.provide(TorrentInput.load(torrent, from), NodePieceHasher.layer)
      const { layout, ...place } = yield* Effect.tryPromise({
        try: () => ContentPlace.find(metainfo, path, { followLinks: Arguments.has(args, "follow-links") }),
        catch: (cause) => Failure.ofFile(path, cause)
      })
      yield* TorrentSession.run({
        metainfo: { ...metainfo, layout },
        engine: Layer.provide(
          DownloadServices.engine({
            limits,
            listen,
            maxConnections,
            encryption,
            policy,
            telemetry: LogOptions.telemetry(args)
          }),
          services(place, { dht, from, udp })
        ),
        add: { readOnly: true, peers, maxConnections, seed: goal ?? true, superSeed: Arguments.has(args, "super") },
        show,
        json,
        showsPort: true,
        output,
        outcomeOf: (event) => outcomeOf(event, path)
      })
    })
  )
}, LogOptions.within)

/**
 * Makes what the engine needs: the files at `place`, connections over TCP, trackers, the DHT, and resume data in memory
 * only.
 */
const services = (place: FileSystemStorage.FileSystemStorageOptions, network: NodeEngine.NetworkOptions) =>
  Layer.mergeAll(FileSystemStorage.layer(place), MemoryResumeStore.layer, NodeEngine.layerNetwork(network)).pipe(
    Layer.provideMerge(ThreadedPieceHasher.layer)
  )

/**
 * Returns how an event ends the command; `undefined` if it does not. A torrent that is not complete fails, because a
 * user who seeds a folder wants to know if something is wrong with it.
 */
const outcomeOf = (event: TorrentEvent, path: string): Exit.Exit<void, CommandFailed> | undefined => {
  const end = (why: string) => Exit.fail(new CommandFailed({ why }))
  switch (event._tag) {
    case "Started": {
      const missing = event.totalPieces - event.storedPieces
      return missing === 0
        ? undefined
        : end(
            `${path}: ${missing} of ${event.totalPieces} pieces are missing or wrong; run piecewise verify to see which`
          )
    }
    case "SeedingEnded":
      return Exit.void
    case "Failed":
      return end(ContentPlace.whyUnreadable(event.error))
    default:
      return undefined
  }
}
