/**
 * Counts values in fixed buckets, for whoever reports how they are distributed. Plain numbers: adding a value allocates
 * nothing.
 */

/** A histogram. Changed only through this module. */
export interface Histogram {
  /** The upper bounds of all buckets but the last, ascending. A value that equals a bound is in its bucket. */
  readonly bounds: ReadonlyArray<number>
  /** How many values are in each bucket. The last bucket has no upper bound. */
  readonly counts: Float64Array
  count: number
  sum: number
  /** The smallest and the largest value; 0 while there is none. */
  min: number
  max: number
}

/** Makes an empty histogram. `bounds` ascend. */
export const make = (bounds: ReadonlyArray<number>): Histogram => ({
  bounds,
  counts: new Float64Array(bounds.length + 1),
  count: 0,
  sum: 0,
  min: 0,
  max: 0
})

/** Adds a value. */
export const add = (self: Histogram, value: number): void => {
  const { bounds } = self
  let bucket = 0
  while (bucket < bounds.length && value > bounds[bucket]!) bucket++
  self.counts[bucket]!++
  self.min = self.count === 0 ? value : Math.min(self.min, value)
  self.max = self.count === 0 ? value : Math.max(self.max, value)
  self.count++
  self.sum += value
}

/** Each bound, and how many values are not above it. */
export const cumulative = ({ bounds, counts }: Histogram): Array<[bound: number, count: number]> => {
  let below = 0
  return bounds.map((bound, bucket) => {
    below += counts[bucket]!
    return [bound, below]
  })
}
