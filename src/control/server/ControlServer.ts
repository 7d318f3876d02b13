/**
 * A session as a service over HTTP: the routes of the API, of the files of torrents, of metrics, and of the
 * Transmission RPC.
 */
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import { ControlApi } from "../api/ControlApi.ts"
import * as Security from "../security/Security.ts"
import * as TransmissionRpc from "../transmission/TransmissionRpc.ts"
import * as ActionLog from "./ActionLog.ts"
import * as ApiMiddleware from "./ApiMiddleware.ts"
import * as HealthHandlers from "./HealthHandlers.ts"
import * as LabelHandlers from "./LabelHandlers.ts"
import * as LoginHandlers from "./LoginHandlers.ts"
import * as NoRoute from "./NoRoute.ts"
import * as ServiceHandlers from "./ServiceHandlers.ts"
import * as Streaming from "./Streaming.ts"
import * as TorrentHandlers from "./TorrentHandlers.ts"
import * as Unexpected from "./Unexpected.ts"

const handlers = Layer.mergeAll(
  TorrentHandlers.layer,
  LabelHandlers.layer,
  ServiceHandlers.layer,
  LoginHandlers.layer,
  HealthHandlers.layer
)

const api = HttpApiBuilder.layer(ControlApi, { openapiPath: "/v1/openapi.json" }).pipe(
  Layer.provide(handlers),
  Layer.provide([ApiMiddleware.access, ApiMiddleware.anybody, ApiMiddleware.form])
)

/** How the service is reached, and what clients of the Transmission RPC find. */
export interface Options extends Security.Options {
  readonly transmission?: TransmissionRpc.Options | undefined
}

/** How `HttpRouter.serve` has to read paths: a label of 128 characters is a component of up to 1,536. */
export const routerConfig = { maxParamLength: 2_048 }

/** Whether a URL may be a link, whose ticket lets anybody read the files of a torrent, also if it is written oddly. */
const mayHaveTicket = (url: string): boolean => {
  try {
    return decodeURIComponent(url).toLowerCase().includes("/stream/")
  } catch {
    return true
  }
}

/** Keeps links out of the spans of requests, if the program has a tracer. Provide it to `HttpRouter.serve`. */
export const tracing: Layer.Layer<never> = Layer.succeed(HttpMiddleware.TracerDisabledWhen)(({ url }) =>
  mayHaveTicket(url)
)

/** The routes of a service, for `HttpRouter.serve` with `routerConfig` and `tracing`. */
export const layer = (options: Options = {}) =>
  Layer.mergeAll(
    api,
    Streaming.layer,
    PrometheusMetrics.layerHttp(),
    TransmissionRpc.layer(options.transmission),
    NoRoute.layer,
    Unexpected.layer
  ).pipe(
    Layer.provide(Security.layer(options)),
    Layer.provide(Security.services(options)),
    Layer.provide(ActionLog.layer)
  )
