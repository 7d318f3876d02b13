/**
 * What the operations on labels and the goals of trackers do.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Session } from "../../session/Session.ts"
import * as TrackerHosts from "../../session/TrackerHosts.ts"
import { ControlApi } from "../api/ControlApi.ts"
import * as Failing from "./Failing.ts"

/** The handlers of the group `labels`. */
export const layer = HttpApiBuilder.group(
  ControlApi,
  "labels",
  Effect.fnUntraced(function* (handlers) {
    const session = yield* Session
    return handlers.handleAll({
      list: () => session.labels,
      set: ({ params, payload }) => {
        const label = { ...payload, name: params.name }
        return session.setLabel(label).pipe(Effect.mapError(Failing.ofSession), Effect.as(label))
      },
      remove: ({ params }) => Effect.mapError(session.removeLabel(params.name), Failing.ofSession),
      listGoals: () => session.trackerGoals,
      setGoal: ({ params, payload }) => {
        const goal = { host: TrackerHosts.parse(params.host) ?? params.host, goal: payload }
        return session.setTrackerGoal(goal).pipe(Effect.mapError(Failing.ofSession), Effect.as(goal))
      },
      removeGoal: ({ params }) => Effect.mapError(session.removeTrackerGoal(params.host), Failing.ofSession)
    })
  })
)
