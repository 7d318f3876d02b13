/**
 * The services of a download: the layers for `--storage` and `--network`, each loaded only if it is used.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Reach from "../base/Reach.ts"
import * as Engine from "../engine/Engine.ts"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import * as IoDaemon from "../io-daemon/IoDaemon.ts"
import * as IoDaemonUrl from "../io-daemon/IoDaemonUrl.ts"
import * as Offline from "../network/provider/node/Offline.ts"
import type { Listener } from "../network/Transport.ts"
import type { UdpHubOptions } from "../network/UdpHub.ts"
import * as NodeEngine from "../node/NodeEngine.ts"
import * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
import * as PeerPolicy from "../swarm/PeerPolicy.ts"
import * as Arguments from "./Arguments.ts"
import { CommandFailed } from "./CommandFailed.ts"
import type * as Commands from "./Commands.ts"
import type { DhtOptions } from "./DhtOptions.ts"

/** The options that choose and configure the services. */
export interface Options {
  /** Where pieces are stored. */
  readonly storage: (typeof Commands.storages)[number]
  /** How peers are reached. */
  readonly network: (typeof Commands.networks)[number]
  /** A running daemon; if absent, one is started when it is needed. */
  readonly daemon: IoDaemon.Endpoint | undefined
  readonly directory: string
  readonly resumeDirectory: string
  readonly bufferBytes: number | undefined
  readonly maxConnections: number | undefined
  readonly limits: Engine.EngineOptions["limits"]
  /** The address and ports to listen on, if any. */
  readonly listen: Engine.ListenOptions | undefined
  readonly encryption: Engine.EngineOptions["encryption"]
  /** The local address of connections to peers and trackers. */
  readonly from: string | undefined
  readonly dht: DhtOptions
  readonly udp: UdpHubOptions
  readonly telemetry: Engine.TelemetryOptions
  /** The policy about peers; default the standard one. */
  readonly policy?: Partial<PeerPolicy.PeerPolicy> | undefined
}

/** Reads `--storage`, `--network` and `--io-daemon-url`. Fails with `WrongUsage`. */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  // `Arguments.read` accepts no other value.
  const storage = (Arguments.get(args, "storage") ?? "filesystem") as Options["storage"]
  const network = (Arguments.get(args, "network") ?? "tcp") as Options["network"]
  const url = Arguments.get(args, "io-daemon-url")
  const daemon = url === undefined ? undefined : yield* endpoint(url)
  if (daemon !== undefined && storage !== "io-daemon" && network !== "io-daemon") {
    const why = "--io-daemon-url has no effect without --storage io-daemon or --network io-daemon"
    return yield* Effect.fail(new Arguments.WrongUsage(why))
  }
  return { storage, network, daemon }
})

const tokenName = "PIECEWISE_IO_DAEMON_TOKEN"

const endpoint = (text: string): Effect.Effect<IoDaemon.Endpoint, Arguments.WrongUsage> => {
  const url = URL.parse(text)
  // The token is sent unencrypted, so only this machine is allowed.
  const isHere = url !== null && Reach.isThisMachine(url.hostname)
  if (!isHere || url.href !== `http://${url.host}/`) {
    const why = `--io-daemon-url ${text} is not an io-daemon address: it must be http://127.0.0.1:PORT`
    return Effect.fail(new Arguments.WrongUsage(why))
  }
  const token = process.env[tokenName]
  if (token === undefined || token === "") {
    return Effect.fail(new Arguments.WrongUsage(`--io-daemon-url needs the daemon's token in ${tokenName}`))
  }
  return Effect.succeed({ url: IoDaemonUrl.pinned(url.origin), token: Redacted.make(token) })
}

/** The engine over the chosen storage and network. Fails with `CommandFailed`. */
export const layer = (options: Options): Layer.Layer<Engine.Engine, CommandFailed> => {
  let services: Layer.Layer<Engine.Requirements | Listener, CommandFailed> = NodeEngine.layerServices(options)
  if (options.storage === "memory") services = Layer.merge(services, memory)
  if (options.storage === "io-daemon" || options.network === "io-daemon") {
    services = Layer.merge(services, throughDaemon(options))
  }
  return Layer.provide(engine(options), services)
}

/**
 * The engine. If it cannot listen, it fails with `CommandFailed`; unless the user chose neither port nor address, then
 * it only connects to others.
 */
export const engine = (
  config: Engine.EngineOptions & Pick<Options, "policy">
): Layer.Layer<Engine.Engine, CommandFailed, Engine.Requirements | Listener> => {
  const { listen } = config
  const isDefault = typeof listen?.port === "object" && listen.host === undefined
  const made = Layer.catch(Engine.layer(config), ({ why }) =>
    isDefault
      ? Engine.layer({ ...config, listen: undefined })
      : Layer.effect(Engine.Engine, Effect.fail(new CommandFailed({ why })))
  )
  return config.policy === undefined ? made : Layer.provide(made, PeerPolicy.layer(config.policy))
}

const memory = Layer.unwrap(
  Effect.map(
    Effect.promise(() => import("../storage/provider/memory/MemoryStorage.ts")),
    (MemoryStorage) => Layer.merge(MemoryStorage.layer(), MemoryResumeStore.layer)
  )
).pipe(Layer.provide(NodePieceHasher.layer))

const throughDaemon = (options: Options) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const [NodeIoDaemon, IoDaemonTransport] = yield* Effect.promise(() =>
        Promise.all([import("../node/NodeIoDaemon.ts"), import("../network/provider/io-daemon/IoDaemonTransport.ts")])
      )
      const { daemon: endpoint, directory } = options
      // A daemon that only opens sockets does not need the folder.
      const kept = { directory: options.storage === "io-daemon" ? directory : undefined }
      const daemon = endpoint === undefined ? NodeIoDaemon.layerProcess(kept) : IoDaemon.layer(endpoint)
      const root = endpoint === undefined ? Effect.succeed(NodeIoDaemon.rootName) : NodeIoDaemon.findRoot(directory)
      const storage = Layer.unwrap(Effect.map(root, (root) => NodeIoDaemon.layerStorage({ root, directory })))
      const network = Offline.layer(IoDaemonTransport.layerFrom(options.from))
      const parts = {
        storage: options.storage === "io-daemon" ? storage : Layer.empty,
        network: options.network === "io-daemon" ? network : Layer.empty
      }
      return Layer.provide(Layer.merge(parts.storage, parts.network), daemon)
    })
  ).pipe(Layer.catch(({ message }) => Layer.effectDiscard(Effect.fail(new CommandFailed({ why: message })))))
