/**
 * The contract of the address of an io-daemon: a local service that reads, writes and hashes files and opens sockets
 * for an engine that cannot. `IoDaemonProtocol.ts` has the requests to it.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"

/** There is no daemon to talk to. `why` ends a sentence. */
export class IoDaemonUnavailable extends Data.TaggedError("IoDaemonUnavailable")<{ readonly why: string }> {
  override get message() {
    return `the io-daemon is not there: ${this.why}`
  }
}

/** Where a daemon is, and its token. A restarted daemon has another port and another token. */
export interface Endpoint {
  /**
   * Scheme, host and port, without a slash at the end: `http://127.0.0.1:4710`. Used as `IoDaemonUrl.pinned` returns
   * it.
   */
  readonly url: string
  readonly token: Redacted.Redacted
}

/** Finds the daemon. */
export class IoDaemon extends Context.Service<
  IoDaemon,
  {
    /**
     * Where the daemon is now; called before every request and every connection. Waits while a daemon is being started,
     * and fails if none can be.
     */
    readonly endpoint: Effect.Effect<Endpoint, IoDaemonUnavailable>
  }
>()("piecewise/io-daemon/IoDaemon") {}

/** A daemon that another program runs, at an address that stays. */
export const layer = (endpoint: Endpoint): Layer.Layer<IoDaemon> =>
  Layer.succeed(IoDaemon, IoDaemon.of({ endpoint: Effect.succeed(endpoint) }))
