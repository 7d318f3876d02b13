/**
 * Sends the metrics, spans and logs of a service to an OpenTelemetry collector (OTLP over HTTP, as JSON).
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import * as Version from "../base/Version.ts"
import * as NodeLookup from "./NodeLookup.ts"
import * as NodeRoutedHttp from "./NodeRoutedHttp.ts"

/** How long a collector that does not answer may hold up the end of a service, which should take three seconds at most. */
const shutdownTimeout = "500 millis"

/** With `PIECEWISE_OFFLINE`, only a collector on this machine is reached. */
const client = Layer.effect(
  HttpClient.HttpClient,
  Effect.suspend(() => NodeRoutedHttp.makeKept(NodeLookup.system))
)

/**
 * Sends everything to the collector at a URL, such as `http://127.0.0.1:4318`. A collector that does not answer is
 * tried again, and keeps nothing else from going on. Provide it outside of the service, so that it has the end of that.
 */
export const layer = (baseUrl: string) =>
  Otlp.layerJson({
    baseUrl,
    resource: { serviceName: "piecewise", serviceVersion: Version.version },
    shutdownTimeout
  }).pipe(Layer.provide(client))
