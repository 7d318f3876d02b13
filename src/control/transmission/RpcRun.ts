/**
 * What the methods of the Transmission RPC have in common: the session and its surroundings, the numbers of torrents, and
 * what clients chose in this run.
 */
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../../base/Monotonic.ts"
import type { Engine } from "../../engine/Engine.ts"
import type { NotInSession, Session, SessionTorrent } from "../../session/Session.ts"
import type { SessionStatus } from "../../session/SessionStatus.ts"
import type { ActionLog } from "../server/ActionLog.ts"
import type { ServiceFacts } from "../server/ServiceFacts.ts"
import * as RpcRefused from "./RpcRefused.ts"
import type { Choices, Options } from "./SessionFields.ts"
import * as TorrentIds from "./TorrentIds.ts"

/** A service, as the methods see it. */
export interface RpcRun {
  readonly session: Session["Service"]
  readonly engine: Engine["Service"]
  readonly facts: ServiceFacts["Service"]
  /** Fetches torrent files. */
  readonly http: HttpClient.HttpClient
  readonly options: Options
  readonly actions: ActionLog["Service"]
  /** What a method starts and does not wait for ends with it. */
  readonly scope: Scope.Scope
  /** The secret that every request must have. */
  readonly sessionId: string
  /** Milliseconds of elapsed time. */
  readonly startedAt: number
  readonly ids: TorrentIds.TorrentIds
  choices: Choices
}

/** The result of a method: the arguments of the answer. */
export type Answer = Effect.Effect<Readonly<Record<string, unknown>>, RpcRefused.RpcRefused>

/** No arguments. */
export const nothing: Readonly<Record<string, unknown>> = {}

/** Torrents that are changed at once. Each of them may wait for its tracker to be told. */
const atOnce = 50

/** All torrents in the order of the queue, each of which has a number. */
export const torrents = (self: RpcRun): Effect.Effect<ReadonlyArray<SessionStatus>> =>
  Effect.gen(function* () {
    const { ids, session } = self
    // First the list: what is in it is among the changes then.
    const { torrents } = yield* session.list
    TorrentIds.note(ids, yield* session.changes(ids.revision), yield* Monotonic.now)
    return torrents
  })

/** The torrents that a request is about. What is not there is left out, as Transmission does. */
export const select = (self: RpcRun, asked: TorrentIds.Asked): Effect.Effect<ReadonlyArray<SessionStatus>> =>
  Effect.gen(function* () {
    const all = yield* torrents(self)
    return TorrentIds.select(self.ids, all, asked, yield* Monotonic.now)
  })

/** An error that a client can be told. */
interface Told {
  readonly message: string
}

/** Does something with a torrent. It may be gone. */
export const withTorrent = <A, E extends Told>(
  { session }: RpcRun,
  { infoHash }: Pick<SessionStatus, "infoHash">,
  use: (torrent: SessionTorrent) => Effect.Effect<A, E>
): Effect.Effect<A, E | NotInSession> => Effect.flatMap(session.get(infoHash), use)

/**
 * Does something with each torrent that a request is about, whatever becomes of the others. Fails with the first error. A
 * torrent that was removed meanwhile is left out.
 */
export const forEach = <E extends Told>(
  self: RpcRun,
  asked: TorrentIds.Asked,
  act: (torrent: SessionTorrent, status: SessionStatus) => Effect.Effect<unknown, E | NotInSession>
): Effect.Effect<void, RpcRefused.RpcRefused> =>
  Effect.gen(function* () {
    const chosen = yield* select(self, asked)
    const results = yield* Effect.forEach(
      chosen,
      (status) => Effect.result(withTorrent(self, status, (torrent) => act(torrent, status))),
      { concurrency: atOnce }
    )
    const errors = results.flatMap((result) =>
      Result.isFailure(result) && !isGone(result.failure) ? [result.failure] : []
    )
    const [first, ...others] = errors
    if (first === undefined) return
    const more = others.length === 0 ? "" : ` (and ${others.length} other torrents have failed)`
    return yield* RpcRefused.because(`${first.message}${more}`)
  })

const isGone = (error: Told): boolean => "_tag" in error && error._tag === "piecewise/NotInSession"
