/**
 * `piecewise download`: runs one torrent until everything that is wanted is stored, or goes on giving it to others, and
 * shows how it goes.
 *
 * Resume data lies in `DIR/.piecewise` while a download is not complete, and is removed with the folder when everything is
 * stored, verified and flushed: a user finds what was asked for and nothing else, but for bytes of skipped files that came
 * with it, which stay there. Started again on a complete download, everything is verified anew, about a second a gigabyte.
 * In a folder of its own (`--state`) it is kept: then what has not changed is not read again, and files that are gone are
 * missed instead of fetched again.
 */

import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Engine from "../engine/Engine.ts"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as FileResumeStore from "../resume/provider/node/FileResumeStore.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import * as Arguments from "./Arguments.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as DownloadEvents from "./DownloadEvents.ts"
import * as DownloadServices from "./DownloadServices.ts"
import * as FileSelection from "./FileSelection.ts"
import type { Output } from "./Output.ts"
import * as PeerOptions from "./PeerOptions.ts"
import * as SeedOptions from "./SeedOptions.ts"
import * as TerminalText from "./TerminalText.ts"
import * as TorrentInput from "./TorrentInput.ts"
import * as TorrentSession from "./TorrentSession.ts"
import * as Units from "./Units.ts"

interface Options extends PeerOptions.PeerOptions {
  readonly torrent: string
  readonly directory: string
  /** Where resume data lies and stays; `undefined` for the folder of the download, where it goes when that is complete. */
  readonly stateDirectory: string | undefined
  /** Whether files of others may be overwritten. */
  readonly overwrite: boolean
  /** Whether everything is fetched again if all files are gone. */
  readonly startOver: boolean
  readonly storage: DownloadServices.Options["storage"]
  readonly network: DownloadServices.Options["network"]
  readonly daemon: DownloadServices.Options["daemon"]
  readonly bufferBytes: number | undefined
  readonly show: TorrentSession.Show
  /** Whether it goes on giving to others when everything is stored, and until when. */
  readonly seed: NonNullable<Engine.AddOptions["seed"]>
  /** Globs of the files that are wanted; none where all are. */
  readonly select: ReadonlyArray<string>
  readonly order: "rarest" | "sequential"
}

/** Less holds no piece of most torrents and gives the engine nothing to arrange. */
const minBufferBytes = 65_536

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

const readOptions = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const torrent = args.operands[0]!
  const buffer = Arguments.get(args, "buffer")
  const bufferBytes = buffer === undefined ? undefined : Units.parseBytes(buffer)
  if (buffer !== undefined && (bufferBytes === undefined || bufferBytes < minBufferBytes)) {
    return yield* wrong(`--buffer ${buffer} is no size of at least ${Units.bytes(minBufferBytes)}, such as 64MiB`)
  }
  const peers = yield* PeerOptions.read(args)
  const seed = (yield* SeedOptions.read(args)) ?? Arguments.has(args, "seed")
  const services = yield* DownloadServices.read(args)
  const show = yield* TorrentSession.readShow(args)
  const options: Options = {
    torrent,
    directory: Arguments.get(args, "output") ?? ".",
    stateDirectory: Arguments.get(args, "state"),
    overwrite: Arguments.has(args, "overwrite"),
    startOver: Arguments.has(args, "start-over"),
    ...services,
    ...peers,
    listen: peers.listen ?? (seed === false ? undefined : { port: 0 }),
    seed,
    select: Arguments.all(args, "select"),
    order: Arguments.has(args, "sequential") ? "sequential" : "rarest",
    bufferBytes,
    show
  }
  return options
})

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

/** Downloads. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const options = yield* readOptions(args)
  if (!TorrentInput.isMagnet(options.torrent)) {
    const metainfo = yield* Effect.provide(TorrentInput.load(options.torrent), NodePieceHasher.layer)
    const files = yield* FileSelection.ofGlobs(metainfo, options.select)
    return yield* download(metainfo, { ...options, files }, output)
  }
  const { load } = yield* Effect.promise(() => import("./MagnetInput.ts"))
  const { metainfo, peers, select } = yield* load(options.torrent, { ...options, output, engine: engineOf(options) })
  const files =
    options.select.length === 0 && select !== undefined
      ? yield* FileSelection.ofRanges(metainfo, select)
      : yield* FileSelection.ofGlobs(metainfo, options.select)
  yield* download(metainfo, { ...options, peers, files }, output)
})

/** How a torrent is downloaded of which it is known what is wanted. */
type Selected = Options & Pick<Engine.AddOptions, "files">

const download = Effect.fnUntraced(function* (metainfo: Metainfo, options: Selected, output: Output) {
  const nobody = whyNobody(metainfo, options)
  if (!(yield* isBegun(metainfo, options))) {
    if (nobody !== undefined) return yield* failed(nobody)
    if (options.storage !== "memory") yield* checkDirectory(options.directory)
  }
  yield* session(metainfo, options, output, nobody)
  const place = options.storage === "memory" ? "memory" : Path.join(options.directory, metainfo.name)
  if (options.show === "people") output.print([TerminalText.clean(`stored in ${place}`)])
})

/** Why there is no peer to hope for, or `undefined`. */
const whyNobody = ({ trackers }: Metainfo, { listen, peers, torrent }: Options): string | undefined => {
  // Where it listens, somebody may come.
  if (peers.length > 0 || listen !== undefined) return undefined
  const urls = trackers.flat()
  if (urls.some((url) => /^(?:https?|udp):/i.test(url))) return undefined
  return urls.length === 0
    ? `${torrent}: there is nobody to download from, as it names no tracker; give a peer with --peer HOST:PORT`
    : `${torrent}: there is nobody to download from, as trackers such as ${urls[0]} are not supported yet; give a peer with --peer HOST:PORT`
}

/** Whether something of the torrent may be stored, so that it may be complete without anybody's help. */
const isBegun = (metainfo: Metainfo, options: Options): Effect.Effect<boolean> =>
  options.storage === "memory"
    ? Effect.succeed(false)
    : Effect.promise(() =>
        FileSystem.stat(Path.join(options.directory, metainfo.name)).then(
          () => true,
          () => false
        )
      )

/**
 * Tells before anybody is asked for pieces that none could be stored: peers may be long in coming, and the first write
 * with them.
 */
const checkDirectory = (directory: string): Effect.Effect<void, CommandFailed> =>
  Effect.tryPromise({
    try: async () => {
      // What is not there yet is made in the nearest folder that is.
      let folder = Path.resolve(directory)
      for (;;) {
        const stats = await FileSystem.stat(folder).catch((error: NodeJS.ErrnoException) => {
          if (error.code === "ENOENT" && folder !== Path.dirname(folder)) return undefined
          throw error
        })
        if (stats?.isDirectory() === false) throw Object.assign(new Error(), { code: "ENOTDIR" })
        if (stats !== undefined) return await FileSystem.access(folder, FileSystem.constants.W_OK)
        folder = Path.dirname(folder)
      }
    },
    catch: (cause) => Failure.ofFile(directory, cause)
  })

const resumeDirectory = ({ directory, stateDirectory }: Options): string =>
  stateDirectory ?? Path.join(directory, ".piecewise")

const engineOf = (options: Options) => DownloadServices.layer({ ...options, resumeDirectory: resumeDirectory(options) })

/** Runs it to its end, which is for one that seeds when it is stopped. */
const session = (metainfo: Metainfo, options: Selected, output: Output, nobody: string | undefined) => {
  let isComplete = false
  return TorrentSession.run({
    metainfo,
    engine: engineOf(options),
    add: {
      peers: options.peers,
      maxConnections: options.maxConnections,
      seed: options.seed,
      files: options.files,
      order: options.order,
      overwrite: options.overwrite,
      startOver: options.startOver
    },
    show: options.show,
    output,
    outcomeOf: (event) => {
      if (event._tag === "Completed") isComplete = true
      if (event._tag === "PiecesLost") isComplete = false
      return outcomeOf(event, options, nobody)
    }
  }).pipe(
    Effect.ensuring(
      Effect.suspend(() =>
        isComplete && options.storage !== "memory" && options.stateDirectory === undefined
          ? forget(metainfo, options)
          : Effect.void
      )
    )
  )
}

/** How an event ends the download, if it does. */
const outcomeOf = (
  event: TorrentEvent,
  { directory, seed }: Options,
  nobody: string | undefined
): Exit.Exit<void, CommandFailed> | undefined => {
  const end = (why: string) => Exit.fail(new CommandFailed({ why }))
  switch (event._tag) {
    case "Completed":
      return seed === false ? Exit.void : undefined
    case "SeedingEnded":
      return Exit.void
    case "Failed":
      return end(whyFailed(event.error, directory))
    case "FilesMissing":
      return end(whyMissing(event, directory))
    case "FlushFailed":
    case "StorageFailed":
      return DownloadEvents.isFinal(event.error) ? end(event.error.message) : undefined
    case "Started":
      return nobody !== undefined && event.missingPieces > 0 ? end(nobody) : undefined
    default:
      return undefined
  }
}

const whyFailed = (error: Extract<TorrentEvent, { _tag: "Failed" }>["error"], directory: string): string =>
  error._tag === "ContentExists"
    ? `${Path.join(directory, error.message)}. Move it away, or replace it with --overwrite, which keeps the pieces that match`
    : error.message

const whyMissing = (
  { missingFiles, paths }: Extract<TorrentEvent, { _tag: "FilesMissing" }>,
  directory: string
): string => {
  const first = Path.join(directory, paths[0]!)
  const what =
    missingFiles === 1 ? `${first} is gone` : `${first} and all ${missingFiles} files with stored bytes are gone`
  return `${what}; is the disk mounted? Put them back, or fetch everything again with --start-over`
}

/** Removes the resume data of a torrent that is complete, and its folder when nothing else is in it. */
const forget = Effect.fnUntraced(function* ({ infoHash, layout }: Metainfo, options: Options) {
  const folder = resumeDirectory(options)
  const store = FileResumeStore.make({ directory: folder })
  const { pieceCount } = layout.geometry
  yield* store.open({ infoHash, pieceCount, fileCount: layout.files.length }).pipe(
    Effect.flatMap((resume) => resume.remove),
    Effect.scoped,
    // What stays is believed by nobody without a look at the files.
    Effect.ignore
  )
  yield* Effect.promise(() => FileSystem.rmdir(folder).catch(() => {}))
})
