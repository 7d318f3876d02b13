/**
 * What a request gets that no route takes: 405 with the methods of the operations at its path, or else 404.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApi from "effect/http-api/HttpApi"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import { MethodNotAllowed, RouteNotFound } from "../api/ApiErrors.ts"
import { ControlApi } from "../api/ControlApi.ts"

/** The operations of the API, each with the paths that it takes. */
const operations = (() => {
  const found: Array<{ readonly method: string; readonly paths: RegExp }> = []
  HttpApi.reflect(ControlApi, {
    onGroup: () => {},
    onEndpoint: ({ endpoint: { method, path } }) => {
      const pattern = path.replace(/\/$/, "").replaceAll(/:\w+/g, "[^/]+").replaceAll(".", "\\.")
      found.push({ method, paths: new RegExp(`^${pattern}/?$`) })
    }
  })
  return found
})()

/** The methods with which something at a path can be asked; none if there is nothing. */
const methodsOf = (path: string): ReadonlyArray<string> => {
  const methods = operations.filter(({ paths }) => paths.test(path)).map(({ method }) => method)
  return methods.includes("GET") ? ["HEAD", ...methods] : methods
}

const encode = Schema.encodeSync(Schema.Union([MethodNotAllowed, RouteNotFound]))

/** The answer to a request for something that is not there. */
export const notFound = HttpServerResponse.jsonUnsafe(
  encode(new RouteNotFound({ message: "The service has nothing at this path." })),
  { status: 404 }
)

const answer = ({ method, url }: HttpServerRequest.HttpServerRequest): HttpServerResponse.HttpServerResponse => {
  const methods = methodsOf(url.split("?", 1)[0]!)
  if (methods.length === 0) return notFound
  const allow = methods.join(", ")
  const error = new MethodNotAllowed({ message: `This path takes ${allow}, and not ${method}.` })
  return HttpServerResponse.jsonUnsafe(encode(error), { status: 405, headers: { allow } })
}

type Handling<R> = Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled, R>

const isMissing = (error: unknown): boolean =>
  error instanceof HttpServerError.HttpServerError && error.reason._tag === "RouteNotFound"

/** Answers requests that no route takes. */
export const layer = HttpRouter.middleware(
  (handling: Handling<never>): Handling<HttpServerRequest.HttpServerRequest> =>
    Effect.catch(handling, (error) =>
      isMissing(error) ? Effect.map(HttpServerRequest.HttpServerRequest, answer) : Effect.fail(error)
    ),
  { global: true }
)
