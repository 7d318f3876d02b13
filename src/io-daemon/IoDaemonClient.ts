/**
 * Requests to the io-daemon over Effect's `HttpClient`: undici on Node, `fetch` in a page.
 *
 * Where the daemon is, is asked before each attempt, so that a request finds a daemon that was started again at another
 * port with another token. What passes by itself is tried again with patience: a daemon that is gone, hangs, or has no
 * room. What the daemon refuses is told at once. All requests of the contract may be repeated without harm.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../base/Monotonic.ts"
import type { Endpoint } from "./IoDaemon.ts"
import { IoDaemon, IoDaemonUnavailable } from "./IoDaemon.ts"
import * as IoDaemonProtocol from "./IoDaemonProtocol.ts"
import * as IoDaemonUrl from "./IoDaemonUrl.ts"

/** The daemon was asked and said no. */
export class IoDaemonRefused extends Data.TaggedError("IoDaemonRefused")<{
  readonly status: number
  readonly refusal: IoDaemonProtocol.Refusal
}> {
  override get message() {
    return this.refusal.message
  }
}

/** What a request fails with. */
export type IoDaemonError = IoDaemonUnavailable | IoDaemonRefused

/** How long one attempt may take, from the connection to the answer's head; a daemon that hangs is tried again. */
export const attemptTimeout = "30 seconds"

/**
 * How long a request is tried again: a daemon that is started anew is back in a tenth of a second, and one that is not
 * back in half a minute will need somebody's help.
 */
export const patience = "30 seconds"

const passing: ReadonlySet<string> = new Set(["busy", "timeout"])

/** Whether the same request may succeed a moment later. */
export const isTransient = (error: IoDaemonError): boolean =>
  error._tag === "IoDaemonUnavailable" || passing.has(error.refusal.kind)

/**
 * When to try again: quickly at first, as a restart is quick, and at least once a second, so that the end of a trouble is
 * noticed soon. Jittered, because all that wait were cut off at once. Ends after `patience`, and at once for what lasts.
 */
export const again = Schedule.min([Schedule.exponential("20 millis", 1.5), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ duration: patience }),
  Monotonic.schedule,
  Schedule.setInputType<IoDaemonError>(),
  Schedule.while(({ input }) => Effect.succeed(isTransient(input)))
)

/** Talks to the daemon. One attempt each; `again` says when to make another. */
export interface IoDaemonClient {
  /** Gives an answer that says yes. Its body must be read, or be none. */
  readonly execute: (
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, IoDaemonError>
  /** The same for a body that is streamed: what is not read when the scope closes is given up. */
  readonly executeScoped: (
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, IoDaemonError, Scope.Scope>
}

/** A client of the daemon, over the `HttpClient` of whoever makes it. */
export const make = Effect.gen(function* () {
  const daemon = yield* IoDaemon
  const http = yield* HttpClient.HttpClient

  /** A wrong token may be that of a daemon which is gone: it was started again, perhaps at the same port. */
  const refuse = Effect.fnUntraced(function* (asked: Endpoint, response: HttpClientResponse.HttpClientResponse) {
    const body = yield* Effect.mapError(response.text, lost)
    if (response.status === 401) {
      const now = yield* daemon.endpoint
      if (now.url !== asked.url || now.token !== asked.token) {
        return yield* new IoDaemonUnavailable({ why: "it was started again" })
      }
    }
    const refusal = IoDaemonProtocol.decodeRefusal(response.status, body)
    return yield* new IoDaemonRefused({ status: response.status, refusal })
  })

  const executeWith = <R>(client: HttpClient.HttpClient.With<HttpClientError.HttpClientError, R>) =>
    Effect.fnUntraced(
      function* (request: HttpClientRequest.HttpClientRequest) {
        const endpoint = yield* daemon.endpoint
        const response = yield* Effect.mapError(client.execute(toDaemon(endpoint, request)), lost)
        return response.status < 300 ? response : yield* refuse(endpoint, response)
      },
      Effect.timeoutOrElse({
        duration: attemptTimeout,
        orElse: () => Effect.fail(new IoDaemonUnavailable({ why: "it did not answer in time" }))
      }),
      // The daemon is ours: a span and its headers would cost more than what they tell.
      Effect.provideService(HttpClient.TracerPropagationEnabled, false),
      Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
    )

  const self: IoDaemonClient = {
    execute: executeWith(http),
    executeScoped: executeWith(HttpClient.withScope(http))
  }
  return self
})

const toDaemon = (endpoint: Endpoint, request: HttpClientRequest.HttpClientRequest) =>
  request.pipe(
    HttpClientRequest.prependUrl(IoDaemonUrl.pinned(endpoint.url)),
    HttpClientRequest.bearerToken(endpoint.token)
  )

/** What became of a request, or of an answer, that broke off. */
export const lost = (): IoDaemonUnavailable => new IoDaemonUnavailable({ why: "the connection to it broke" })
