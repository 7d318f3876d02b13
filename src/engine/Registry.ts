/**
 * The torrents of an engine, by their info hash. A torrent is here from before it starts until all of it has ended, so
 * nothing of it can meet another one with its info hash.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as InfoHash from "../base/InfoHash.ts"
import * as EventLog from "../torrent/EventLog.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import * as TorrentRecord from "../torrent/TorrentRecord.ts"
import type { EngineEvent } from "./EngineEvent.ts"
import * as EngineStatus from "./EngineStatus.ts"

/** A torrent that has started. */
interface Entry {
  readonly program: TorrentRecord.TorrentRecord
  readonly torrent: Torrent
}

/** The torrents of one engine. */
export interface Registry {
  /** By info hash in hex. The value is `undefined` until the torrent has been made. */
  readonly entries: Map<string, Entry | undefined>
  readonly log: EventLog.EventLog<EngineEvent>
  /** What was transferred by torrents that are not there any more. */
  transferred: EngineStatus.Transferred
}

/** Makes it without torrents. */
export const make = (): Registry => ({
  entries: new Map(),
  log: EventLog.make(0),
  transferred: EngineStatus.nothing
})

/** Takes the place of a torrent until the scope closes. Returns `false` if it is taken. */
export const claim = (self: Registry, infoHash: InfoHash.InfoHash): Effect.Effect<boolean, never, Scope.Scope> => {
  const hex = InfoHash.toHex(infoHash)
  return Effect.suspend(() => {
    if (self.entries.has(hex)) return Effect.succeed(false)
    return Effect.acquireRelease(
      Effect.sync(() => {
        self.entries.set(hex, undefined)
        return true
      }),
      () => release(self, infoHash)
    )
  })
}

const release = (self: Registry, infoHash: InfoHash.InfoHash): Effect.Effect<void> =>
  Effect.sync(() => {
    const hex = InfoHash.toHex(infoHash)
    const entry = self.entries.get(hex)
    self.entries.delete(hex)
    if (entry === undefined) return
    self.transferred = EngineStatus.add(self.transferred, TorrentRecord.status(entry.program))
    EventLog.report(self.log, { infoHash, event: { _tag: "Removed" } })
  })

/** Puts a torrent in its place, which was claimed. */
export const put = (self: Registry, entry: Entry): void => {
  self.entries.set(InfoHash.toHex(entry.torrent.infoHash), entry)
  EventLog.report(self.log, added(entry))
}

const added = ({ program, torrent: { infoHash } }: Entry): EngineEvent => ({
  infoHash,
  event: { _tag: "Added", name: TorrentRecord.status(program).name }
})

/** Reports an event of a torrent. Costs nothing while nobody reads. */
export const report = ({ log }: Registry, infoHash: InfoHash.InfoHash, event: TorrentEvent): void => {
  if (log.readers.length > 0) EventLog.report(log, { infoHash, event })
}

const entriesOf = ({ entries }: Registry): ReadonlyArray<Entry> =>
  [...entries.values()].filter((entry) => entry !== undefined)

/** The programs of the torrents that there are. */
export function* programs({ entries }: Registry): Iterable<TorrentRecord.TorrentRecord> {
  for (const entry of entries.values()) if (entry !== undefined) yield entry.program
}

/** The torrents that there are, in the order in which they were added. */
export const torrents = (self: Registry): Effect.Effect<ReadonlyArray<Torrent>> =>
  Effect.sync(() => entriesOf(self).map(({ torrent }) => torrent))

/** The torrent with an info hash. */
export const get = (self: Registry, infoHash: InfoHash.InfoHash): Option.Option<Entry> =>
  Option.fromUndefinedOr(self.entries.get(InfoHash.toHex(infoHash)))

/** `Added` for each torrent that there is, and then what happens. */
export const events = (self: Registry): Stream.Stream<EngineEvent> =>
  EventLog.events(self.log, () => entriesOf(self).map(added))

/** Sums up the torrents. */
export const status = (
  self: Registry,
  engine: () => Pick<EngineStatus.EngineStatus, "connections" | "bufferBytes">
): Effect.Effect<EngineStatus.EngineStatus> =>
  Effect.sync(() => {
    const statuses = entriesOf(self).map(({ program }) => TorrentRecord.status(program))
    return EngineStatus.of(statuses, self.transferred, engine())
  })
