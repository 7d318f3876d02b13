/**
 * Handles every error of a download, and proves it: what is left in the error channel is `never`. `node
 * examples/errors.ts FILE.torrent` prints one sentence, whatever happens.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Engine, Metainfo, type PieceHasher, type Storage } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** What a person may do about a reason of the storage. The compiler asks for every one. */
const advice = ({ _tag }: Storage.StorageReason): string => {
  switch (_tag) {
    case "DiskFull":
      return "free some space"
    case "StorageRefused":
    case "FileExists":
      return "look at the folder"
    case "WriterConflict":
      return "end the other program"
    case "FileChanged":
    case "NotStored":
    case "DigestMismatch":
    case "StorageUnavailable":
      return "try again later"
  }
}

/** Downloads a torrent to its end. Its error type is inferred from what it does. */
const download = Effect.fnUntraced(function* (bytes: Uint8Array) {
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(yield* Metainfo.fromBytes(bytes))
  yield* torrent.completed
  return `${yield* torrent.name} is complete`
}, Effect.scoped)

/** Downloads a torrent. Every error has become a sentence. */
export const main = (bytes: Uint8Array): Effect.Effect<string, never, Engine.Engine | PieceHasher.PieceHasher> =>
  download(bytes).pipe(
    Effect.catchTags({
      "piecewise/MetainfoError": ({ why }) => Effect.succeed(`not a torrent: ${why}`),
      "piecewise/AlreadyAdded": () => Effect.succeed("it is running already"),
      "piecewise/OnlyV2": ({ message }) => Effect.succeed(message),
      "piecewise/TorrentStopped": () => Effect.succeed("somebody stopped it"),
      "piecewise/ContentExists": ({ message }) => Effect.succeed(`${message}: move it away, or overwrite it`),
      "piecewise/StorageError": ({ message, reason }) => Effect.succeed(`${message}: ${advice(reason)}`),
      "piecewise/ResumeError": ({ message }) => Effect.succeed(`the resume data is unusable: ${message}`)
    })
  )

if (import.meta.main) {
  Effect.promise(() => readFile(process.argv[2]!)).pipe(
    Effect.flatMap(main),
    Effect.flatMap(Console.log),
    Effect.provide(NodeEngine.layer({ directory: "downloads" })),
    NodeRuntime.runMain
  )
}
