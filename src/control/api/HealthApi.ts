/**
 * Whether a service works, for whoever supervises it. Needs no credentials, and says nothing of the torrents.
 */
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"

const Answer = Schema.Struct({ status: Schema.Literal("ok") })

/** The service cannot serve now. */
export class NotReady extends Schema.TaggedError<NotReady>()(
  "piecewise/NotReady",
  { message: Schema.String },
  { httpApiStatus: 503 }
) {}

const describe = (summary: string) => OpenApi.annotations({ summary })

/** Liveness and readiness. */
export const HealthApi = HttpApiGroup.make("health", { topLevel: true })
  .add(
    HttpApiEndpoint.get("health", "/health", { success: Answer }).annotateMerge(
      describe("Show that the process answers")
    ),
    HttpApiEndpoint.get("ready", "/ready", { success: Answer, error: NotReady }).annotateMerge(
      describe("Show that the session is open and answers")
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Health" }))
