/**
 * Whether the service works.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Session } from "../../session/Session.ts"
import { ControlApi } from "../api/ControlApi.ts"
import { NotReady } from "../api/HealthApi.ts"

/** How long the session may take to answer. */
const patience = "5 seconds"

/** The handlers of the group `health`. */
export const layer = HttpApiBuilder.group(
  ControlApi,
  "health",
  Effect.fnUntraced(function* (handlers) {
    const session = yield* Session
    return handlers.handleAll({
      health: () => Effect.succeed({ status: "ok" as const }),
      ready: () =>
        Effect.timeout(session.list, patience).pipe(
          Effect.as({ status: "ok" as const }),
          Effect.catch(() => Effect.fail(new NotReady({ message: `the session has not answered for ${patience}` })))
        )
    })
  })
)
