/**
 * What was done with a service, and by whom: the last 1,000 actions of a run are kept, and each is logged.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as InfoHash from "../../base/InfoHash.ts"
import type { Action } from "../api/ServiceApi.ts"

/** How many actions are kept. */
export const kept = 1_000

/** Keeps what was done. */
export class ActionLog extends Context.Service<
  ActionLog,
  {
    /** Notes an action that has ended. */
    readonly record: (action: Omit<Action, "id" | "atMillis">) => Effect.Effect<void>
    /** The last actions, the last one first. */
    readonly last: (count: number) => Effect.Effect<ReadonlyArray<Action>>
  }
>()("piecewise/control/ActionLog") {}

/** What the action that is under way is about. */
const Subject = Context.Reference<{ infoHash: InfoHash.InfoHash | undefined } | undefined>(
  "piecewise/control/ActionLog/Subject",
  { defaultValue: () => undefined }
)

/** Says which torrent the action that is under way is about, where its path does not. */
export const about = (infoHash: InfoHash.InfoHash): Effect.Effect<void> =>
  Effect.map(Subject, (subject) => {
    if (subject !== undefined) subject.infoHash = infoHash
  })

/** Runs an action, and hands on which torrent it was about. */
export const withSubject = <A, E, R>(
  infoHash: InfoHash.InfoHash | undefined,
  action: (subject: { readonly infoHash: InfoHash.InfoHash | undefined }) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const subject = { infoHash }
    return Effect.provideService(action(subject), Subject, subject)
  })

/** A log in memory. */
export const layer: Layer.Layer<ActionLog> = Layer.sync(ActionLog, () => {
  const actions: Array<Action> = []
  let id = 0
  return {
    record: (done) =>
      Effect.flatMap(Clock.currentTimeMillis, (atMillis) => {
        const action: Action = { ...done, id: ++id, atMillis }
        if (actions.push(action) === 2 * kept) actions.splice(0, kept)
        const { address, caller, failure, infoHash, operation } = done
        return Effect.annotateLogs(Effect.logInfo(failure === undefined ? "done" : "refused or failed"), {
          operation,
          caller,
          address,
          ...(infoHash !== undefined && { infoHash: InfoHash.toHex(infoHash) }),
          ...(failure !== undefined && { failure })
        })
      }),
    last: (count) => Effect.sync(() => actions.slice(-Math.min(count, kept)).reverse())
  }
})
