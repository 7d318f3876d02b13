/**
 * The service as a whole: what it does, its limits, what happens in it, and what was done with it.
 */
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { InfoHash } from "../../base/InfoHash.ts"
import { SessionLimits } from "../../session/SavedTorrent.ts"
import * as Errors from "./ApiErrors.ts"
import * as ApiOptions from "./ApiOptions.ts"
import * as EventModel from "./EventModel.ts"
import * as TorrentModel from "./TorrentModel.ts"

/** The schema of what a service does. Rates are in bytes a second, times milliseconds since 1970. */
export const ServiceStatus = Schema.Struct({
  version: Schema.String,
  startedAtMillis: Schema.Natural,
  /** The folder that torrents are stored in, unless they have their own. */
  directory: Schema.String,
  /** How many torrents there are of each kind. */
  torrents: Schema.Record(Schema.Literals(TorrentModel.kinds), Schema.Natural),
  downloadBytesPerSecond: Schema.Finite,
  uploadBytesPerSecond: Schema.Finite,
  connectedPeers: Schema.Natural,
  /** The port for peers, if it listens. */
  port: Schema.optional(Schema.Natural),
  /** Bytes that are free on the disk of the download folder, if that is known. */
  freeBytes: Schema.optional(Schema.Natural)
}).annotate({ identifier: "ServiceStatus" })

/** What a service does. */
export type ServiceStatus = typeof ServiceStatus.Type

/** The schema of the limits of all torrents together. Absent for no limit. */
export const ServiceLimits = Schema.Struct({
  /** How many torrents may download, and how many may seed, at once. */
  downloads: Schema.optional(Schema.Natural),
  seeds: Schema.optional(Schema.Natural),
  ...ApiOptions.Rates.from.fields
})
  .annotate({ identifier: "ServiceLimits" })
  .pipe(
    Schema.decodeTo(Schema.toType(SessionLimits), {
      decode: SchemaGetter.transform((limits) => limits),
      encode: SchemaGetter.transform((limits) => ({ ...limits, ...ApiOptions.plainRates(limits) }))
    })
  )

/** The limits of all torrents together. */
export type ServiceLimits = typeof ServiceLimits.Type

/** The schema of something that somebody did with a service. */
export const Action = Schema.Struct({
  /** Grows by one with each action of a run. */
  id: Schema.Natural,
  atMillis: Schema.Natural,
  /** Who did it: the kind of credentials, and the address. */
  caller: Schema.Literals(["Token", "Password", "Cookie", "Ticket", "Nobody"]),
  address: Schema.String,
  /** The operation, such as `torrents.remove`. */
  operation: Schema.String,
  infoHash: Schema.optional(InfoHash),
  /** The `_tag` of the error, if it failed. */
  failure: Schema.optional(Schema.String)
}).annotate({ identifier: "Action" })

/** Something that somebody did with a service. */
export type Action = typeof Action.Type

const describe = (summary: string, description?: string) => OpenApi.annotations({ summary, description })

/** The service as a whole. */
export const ServiceApi = HttpApiGroup.make("service")
  .add(
    HttpApiEndpoint.get("status", "/service", { success: ServiceStatus }).annotateMerge(
      describe("Show what the service does")
    ),
    HttpApiEndpoint.get("limits", "/limits", { success: ServiceLimits }).annotateMerge(describe("Show the limits")),
    HttpApiEndpoint.put("setLimits", "/limits", {
      payload: ServiceLimits,
      success: ServiceLimits,
      error: Errors.StoreFailed
    }).annotateMerge(describe("Replace the limits")),
    HttpApiEndpoint.get("actions", "/actions", {
      query: { limit: Schema.optional(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))) },
      success: Schema.Array(Action)
    }).annotateMerge(describe("List what was done with the service", "The last ones first.")),
    HttpApiEndpoint.get("backup", "/backup", {
      success: HttpApiSchema.StreamUint8Array(),
      error: Errors.StoreFailed
    }).annotateMerge(
      describe(
        "Make a backup",
        "A SQLite database with the session and the resume data. `piecewise restore` puts it into a state folder."
      )
    ),
    HttpApiEndpoint.get("events", "/events", {
      headers: { "last-event-id": Schema.optional(Schema.String.check(Schema.isMaxLength(64))) },
      success: HttpApiSchema.StreamSse({ events: EventModel.ServerEvent }),
      error: Errors.TooManyListeners
    }).annotateMerge(
      describe(
        "Follow what happens",
        "Server-sent events. `Last-Event-ID` continues after an event; `missed` comes first if that is not known any more."
      )
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Service" }))
