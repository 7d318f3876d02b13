/**
 * Measures how fast bytes flow, over a sliding window: for users, chokers and pipelines.
 *
 * Hot path: `add` is called once a block, and allocates nothing. The window is cut into slots whose sums are kept in a
 * ring, so a byte counts for between 19 and 20 twentieths of the window. Pure: `now` is milliseconds of any clock, the
 * same one in all calls. Only measures; `RateLimiter.ts` limits.
 */

/** A meter. Changed only through this module. */
export interface RateMeter {
  /** How many milliseconds one slot covers. */
  readonly slotMillis: number
  /** The bytes of each slot in the window, if there are any. Slot `n` since counting began is at `n % slotCount`. */
  slots: Float64Array | undefined
  /** Bytes in all slots. */
  sum: number
  /** The slot that `now` is in, counted from `since`. */
  slot: number
  /** The latest `now`. */
  now: number
  /** When counting began. */
  since: number
}

/** How many slots a window has. With 20, the sum changes by at most a twentieth when a slot leaves the window. */
export const slotCount = 20

/**
 * The default window: 5 s. A shorter one jumps with every piece, a longer one shows a stalled peer as a working one.
 * BEP 3 recommends 20 s for deciding whom to unchoke.
 */
export const defaultWindowMillis = 5_000

/**
 * Bytes are spread over at least this long, because a young meter would otherwise show gigabytes a second for its first
 * block.
 */
export const minimumSpanMillis = 1_000

/** Makes a meter that begins to count at `now`. `windowMillis` is positive. */
export const make = (options: { readonly now: number; readonly windowMillis?: number | undefined }): RateMeter => ({
  slotMillis: (options.windowMillis ?? defaultWindowMillis) / slotCount,
  slots: undefined,
  sum: 0,
  slot: 0,
  now: options.now,
  since: options.now
})

const forget = (self: RateMeter): void => {
  self.slots?.fill(0)
  self.sum = 0
}

/** Slides the window to `now`. */
const slide = (self: RateMeter, now: number): void => {
  if (now <= self.now) {
    // If the clock is set back a little, time stands still here. After a greater jump, counting begins again.
    if (self.now - now < self.slotMillis * slotCount) return
    forget(self)
    self.since = now
    self.slot = 0
  }
  self.now = now
  const slot = Math.floor((now - self.since) / self.slotMillis)
  const { slots } = self
  if (slot - self.slot >= slotCount) forget(self)
  else if (slots !== undefined) {
    for (let passed = self.slot + 1; passed <= slot; passed++) {
      const index = passed % slotCount
      self.sum -= slots[index]!
      slots[index] = 0
    }
  }
  self.slot = slot
}

/** Counts `bytes`, a whole number of at least 0, at `now`. */
export const add = (self: RateMeter, bytes: number, now: number): void => {
  slide(self, now)
  if (bytes === 0) return
  self.slots ??= new Float64Array(slotCount)
  self.slots[self.slot % slotCount]! += bytes
  self.sum += bytes
}

/** Bytes per second over the window that ends at `now`, or since counting began if that is shorter. Never negative. */
export const bytesPerSecond = (self: RateMeter, now: number): number => {
  slide(self, now)
  if (self.sum === 0) return 0
  const windowStart = self.since + (self.slot - slotCount + 1) * self.slotMillis
  const span = Math.min(self.now - windowStart, Math.max(self.now - self.since, minimumSpanMillis))
  return (self.sum * 1_000) / span
}
