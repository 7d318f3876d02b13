/**
 * The addresses that a book can forget, in the order in which it does: by their worth, and of equal worth the one that
 * has been there for longest first. Pure; every operation takes constant time.
 */

/** What the worth of an address depends on. */
export interface Item<P> {
  readonly state: string
  readonly failures: number
  readonly isMet: boolean
  readonly isProven: boolean
  /** The shelf that it is on, if any. Changed only here. */
  shelf: Set<P> | undefined
}

/** Addresses by their worth. */
export interface Shelves<P> {
  readonly byWorth: ReadonlyArray<Set<P>>
  size: number
}

/** After this many failures in a row a peer that was met counts no more than one that never answered. */
export const failuresOfLost = 3

/** After this many failures in a row, some 17 minutes, neither does one that sent right pieces. */
export const failuresOfLostProven = 11

/** The worth of addresses that failed lately: 0 to 3, the more often they failed the less. */
const worthOfLost = (failures: number): number => Math.max(0, 3 - Math.floor(Math.log2(failures)))

const worthOfGone = 4

/** The worth of a new address. Addresses of less worth are forgotten for it. */
const worthOfNew = 5
const worthOfMet = 6
const worthOfProven = 7

const worthOf = <P>({ failures, isMet, isProven, state }: Item<P>): number => {
  if (failures >= (isProven ? failuresOfLostProven : isMet ? failuresOfLost : 1)) return worthOfLost(failures)
  if (isProven) return worthOfProven
  if (state === "gone") return worthOfGone
  return isMet ? worthOfMet : worthOfNew
}

/** Makes empty shelves. */
export const make = <P>(): Shelves<P> => ({
  byWorth: Array.from({ length: worthOfProven + 1 }, () => new Set<P>()),
  size: 0
})

/** Puts a peer on the shelf for its worth. */
export const add = <P extends Item<P>>(self: Shelves<P>, peer: P): void => {
  remove(self, peer)
  peer.shelf = self.byWorth[worthOf(peer)]!
  peer.shelf.add(peer)
  self.size++
}

/** Takes a peer from its shelf, if it is on one. */
export const remove = <P extends Item<P>>(self: Shelves<P>, peer: P): void => {
  if (peer.shelf?.delete(peer)) self.size--
  peer.shelf = undefined
}

/** The peer to forget next; `undefined` if there is none. */
export const least = <P>(self: Shelves<P>): P | undefined => {
  for (const shelf of self.byWorth) for (const peer of shelf) return peer
  return undefined
}

/** Whether there is anybody of less worth than a new address. */
export const hasLessThanNew = <P>(self: Shelves<P>): boolean =>
  self.byWorth.slice(0, worthOfNew).some(({ size }) => size > 0)
