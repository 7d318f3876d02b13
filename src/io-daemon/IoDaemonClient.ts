/**
 * Requests to the io-daemon over Effect's `HttpClient`: `IoDaemonHttp.ts` on Node, `fetch` in a page.
 *
 * The daemon's address is looked up before each attempt, so that a request finds a restarted daemon at another port
 * with another token. Failures that pass by themselves are retried for a while: a daemon that is gone, hangs, or has no
 * room. What the daemon refuses fails at once. All requests of the contract may be repeated without harm.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Descriptors from "../base/Descriptors.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { Endpoint } from "./IoDaemon.ts"
import { IoDaemon, IoDaemonUnavailable } from "./IoDaemon.ts"
import * as IoDaemonProtocol from "./IoDaemonProtocol.ts"
import * as IoDaemonUrl from "./IoDaemonUrl.ts"

/** The daemon refused the request. */
export class IoDaemonRefused extends Schema.TaggedError<IoDaemonRefused>()("piecewise/IoDaemonRefused", {
  /** The status of the HTTP answer. */
  status: Schema.Int,
  refusal: IoDaemonProtocol.Refusal
}) {
  override get message() {
    return this.refusal.message
  }
}

/** What a request fails with. */
export type IoDaemonError = IoDaemonUnavailable | IoDaemonRefused

/**
 * How long one attempt may take, from the connection to the answer's head; a daemon that hangs gets another attempt.
 */
export const attemptTimeout = "30 seconds"

/**
 * How long a request is retried: a restarted daemon is back in a tenth of a second, and one that is not back in half a
 * minute needs a person's help.
 */
export const patience = "30 seconds"

const passing: ReadonlySet<string> = new Set(["busy", "timeout"])

/** Whether the same request may succeed a moment later. */
export const isTransient = (error: IoDaemonError): boolean =>
  error._tag === "piecewise/IoDaemonUnavailable" || passing.has(error.refusal.kind)

/**
 * When to retry: soon at first, because a restart is quick, and at least once a second, so that the end of a failure is
 * noticed soon. Jittered, because all waiting requests were cut off at once. Ends after `patience`, and at once for
 * failures that last.
 */
export const again = Schedule.min([Schedule.exponential("20 millis", 1.5), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ duration: patience }),
  Monotonic.schedule,
  Schedule.setInputType<IoDaemonError>(),
  Schedule.while(({ input }) => Effect.succeed(isTransient(input)))
)

/** Runs an attempt, and again as `again` says. The schedule is made only after a failure, because most have none. */
export const patiently = <A, R>(attempt: Effect.Effect<A, IoDaemonError, R>): Effect.Effect<A, IoDaemonError, R> =>
  Effect.catchIf(attempt, isTransient, (error) => {
    let isFirst = true
    const next = Effect.suspend(() => {
      const ended = isFirst ? Effect.fail(error) : attempt
      isFirst = false
      return ended
    })
    return Effect.retry(next, again)
  })

/** Sends requests to the daemon. One attempt each; `again` says when to make another. */
export interface IoDaemonClient {
  /** Returns a successful answer. Its body, if any, must be read. */
  readonly execute: (
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, IoDaemonError>
  /** The same for a streamed body: what is not read when the scope closes is dropped. */
  readonly executeScoped: (
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, IoDaemonError, Scope.Scope>
}

/** A client of the daemon, over the `HttpClient` of the caller. */
export const make = Effect.gen(function* () {
  const daemon = yield* IoDaemon
  const http = yield* HttpClient.HttpClient

  /** A wrong token may be that of a daemon which has ended: another one was started, perhaps at the same port. */
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

  let asked: { readonly endpoint: Endpoint; readonly url: string; readonly authorization: string } | undefined

  /** The request at the daemon's URL, with its token. */
  const toDaemon = (endpoint: Endpoint, request: HttpClientRequest.HttpClientRequest) => {
    if (asked?.endpoint !== endpoint) {
      const authorization = `Bearer ${Redacted.value(endpoint.token)}`
      asked = { endpoint, url: IoDaemonUrl.pinned(endpoint.url), authorization }
    }
    const atDaemon = HttpClientRequest.prependUrl(request, asked.url)
    return HttpClientRequest.setHeader(atDaemon, "authorization", asked.authorization)
  }

  // Every piece is a request, so this is no generator, and what is the same for all requests is made once.
  const executeWith = <R>(client: HttpClient.HttpClient.With<HttpClientError.HttpClientError, R>) => {
    const attempt = (endpoint: Endpoint, request: HttpClientRequest.HttpClientRequest) =>
      Effect.matchEffect(Descriptors.retry(client.execute(toDaemon(endpoint, request))), {
        onFailure: () => Effect.fail(lost()),
        onSuccess: (response) => (response.status < 300 ? Effect.succeed(response) : refuse(endpoint, response))
      })
    return (request: HttpClientRequest.HttpClientRequest) =>
      Effect.flatMap(daemon.endpoint, (endpoint) => attempt(endpoint, request)).pipe(
        // The daemon is ours: a span and its headers would cost more than they show.
        Effect.provideService(HttpClient.TracerDisabledWhen, isUntraced),
        Effect.timeoutOrElse({ duration: attemptTimeout, orElse: notInTime })
      )
  }

  const self: IoDaemonClient = {
    execute: executeWith(http),
    executeScoped: executeWith(HttpClient.withScope(http))
  }
  return self
})

const isUntraced = () => true

const notInTime = () => Effect.fail(new IoDaemonUnavailable({ why: "it did not answer in time" }))

/** The failure of a request, or of an answer, that broke off. */
export const lost = (): IoDaemonUnavailable => new IoDaemonUnavailable({ why: "the connection to it broke" })
