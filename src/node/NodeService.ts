/**
 * A service as it runs on Node: a session, and the HTTP API that controls it.
 */
import * as Path from "node:path"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Credentials from "../control/security/Credentials.ts"
import * as Listening from "../control/security/Listening.ts"
import * as NodeCredentials from "../control/security/provider/node/NodeCredentials.ts"
import * as NodeHttpLimits from "../control/security/provider/node/NodeHttpLimits.ts"
import type * as Security from "../control/security/Security.ts"
import * as ControlServer from "../control/server/ControlServer.ts"
import { ServiceFacts } from "../control/server/ServiceFacts.ts"
import * as NodeUnpacking from "../network/provider/node/NodeUnpacking.ts"
import * as SocketErrno from "../network/SocketErrno.ts"
import { Unpacking } from "../network/Unpacking.ts"
import * as CompletionHooks from "../session/CompletionHooks.ts"
import * as WatchFolder from "../session/WatchFolder.ts"
import * as NodeDiskSpace from "./NodeDiskSpace.ts"
import * as NodeLookup from "./NodeLookup.ts"
import * as NodeRoutedHttp from "./NodeRoutedHttp.ts"
import * as NodeServiceBackup from "./NodeServiceBackup.ts"
import * as NodeSession from "./NodeSession.ts"
import * as ServiceConfig from "./ServiceConfig.ts"
import * as ServiceFolder from "./ServiceFolder.ts"

/** How a service is set up. */
export interface Options extends Security.Options, Omit<NodeSession.Options, "database" | "resumeDirectory"> {
  /** The folder for all that outlives the process, except the torrents: session, resume data, token and password. */
  readonly state: string
  /** Where the API listens; default port 6880 of `127.0.0.1`. Port 0 is any free one. */
  readonly http?: { readonly host?: string | undefined; readonly port?: number | undefined } | undefined
  /** What it does of its own accord; default nothing. */
  readonly config?: ServiceConfig.ServiceConfig | undefined
}

/** The API cannot listen where it should. `why` is the end of a sentence. */
export class NotListening extends Data.TaggedError("piecewise/NotListening")<{
  readonly host: string
  readonly port: number
  readonly why: string
}> {
  override get message() {
    return `the service cannot listen on ${this.host}: ${this.why}`
  }
}

/** Where the API listens, unless another place is chosen. */
export const defaultHttp = { host: "127.0.0.1", port: 6_880 } as const

/**
 * How long the answers that are under way may go on when the service stops. Most take some milliseconds, and streams and
 * lists of events would go on for ever. The rest of the three seconds that a stop may take are for trackers and the disk.
 */
const gracefulTimeout = "250 millis"

const facts = ({ directory }: Options) =>
  Layer.effect(
    ServiceFacts,
    Effect.map(Clock.currentTimeMillis, (startedAtMillis) => ({
      startedAtMillis,
      directory: Path.resolve(directory),
      freeBytes: Effect.matchEager(NodeDiskSpace.of(directory), {
        onFailure: () => undefined,
        onSuccess: ({ freeBytes }) => freeBytes
      })
    }))
  )

/** Fails if the service would be reachable from other machines without a password. */
const allowed = (host: string) =>
  Effect.gen(function* () {
    const credentials = yield* Credentials.Credentials
    const { isSet } = yield* credentials.password
    const why = Listening.whyNot(host, isSet)
    if (why !== undefined) return yield* why
  })

/** What fetches torrent files whose URLs clients give. */
const fetching = ({ from }: Options) =>
  Layer.mergeAll(
    Layer.succeed(HttpClient.HttpClient, NodeRoutedHttp.make(NodeLookup.system, from)),
    Layer.succeed(Unpacking, NodeUnpacking.unpack)
  )

/** Addresses that stand for all of a machine. The command line reaches the service at its loopback address. */
const unspecified: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "[::]": "[::1]" }

/** The URL of the service at hand, for programs of this machine. Ends with a slash. */
export const url = ({
  basePath = "/"
}: Pick<Options, "basePath"> = {}): Effect.Effect<string, never, HttpServer.HttpServer> =>
  Effect.map(HttpServer.HttpServer, ({ address }) => {
    const found = new URL(basePath.replace(/\/?$/, "/"), HttpServer.formatAddress(address))
    found.hostname = unspecified[found.hostname] ?? found.hostname
    return found.href
  })

/** Says in the state folder where the service is, so that the command line finds it. */
const announcing = (options: Options) =>
  Layer.effectDiscard(Effect.flatMap(url(options), (href) => ServiceFolder.announce(options.state, href)))

/** What the service does of its own accord. */
const automatic = ({ config = ServiceConfig.none, directory }: Options) =>
  Layer.merge(
    CompletionHooks.layer({ hooks: config.completionHooks, directory }),
    WatchFolder.layer(config.watchFolders)
  ).pipe(Layer.provide(NodeServices.layer))

/** The HTTP server, which listens only where it may. */
const server = ({ http = {}, trustedProxies }: Options) => {
  const { host = defaultHttp.host, port = defaultHttp.port } = http
  const listening = NodeHttpServer.layer(() => NodeHttpLimits.createServer({ unlimited: trustedProxies }), {
    host,
    port,
    gracefulShutdownTimeout: gracefulTimeout
  })
  const explained = Layer.catchTag(listening, "ServeError", ({ cause }) => {
    const why = SocketErrno.whyNotListening(SocketErrno.codeOf(cause), port)
    const failure = Effect.fail(new NotListening({ host, port, why }))
    return Layer.effectContext<Layer.Success<typeof listening>, NotListening, never>(failure)
  })
  return Layer.provideMerge(explained, Layer.effectDiscard(allowed(host)))
}

/**
 * A session, and an HTTP server that controls it. Fails with `PasswordNeeded` if it would be reachable from other
 * machines without a password, and with `NotListening` if its address cannot be listened on.
 */
export const layer = (options: Options) => {
  const { state } = options
  const { dht, encryption, maxConnections } = options
  const transmission = { dht: dht !== false, encryption, maxConnections, space: NodeDiskSpace.of }
  const routes = ControlServer.layer({ ...options, transmission }).pipe(
    Layer.provide([facts(options), fetching(options), NodeServiceBackup.layer(state)])
  )
  const served = HttpRouter.serve(routes, {
    disableLogger: true,
    disableListenLog: true,
    routerConfig: ControlServer.routerConfig
  }).pipe(Layer.provide(ControlServer.tracing))
  const session = NodeSession.layer({
    ...options,
    resumeDirectory: ServiceFolder.resumeIn(state),
    database: ServiceFolder.sessionIn(state)
  })
  return Layer.merge(served, announcing(options)).pipe(
    Layer.provideMerge(server(options)),
    // Before anything else, so that no torrent is complete before its hooks listen.
    Layer.provideMerge(Layer.provideMerge(automatic(options), session)),
    Layer.provideMerge(NodeCredentials.layer({ directory: state }))
  )
}
