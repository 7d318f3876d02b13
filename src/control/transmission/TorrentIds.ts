/**
 * The numbers by which clients of the Transmission RPC call torrents, and which torrents have changed of late. A torrent
 * keeps its number until it is removed, or the service ends; no other one gets it then. Plain code over what the session
 * reports; times are milliseconds of elapsed time.
 */
import * as InfoHash from "../../base/InfoHash.ts"
import type { Revision, SessionChanges, SessionStatus } from "../../session/SessionStatus.ts"

/** How long a torrent that has changed or gone counts as recently active. */
export const recentMillis = 60_000

/** A torrent that has a number. */
export interface Numbered {
  readonly id: number
  /** When it was added: one that was removed and added again is another one, with another number. */
  readonly addedAtMillis: number
  /** When it last looked different from before. */
  changedAt: number
  /** When it last exchanged bytes, as far as anybody has looked; `undefined` if never. */
  transferredAt: number | undefined
}

/** The numbers of a service. */
export interface TorrentIds {
  /** Up to where changes are noted. */
  revision: Revision
  /** By info hash in hex. */
  readonly torrents: Map<string, Numbered>
  /** Those that went, in that order. */
  removed: Array<{ readonly id: number; readonly at: number }>
  last: number
}

/** Which torrents a request is about. `undefined` for all. */
export type Asked = number | string | ReadonlyArray<number | string> | undefined

/** What stands for the torrents that have changed of late. */
export const recentlyActive = "recently-active"

/** Makes it without torrents. */
export const make = (): TorrentIds => ({ revision: "", torrents: new Map(), removed: [], last: 0 })

const keyOf = ({ infoHash }: Pick<SessionStatus, "infoHash">): string => InfoHash.toHex(infoHash)

/** Notes what has changed since `revision`. */
export const note = (self: TorrentIds, changes: SessionChanges, now: number): void => {
  const { isAll, removed, revision, torrents } = changes
  const there = new Map(torrents.map((torrent) => [keyOf(torrent), torrent]))
  const gone = isAll ? [...self.torrents.keys()] : [...removed.map(InfoHash.toHex), ...there.keys()]
  for (const key of gone) {
    const numbered = self.torrents.get(key)
    if (numbered === undefined || there.get(key)?.addedAtMillis === numbered.addedAtMillis) continue
    self.torrents.delete(key)
    self.removed.push({ id: numbered.id, at: now })
  }
  self.removed = self.removed.filter(({ at }) => now - at <= recentMillis)
  for (const [key, { addedAtMillis, downloadBytesPerSecond, uploadBytesPerSecond }] of there) {
    const numbered = self.torrents.get(key) ?? {
      id: ++self.last,
      addedAtMillis,
      changedAt: now,
      transferredAt: undefined
    }
    numbered.changedAt = now
    if (downloadBytesPerSecond + uploadBytesPerSecond > 0) numbered.transferredAt = now
    self.torrents.set(key, numbered)
  }
  self.revision = revision
}

/** The number of a torrent; `undefined` if it has none, or not any more. */
export const of = (self: TorrentIds, torrent: Pick<SessionStatus, "infoHash">): Numbered | undefined =>
  self.torrents.get(keyOf(torrent))

/** Returns the torrents that a request is about, in their order. What is not there is left out. */
export const select = <A extends Pick<SessionStatus, "infoHash">>(
  self: TorrentIds,
  torrents: ReadonlyArray<A>,
  asked: Asked,
  now: number
): ReadonlyArray<A> => {
  const known = torrents.filter((torrent) => of(self, torrent) !== undefined)
  if (asked === undefined) return known
  if (asked === recentlyActive) return known.filter((torrent) => now - of(self, torrent)!.changedAt <= recentMillis)
  const wanted = new Set(
    (Array.isArray(asked) ? asked : [asked]).map((id) => (typeof id === "string" ? id.toLowerCase() : id))
  )
  return known.filter((torrent) => wanted.has(of(self, torrent)!.id) || wanted.has(keyOf(torrent)))
}

/** The info hash in hex of the one torrent that a request is about; `undefined` if it names another number of them. */
export const only = (self: TorrentIds, asked: Asked): string | undefined => {
  const [one, ...others]: ReadonlyArray<number | string | undefined> = Array.isArray(asked) ? asked : [asked]
  if (others.length > 0) return undefined
  // It need not be known yet.
  if (typeof one === "string") return /^[0-9a-f]{40}$/i.test(one) ? one : undefined
  return [...self.torrents].find(([, { id }]) => id === one)?.[0]
}
