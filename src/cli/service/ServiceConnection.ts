/**
 * Finds the running service that a command is for, and speaks to it: `--service`, `--state`, and the variables
 * `PIECEWISE_SERVICE_URL` and `PIECEWISE_SERVICE_TOKEN`.
 *
 * The token opens everything, so it goes to no other machine unless the user has named it. The address in the state
 * folder counts only if it is this machine's.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Destination from "../../base/Destination.ts"
import * as Environment from "../../base/Environment.ts"
import * as Reach from "../../base/Reach.ts"
import * as Version from "../../base/Version.ts"
import type { ControlApi } from "../../control/api/ControlApi.ts"
import * as ControlClient from "../../control/ControlClient.ts"
import * as Refused from "../../control/security/Refused.ts"
import * as SocketErrno from "../../network/SocketErrno.ts"
import * as NodeLookup from "../../node/NodeLookup.ts"
import * as NodeRoutedHttp from "../../node/NodeRoutedHttp.ts"
import * as ServiceFolder from "../../node/ServiceFolder.ts"
import * as Arguments from "../Arguments.ts"
import { CommandFailed } from "../CommandFailed.ts"

/** A function for each operation of the API. */
export type Client = HttpApiClient.ForApi<ControlApi>

/** The variables that say where the service is, and the token. */
export const variables = { url: "PIECEWISE_SERVICE_URL", token: "PIECEWISE_SERVICE_TOKEN" } as const

/** How long an answer may take, unless a command says otherwise. The service may have to fetch a torrent file first. */
const defaultTime = "60 seconds"

/** The service did not answer: it is not there, or cannot be reached. */
export class ServiceAway extends CommandFailed {}

/** A service to speak to. */
export interface Place {
  /** Ends with a slash. */
  readonly url: URL
  readonly token: Redacted.Redacted<string>
  /** Where the token is from, for messages. */
  readonly tokenFrom: string
}

const startOne = "start one with piecewise serve DIR"

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

const variable = (name: string) =>
  Effect.mapError(Environment.optional(Environment.text(name)), ({ message }) => new Arguments.WrongUsage(message))

/** Reads the URL of a service as a user or a service wrote it. */
const readUrl = (text: string): URL | undefined => {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) return undefined
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") return undefined
  if (!url.pathname.endsWith("/")) url.pathname += "/"
  return url
}

/** Finds the service. Fails with `WrongUsage` for a wrong URL, and with a sentence if no service runs. */
export const find = Effect.fnUntraced(function* (
  args: Arguments.Arguments
): Effect.fn.Return<Place, CommandFailed | Arguments.WrongUsage> {
  const folder = Arguments.get(args, "state") ?? ServiceFolder.defaultFolder()
  const option = Arguments.get(args, "service")
  const given = option ?? (yield* variable(variables.url))
  const url = given === undefined ? yield* announcedIn(folder) : readUrl(given)
  if (url === undefined) {
    const name = option === undefined ? variables.url : "--service"
    return yield* Effect.fail(
      new Arguments.WrongUsage(`${name} ${given} is not the URL of a service: it must be such as http://127.0.0.1:6880`)
    )
  }
  const token = yield* variable(variables.token)
  if (token !== undefined) return { url, token: Redacted.make(token), tokenFrom: variables.token }
  const found = yield* Effect.mapError(
    ServiceFolder.readToken(folder),
    ({ message }) => new CommandFailed({ why: message })
  )
  const tokenFrom = ServiceFolder.tokenIn(folder)
  if (found !== undefined) return { url, token: found, tokenFrom }
  return yield* failed(`there is no token for the service: set ${variables.token}, or have it in ${tokenFrom}`)
})

const announcedIn = (folder: string): Effect.Effect<URL, CommandFailed> =>
  ServiceFolder.find(folder).pipe(
    Effect.mapError(({ message }) => new CommandFailed({ why: message })),
    Effect.flatMap((announced) => {
      if (announced === undefined) {
        return Effect.fail(new ServiceAway({ why: `no service runs with the state folder ${folder}; ${startOne}` }))
      }
      const url = readUrl(announced.url)
      if (url !== undefined && Reach.isThisMachine(Destination.hostOf(url))) return Effect.succeed(url)
      return failed(
        `the service of ${folder} says that it is at ${announced.url}, which is not this machine; name it with --service`
      )
    })
  )

/**
 * Runs a command with the client of the service that it is for, and says in a sentence why the service failed. Each
 * answer may take `time`.
 */
export const use = <A, E extends { readonly message: string }, R>(
  args: Arguments.Arguments,
  program: (client: Client, place: Place) => Effect.Effect<A, E, R>,
  time: string & Duration.Input = defaultTime
): Effect.Effect<A, CommandFailed | Arguments.WrongUsage, R> =>
  Effect.flatMap(find(args), (place) => useAt(place, program, time))

/** Fails as if there was no connection if there is no answer in time. */
const within =
  (duration: string & Duration.Input) =>
  <A>(
    answer: Effect.Effect<A, HttpClientError.HttpClientError>,
    request: HttpClientRequest.HttpClientRequest
  ): Effect.Effect<A, HttpClientError.HttpClientError> =>
    Effect.timeoutOrElse(answer, {
      duration,
      orElse: () => {
        const cause = new Error(`nothing was answered within ${duration}`)
        return Effect.fail(
          new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
        )
      }
    })

const useAt = <A, E extends { readonly message: string }, R>(
  place: Place,
  program: (client: Client, place: Place) => Effect.Effect<A, E, R>,
  time: string & Duration.Input
): Effect.Effect<A, CommandFailed | Arguments.WrongUsage, R> =>
  Effect.gen(function* () {
    const http = HttpClient.transform(yield* NodeRoutedHttp.makeKept(NodeLookup.system), within(time))
    const client = yield* ControlClient.make({ url: place.url, token: place.token }).pipe(
      Effect.provideService(HttpClient.HttpClient, http)
    )
    return yield* program(client, place)
  }).pipe(
    // The spans of requests are of no use here, and their headers of none to the service.
    Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    Effect.scoped,
    Effect.mapError((error) => explain(place, error))
  )

/** Says why a request failed. */
const explain = (
  place: Place,
  error: { readonly message: string }
): CommandFailed | ServiceAway | Arguments.WrongUsage => {
  if (error instanceof CommandFailed || error instanceof Arguments.WrongUsage) return error
  if (error instanceof Refused.Unauthenticated) {
    return new CommandFailed({
      why: `the service at ${place.url.href} does not accept the token of ${place.tokenFrom}`
    })
  }
  if (HttpClientError.isHttpClientError(error) && error.reason._tag === "TransportError") {
    const { cause } = error.reason
    const code = SocketErrno.codeOf(cause)
    const why = code === undefined && cause instanceof Error ? cause.message : SocketErrno.why(code)
    return new ServiceAway({ why: `no service answers at ${place.url.href}: ${why}; ${startOne}` })
  }
  const status = HttpClientError.isHttpClientError(error) ? error.response?.status : undefined
  if (status === 500) return new CommandFailed({ why: `the service at ${place.url.href} failed; its log says why` })
  if (status !== undefined && status > 500) {
    // A proxy says so of a service behind it.
    return new ServiceAway({ why: `no service answers behind ${place.url.href} (status ${status}); ${startOne}` })
  }
  if (HttpClientError.isHttpClientError(error) || Schema.isSchemaError(error)) {
    return new CommandFailed({
      why: `what answers at ${place.url.href} is no service that piecewise ${Version.version} understands; use the same version as the service`
    })
  }
  return new CommandFailed({ why: error.message })
}
