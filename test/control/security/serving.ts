/**
 * Serves routes behind the checks of `Security.ts`, at a port of this machine, and sends them requests as they are.
 */
import * as Http from "node:http"
import * as Net from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import { Caller } from "../../../src/control/security/Caller.ts"
import { Credentials, PasswordNotAllowed } from "../../../src/control/security/Credentials.ts"
import { Logins } from "../../../src/control/security/Logins.ts"
import * as NodeHttpLimits from "../../../src/control/security/provider/node/NodeHttpLimits.ts"
import * as Security from "../../../src/control/security/Security.ts"
import { Tickets } from "../../../src/control/security/Tickets.ts"

/** The token of every test. */
export const token = "tokentokentokentokentokentokentokentokentok"

/** The password of every test. */
export const password = "correct horse"

/** Credentials in memory, which check a password at once. */
export const credentials = (options: { readonly password?: string | undefined } = { password }) =>
  Layer.sync(Credentials, () => {
    let state = { isSet: options.password !== undefined, revision: 1 }
    let current = options.password
    const change = (text: string | undefined) => {
      current = text
      state = { isSet: text !== undefined, revision: state.revision + 1 }
    }
    return {
      token: Redacted.make(token),
      isToken: (text) => text === token,
      password: Effect.sync(() => state),
      isPassword: (text) => Effect.sync(() => text === current),
      setPassword: (text) =>
        text === "" ? Effect.fail(new PasswordNotAllowed({ why: "it is empty" })) : Effect.sync(() => change(text)),
      removePassword: Effect.sync(() => change(undefined))
    }
  })

/** Answers with who called, and what the handler saw of the request. */
const echo = Effect.gen(function* () {
  const { _tag, address } = yield* Caller
  const { url } = yield* HttpServerRequest.HttpServerRequest
  return yield* HttpServerResponse.json({ caller: _tag, address, url })
})

const login = Effect.gen(function* () {
  const request = yield* HttpServerRequest.HttpServerRequest
  const { password } = (yield* request.json) as { readonly password: string }
  return yield* Effect.match(
    Logins.use((logins) => logins.login(password)),
    {
      onSuccess: (found) => HttpServerResponse.jsonUnsafe(found),
      // As the routes of an API answer: with the status and the body alone.
      onFailure: ({ _tag, message }) =>
        HttpServerResponse.jsonUnsafe({ _tag, message }, { status: _tag === "piecewise/TooManyFailures" ? 429 : 401 })
    }
  )
})

/** The routes of a service, as far as tests need them. */
const routes = HttpRouter.addAll([
  HttpRouter.route("GET", "/health", echo),
  HttpRouter.route("GET", "/ready", echo),
  HttpRouter.route(
    "GET",
    "/v1/login",
    Effect.flatMap(
      Logins.use((logins) => logins.whoAmI),
      HttpServerResponse.json
    )
  ),
  HttpRouter.route("POST", "/v1/login", login),
  HttpRouter.route(
    "DELETE",
    "/v1/login",
    Effect.as(
      Logins.use((logins) => logins.logout),
      HttpServerResponse.empty()
    )
  ),
  HttpRouter.route("GET", "/v1/stream/:ticket/*", echo),
  HttpRouter.route("GET", "/v1/fails", Effect.die("a defect")),
  HttpRouter.route(
    "POST",
    "/v1/length",
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.map(request.arrayBuffer, ({ byteLength }) => HttpServerResponse.jsonUnsafe({ byteLength }))
    )
  ),
  HttpRouter.route("*", "/v1/*", echo),
  HttpRouter.route("*", "/transmission/rpc", echo),
  HttpRouter.route("GET", "/metrics", echo)
])

/** A service that listens. */
export interface Served {
  readonly port: number
  readonly tickets: Tickets["Service"]
  readonly credentials: Credentials["Service"]
  /** Sends a request. */
  readonly send: (request: Sent) => Effect.Effect<Answer>
  /** Sends bytes over a new connection, and returns what comes until the server closes it. */
  readonly raw: (text: string) => Effect.Effect<string>
}

/** A request. */
export interface Sent {
  readonly method?: string | undefined
  readonly path?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | Uint8Array | undefined
}

/** An answer, with its body as text, and what that is as JSON. */
export interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly text: string
  readonly json: Json
}

/** What the answers of the tests have. */
interface Json {
  readonly _tag?: string
  readonly message?: string
  readonly maxBytes?: number
  readonly caller?: string
  readonly address?: string
  readonly url?: string
  readonly csrfToken?: string
  readonly hasPassword?: boolean
  readonly byteLength?: number
}

const jsonOf = (text: string): Json => {
  try {
    return JSON.parse(text) as Json
  } catch {
    return {}
  }
}

const send = (port: number, { body, headers = {}, method = "GET", path = "/" }: Sent) =>
  Effect.callback<Answer>((resume) => {
    const request = Http.request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (response) => {
      const chunks: Array<Uint8Array> = []
      response.on("data", (chunk: Uint8Array) => chunks.push(chunk))
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString()
        const { headers, statusCode: status = 0 } = response
        resume(Effect.succeed({ status, headers, text, json: jsonOf(text) }))
      })
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end(body)
    return Effect.sync(() => request.destroy())
  })

const raw = (port: number, text: string) =>
  Effect.callback<string>((resume) => {
    const chunks: Array<Uint8Array> = []
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(text, "latin1"))
    socket.on("data", (chunk) => chunks.push(chunk))
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(Buffer.concat(chunks).toString("latin1"))))
    return Effect.sync(() => socket.destroy())
  })

/** Serves the routes until the scope closes. */
export const serve = Effect.fnUntraced(function* (
  options: Security.Options & {
    readonly credentials?: Layer.Layer<Credentials> | undefined
    readonly limits?: NodeHttpLimits.Limits | undefined
  } = {}
) {
  const secured = routes.pipe(Layer.provide(Security.layer(options)))
  const services = Security.services(options).pipe(Layer.provideMerge(options.credentials ?? credentials()))
  const server = HttpRouter.serve(secured, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(services),
    Layer.provideMerge(
      NodeHttpServer.layer(() => NodeHttpLimits.createServer(options.limits), {
        host: "127.0.0.1",
        port: 0,
        gracefulShutdownTimeout: "10 millis"
      })
    )
  )
  // Refusals are logged.
  const context = yield* Effect.provideService(Layer.build(server), References.MinimumLogLevel, "None")
  const { port } = Context.get(context, HttpServer.HttpServer).address as { readonly port: number }
  return {
    port,
    tickets: Context.get(context, Tickets),
    credentials: Context.get(context, Credentials),
    send: (request) => send(port, request),
    raw: (text) => raw(port, text)
  } satisfies Served as Served
})

/** The header of a client that has the token. */
export const bearer = { authorization: `Bearer ${token}` }

/** The header of Basic. */
export const basic = (password: string, user = "anyone") => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`
})
