/**
 * The order of a session's torrents, and which of them may be active at once. Pure.
 *
 * A torrent that is moved gets a number between those of its new neighbours, so a move changes one torrent. Numbers end
 * after some fifty moves to the same place; then all torrents are numbered anew.
 */
import * as InfoHash from "../base/InfoHash.ts"
import type { SavedTorrent, SessionLimits } from "./SavedTorrent.ts"

/** The order of the queue: that of positions, and then that of info hashes. */
export const byPosition = (
  one: Pick<SavedTorrent, "infoHash" | "position">,
  other: Pick<SavedTorrent, "infoHash" | "position">
): number => one.position - other.position || (InfoHash.toHex(one.infoHash) < InfoHash.toHex(other.infoHash) ? -1 : 1)

/** What the queue must know of a torrent. */
export interface Queued {
  readonly position: number
  /** Whether it should run: nobody paused it, no error ended it, and no seeding goal was reached. */
  readonly isWilling: boolean
  /** Whether everything that is wanted is stored, as far as is known. */
  readonly isComplete: boolean
}

/** Where a torrent is moved. `before` another torrent, or to an end of the queue. */
export type Place<A> = "first" | "last" | { readonly before: A }

/** Returns those that may be active: of the willing ones in their order, as many as the limits allow. */
export const active = <A extends Queued>(
  queue: ReadonlyArray<A>,
  limits: Pick<SessionLimits, "downloads" | "seeds">
): ReadonlySet<A> => {
  let downloads = limits.downloads ?? Number.POSITIVE_INFINITY
  let seeds = limits.seeds ?? Number.POSITIVE_INFINITY
  const found = new Set<A>()
  for (const torrent of queue) {
    if (!torrent.isWilling) continue
    if (torrent.isComplete ? seeds-- > 0 : downloads-- > 0) found.add(torrent)
  }
  return found
}

/** The position of a torrent behind all others, which are in the order of their positions. */
export const last = (queue: ReadonlyArray<Queued>): number => (queue.at(-1)?.position ?? 0) + 1

/**
 * Returns the position of a torrent that is moved to a place among `others`, which are in the order of their positions;
 * `undefined` if there is no number left there. A torrent that is not among them counts as the end.
 */
export const between = <A extends Queued>(others: ReadonlyArray<A>, place: Place<A>): number | undefined => {
  if (place === "first") return (others[0]?.position ?? 0) - 1
  const index = place === "last" ? -1 : others.indexOf(place.before)
  if (index < 0) return last(others)
  const after = others[index]!.position
  const before = index === 0 ? after - 2 : others[index - 1]!.position
  const middle = before + (after - before) / 2
  return middle > before && middle < after ? middle : undefined
}
