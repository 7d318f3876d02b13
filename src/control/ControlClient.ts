/**
 * The client of a service: a function for each operation of its API, with the types of the session.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Access } from "./api/Access.ts"
import { ControlApi } from "./api/ControlApi.ts"

/** Where a service is, and who may control it. */
export interface Options {
  /** The URL of the service, with its base path if it has one. */
  readonly url: string | URL
  /** The token of the service; it is in the file `token` of its state folder. */
  readonly token: string | Redacted.Redacted<string>
}

/** The client of a service. */
export class ControlClient extends Context.Service<ControlClient, HttpApiClient.ForApi<ControlApi>>()(
  "piecewise/control/ControlClient"
) {}

/** Makes a client. */
export const make = ({ token, url }: Options) => {
  const redacted = Redacted.isRedacted(token) ? token : Redacted.make(token)
  const access = HttpApiMiddleware.layerClient(Access, ({ next, request }) =>
    next(HttpClientRequest.bearerToken(request, redacted))
  )
  return HttpApiClient.make(ControlApi, { baseUrl: url }).pipe(Effect.provide(access))
}

/** A client over the `HttpClient` at hand. */
export const layer = (options: Options): Layer.Layer<ControlClient, never, HttpClient.HttpClient> =>
  Layer.effect(ControlClient, make(options))
