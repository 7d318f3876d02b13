/**
 * Uses the io-daemon from Node: finds it, starts it, or talks to one that runs, over undici.
 *
 * Node needs no daemon to use a disk; the daemon is for pages. Used from Node, it isolates a failing or hanging disk in
 * another process, and lets tests run the code that a page runs.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Url from "node:url"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import { IoDaemonUnavailable } from "../io-daemon/IoDaemon.ts"
import * as IoDaemonClient from "../io-daemon/IoDaemonClient.ts"
import * as IoDaemonProtocol from "../io-daemon/IoDaemonProtocol.ts"
import * as IoDaemonProcess from "../io-daemon/node/IoDaemonProcess.ts"
import * as IoDaemonStorage from "../storage/provider/io-daemon/IoDaemonStorage.ts"

export type { IoDaemonError, IoDaemonRefused } from "../io-daemon/IoDaemonClient.ts"

/** The name of the root in a daemon that we start. */
export const rootName = "downloads"

const name = "piecewise-io-daemon"

/** Where cargo builds the program in a checkout. */
const built = Url.fileURLToPath(new URL(`../../native-host/target/release/${name}`, import.meta.url))

const isProgram = (path: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    FileSystem.access(path, FileSystem.constants.X_OK).then(
      () => true,
      () => false
    )
  )

/**
 * Finds the program: the path in `PIECEWISE_IO_DAEMON`, else the one built in this checkout, else one on the `PATH`.
 * Fails with `IoDaemonUnavailable` if there is none.
 */
export const findProgram: Effect.Effect<string, IoDaemonUnavailable> = Effect.gen(function* () {
  const { PATH = "", PIECEWISE_IO_DAEMON: named } = process.env
  if (named !== undefined && named !== "") return named
  const folders = PATH.split(Path.delimiter).filter((folder) => folder !== "")
  for (const program of [built, ...folders.map((folder) => Path.join(folder, name))]) {
    if (yield* isProgram(program)) return program
  }
  const how = "cargo build --release --manifest-path native-host/Cargo.toml"
  return yield* new IoDaemonUnavailable({ why: `it is not built; run ${how}, or set PIECEWISE_IO_DAEMON to its path` })
})

/**
 * Starts a daemon with one root named `rootName`, the folder `directory`, which it marks as its own
 * (`.piecewise/io-daemon`). Without `directory` it only opens sockets.
 */
export const layerProcess = ({ directory }: { readonly directory?: string | undefined }) =>
  Layer.unwrap(
    Effect.map(findProgram, (program) =>
      IoDaemonProcess.layer({ program, roots: directory === undefined ? {} : { [rootName]: Path.resolve(directory) } })
    )
  )

/**
 * `HttpClient` over undici, loaded when the layer is built, because loading it takes longer than all else at startup.
 */
export const layerHttpClient = Layer.unwrap(
  Effect.map(
    Effect.promise(() => import("@effect/platform-node/NodeHttpClient")),
    ({ layerUndici }) => layerUndici
  )
)

/** Storage in a root of the daemon. */
export const layerStorage = (options: IoDaemonStorage.IoDaemonStorageOptions) =>
  IoDaemonStorage.layer(options).pipe(Layer.provide(layerHttpClient), Layer.provide(NodePieceHasher.layer))

/**
 * The name of the daemon's root whose folder is `directory`. Fails with `IoDaemonUnavailable` if there is none or
 * the daemon does not answer, and with `IoDaemonRefused` if it refuses.
 */
export const findRoot = Effect.fnUntraced(function* (directory: string) {
  const client = yield* IoDaemonClient.make
  const response = yield* client.execute(HttpClientRequest.get(IoDaemonProtocol.configRoute))
  const unreadable = () => new IoDaemonUnavailable({ why: "its list of roots cannot be read" })
  const { roots } = yield* Effect.mapError(
    HttpClientResponse.schemaBodyJson(IoDaemonProtocol.Config)(response),
    unreadable
  )
  const wanted = yield* realPath(directory)
  for (const [root, place] of Object.entries(roots)) if ((yield* realPath(place)) === wanted) return root
  const known = Object.values(roots).join(", ") || "none"
  return yield* new IoDaemonUnavailable({ why: `it has no root at ${directory}; its roots are ${known}` })
}, Effect.provide(layerHttpClient))

/** The real path of a folder. The absolute path if it does not exist. */
const realPath = (path: string): Effect.Effect<string> =>
  Effect.promise(() => FileSystem.realpath(path).catch(() => Path.resolve(path)))
