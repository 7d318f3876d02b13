/**
 * `piecewise create`: makes a torrent file from a file or folder. The torrent file is written completely or not at all.
 */

import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as InfoHash from "../base/InfoHash.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import * as Version from "../base/Version.ts"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import * as CreateTorrent from "../metainfo/CreateTorrent.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as NodeWholeFile from "../storage/provider/node/NodeWholeFile.ts"
import * as Arguments from "./Arguments.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"
import type { Output } from "./Output.ts"
import * as TerminalText from "./TerminalText.ts"
import * as Units from "./Units.ts"

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

const readPieceLength = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const text = Arguments.get(args, "piece-length")
  if (text === undefined) return undefined
  const pieceLength = Units.parseBytes(text)
  if (pieceLength === undefined || pieceLength < 1 || pieceLength > Metainfo.maxPieceLength) {
    const limit = Units.bytes(Metainfo.maxPieceLength)
    return yield* wrong(`--piece-length ${text} is not a size from 1 B to ${limit}, such as 256KiB`)
  }
  return pieceLength
})

export const run = Effect.fnUntraced(
  function* (args: Arguments.Arguments, output: Output) {
    const path = args.operands[0]!
    const quiet = Arguments.has(args, "quiet")
    const pieceLength = yield* readPieceLength(args)
    const trackers = Arguments.all(args, "tracker")
    const bad = trackers.find((url) => !SourceUrl.isTracker(url))
    if (bad !== undefined) {
      return yield* wrong(`--tracker ${bad} is not a tracker URL: it must begin with http, https, udp, ws or wss`)
    }
    const webSeeds = Arguments.all(args, "web-seed")
    const notWebSeed = webSeeds.find((url) => !SourceUrl.isWebSeed(url))
    if (notWebSeed !== undefined) {
      return yield* wrong(`--web-seed ${notWebSeed} is not a web seed's URL: it must begin with http or https`)
    }
    const nodes: Array<PeerAddress.PeerAddress> = []
    for (const text of Arguments.all(args, "node")) {
      const node = PeerAddress.parse(text)
      if (node === undefined || !PeerAddress.isDialable(node)) {
        return yield* wrong(`--node ${text} is not an address: it must be HOST:PORT, or [IPV6]:PORT`)
      }
      nodes.push(node)
    }
    const isPrivate = Arguments.has(args, "private")
    if (isPrivate && nodes.length > 0) {
      return yield* wrong("--node and --private cannot be used together: a private torrent never uses the DHT")
    }
    const name = Path.basename(Path.resolve(path))
    const target = Arguments.get(args, "output") ?? `${name}.torrent`
    yield* checkTarget(target)

    const bytes = yield* CreateTorrent.fromPath(path, {
      pieceLength,
      trackers: trackers.map((url) => [url]),
      webSeeds,
      nodes,
      isPrivate,
      followLinks: Arguments.has(args, "follow-links"),
      comment: Arguments.get(args, "comment"),
      createdBy: Version.userAgent,
      onProgress: makeProgressReporter(output, quiet)
    }).pipe(Effect.mapError(({ why }) => new CommandFailed({ why })))
    output.draw([])
    output.release()
    const metainfo = yield* Effect.mapError(
      Metainfo.fromBytes(bytes),
      ({ why }) => new CommandFailed({ why: `${path} cannot be made into a torrent that can be downloaded: ${why}` })
    )
    yield* write(target, bytes)
    if (quiet) return
    const { pieceCount, pieceLength: length, totalLength } = metainfo.layout.geometry
    output.print([
      TerminalText.clean(target),
      `  ${Units.bytes(totalLength)} in ${Units.count(pieceCount, "piece")} of ${Units.bytes(length)}`,
      `  info hash ${InfoHash.toHex(metainfo.infoHash)}`
    ])
  },
  Effect.provide(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodePieceHasher.layer))
)

/** Shows progress on a terminal, at most ten times a second. */
const makeProgressReporter = (output: Output, quiet: boolean) => {
  let shown = 0
  const report = (progress: CreateTorrent.Progress): void => {
    switch (progress._tag) {
      case "LeftOut": {
        const hint = progress.isFollowable ? "; use --follow-links to include what it points to" : ""
        return output.note(`${progress.path} is left out: ${progress.why}${hint}`)
      }
      case "Renamed": {
        const where = progress.isClash ? " on file systems that cannot tell its name from another file's" : ""
        return output.note(`${progress.path} will be stored as ${progress.storedAs}${where}`)
      }
      case "Hashed": {
        if (quiet || !output.isTerminal || performance.now() - shown < 100) return
        shown = performance.now()
        const { hashedBytes, totalBytes } = progress
        const size = `${Units.bytes(hashedBytes)} of ${Units.bytes(totalBytes)}`
        const text = `hashing ${Units.percent(hashedBytes, totalBytes)}, ${size}`
        output.draw([TerminalText.fit(text, output.style().columns - 1)])
      }
    }
  }
  return (progress: CreateTorrent.Progress) => Effect.sync(() => report(progress))
}

/** Fails before hours of hashing if the torrent file could not be written afterwards. */
const checkTarget = (target: string): Effect.Effect<void, CommandFailed> =>
  Effect.tryPromise({
    try: async () => {
      const stats = await FileSystem.stat(target).catch(() => undefined)
      if (stats?.isDirectory() === true) throw Object.assign(new Error(), { code: "EISDIR" })
      await FileSystem.access(Path.dirname(Path.resolve(target)), FileSystem.constants.W_OK)
    },
    catch: (cause) => Failure.ofFile(target, cause)
  })

const write = (target: string, bytes: Uint8Array): Effect.Effect<void, CommandFailed> =>
  Effect.tryPromise({
    try: () => NodeWholeFile.replace(target, bytes),
    catch: (cause) => Failure.ofFile(target, cause)
  }).pipe(Effect.uninterruptible)
