/**
 * What logging in and out does.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { ControlApi } from "../api/ControlApi.ts"
import { Logins } from "../security/Logins.ts"

/** The handlers of the group `login`. */
export const layer = HttpApiBuilder.group(
  ControlApi,
  "login",
  Effect.fnUntraced(function* (handlers) {
    const logins = yield* Logins
    return handlers.handleAll({
      whoAmI: () => logins.whoAmI,
      login: ({ payload }) => logins.login(payload.password),
      logout: () => logins.logout
    })
  })
)
