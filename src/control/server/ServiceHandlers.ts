/**
 * What the operations on the service as a whole do.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Option from "effect/Option"
import * as Version from "../../base/Version.ts"
import { Engine } from "../../engine/Engine.ts"
import { Session } from "../../session/Session.ts"
import * as Errors from "../api/ApiErrors.ts"
import { ControlApi } from "../api/ControlApi.ts"
import * as TorrentModel from "../api/TorrentModel.ts"
import { ActionLog } from "./ActionLog.ts"
import * as EventStream from "./EventStream.ts"
import * as Failing from "./Failing.ts"
import { ServiceBackup } from "./ServiceBackup.ts"
import { ServiceFacts } from "./ServiceFacts.ts"
import * as TorrentList from "./TorrentList.ts"

/** Actions that are listed, unless a client asks for another number. */
const defaultActions = 100

/** The handlers of the group `service`. */
export const layer = HttpApiBuilder.group(
  ControlApi,
  "service",
  Effect.fnUntraced(function* (handlers) {
    const session = yield* Session
    const engine = yield* Engine
    const actions = yield* ActionLog
    const facts = yield* ServiceFacts
    const backup = yield* Effect.serviceOption(ServiceBackup)
    const follow = EventStream.make(session)
    return handlers.handleAll({
      status: () =>
        Effect.gen(function* () {
          const { torrents } = yield* session.list
          const counts = Object.fromEntries(TorrentModel.kinds.map((kind) => [kind, 0])) as Record<
            TorrentModel.Kind,
            number
          >
          for (const status of torrents) counts[TorrentList.kindOf(status)]++
          const { connections, downloadBytesPerSecond, uploadBytesPerSecond } = yield* engine.status
          return {
            version: Version.version,
            startedAtMillis: facts.startedAtMillis,
            directory: facts.directory,
            torrents: counts,
            downloadBytesPerSecond,
            uploadBytesPerSecond,
            connectedPeers: connections,
            port: engine.listening?.port,
            freeBytes: yield* facts.freeBytes
          }
        }),
      limits: () => session.limits,
      setLimits: ({ payload }) =>
        Effect.andThen(Effect.mapError(session.setLimits(payload), Failing.ofSession), session.limits),
      actions: ({ query }) => actions.last(query.limit ?? defaultActions),
      backup: () =>
        Option.match(backup, {
          onNone: () => Effect.fail(new Errors.StoreFailed({ message: "this service makes no backups" })),
          onSome: ({ make }) => Effect.mapError(make, ({ message }) => new Errors.StoreFailed({ message }))
        }),
      events: ({ headers }) => follow(headers["last-event-id"])
    })
  })
)
