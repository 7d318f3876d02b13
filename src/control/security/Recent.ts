/**
 * A map of bounded size. If it is full, a new entry takes the place of the one that was used the longest ago.
 */

/** The entries, the least recently used first. */
export interface Recent<A> {
  readonly capacity: number
  readonly entries: Map<string, A>
}

/** Makes an empty map of at most `capacity` entries. */
export const make = <A>(capacity: number): Recent<A> => ({ capacity, entries: new Map() })

/** Reads an entry without using it. */
export const peek = <A>(self: Recent<A>, key: string): A | undefined => self.entries.get(key)

/** Sets an entry, which is then the most recently used one. */
export const set = <A>(self: Recent<A>, key: string, value: A): void => {
  self.entries.delete(key)
  if (self.entries.size >= self.capacity) {
    const oldest = self.entries.keys().next()
    if (!oldest.done) self.entries.delete(oldest.value)
  }
  self.entries.set(key, value)
}

/** Removes an entry. */
export const remove = <A>(self: Recent<A>, key: string): boolean => self.entries.delete(key)

/** Removes the entries that `isGone` names. */
export const removeIf = <A>(self: Recent<A>, isGone: (value: A) => boolean): void => {
  for (const [key, value] of self.entries) if (isGone(value)) self.entries.delete(key)
}
