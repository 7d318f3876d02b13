/**
 * A session: torrents that outlive the process. What is added stays until it is removed, runs when the queue has a place
 * for it, and goes on after a restart.
 *
 * A session is a program over an engine. A torrent is in the engine only while it runs: one that is paused, that waits in
 * the queue, or whose seeding goal is reached, costs a small object, and a start reads nothing else of it. The pieces
 * that are stored are in resume data, so a torrent that is complete seeds after a start without a check.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import * as InfoHash from "../base/InfoHash.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import { type Engine, OnlyV2 } from "../engine/Engine.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import type { ResumeStore } from "../resume/ResumeStore.ts"
import type { Storage } from "../storage/Storage.ts"
import * as EventLog from "../torrent/EventLog.ts"
import * as Imported from "./Imported.ts"
import * as Revisions from "./Revisions.ts"
import * as Saved from "./SavedTorrent.ts"
import * as SessionAttention from "./SessionAttention.ts"
import * as SessionEntry from "./SessionEntry.ts"
import * as SessionEvents from "./SessionEvents.ts"
import * as SessionHandle from "./SessionHandle.ts"
import * as SessionInput from "./SessionInput.ts"
import { OptionRefused } from "./SessionInput.ts"
import * as SessionLooks from "./SessionLooks.ts"
import * as SessionProgram from "./SessionProgram.ts"
import * as SessionQueue from "./SessionQueue.ts"
import * as SessionRecord from "./SessionRecord.ts"
import type {
  EventId,
  EventsMissed,
  Revision,
  SessionChanges,
  SessionEvent,
  SessionList,
  SessionStatus
} from "./SessionStatus.ts"
import type { SessionStore, SessionStoreError } from "./SessionStore.ts"
import { AlreadyInSession, NotInSession, type SessionTorrent } from "./SessionTorrent.ts"
import type { TorrentFolders } from "./TorrentFolders.ts"
import * as TrackerHosts from "./TrackerHosts.ts"

export { OptionRefused } from "./SessionInput.ts"
export {
  EventId,
  EventsMissed,
  SessionChanges,
  SessionEvent,
  SessionList,
  SessionState,
  SessionStatus
} from "./SessionStatus.ts"
export type { FileChoice, Place, ResumeOptions, SessionTorrent } from "./SessionTorrent.ts"
export { AlreadyInSession, NotInSession, NotOpened, PathRefused } from "./SessionTorrent.ts"

/** How a torrent is added. */
export interface AddOptions extends Saved.SavedOptions {
  /** The names of its labels, in the order in which their defaults apply. Default none. */
  readonly labels?: ReadonlyArray<string> | undefined
  /** Whether it is added paused. Default false. */
  readonly isPaused?: boolean | undefined
  /** How much each file is wanted, as `TorrentOptions.files`. */
  readonly files?: ReadonlyArray<PiecePriority.PiecePriority> | undefined
  /** Where it is put in the queue. Default `last`. */
  readonly place?: "first" | "last" | undefined
  /** What another client knows of it, whose files stay where they are. Default nothing. */
  readonly imported?: Imported.Imported | undefined
}

/** Why a torrent could not be added. */
export type AddError =
  | OptionRefused
  | AlreadyInSession
  | Metainfo.MetainfoError
  | Magnet.MagnetError
  | OnlyV2
  | SessionStoreError

/**
 * Torrents that outlive the process.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Layer } from "effect"
 * import { MemorySessionStore, Session, TorrentFolders } from "piecewise/session"
 * import { TestEngine } from "piecewise/testing"
 *
 * const magnet = "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&dn=A+film"
 * // It runs with `NodeSession.layer` as well.
 * const program = Effect.gen(function* () {
 *   const session = yield* Session.Session
 *   yield* session.setLimits({ downloads: 3 })
 *   const torrent = yield* session.add({ magnet }, { labels: ["films"], isPaused: true })
 *   yield* torrent.move("first")
 *   const { torrents } = yield* session.list
 *   assert.deepEqual(torrents.map(({ name, state }) => [name, state._tag]), [["A film", "Paused"]])
 * })
 * const layer = Session.layer.pipe(
 *   Layer.provide([MemorySessionStore.layer, TorrentFolders.layer]),
 *   Layer.provide(TestEngine.layer())
 * )
 * await Effect.runPromise(Effect.provide(program, layer))
 * ```
 */
export class Session extends Context.Service<
  Session,
  {
    /**
     * Adds a torrent, by the bytes of its torrent file or a magnet link. Returns once it is saved; it runs as soon as the
     * queue has a place for it. Fails with `AlreadyInSession` if there is one with its info hash, also one that cannot
     * be read.
     */
    readonly add: (
      source: { readonly metainfo: Uint8Array } | { readonly magnet: string },
      options?: AddOptions
    ) => Effect.Effect<SessionTorrent, AddError>
    /** The torrent with an info hash. */
    readonly get: (infoHash: InfoHash.InfoHash) => Effect.Effect<SessionTorrent, NotInSession>
    /**
     * Snapshots of all torrents, at most half a second old, and what was saved and cannot be read, which stays as it is
     * until it is replaced.
     */
    readonly list: Effect.Effect<SessionList>
    /**
     * What is different from an earlier `list` or `changes`, except for how long torrents have seeded. Gives all torrents
     * to whoever asks with the revision of another run, or with one before the last 1,000 removals.
     */
    readonly changes: (since: Revision) => Effect.Effect<SessionChanges>
    /**
     * What happens, beginning with the last 1,024 events of this run. A reader that lags by 8,192 events misses the
     * oldest. Never ends.
     */
    readonly events: Stream.Stream<SessionEvent>
    /**
     * What has happened since an event, and what happens from then on; without an id only the latter. Where events are
     * missing it has `Missed` in their place: first of all if the id is of another run or before those that are kept,
     * and later if the reader lags by 8,192 events. Never ends.
     */
    readonly eventsSince: (id?: EventId) => Stream.Stream<SessionEvent | EventsMissed>
    /** The id of the last event. What is listed later has all that happened until then. */
    readonly lastEvent: Effect.Effect<EventId>
    /**
     * Calls `use` once for each torrent when everything of it that is wanted is stored for the first time, from now on
     * and until the scope closes; calls for several torrents run at once. That a call is due is saved with the completion,
     * and that it has ended, when it has. So if the process is killed or the scope closes meanwhile, it is called again
     * when this is used again, in the next run too. Only the last user is called.
     */
    readonly onCompleted: (
      use: (status: SessionStatus) => Effect.Effect<void>
    ) => Effect.Effect<void, never, Scope.Scope>
    /** The labels that have a meaning of their own. A torrent may have any other name as a label. */
    readonly labels: Effect.Effect<ReadonlyArray<Saved.SavedLabel>>
    /**
     * Adds a label, or replaces the one with its name. Names have 1 to 128 characters, without control characters and
     * `/`, and a folder has no component `..`. Its folder is that of torrents that are added from
     * then on.
     */
    readonly setLabel: (label: Saved.SavedLabel) => Effect.Effect<void, OptionRefused | SessionStoreError>
    /** Removes what a label means. Torrents keep its name. */
    readonly removeLabel: (name: string) => Effect.Effect<void, SessionStoreError>
    /**
     * When seeding ends for torrents with a tracker at a host, in any order. The goal of a torrent or of a label comes
     * before it.
     */
    readonly trackerGoals: Effect.Effect<ReadonlyArray<Saved.TrackerGoal>>
    /**
     * Adds the goal of a host, or replaces it. The host is a name or an IP address, without a port; its case does not
     * count. A torrent with several such trackers has the goal of the first.
     */
    readonly setTrackerGoal: (goal: Saved.TrackerGoal) => Effect.Effect<void, OptionRefused | SessionStoreError>
    /** Removes the goal of a host. Does nothing if it has none. */
    readonly removeTrackerGoal: (host: string) => Effect.Effect<void, SessionStoreError>
    /** The limits of all torrents together. */
    readonly limits: Effect.Effect<Saved.SessionLimits>
    /**
     * Replaces the limits of all torrents together; one that is absent is lifted. The first in the queue stay active. Rates
     * take the place of those that the engine was made with, also in later runs that find one saved.
     */
    readonly setLimits: (limits: Saved.SessionLimits) => Effect.Effect<void, OptionRefused | SessionStoreError>
  }
>()("piecewise/session/Session") {}

/** What a session needs. */
export type Requirements = Engine | SessionStore | Storage | TorrentFolders | PieceHasher | ResumeStore

/** Bytes of the pieces that have a byte of a wanted file. */
const wantedBytes = ({ layout }: Metainfo.Metainfo, files: ReadonlyArray<PiecePriority.PiecePriority>): number => {
  const { geometry } = layout
  const sizes = PiecePriority.ofFiles(layout, files).map((priority, piece) =>
    priority === "skip" ? 0 : PieceGeometry.pieceSize(geometry, PieceGeometry.pieceIndexUnsafe(geometry, piece))
  )
  return sizes.reduce((total, size) => total + size, 0)
}

/** What a torrent is made from, and what is known of it at once. */
const read = Effect.fnUntraced(function* (
  given: { readonly metainfo: Uint8Array } | { readonly magnet: string },
  { files = [], imported = {} }: Pick<AddOptions, "files" | "imported">
): Effect.fn.Return<
  Pick<Saved.SavedTorrent, "hintedBytes" | "infoHash" | "name" | "progress" | "trackerHosts"> & {
    readonly source: Saved.Source
  },
  Exclude<AddError, AlreadyInSession | SessionStoreError>,
  PieceHasher
> {
  if ("metainfo" in given) {
    const metainfo = yield* Metainfo.fromBytes(given.metainfo)
    const { infoHash, layout, name } = metainfo
    const wanted = wantedBytes(metainfo, files)
    const progress = { totalBytes: layout.geometry.totalLength, wantedBytes: wanted, missingBytes: wanted }
    const trackerHosts = TrackerHosts.of(metainfo.trackers.flat())
    const why = Imported.refusal(metainfo, imported.renamed ?? [])
    if (why !== undefined) return yield* new OptionRefused({ option: "imported.renamed", why })
    const hintedBytes = imported.hintedPieces && Imported.hintedBytes(metainfo, imported.hintedPieces, files)
    const source = { _tag: "Metainfo", bytes: given.metainfo } as const
    return { infoHash, name, progress, trackerHosts, hintedBytes, source }
  }
  const { infoHash, name, trackers } = yield* Effect.fromResult(Magnet.parse(given.magnet))
  if (infoHash === undefined) return yield* new OnlyV2()
  const source = { _tag: "Magnet", link: given.magnet } as const
  const trackerHosts = TrackerHosts.of(trackers)
  return { infoHash, name: name ?? InfoHash.toHex(infoHash), progress: undefined, trackerHosts, source }
})

/**
 * Opens the session that the store has, until the scope closes. Its torrents go on by themselves. Closing it takes them
 * out of the engine and saves what they have done.
 */
export const make: Effect.Effect<Session["Service"], SessionStoreError, Requirements | Scope.Scope> = Effect.gen(
  function* () {
    const program = yield* SessionProgram.make
    const { entries, labels, store, trackerGoals } = program

    for (const entry of entries.values()) {
      const { wanted } = entry.saved
      if (wanted._tag !== "Removing") continue
      const removal = entry.lock.withPermit(SessionHandle.finishRemoval(program, entry, wanted.data))
      const logged = Effect.catch(removal, (error) => Effect.logWarning("a torrent could not be removed", error))
      yield* Effect.forkIn(logged, program.scope)
    }

    const save = Effect.fnUntraced(function* (
      { source, ...known }: Effect.Success<ReturnType<typeof read>>,
      { files, imported = {}, isPaused = false, labels: names = [], place = "last", ...options }: AddOptions
    ) {
      const { infoHash, name } = known
      const key = InfoHash.toHex(infoHash)
      if (entries.has(key) || isUnreadable("torrent", key)) return yield* new AlreadyInSession({ infoHash })
      const queue = SessionRecord.queue(program).map((entry) => SessionRecord.queued(program, entry))
      const folder = options.folder ?? names.map((name) => labels.get(name)?.folder).find((one) => one !== undefined)
      const torrent: Saved.SavedTorrent = {
        ...known,
        position: place === "last" ? SessionQueue.last(queue) : SessionQueue.between(queue, "first")!,
        wanted: { _tag: isPaused ? "Paused" : "Running" },
        labels: [...new Set(names)],
        options: { ...options, folder },
        addedAtMillis: imported.addedAtMillis ?? (yield* Clock.currentTimeMillis),
        completedAtMillis: imported.completedAtMillis,
        statistics: imported.statistics ?? Saved.noStatistics
      }
      const { hintedPieces, renamed = [] } = source._tag === "Metainfo" ? imported : {}
      const content: Saved.SavedContent = { source, files: { priorities: files, renamed, hintedPieces } }
      yield* store.commit([{ _tag: "AddTorrent", torrent, content }])
      const entry = SessionEntry.make(torrent)
      entries.set(key, entry)
      program.folders.set(infoHash, folder)
      SessionEvents.report(program.events, { infoHash, event: { _tag: "Added", name } })
      Signal.set(program.planning)
      return SessionHandle.make(program, entry)
    }, Effect.uninterruptible)

    const isUnreadable = (what: Saved.Unreadable["what"], key: string): boolean =>
      program.unreadable.some((entry) => entry.what === what && entry.key === key)

    /** Changes something of the session itself. If what the store had of it could not be read, that is gone. */
    const commit = (
      change: Parameters<typeof store.commit>[0][number],
      { key = "", what }: { readonly what: Saved.Unreadable["what"]; readonly key?: string },
      apply: Effect.Effect<unknown>
    ) =>
      program.saving.withPermit(
        store.commit([change]).pipe(
          Effect.andThen(
            Effect.sync(() => {
              program.unreadable = program.unreadable.filter((entry) => entry.what !== what || entry.key !== key)
            })
          ),
          Effect.andThen(apply),
          Effect.andThen(Effect.sync(() => Signal.set(program.planning))),
          Effect.uninterruptible
        )
      )

    return Session.of({
      add: Effect.fnUntraced(function* (source, given = {}) {
        const options = yield* SessionInput.addOptions(given)
        const known = yield* Effect.provideService(read(source, options), PieceHasher, program.hasher)
        return yield* program.saving.withPermit(save(known, options))
      }),
      get: (infoHash) =>
        Effect.suspend(() => {
          const entry = entries.get(InfoHash.toHex(infoHash))
          if (entry === undefined) return Effect.fail(new NotInSession({ infoHash }))
          return Effect.succeed(SessionHandle.make(program, entry))
        }),
      list: Effect.map(SessionLooks.refresh(program), () => ({
        ...Revisions.list(program.revisions),
        unreadable: program.unreadable
      })),
      changes: (since) => Effect.map(SessionLooks.refresh(program), () => Revisions.since(program.revisions, since)),
      events: EventLog.events(program.events.log),
      eventsSince: (id) => SessionEvents.since(program.events, id),
      onCompleted: (use) => SessionAttention.onCompleted(program, use),
      lastEvent: Effect.sync(() => SessionEvents.lastId(program.events)),
      labels: Effect.sync(() => [...labels.values()]),
      setLabel: (given) =>
        Effect.flatMap(SessionInput.label(given), (label) =>
          commit(
            { _tag: "SetLabel", label },
            { what: "label", key: label.name },
            Effect.sync(() => labels.set(label.name, label))
          )
        ),
      removeLabel: (name) =>
        commit(
          { _tag: "RemoveLabel", name },
          { what: "label", key: name },
          Effect.sync(() => labels.delete(name))
        ),
      trackerGoals: Effect.sync(() => [...trackerGoals.values()]),
      setTrackerGoal: (given) =>
        Effect.flatMap(SessionInput.trackerGoal(given), (goal) =>
          commit(
            { _tag: "SetTrackerGoal", goal },
            { what: "tracker goal", key: goal.host },
            Effect.sync(() => trackerGoals.set(goal.host, goal))
          )
        ),
      removeTrackerGoal: (given) => {
        const host = TrackerHosts.parse(given) ?? given
        return commit(
          { _tag: "RemoveTrackerGoal", host },
          { what: "tracker goal", key: host },
          Effect.sync(() => trackerGoals.delete(host))
        )
      },
      limits: Effect.sync(() => program.limits),
      setLimits: (given) =>
        Effect.flatMap(SessionInput.limits(given), (limits) =>
          commit(
            { _tag: "SetLimits", limits },
            { what: "limits" },
            Effect.suspend(() => {
              program.limits = limits
              return program.engine.setLimits(limits)
            })
          )
        )
    })
  }
)

/** The session that the store has. */
export const layer: Layer.Layer<Session, SessionStoreError, Requirements> = Layer.effect(Session, make)
