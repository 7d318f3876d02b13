/**
 * Defines the service `IoDaemon`, which finds an io-daemon. An io-daemon is a local program that reads, writes and
 * hashes files and opens sockets for an engine that cannot do so itself, such as one in a browser.
 * `IoDaemonProtocol.ts` defines the requests to it.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Environment from "../base/Environment.ts"

/** No daemon can be reached. `why` is the end of a sentence. */
export class IoDaemonUnavailable extends Schema.TaggedError<IoDaemonUnavailable>()("piecewise/IoDaemonUnavailable", {
  why: Schema.String
}) {
  override get message() {
    return `the io-daemon is not there: ${this.why}`
  }
}

/**
 * The URL of a daemon, and the token that every request to it needs. They may change: a daemon that
 * `IoDaemonProcess.ts` restarts has another port and another token.
 */
export interface Endpoint {
  /**
   * Its scheme, host and port without a slash at the end, as in `http://127.0.0.1:4710`. Requests go to the URL that
   * `IoDaemonUrl.pinned` makes of it, so that the token does not reach another program.
   */
  readonly url: string
  readonly token: Redacted.Redacted
}

/** Finds the daemon that an engine uses. */
export class IoDaemon extends Context.Service<
  IoDaemon,
  {
    /**
     * Returns where the daemon is now. It runs before every request and every connection. It waits while a daemon is
     * being started, and fails if none can be started.
     */
    readonly endpoint: Effect.Effect<Endpoint, IoDaemonUnavailable>
  }
>()("piecewise/io-daemon/IoDaemon") {}

/**
 * Makes the service for a daemon that another program runs, and whose URL and token never change.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Redacted } from "effect"
 * import { IoDaemon } from "piecewise"
 *
 * // Provide it to `IoDaemonStorage.layer` and `IoDaemonTransport.layer`.
 * const layer = IoDaemon.layer({ url: "http://127.0.0.1:4710", token: Redacted.make("of the daemon") })
 *
 * const endpoint = IoDaemon.IoDaemon.use((daemon) => daemon.endpoint)
 * const { token, url } = await Effect.runPromise(Effect.provide(endpoint, layer))
 * assert.equal(`${url} ${token}`, "http://127.0.0.1:4710 <redacted>")
 * ```
 */
export const layer = (endpoint: Endpoint): Layer.Layer<IoDaemon> =>
  Layer.succeed(IoDaemon, IoDaemon.of({ endpoint: Effect.succeed(endpoint) }))

/**
 * Reads `PIECEWISE_IO_DAEMON_URL` and `PIECEWISE_IO_DAEMON_TOKEN`, which must be set (docs/configuration.md). The token
 * is in no error.
 */
export const fromEnvironment = (): Config.Config<Endpoint> =>
  Config.all({
    url: Environment.origin("PIECEWISE_IO_DAEMON_URL"),
    token: Config.Redacted("PIECEWISE_IO_DAEMON_TOKEN")
  })

/** Makes the service for the daemon that `config` names. Fails with `ConfigError` if a value is bad or missing. */
export const layerConfig = (
  config: Config.Wrap<Endpoint> = fromEnvironment()
): Layer.Layer<IoDaemon, Config.ConfigError> => Layer.unwrap(Effect.map(Config.unwrap<Endpoint>(config), layer))
