/**
 * The routes of a service over a session in a simulated world, without a socket, and its derived client.
 */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as ControlClient from "../../../src/control/ControlClient.ts"
import type { Credentials } from "../../../src/control/security/Credentials.ts"
import * as ControlServer from "../../../src/control/server/ControlServer.ts"
import { ServiceFacts } from "../../../src/control/server/ServiceFacts.ts"
import * as MemorySessionStore from "../../../src/session/provider/memory/MemorySessionStore.ts"
import * as Session from "../../../src/session/Session.ts"
import { SessionStore } from "../../../src/session/SessionStore.ts"
import * as TorrentFolders from "../../../src/session/TorrentFolders.ts"
import type { KnownTorrent } from "../../../src/testing/KnownTorrent.ts"
import * as TestEngine from "../../../src/testing/TestEngine.ts"
import { fileOf, type Needs, nameOf, until } from "../../session/sessions.ts"
import { seed } from "../../simulation/torrents.ts"
import { credentials, token } from "../security/serving.ts"

export { token }

/** What a server elsewhere answers to a URL that a client gives. */
export type Web = (url: string) => Response

const nowhere: Web = () => new Response("", { status: 404 })

/** How the service is made. */
export interface Made extends ControlServer.Options {
  readonly web?: Web | undefined
  readonly credentials?: Layer.Layer<Credentials> | undefined
  readonly session?: ((session: Session.Session["Service"]) => Session.Session["Service"]) | undefined
}

/** A request, with the token unless it says otherwise. */
export interface Sent {
  readonly method?: string | undefined
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined
  /** Bytes or a text as they are, and anything else as JSON. */
  readonly body?: unknown
}

/** An answer that has come as a whole. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: what is in JSON depends on the operation
  readonly json: any
}

/** A service. */
export interface Served {
  readonly client: ControlClient.ControlClient["Service"]
  readonly session: Session.Session["Service"]
  readonly handler: (request: Request) => Promise<Response>
  /** Makes a request to a path. */
  readonly request: (path: string, sent?: Sent) => Request
  /** Sends it, and reads the answer to its end. */
  readonly send: (path: string, sent?: Sent) => Effect.Effect<Answer>
  /** Adds a torrent, and returns its handle. */
  readonly add: (
    known: KnownTorrent,
    options?: Session.AddOptions
  ) => Effect.Effect<Session.SessionTorrent, Session.AddError>
}

/** Where the service is. */
export const origin = "http://localhost"

/** A folder, and its free bytes, that no test has to do with. */
const facts = Layer.succeed(ServiceFacts, {
  startedAtMillis: 1_700_000_000_000,
  directory: "/downloads",
  freeBytes: Effect.succeed(5_000)
})

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const requestTo = (path: string, { body, headers = {}, method = "GET" }: Sent = {}): Request => {
  const isRaw = body === undefined || typeof body === "string" || body instanceof Uint8Array
  const all = { host: "localhost", "content-type": isRaw ? undefined : "application/json", ...headers }
  const given = { authorization: `Bearer ${token}`, ...all }
  const named = Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined)
  const content = isRaw ? (body as string | Uint8Array<ArrayBuffer> | undefined) : JSON.stringify(body)
  return new Request(`${origin}${path}`, { method, headers: named, body: content ?? null })
}

/** Serves the session in the context until the scope closes. */
export const serve = Effect.fnUntraced(function* (session: Session.Session["Service"], made: Made = {}) {
  const { web = nowhere, ...options } = made
  const http = HttpClient.make((request) => Effect.sync(() => HttpClientResponse.fromWeb(request, web(request.url))))
  const routes = ControlServer.layer(options).pipe(
    Layer.provide([facts, Layer.succeed(HttpClient.HttpClient, http), made.credentials ?? credentials()]),
    Layer.provide(Layer.succeed(Session.Session, made.session?.(session) ?? session)),
    Layer.provideMerge(HttpServer.layerServices)
  )
  const app = yield* Effect.provideService(
    HttpRouter.toHttpEffect(routes),
    HttpRouter.RouterConfig,
    ControlServer.routerConfig
  )
  const context = yield* Effect.context<never>()
  const handler = HttpEffect.toWebHandlerWith(context)(app as never) as unknown as Served["handler"]
  const send = (path: string, sent?: Sent) =>
    Effect.promise(async (): Promise<Answer> => {
      const response = await handler(requestTo(path, sent))
      const text = await response.text()
      return { status: response.status, headers: response.headers, text, json: jsonOf(text) }
    })
  const own = HttpClient.make((request, _, signal) =>
    Effect.map(
      Effect.flatMap(Effect.orDie(HttpClientRequest.toWeb(request, { signal })), (sent) =>
        Effect.promise(() => {
          sent.headers.set("host", "localhost")
          return handler(sent)
        })
      ),
      (response) => HttpClientResponse.fromWeb(request, response)
    )
  )
  const client = yield* Effect.provideService(
    ControlClient.make({ url: `${origin}${made.basePath ?? ""}`, token }),
    HttpClient.HttpClient,
    own
  )
  return {
    client,
    session,
    handler,
    request: requestTo,
    send,
    add: (known, options) => session.add(fileOf(known), options)
  } satisfies Served as Served
})

/** Opens the session that the store has, and serves it until `use` ends. */
export const withService = <A, E, R>(use: (served: Served) => Effect.Effect<A, E, R>, made?: Made) =>
  Effect.scoped(Effect.flatMap(Session.make, (session) => Effect.flatMap(serve(session, made), use)))

/** A test of a service in a world of its own, without torrents. */
export const test = <E>(
  name: string,
  use: (served: Served) => Effect.Effect<void, E, Needs | Scope.Scope>,
  made?: Made
): void =>
  it.effect(name, () =>
    TestEngine.run(Effect.provide(withService(use, made), [MemorySessionStore.layer, TorrentFolders.layer]), {
      seed,
      engine: { listen: { port: 6_881 } }
    })
  )

export { fileOf, nameOf, SessionStore, until }
