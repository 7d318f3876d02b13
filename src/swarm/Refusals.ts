/**
 * Counts addresses that were named to a swarm and refused, by who named them and why. A source repeats itself, so a
 * count is reported once there is one, and then each time that it is ten times as large.
 */

/** How many kinds of refusals are counted. Beyond that the oldest is forgotten. */
export const maxKinds = 200

interface Count {
  total: number
  /** The total that is reported next. */
  next: number
}

/** The refused addresses of one swarm, by who named them and why. */
export type Refusals = Map<string, Count>

/** Counts `addresses` more; returns their total if it is to be reported now. */
export const note = (self: Refusals, source: string, why: string, addresses: number): number | undefined => {
  const kind = `${source}\n${why}`
  const count = self.get(kind) ?? { total: 0, next: 1 }
  self.set(kind, count)
  const [oldest] = self.keys()
  if (self.size > maxKinds) self.delete(oldest!)
  count.total += addresses
  if (count.total < count.next) return undefined
  while (count.next <= count.total) count.next *= 10
  return count.total
}
