/**
 * What `watch` knows: the torrents in their order, the rates of the last minute, and which torrent is chosen. Pure.
 */
import * as InfoHash from "../../base/InfoHash.ts"
import type { ServiceStatus } from "../../control/api/ServiceApi.ts"
import type { TorrentChanges, TorrentItem } from "../../control/api/TorrentModel.ts"
import type { Key } from "./Keyboard.ts"
import * as TorrentWords from "./TorrentWords.ts"

/** How many rates are kept, one a second. */
export const historyLength = 60

/** What `watch` knows. */
export interface WatchState {
  /** Where the service is. */
  readonly url: string
  /** By info hash. */
  readonly torrents: ReadonlyMap<string, TorrentItem>
  /** Those that do something first. */
  readonly sorted: ReadonlyArray<TorrentItem>
  /** `undefined` until the service has answered. */
  readonly service: ServiceStatus | undefined
  /** The rates of the last minute in bytes a second, and how many there were in all. */
  readonly down: ReadonlyArray<number>
  readonly up: ReadonlyArray<number>
  readonly samples: number
  /** The info hash of the torrent that is chosen, if one is. */
  readonly chosen: string | undefined
  /** Why the service does not answer, if it does not. */
  readonly away: string | undefined
  /** Why something that the user wanted failed. */
  readonly trouble: string | undefined
}

/** Nothing is known yet. */
export const make = (url: string): WatchState => ({
  url,
  torrents: new Map(),
  sorted: [],
  service: undefined,
  down: [],
  up: [],
  samples: 0,
  chosen: undefined,
  away: undefined,
  trouble: undefined
})

/** By state, and then by place in the queue: rates would make rows jump. */
const compare = (one: TorrentItem, other: TorrentItem): number =>
  TorrentWords.stateOf(one).rank - TorrentWords.stateOf(other).rank || one.position - other.position

const keyOf = ({ infoHash }: { readonly infoHash: InfoHash.InfoHash }): string => InfoHash.toHex(infoHash)

const merge = (self: WatchState, { isAll, removed, torrents }: TorrentChanges): ReadonlyMap<string, TorrentItem> => {
  const merged = new Map(isAll ? [] : self.torrents)
  for (const infoHash of removed) merged.delete(InfoHash.toHex(infoHash))
  for (const torrent of torrents) merged.set(keyOf(torrent), torrent)
  return merged
}

/** After an answer of the service. */
export const update = (self: WatchState, changes: TorrentChanges, service: ServiceStatus): WatchState => {
  const isSame = !changes.isAll && changes.torrents.length + changes.removed.length === 0
  const torrents = isSame ? self.torrents : merge(self, changes)
  const sorted = isSame ? self.sorted : [...torrents.values()].sort(compare)
  const next: WatchState = {
    ...self,
    torrents,
    sorted,
    service,
    down: [...self.down, service.downloadBytesPerSecond].slice(-historyLength),
    up: [...self.up, service.uploadBytesPerSecond].slice(-historyLength),
    samples: self.samples + 1,
    away: undefined
  }
  if (next.chosen === undefined || torrents.has(next.chosen)) return next
  // The one that has taken the place of the torrent that is gone.
  return choose(next, Math.max(0, chosenIndex(self)))
}

/** The service does not answer. */
export const withAway = (self: WatchState, away: string): WatchState => ({ ...self, away })

/** Something that the user wanted failed, or did not if `undefined`. */
export const withTrouble = (self: WatchState, trouble: string | undefined): WatchState => ({ ...self, trouble })

/** The place of the torrent that is chosen; -1 if none is. */
export const chosenIndex = ({ chosen, sorted }: WatchState): number =>
  chosen === undefined ? -1 : sorted.findIndex((torrent) => keyOf(torrent) === chosen)

/** The torrent that is chosen. */
export const chosenOf = (self: WatchState): TorrentItem | undefined => self.sorted[chosenIndex(self)]

const choose = (self: WatchState, index: number): WatchState => {
  const torrent = self.sorted[Math.max(0, Math.min(self.sorted.length - 1, index))]
  return { ...self, chosen: torrent && keyOf(torrent) }
}

/** After a key that chooses another torrent; others change nothing. `page` is how many rows are shown. */
export const press = (self: WatchState, key: Key, page: number): WatchState => {
  const index = chosenIndex(self)
  switch (key) {
    case "up":
      return choose(self, index - 1)
    case "down":
      return choose(self, index + 1)
    case "pageUp":
      return choose(self, index - page)
    case "pageDown":
      return choose(self, Math.max(0, index) + page)
    case "home":
      return choose(self, 0)
    case "end":
      return choose(self, self.sorted.length - 1)
    default:
      return self
  }
}
