/**
 * A session that exists as long as the layer, for tests. Tests can make it fail.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Bytes from "../../../base/Bytes.ts"
import type { SavedContent, SavedLabel, SavedTorrent, SessionLimits, Source, TrackerGoal } from "../../SavedTorrent.ts"
import * as SessionQueue from "../../SessionQueue.ts"
import { SessionStore, SessionStoreError, type StoreChange, type StoreReason } from "../../SessionStore.ts"

/** The inside of the store. */
export class MemorySessionStore extends Context.Service<
  MemorySessionStore,
  {
    /** Fails every operation from now on with a reason; `undefined` stops that. */
    readonly fail: (reason: StoreReason | undefined) => void
    /** The changes of every successful commit so far. */
    readonly commits: () => ReadonlyArray<ReadonlyArray<StoreChange>>
    /** How often the content of a torrent was read. */
    readonly contentReads: () => number
  }
>()("piecewise/session/MemorySessionStore") {}

interface Kept {
  readonly torrent: SavedTorrent
  readonly content: SavedContent
}

const ownSource = (source: Source): Source =>
  source._tag === "Metainfo" ? { ...source, bytes: source.bytes.slice() } : source

const ownContent = ({ files, source }: SavedContent): SavedContent => ({ files, source: ownSource(source) })

/** Makes an empty store. */
export const make = () => {
  const torrents = new Map<string, Kept>()
  const labels = new Map<string, SavedLabel>()
  const trackerGoals = new Map<string, TrackerGoal>()
  const commits: Array<ReadonlyArray<StoreChange>> = []
  let limits: SessionLimits = {}
  let failure: StoreReason | undefined
  let contentReads = 0

  const update = (infoHash: Uint8Array, change: (kept: Kept) => Kept): void => {
    const key = Bytes.toHex(infoHash)
    const kept = torrents.get(key)
    if (kept !== undefined) torrents.set(key, change(kept))
  }

  const apply = (change: StoreChange): void => {
    switch (change._tag) {
      case "AddTorrent": {
        const { content, torrent } = change
        torrents.set(Bytes.toHex(torrent.infoHash), { torrent, content: ownContent(content) })
        return
      }
      case "SetTorrent":
        return update(change.torrent.infoHash, ({ content }) => ({ content, torrent: change.torrent }))
      case "SetStatistics": {
        const { infoHash, progress, statistics } = change
        return update(infoHash, ({ content, torrent }) => ({ content, torrent: { ...torrent, progress, statistics } }))
      }
      case "SetTrackerHosts": {
        const { hosts: trackerHosts, infoHash } = change
        return update(infoHash, ({ content, torrent }) => ({ content, torrent: { ...torrent, trackerHosts } }))
      }
      case "SetSource": {
        const source = ownSource(change.source)
        return update(change.infoHash, ({ content, torrent }) => ({ torrent, content: { ...content, source } }))
      }
      case "SetFiles": {
        const { files } = change
        return update(change.infoHash, ({ content, torrent }) => ({ torrent, content: { ...content, files } }))
      }
      case "RemoveTorrent":
        return void torrents.delete(Bytes.toHex(change.infoHash))
      case "SetLabel":
        return void labels.set(change.label.name, change.label)
      case "RemoveLabel":
        return void labels.delete(change.name)
      case "SetTrackerGoal":
        return void trackerGoals.set(change.goal.host, change.goal)
      case "RemoveTrackerGoal":
        return void trackerGoals.delete(change.host)
      case "SetLimits":
        limits = change.limits
    }
  }

  const attempt = <A>(operation: SessionStoreError["operation"], act: () => A): Effect.Effect<A, SessionStoreError> =>
    Effect.suspend(() =>
      failure === undefined ? Effect.sync(act) : Effect.fail(new SessionStoreError({ operation, reason: failure }))
    )

  return {
    store: SessionStore.of({
      load: attempt("load", () => ({
        torrents: Array.from(torrents.values(), ({ torrent }) => torrent).sort(SessionQueue.byPosition),
        labels: [...labels.values()],
        trackerGoals: [...trackerGoals.values()],
        limits,
        unreadable: []
      })),
      content: (infoHash) =>
        attempt("content", () => {
          contentReads++
          const kept = torrents.get(Bytes.toHex(infoHash))
          return kept && ownContent(kept.content)
        }),
      commit: (changes) =>
        attempt("commit", () => {
          for (const change of changes) apply(change)
          commits.push(changes)
        })
    }),
    inside: MemorySessionStore.of({
      fail: (reason) => {
        failure = reason
      },
      commits: () => commits,
      contentReads: () => contentReads
    })
  }
}

/** An empty store, and its inside. */
export const layer: Layer.Layer<SessionStore | MemorySessionStore> = Layer.effectContext(
  Effect.sync(() => {
    const { inside, store } = make()
    return Context.make(SessionStore, store).pipe(Context.add(MemorySessionStore, inside))
  })
)
