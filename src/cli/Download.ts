/**
 * `piecewise download`: runs one torrent until everything is stored, and shows how it goes.
 *
 * Resume data lies in `DIR/.piecewise` while a download is not complete, and is removed with the folder when it is: a
 * user finds what was asked for and nothing else. Started again on a complete download, everything is verified anew,
 * which takes about a second a gigabyte and is more than resume data could promise.
 */

import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Engine from "../engine/Engine.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as NodePieceHasher from "../piece/NodePieceHasher.ts"
import * as FileResumeStore from "../resume/FileResumeStore.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import * as Arguments from "./Arguments.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as DownloadDisplay from "./DownloadDisplay.ts"
import * as DownloadEvents from "./DownloadEvents.ts"
import * as DownloadServices from "./DownloadServices.ts"
import type { Output } from "./Output.ts"
import * as TerminalText from "./TerminalText.ts"
import * as TorrentInput from "./TorrentInput.ts"
import * as Units from "./Units.ts"

interface Options {
  readonly torrent: string
  readonly directory: string
  readonly storage: DownloadServices.Options["storage"]
  readonly network: DownloadServices.Options["network"]
  readonly daemon: DownloadServices.Options["daemon"]
  readonly peers: ReadonlyArray<PeerAddress.PeerAddress>
  readonly maxConnections: number | undefined
  readonly bufferBytes: number | undefined
  readonly show: keyof typeof displays
}

/** Less holds no piece of most torrents and gives the engine nothing to arrange. */
const minBufferBytes = 65_536

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

const readOptions = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const torrent = args.operands[0]!
  const peers: Array<PeerAddress.PeerAddress> = []
  for (const text of Arguments.all(args, "peer")) {
    const peer = PeerAddress.parse(text)
    if (peer === undefined || !PeerAddress.isDialable(peer)) {
      return yield* wrong(`--peer ${text} is no address: it must be HOST:PORT, or [IPV6]:PORT`)
    }
    peers.push(peer)
  }
  const buffer = Arguments.get(args, "buffer")
  const bufferBytes = buffer === undefined ? undefined : Units.parseBytes(buffer)
  if (buffer !== undefined && (bufferBytes === undefined || bufferBytes < minBufferBytes)) {
    return yield* wrong(`--buffer ${buffer} is no size of at least ${Units.bytes(minBufferBytes)}, such as 64MiB`)
  }
  const connections = Arguments.get(args, "max-connections")
  const maxConnections = connections === undefined ? undefined : Number(connections)
  if (
    maxConnections !== undefined &&
    !(/^\d+$/.test(connections!) && maxConnections >= 1 && maxConnections <= 10_000)
  ) {
    return yield* wrong(`--max-connections ${connections} is no number from 1 to 10000`)
  }
  const services = yield* DownloadServices.read(args)
  const asJson = Arguments.has(args, "json")
  const isQuiet = Arguments.has(args, "quiet")
  if (asJson && isQuiet) return yield* wrong("--json and --quiet contradict each other")
  if (TorrentInput.isMagnet(torrent)) {
    return yield* failed("magnet links cannot be downloaded yet; give the torrent file or its URL")
  }
  const options: Options = {
    torrent,
    directory: Arguments.get(args, "output") ?? ".",
    ...services,
    peers,
    maxConnections,
    bufferBytes,
    show: asJson ? "json" : isQuiet ? "silent" : "people"
  }
  return options
})

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

/** Downloads. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const options = yield* readOptions(args)
  const metainfo = yield* Effect.provide(TorrentInput.load(options.torrent), NodePieceHasher.layer)
  const nobody = whyNobody(metainfo, options)
  if (!(yield* isBegun(metainfo, options))) {
    if (nobody !== undefined) return yield* failed(nobody)
    if (options.storage !== "memory") yield* checkDirectory(options.directory)
  }
  yield* session(metainfo, options, output, nobody)
  if (options.storage !== "memory") yield* forget(metainfo, options.directory)
  const place = options.storage === "memory" ? "memory" : Path.join(options.directory, metainfo.name)
  if (options.show === "people") output.print([TerminalText.clean(`stored in ${place}`)])
})

/** Why there is no peer to hope for, or `undefined`. */
const whyNobody = ({ trackers }: Metainfo, { peers, torrent }: Options): string | undefined => {
  if (peers.length > 0) return undefined
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

const resumeDirectory = (directory: string): string => Path.join(directory, ".piecewise")

const displays = { people: DownloadDisplay.people, json: DownloadDisplay.json, silent: DownloadDisplay.silent }

/**
 * Runs the torrent until it is complete or cannot be. The listener lives longer than the torrent, so that what is stored
 * while it stops is told as well.
 */
const session = Effect.fnUntraced(function* (
  metainfo: Metainfo,
  options: Options,
  output: Output,
  nobody: string | undefined
) {
  const display = displays[options.show]({ metainfo, output, now: () => performance.now() })
  const outcome = yield* Deferred.make<void, CommandFailed>()
  let listener: Fiber.Fiber<void> | undefined

  const work = Effect.gen(function* () {
    const services = { ...options, resumeDirectory: resumeDirectory(options.directory) }
    const engine = Context.get(yield* Layer.build(DownloadServices.layer(services)), Engine.Engine)
    const { completed, events, status } = yield* Effect.mapError(
      engine.add(metainfo, { peers: options.peers, maxConnections: options.maxConnections }),
      ({ message }) => new CommandFailed({ why: message })
    )
    listener = yield* events.pipe(
      Stream.runForEachArray((batch) =>
        Effect.map(status, (now) => {
          display.tell(batch, now)
          for (const event of batch) {
            const exit = outcomeOf(event, nobody)
            if (exit !== undefined) Deferred.doneUnsafe(outcome, exit)
          }
        })
      ),
      Effect.forkDetach({ startImmediately: true })
    )
    if (display.intervalMillis !== undefined) {
      yield* Effect.map(status, display.tick).pipe(
        // A terminal shows something at once; a log and a program are spared what is over in a moment.
        output.isTerminal ? Effect.tap(Effect.sleep(display.intervalMillis)) : Effect.delay(display.intervalMillis),
        Effect.forever,
        Effect.forkScoped
      )
    }
    // Of a defect `completed` dies, with the place it came from; the event tells only that there was one.
    const defect = Effect.andThen(Effect.ignore(completed), Effect.never)
    yield* Effect.raceFirst(Deferred.await(outcome), defect)
  })
  yield* Effect.scoped(work).pipe(
    Effect.tapError(({ why }) => Effect.sync(() => display.fail(why))),
    Effect.ensuring(Effect.suspend(() => (listener === undefined ? Effect.void : Fiber.await(listener))))
  )
})

/** How an event ends the download, if it does. */
const outcomeOf = (event: TorrentEvent, nobody: string | undefined): Exit.Exit<void, CommandFailed> | undefined => {
  const end = (why: string) => Exit.fail(new CommandFailed({ why }))
  switch (event._tag) {
    case "Completed":
      return Exit.void
    case "Failed":
      return end(event.error.message)
    case "StorageFailed":
      return DownloadEvents.isFinal(event.error) ? end(event.error.message) : undefined
    case "Started":
      return nobody !== undefined && event.storedPieces < event.totalPieces ? end(nobody) : undefined
    default:
      return undefined
  }
}

/** Removes the resume data of a torrent that is complete, and its folder when nothing else is in it. */
const forget = Effect.fnUntraced(function* (metainfo: Metainfo, directory: string) {
  const folder = resumeDirectory(directory)
  const store = FileResumeStore.make({ directory: folder })
  yield* store.open(metainfo.infoHash, metainfo.layout.geometry.pieceCount).pipe(
    Effect.flatMap((resume) => resume.remove),
    Effect.scoped,
    // What stays is believed by nobody without a look at the files.
    Effect.ignore
  )
  yield* Effect.promise(() => FileSystem.rmdir(folder).catch(() => {}))
})
