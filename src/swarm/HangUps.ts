/**
 * Counts peers that close a connection before the handshake, in every way in which we dial. The protocol cannot say
 * why. If encryption is off or required here, the usual reason is that the peer does not allow that.
 */
import type * as PeerBook from "./PeerBook.ts"

/** The peers of one torrent that closed our latest connection to them before the handshake, by their keys. */
export interface HangUps {
  /** Present once there was one. */
  keys: Set<number> | undefined
  /** The count that is reported next. */
  next: number
}

/** Makes it without peers. */
export const make = (): HangUps => ({ keys: undefined, next: 1 })

/** Notes that a peer closed. */
export const add = (self: HangUps, key: number): void => {
  self.keys ??= new Set()
  self.keys.add(key)
}

/** Notes that a peer did not close. */
export const remove = ({ keys }: HangUps, key: number): void => void keys?.delete(key)

/** How many known peers have closed. */
export const count = ({ keys }: HangUps, { peers }: PeerBook.PeerBook): number => {
  if (keys === undefined) return 0
  for (const key of keys) if (!peers.has(key)) keys.delete(key)
  return keys.size
}

/** Whether a count is to be reported now: once there is a peer, and then each time that there are ten times as many. */
export const isDue = (self: HangUps, count: number): boolean => {
  if (count < self.next) return false
  while (self.next <= count) self.next *= 10
  return true
}
