/**
 * Random numbers that come again: the same seed gives the same run, so a failed simulation is replayed from one number.
 * Not for secrets, and not for statistics.
 */

/** Gives a number from 0 (included) to 1 (excluded), as `Math.random` does. */
export type SeededRandom = () => number

/** A generator for `seed`, of which the low 32 bits count. */
export const make = (seed: number): SeededRandom => {
  let state = seed | 0
  // A Weyl sequence through the finalizer of MurmurHash3: period 2^32, and neighbouring seeds are unrelated.
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x85ebca6b)
    mixed ^= mixed >>> 13
    mixed = Math.imul(mixed, 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 0x1_0000_0000
  }
}

/** A generator of its own for each `stream` of one `seed`, so that what one part draws does not shift what another does. */
export const fork = (seed: number, stream: number): SeededRandom =>
  make(Math.imul(seed | 0, 0x27d4eb2d) ^ Math.imul(stream + 1, 0x165667b1))

/** A whole number from `min` to `max`, both included. */
export const integer = (random: SeededRandom, min: number, max: number): number =>
  min + Math.floor(random() * (max - min + 1))
