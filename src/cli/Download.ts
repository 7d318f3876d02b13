/**
 * `piecewise download`: runs one torrent until every wanted piece is stored, or continues to upload, and shows its
 * progress.
 *
 * Resume data is in `DIR/.piecewise` while a download is incomplete. It is removed, with the folder, when everything is
 * stored, verified and flushed, so the user finds only the downloaded files. Only bytes of skipped files that were
 * stored with shared pieces stay there. A later run on a complete download verifies everything again, about one second
 * per gigabyte. With `--state`, resume data is kept in a folder of its own: then unchanged files are not read again,
 * and missing files are reported instead of fetched again.
 */

import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as SourceUrl from "../base/SourceUrl.ts"
import type * as Engine from "../engine/Engine.ts"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as FileResumeStore from "../resume/provider/node/FileResumeStore.ts"
import * as Storage from "../storage/Storage.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as Arguments from "./Arguments.ts"
import * as Blocklist from "./Blocklist.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as DownloadServices from "./DownloadServices.ts"
import * as FileSelection from "./FileSelection.ts"
import * as GivingUp from "./GivingUp.ts"
import * as LogOptions from "./LogOptions.ts"
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
  /** The folder where resume data is kept; `undefined` for a folder in `directory` that is removed on completion. */
  readonly stateDirectory: string | undefined
  /** Whether files that the torrent did not write may be overwritten. */
  readonly overwrite: boolean
  /** Whether everything is fetched again if all files are gone. */
  readonly startOver: boolean
  readonly storage: DownloadServices.Options["storage"]
  readonly network: DownloadServices.Options["network"]
  readonly daemon: DownloadServices.Options["daemon"]
  readonly bufferBytes: number | undefined
  readonly policy: DownloadServices.Options["policy"]
  readonly show: TorrentSession.Show
  /** Whether to upload after completion, and until when. */
  readonly seed: NonNullable<Engine.AddOptions["seed"]>
  /** Globs of the files that are wanted; all files if empty. */
  readonly select: ReadonlyArray<string>
  readonly order: "rarest" | "sequential"
  /** Web seeds that the user named; `false` if none is to be used. */
  readonly webSeeds: ReadonlyArray<string> | false
  readonly giveUp: GivingUp.GiveUp | undefined
  readonly telemetry: Engine.TelemetryOptions
}

/** A smaller buffer cannot hold one piece of most torrents. */
const minBufferBytes = 65_536

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

const readOptions = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const torrent = args.operands[0]!
  const buffer = Arguments.get(args, "buffer")
  const bufferBytes = buffer === undefined ? undefined : Units.parseBytes(buffer)
  if (buffer !== undefined && (bufferBytes === undefined || bufferBytes < minBufferBytes)) {
    return yield* wrong(`--buffer ${buffer} is not a size of at least ${Units.bytes(minBufferBytes)}, such as 64MiB`)
  }
  const peers = yield* PeerOptions.read(args)
  const seed = (yield* SeedOptions.read(args)) ?? Arguments.has(args, "seed")
  const services = yield* DownloadServices.read(args)
  const policy = yield* Blocklist.read(args)
  const show = yield* TorrentSession.readShow(args)
  const webSeeds = Arguments.all(args, "web-seed")
  const notWebSeed = webSeeds.find((url) => !SourceUrl.isWebSeed(url))
  if (notWebSeed !== undefined) {
    return yield* wrong(`--web-seed ${notWebSeed} is not a web seed's URL: it must begin with http or https`)
  }
  const isWithout = Arguments.has(args, "no-web-seeds")
  if (isWithout && webSeeds.length > 0) return yield* wrong("--web-seed and --no-web-seeds cannot be used together")
  const options: Options = {
    torrent,
    directory: Arguments.get(args, "output") ?? ".",
    stateDirectory: Arguments.get(args, "state"),
    overwrite: Arguments.has(args, "overwrite"),
    startOver: Arguments.has(args, "start-over"),
    ...services,
    ...peers,
    seed,
    select: Arguments.all(args, "select"),
    order: Arguments.has(args, "sequential") ? "sequential" : "rarest",
    webSeeds: isWithout ? false : webSeeds,
    bufferBytes,
    policy,
    giveUp: yield* GivingUp.read(args),
    telemetry: LogOptions.telemetry(args),
    show
  }
  return options
})

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const options = yield* readOptions(args)
  yield* TorrentSession.withJson(options.show, "download", output, (json) => start({ ...options, json }, output))
}, LogOptions.within)

/** The options, and where JSON is printed. */
type Shown = Options & { readonly json: TorrentSession.Json }

const start = Effect.fnUntraced(function* (options: Shown, output: Output) {
  const found = yield* Effect.provide(TorrentInput.find(options.torrent, options.from), NodePieceHasher.layer)
  if (found._tag === "Torrent") {
    const { metainfo } = found
    const files = yield* FileSelection.ofGlobs(metainfo, options.select)
    return yield* download(metainfo, { ...options, files }, output)
  }
  const { load } = yield* Effect.promise(() => import("./MagnetInput.ts"))
  const fetching = {
    ...options,
    output,
    reach: found.reach,
    engine: engineOf(options),
    mayBeCalled: mayBeCalled(options),
    usesDht: options.dht !== false
  }
  const { metainfo, peers, select } = yield* load(found.link, fetching).pipe(
    Effect.onInterrupt(() => Effect.sync(() => options.show === "people" && output.note(stoppedEarly)))
  )
  const files =
    options.select.length === 0 && select !== undefined
      ? yield* FileSelection.ofRanges(metainfo, select)
      : yield* FileSelection.ofGlobs(metainfo, options.select)
  yield* download(metainfo, { ...options, peers, files }, output)
})

const stoppedEarly = "stopped; the metadata was not found yet, and what is stored is kept"

/** The options of a download after the wanted files are resolved. */
type SelectedOptions = Shown & Pick<Engine.AddOptions, "files">

const download = Effect.fnUntraced(function* (metainfo: Metainfo, options: SelectedOptions, output: Output) {
  const noPeers = whyNoPeers(metainfo, options)
  if (!(yield* mayHaveStored(metainfo, options))) {
    if (noPeers !== undefined) return yield* failed(noPeers)
    if (options.storage !== "memory") yield* checkDirectory(options.directory)
  }
  yield* session(metainfo, options, output, noPeers)
  const place = options.storage === "memory" ? "memory" : Path.join(options.directory, metainfo.name)
  if (options.show === "people") output.print([TerminalText.clean(`stored in ${place}`)])
})

/** Nobody knows that we listen, unless the user chose a port to tell somebody, or wants to wait for peers. */
const mayBeCalled = ({ hasPort, listen, seed }: Options): boolean => listen !== undefined && (hasPort || seed !== false)

/** Why no peer can ever be found; `undefined` if one may be, or if a web seed may have everything. */
const whyNoPeers = ({ httpSeeds, isPrivate, trackers, webSeeds }: Metainfo, options: Options): string | undefined => {
  const { dht, peers, torrent } = options
  if (options.webSeeds !== false && options.webSeeds.length + webSeeds.length + httpSeeds.length > 0) return undefined
  if (peers.length > 0 || mayBeCalled(options) || (dht !== false && !isPrivate)) return undefined
  const urls = trackers.flat()
  if (urls.some((url) => /^(?:https?|udp):/i.test(url))) return undefined
  return urls.length === 0
    ? `${torrent}: there are no peers to download from, because it names no tracker; add a peer with --peer HOST:PORT`
    : `${torrent}: there are no peers to download from, because trackers such as ${urls[0]} are not supported yet; add a peer with --peer HOST:PORT`
}

/** Whether something of the torrent may be stored already, so that it may be complete without any peer. */
const mayHaveStored = (metainfo: Metainfo, options: Options): Effect.Effect<boolean> =>
  options.storage === "memory"
    ? Effect.succeed(false)
    : Effect.promise(() =>
        FileSystem.stat(Path.join(options.directory, metainfo.name)).then(
          () => true,
          () => false
        )
      )

/**
 * Fails before any peer is asked if no piece could be stored. Otherwise the first write would fail, possibly much
 * later.
 */
const checkDirectory = (directory: string): Effect.Effect<void, CommandFailed> =>
  Effect.tryPromise({
    try: async () => {
      // A missing folder would be created in its nearest ancestor that exists.
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

/** Runs the torrent to its end. A seeding one ends when it reaches its limit or is stopped. */
const session = (metainfo: Metainfo, options: SelectedOptions, output: Output, noPeers: string | undefined) => {
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
      webSeeds: options.webSeeds,
      overwrite: options.overwrite,
      startOver: options.startOver
    },
    show: options.show,
    json: options.json,
    showsPort: options.hasPort || options.seed !== false,
    giveUp: options.giveUp,
    output,
    outcomeOf: (event) => {
      if (event._tag === "Completed") isComplete = true
      if (event._tag === "PiecesLost") isComplete = false
      return outcomeOf(event, options, noPeers)
    },
    keptOf: (status) => keptOf(status, metainfo, options)
  }).pipe(
    Effect.ensuring(
      Effect.suspend(() =>
        isComplete && options.storage !== "memory" && options.stateDirectory === undefined
          ? removeResumeData(metainfo, options)
          : Effect.void
      )
    )
  )
}

/** What a download that a signal ended has kept, and how to go on. */
const keptOf = (status: TorrentStatus, { name }: Metainfo, { directory, storage }: Options): string => {
  if (storage === "memory") return "stopped; nothing is kept in memory"
  const place = TerminalText.clean(Path.join(directory, name))
  const stored = status.wantedBytes - status.missingBytes
  if (status.state._tag === "Complete") return `stopped; everything is stored in ${place}`
  if (status.state._tag === "Checking") return `stopped; what is stored in ${place} is kept`
  if (stored === 0) return "stopped; nothing is stored yet"
  const part = `${Units.percent(stored, status.wantedBytes)} is stored in ${place}`
  return `stopped; ${part}; the same command goes on from there`
}

/** How an event ends the download; `undefined` if it does not. */
const outcomeOf = (
  event: TorrentEvent,
  { directory, seed }: Options,
  noPeers: string | undefined
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
      return Storage.isLasting(event.error) ? end(event.error.message) : undefined
    case "Started":
      return noPeers !== undefined && event.missingPieces > 0 ? end(noPeers) : undefined
    default:
      return undefined
  }
}

const whyFailed = (error: Extract<TorrentEvent, { _tag: "Failed" }>["error"], directory: string): string =>
  error._tag === "piecewise/ContentExists"
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

/** Removes the resume data of a complete torrent, and its folder if nothing else is in it. */
const removeResumeData = Effect.fnUntraced(function* ({ infoHash, layout }: Metainfo, options: Options) {
  const folder = resumeDirectory(options)
  const store = FileResumeStore.make({ directory: folder })
  const { pieceCount } = layout.geometry
  yield* store.open({ infoHash, pieceCount, fileCount: layout.fileCount }).pipe(
    Effect.flatMap((resume) => resume.remove),
    Effect.scoped,
    // If this fails, the next run still checks the files before it trusts what is left.
    Effect.ignore
  )
  yield* Effect.promise(() => FileSystem.rmdir(folder).catch(() => {}))
})
