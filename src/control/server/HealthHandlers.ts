/**
 * Whether the service works.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Semaphore from "effect/Semaphore"
import * as Monotonic from "../../base/Monotonic.ts"
import { Session } from "../../session/Session.ts"
import { ControlApi } from "../api/ControlApi.ts"
import { NotReady } from "../api/HealthApi.ts"

/** How long the session may take to answer. */
const patience = "5 seconds"

/** How old an answer of the session may be (milliseconds). */
const cachedMillis = 1_000

/** The handlers of the group `health`. */
export const layer = HttpApiBuilder.group(
  ControlApi,
  "health",
  Effect.fnUntraced(function* (handlers) {
    const session = yield* Session
    const oneByOne = Semaphore.makeUnsafe(1)
    let known: { readonly exit: Exit.Exit<unknown, unknown>; readonly at: number } | undefined
    /** Asks the session, unless it was asked a moment ago: anybody may ask for this, as often as they like. */
    const isReady = oneByOne.withPermit(
      Effect.gen(function* () {
        if (known === undefined || (yield* Monotonic.now) - known.at >= cachedMillis) {
          const exit = yield* Effect.exit(Effect.timeout(session.list, patience))
          known = { exit, at: yield* Monotonic.now }
        }
        return yield* known.exit
      })
    )
    return handlers.handleAll({
      health: () => Effect.succeed({ status: "ok" as const }),
      ready: () =>
        isReady.pipe(
          Effect.as({ status: "ok" as const }),
          Effect.catch(() => Effect.fail(new NotReady({ message: `The session has not answered for ${patience}.` })))
        )
    })
  })
)
