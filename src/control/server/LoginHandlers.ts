/**
 * What logging in and out does.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { ControlApi } from "../api/ControlApi.ts"
import { Caller, type Identity } from "../security/Caller.ts"
import { Logins } from "../security/Logins.ts"
import { ActionLog } from "./ActionLog.ts"

/** The handlers of the group `login`. */
export const layer = HttpApiBuilder.group(
  ControlApi,
  "login",
  Effect.fnUntraced(function* (handlers) {
    const logins = yield* Logins
    const { record } = yield* ActionLog
    /** Notes what somebody did. Failures are many under attack: `security/` counts and logs them. */
    const note = (operation: string, caller?: Identity["_tag"]) =>
      Effect.flatMap(Caller, ({ _tag, address }) => record({ caller: caller ?? _tag, address, operation }))
    return handlers.handleAll({
      whoAmI: () => logins.whoAmI,
      login: ({ payload }) => Effect.tap(logins.login(payload.password), () => note("login.login", "Password")),
      logout: () => Effect.tap(logins.logout, () => note("login.logout"))
    })
  })
)
