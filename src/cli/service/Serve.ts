/**
 * Implements `piecewise serve`, which keeps a session of torrents going, and lets programs control it over HTTP. It runs
 * until a signal stops it.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Security from "../../control/security/Security.ts"
import * as NodeService from "../../node/NodeService.ts"
import * as ServiceConfig from "../../node/ServiceConfig.ts"
import * as ServiceFolder from "../../node/ServiceFolder.ts"
import * as ServiceTelemetry from "../../node/ServiceTelemetry.ts"
import * as PeerPolicy from "../../swarm/PeerPolicy.ts"
import * as Arguments from "../Arguments.ts"
import * as Blocklist from "../Blocklist.ts"
import * as Failure from "../CommandFailed.ts"
import { CommandFailed } from "../CommandFailed.ts"
import * as LogOptions from "../LogOptions.ts"
import type { Output } from "../Output.ts"
import * as PeerOptions from "../PeerOptions.ts"
import * as SystemErrors from "../SystemErrors.ts"
import * as Units from "../Units.ts"

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

const listenText = /^(?:(?<host>[^:[\]]*)|\[(?<address>[^[\]]+)\]):(?<port>\d{1,5})$/

/** Reads `--http`, such as `127.0.0.1:6880`, `[::1]:6880` or `:6880` for all addresses. */
const readHttp = (args: Arguments.Arguments) => {
  const text = Arguments.get(args, "http")
  if (text === undefined) return Effect.succeed(NodeService.defaultHttp)
  const { address, host, port = "" } = listenText.exec(text)?.groups ?? {}
  const found = { host: address ?? (host || "::"), port: Number(port) }
  if (port !== "" && found.port <= 65_535) return Effect.succeed(found)
  return wrong(`--http ${text} is not a place to listen: it must be HOST:PORT, such as 127.0.0.1:6880`)
}

const readSecurity = (args: Arguments.Arguments) => {
  const options: Security.Options = {
    allowedHosts: Arguments.all(args, "allow-host"),
    allowedOrigins: Arguments.all(args, "allow-origin"),
    trustedProxies: Arguments.all(args, "trust-proxy"),
    basePath: Arguments.get(args, "base-path")
  }
  const why = Security.whyNot(options)
  return why === undefined ? Effect.succeed(options) : wrong(why)
}

/** Reads `--otlp`, the URL of a collector. */
const readCollector = (args: Arguments.Arguments) => {
  const text = Arguments.get(args, "otlp")
  if (text === undefined) return Effect.undefined
  const protocol = URL.parse(text)?.protocol ?? ""
  if (/^https?:$/.test(protocol)) return Effect.succeed(text)
  return wrong(`--otlp ${text} is not the URL of a collector: it must be such as http://127.0.0.1:4318`)
}

const readConfig = (args: Arguments.Arguments, directory: string) => {
  const file = Arguments.get(args, "config")
  if (file === undefined) return Effect.succeed(ServiceConfig.none)
  return Effect.mapError(ServiceConfig.read(file, directory), ({ message }) => new CommandFailed({ why: message }))
}

/** Fails if something that is no folder has the path. A folder that is missing is made when a file is stored there. */
const checkFolder = (directory: string) =>
  Effect.tryPromise({
    try: () => FileSystem.stat(directory),
    catch: (cause) => cause
  }).pipe(
    Effect.matchEffect({
      onSuccess: (stats) =>
        stats.isDirectory() ? Effect.void : Effect.fail(new CommandFailed({ why: `${directory}: it is not a folder` })),
      onFailure: (cause) =>
        SystemErrors.codeOf(cause) === "ENOENT" ? Effect.void : Effect.fail(Failure.ofFile(directory, cause))
    })
  )

/** Keeps the session of a folder going until it is interrupted. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const [directory] = args.operands as [string]
  const { dht, encryption, from, listen, maxConnections, udp } = yield* PeerOptions.read(args)
  yield* checkFolder(directory)
  const http = yield* readHttp(args)
  const security = yield* readSecurity(args)
  const policy = yield* Blocklist.read(args)
  const buffer = Arguments.get(args, "buffer")
  const bufferBytes = buffer === undefined ? undefined : Units.parseBytes(buffer)
  if (buffer !== undefined && bufferBytes === undefined) return yield* wrong(`--buffer ${buffer} is not a size`)
  const state = Arguments.get(args, "state") ?? ServiceFolder.defaultFolder()
  const config = yield* readConfig(args, directory)
  const collector = yield* readCollector(args)
  const service = NodeService.layer({
    directory,
    state,
    http,
    config,
    ...security,
    dht,
    encryption,
    from,
    listen,
    maxConnections,
    udp,
    bufferBytes
  })
  const announced = Effect.gen(function* () {
    const href = yield* NodeService.url(security)
    output.print([`The service is at ${href}; its token is in ${Path.join(state, ServiceFolder.names.token)}`])
    return yield* Effect.never
  })
  const choosing = policy === undefined ? service : Layer.provide(service, PeerPolicy.layer(policy))
  const program = collector === undefined ? choosing : Layer.provide(choosing, ServiceTelemetry.layer(collector))
  return yield* Effect.provide(announced, program).pipe(
    Effect.catch((error) => Effect.fail(new CommandFailed({ why: error.message })))
  )
}, LogOptions.withinService)
