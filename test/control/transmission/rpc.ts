/**
 * The Transmission RPC over a session in a simulated world, without a socket.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as HttpMethod from "effect/http/HttpMethod"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { ActionLog } from "../../../src/control/server/ActionLog.ts"
import { ServiceFacts } from "../../../src/control/server/ServiceFacts.ts"
import * as TransmissionRpc from "../../../src/control/transmission/TransmissionRpc.ts"
import * as Session from "../../../src/session/Session.ts"

/** An answer of a method. */
export interface Answer {
  readonly result: string
  // biome-ignore lint/suspicious/noExplicitAny: what is in JSON depends on the method
  readonly arguments: any
  readonly tag?: number | undefined
}

const facts = Layer.succeed(ServiceFacts, {
  startedAtMillis: 0,
  directory: "/downloads",
  freeBytes: Effect.succeed(5_000)
})

/** What a server elsewhere answers to a URL. */
export type Web = (url: string) => Response

const nowhere: Web = () => new Response("", { status: 404 })

const httpOf = (web: Web) =>
  Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => Effect.sync(() => HttpClientResponse.fromWeb(request, web(request.url))))
  )

/** How the RPC is made. */
export interface Made extends TransmissionRpc.Options {
  /** What is told of each action. */
  readonly record?: ((action: Parameters<ActionLog["Service"]["record"]>[0]) => void) | undefined
  readonly web?: Web | undefined
}

/** Serves the RPC of the session in the context, and returns what sends a request to it. */
export const serve = Effect.fnUntraced(function* ({ record = () => {}, web = nowhere, ...options }: Made = {}) {
  const actions = Layer.succeed(ActionLog, {
    record: (action) => Effect.sync(() => record(action)),
    last: () => Effect.succeed([])
  })
  const routes = Layer.provide(TransmissionRpc.layer(options), [facts, httpOf(web), actions])
  const app = yield* HttpRouter.toHttpEffect(routes)
  return Effect.fnUntraced(function* (
    method: HttpMethod.HttpMethod,
    body: string | undefined,
    headers: Readonly<Record<string, string>>,
    path = TransmissionRpc.path
  ) {
    const bare = HttpClientRequest.make(method)(`http://localhost${path}`, { headers })
    const request = body === undefined ? bare : HttpClientRequest.bodyText(bare, body)
    const response = yield* app.pipe(
      Effect.scoped,
      Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromClientRequest(request))
    )
    return HttpServerResponse.toWeb(response)
  })
})

/** Serves it, and returns what calls a method as a client does that knows the id of the run. */
export const connect = Effect.fnUntraced(function* (made: Made = {}) {
  const send = yield* serve(made)
  const id = (yield* send("POST", "{}", {})).headers.get(TransmissionRpc.header)!
  const raw = Effect.fnUntraced(function* (body: string) {
    const response = yield* send("POST", body, { [TransmissionRpc.header]: id })
    const text = yield* Effect.promise(() => response.text())
    return { status: response.status, text }
  })
  const call = Effect.fnUntraced(function* (method: string, given: unknown = {}) {
    const { text } = yield* raw(JSON.stringify({ method, arguments: given }))
    return JSON.parse(text) as Answer
  })
  /** The arguments of an answer, which must be a success. */
  const ask = Effect.fnUntraced(function* (method: string, given: unknown = {}) {
    const { arguments: found, result } = yield* call(method, given)
    if (result !== "success") throw new Error(`${method}: ${result}`)
    return found
  })
  /** Some fields of a torrent. */
  const fields = (id: number | string, ...names: ReadonlyArray<string>) =>
    Effect.map(ask("torrent-get", { ids: [id], fields: names }), ({ torrents }) => torrents[0])
  return { raw, call, ask, fields }
})

/** A session, and a client of its RPC. */
export const withRpc = <A, E, R>(
  use: (
    client: Effect.Success<ReturnType<typeof connect>>,
    session: Session.Session["Service"]
  ) => Effect.Effect<A, E, R>,
  made?: Made
) =>
  Effect.scoped(
    Effect.flatMap(Session.make, (session) =>
      Effect.provideService(
        Effect.flatMap(connect(made), (client) => use(client, session)),
        Session.Session,
        session
      )
    )
  )
