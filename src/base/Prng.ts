/**
 * A small seeded generator of random numbers (mulberry32), for choices that must be replayable from one number: piece
 * order, jitter, simulated networks. Not for secrets.
 */

/** Returns the next number in `0 <= x < 1`. Any other source of such numbers can replace it if no seed is needed. */
export type Prng = () => number

/** A generator that returns the same numbers for the same 32-bit `seed`. */
export const make = (seed: number): Prng => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** An independent generator for each `stream` of one `seed`: what one part draws does not shift what another draws. */
export const fork = (seed: number, stream: number): Prng =>
  make(Math.imul(seed | 0, 0x27d4eb2d) ^ Math.imul(stream + 1, 0x165667b1))

/** An integer from `min` to `max`, both included. */
export const between = (self: Prng, min: number, max: number): number => min + integer(self, max - min + 1)

/** An integer in `0 ..< bound`. */
export const integer = (self: Prng, bound: number): number => Math.floor(self() * bound)

/** A function that returns so many bytes. */
export const bytesOf =
  (self: Prng) =>
  (length: number): Uint8Array =>
    Uint8Array.from({ length }, () => integer(self, 256))

/** Shuffles `items`, an array of any kind, in place (Fisher-Yates), so that every order is equally likely. */
export const shuffle = <A>(self: Prng, items: { readonly length: number; [index: number]: A }): void => {
  for (let last = items.length - 1; last > 0; last--) {
    const other = integer(self, last + 1)
    const item = items[last]!
    items[last] = items[other]!
    items[other] = item
  }
}
