/**
 * Counts peers that close a connection before the handshake. The protocol cannot say why, but the usual reason is that
 * a peer takes encrypted connections only.
 */
import type * as PeerBook from "./PeerBook.ts"

/** The peers of one torrent that closed our latest connection to them before the handshake, by their keys. */
export interface HangUps {
  readonly keys: Set<number>
  /** The count that is reported next. */
  next: number
}

/** Makes it without peers. */
export const make = (): HangUps => ({ keys: new Set(), next: 1 })

/** How many known peers have closed. */
export const count = ({ keys }: HangUps, { peers }: PeerBook.PeerBook): number => {
  for (const key of keys) if (!peers.has(key)) keys.delete(key)
  return keys.size
}

/** Whether a count is to be reported now: once there is a peer, and then each time that there are ten times as many. */
export const isDue = (self: HangUps, count: number): boolean => {
  if (count < self.next) return false
  while (self.next <= count) self.next *= 10
  return true
}
