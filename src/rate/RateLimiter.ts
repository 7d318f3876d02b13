/**
 * Limits bytes per second for the engine, its torrents and their peers, and shares them fairly among those that wait.
 *
 * Limiters form a tree for each direction: the engine's at the root, a torrent's below it, a peer's below that. Only
 * peers, the leaves, take bytes, from their own limiter and every one above. Each limiter is a token bucket that one
 * take may overdraw: if no limiter on the way up is in debt, a whole block may be taken, and the next take waits until
 * the debt is paid. So in any stretch of time a limiter lets through its rate times that time, plus half a second's
 * worth and one take.
 *
 * A limiter serves the waiting child that has received the fewest bytes since it began to compete. So torrents share
 * the engine's limit evenly whatever their number of peers, and peers share their torrent's. A child of a greater
 * weight receives as many times as much. No peer waits while no limiter on its way is in debt, and what a child cannot
 * use because of its own limit goes to the others. A child that gives a grant back unused loses its turn (`forfeit`),
 * so that it cannot keep the others waiting.
 *
 * After a pause, the first child to come finds nobody to share with. It receives little of what was saved, and children
 * that come soon after it compete as if they had come with it, until they have received as much (`noteUse`).
 *
 * An upload takes a block's length before the block is sent. A download takes it before the block is requested, and
 * forfeits it if the block will not arrive. If reads are limited, a read takes the room of the read buffer and gives
 * back what was not filled.
 *
 * Plain and synchronous; `now` is in milliseconds. The owner of the root steps it when `nextAt` says so
 * (`RateLimits.ts`). Hot path: `take` is called once a block and costs 6 ns without limits, 12 ns under three, and 55
 * ns if 50 peers wait (`test/bench/Rates.bench.ts`, two shared x64 cores, Node 24).
 */

/**
 * How many seconds of its rate a limiter saves while nobody takes. With less, bytes are lost if a timer is late; with
 * more, others on the same line notice the burst.
 */
export const burstSeconds = 0.5

/** After this long without a take (milliseconds) a limiter has paused: those that take next begin together. */
const pauseMillis = 1_000

/**
 * What a limiter keeps of its savings after a pause, because the first peer to come takes all of it: this many seconds
 * of its rate, or a few blocks if that is more.
 */
const resumedBurstSeconds = 0.05
const resumedBurstBytes = 131_072

/**
 * How long after a pause those that come count as having come together (milliseconds). If it had no end, peers that
 * connect again and again would always be served before the others.
 */
const gatheringMillis = 5_000

/** How many bytes are granted at a time to a waiting peer: a block. */
const grantLength = 16_384

/** How far callers' times may be behind each other (milliseconds). */
const clockSlack = 1_000

/** A limiter. Changed only through this module. */
export interface RateLimiter {
  readonly parent: RateLimiter | undefined
  readonly wake: () => void
  /** The limit, positive; `undefined` for none. */
  bytesPerSecond: number | undefined
  /** Bytes that may pass now; negative for a debt. */
  tokens: number
  refilledAt: number
  /** The children that wait, or that a waiting limiter is below. */
  waiting: ReadonlySet<RateLimiter>
  /** For how many bytes it waits itself; 0 if it does not. */
  wanted: number
  /** How much credit it needs before it is woken. */
  needed: number
  /** Bytes that were granted to it and are not taken yet. */
  credit: number
  /** Whether it gave back unused what it was granted last. */
  hasForfeited: boolean
  /** How far it has been served, on its parent's scale of bytes. */
  served: number
  /** How many times the share of a child of weight 1 it receives from its parent. */
  weight: number
  /** Where the child that was served last began, on the scale of its children. */
  turn: number
  /** When a peer below last took or began to wait. */
  usedAt: number
  /** When the last pause ended, and `turn` at that time. */
  resumedAt: number
  resumedTurn: number
  /** Whether `resumedAt` is so recent that new children begin at `resumedTurn`. */
  isGathering: boolean
}

/**
 * Makes a limiter under `parent`. `wake` of a peer's limiter is called at the end of a `step`, once a `take` that was
 * refused would succeed; the peer should repeat it soon. `wake` of the root is called when the answer of `nextAt` may
 * have changed: a limiter began to wait, or a limit was changed.
 */
export const make = (options: {
  readonly bytesPerSecond?: number | undefined
  readonly parent?: RateLimiter | undefined
  readonly wake?: (() => void) | undefined
  readonly now: number
}): RateLimiter => ({
  parent: options.parent,
  wake: options.wake ?? ignore,
  bytesPerSecond: options.bytesPerSecond,
  tokens: capacityOf(options.bytesPerSecond),
  refilledAt: options.now,
  waiting: nobody,
  wanted: 0,
  needed: 0,
  credit: 0,
  hasForfeited: false,
  served: options.parent === undefined ? 0 : floorOf(options.parent),
  weight: 1,
  turn: 0,
  usedAt: Number.NEGATIVE_INFINITY,
  resumedAt: options.now,
  resumedTurn: 0,
  isGathering: false
})

// An engine has thousands of limiters that nobody waits below.
const nobody: ReadonlySet<RateLimiter> = new Set()
const ignore = (): void => {}

const capacityOf = (bytesPerSecond: number | undefined): number => (bytesPerSecond ?? 0) * burstSeconds

/** Whether bytes may pass this limiter: it has no limit, or no debt. */
const isOpen = (self: RateLimiter, now: number): boolean => {
  const { bytesPerSecond } = self
  if (bytesPerSecond === undefined) return true
  const elapsed = Math.max(0, now - self.refilledAt)
  // If the clock is set back a little, or a caller's time is a little old, time stands still instead.
  if (now > self.refilledAt || self.refilledAt - now > clockSlack) self.refilledAt = now
  self.tokens = Math.min(capacityOf(bytesPerSecond), self.tokens + (bytesPerSecond * elapsed) / 1_000)
  // A debt of less than a byte is a rounding error of a paid debt.
  return self.tokens > -1
}

/** Counts bytes that pass, whether they may or not. Later takes wait until they are paid back. */
export const spend = (self: RateLimiter, bytes: number): void => {
  for (let node = self; ; node = node.parent) {
    if (node.bytesPerSecond !== undefined) node.tokens -= bytes
    if (node.parent === undefined) return
    const { parent } = node
    const began = beginningOf(node, parent)
    parent.turn = Math.max(began, parent.turn)
    node.served = began + bytes / node.weight
  }
}

/** A child that did not compete for a while has no claim to bytes that it did not use then. */
const beginningOf = (node: RateLimiter, parent: RateLimiter): number => Math.max(node.served, floorOf(parent))

/** Where children begin that did not compete. */
const floorOf = (parent: RateLimiter): number => (parent.isGathering ? parent.resumedTurn : parent.turn)

/** Notes that a peer takes or begins to wait, on every limiter above it. */
const noteUse = (self: RateLimiter, now: number): void => {
  for (let node = self.parent; node !== undefined; node = node.parent) {
    if (now - node.usedAt > pauseMillis) {
      node.resumedAt = now
      node.resumedTurn = node.turn
      if (node.bytesPerSecond !== undefined) {
        isOpen(node, now)
        const most = Math.max(node.bytesPerSecond * resumedBurstSeconds, resumedBurstBytes)
        node.tokens = Math.min(node.tokens, most)
      }
    }
    node.usedAt = now
    node.isGathering = now - node.resumedAt < gatheringMillis
  }
}

/** Whether `self` may take now: no limiter on its way is closed, and no other one has to be served first. */
const mayPass = (self: RateLimiter, now: number): boolean => {
  let top: RateLimiter | undefined
  for (let node: RateLimiter | undefined = self; node !== undefined; node = node.parent) {
    if (node.bytesPerSecond === undefined) continue
    if (!isOpen(node, now)) return false
    top = node
  }
  // Most limiters that wait do so because of their own limit.
  return top === undefined || top.waiting.size === 0 || nextServed(top, now) === undefined
}

/**
 * Takes `bytes` (at least 1) for a block or a read; all of them or none. After `false` the limiter waits, and is woken
 * when it may take that much. `demand` is how many bytes it could use now in all. Waiting limiters are granted bytes in
 * turns of one block, so a limiter that demands one block at a time waits for each.
 */
export const take = (self: RateLimiter, bytes: number, now: number, demand = bytes): boolean => {
  if (self.credit >= bytes) {
    self.credit -= bytes
    self.hasForfeited = false
    return true
  }
  noteUse(self, now)
  const missing = bytes - self.credit
  const isNew = self.wanted === 0
  if (isNew && mayPass(self, now)) {
    spend(self, missing)
    self.credit = 0
    self.hasForfeited = false
    return true
  }
  self.needed = bytes
  self.wanted = Math.max(bytes, demand) - self.credit
  let root = self
  for (; root.parent !== undefined; root = root.parent) beginWaiting(root.parent, root)
  if (isNew) root.wake()
  return false
}

/** Gives back `bytes` of a take of which others passed: they do not count as a turn. */
export const giveBack = (self: RateLimiter, bytes: number): void => {
  for (let node: RateLimiter | undefined = self; node !== undefined; node = node.parent) {
    repay(node, bytes)
    node.served -= bytes / node.weight
  }
}

/**
 * Gives back `bytes` that were taken and will not be used. They count as a turn. Otherwise a peer that takes and gives
 * back again and again would always be the next to be served, and the others would wait for ever. The turn is lost by
 * the peer alone if another one that uses what it is granted waits in the same torrent; else by the torrent too.
 */
export const forfeit = (self: RateLimiter, bytes: number): void => {
  self.hasForfeited = true
  repay(self, bytes)
  let isUsed = false
  for (let node = self.parent; node !== undefined; node = node.parent) {
    repay(node, bytes)
    isUsed ||= isWaitedForByUser(node)
    if (isUsed) node.served -= bytes / node.weight
  }
}

const repay = (node: RateLimiter, bytes: number): void => {
  if (node.bytesPerSecond !== undefined) {
    node.tokens = Math.min(capacityOf(node.bytesPerSecond), node.tokens + bytes)
  }
  // The debt may be paid earlier now, so the owner must not sleep as long as it had planned.
  if (node.parent === undefined && node.waiting.size > 0) node.wake()
}

/** Whether a peer waits here or below that used what it was granted last. */
const isWaitedForByUser = (self: RateLimiter): boolean => {
  if (self.wanted > 0) return !self.hasForfeited
  for (const child of self.waiting) if (isWaitedForByUser(child)) return true
  return false
}

/** Keeps `bytes` that were just taken for the next take. */
export const keep = (self: RateLimiter, bytes: number): void => {
  self.credit += bytes
}

const beginWaiting = (parent: RateLimiter, child: RateLimiter): void => {
  if (parent.waiting === nobody) parent.waiting = new Set([child])
  else (parent.waiting as Set<RateLimiter>).add(child)
}

const stopWaiting = (self: RateLimiter): void => {
  self.wanted = 0
  for (let node = self; node.parent !== undefined && node.waiting.size === 0; node = node.parent) {
    if (node.parent.waiting !== nobody) (node.parent.waiting as Set<RateLimiter>).delete(node)
  }
}

/** Stops waiting, and forfeits what it was granted. To be called before the limiter is dropped. */
export const rest = (self: RateLimiter): void => {
  if (self.wanted > 0) stopWaiting(self)
  if (self.credit > 0) forfeit(self, self.credit)
  self.credit = 0
}

/** Stops waiting after a take, and gives back the rest of what it was granted. That rest does not count as a turn. */
export const pause = (self: RateLimiter): void => {
  if (self.wanted > 0) stopWaiting(self)
  if (self.credit > 0) giveBack(self, self.credit)
  self.credit = 0
}

/** Whether it waits itself. */
export const isWaiting = (self: RateLimiter): boolean => self.wanted > 0

/** Whether a limiter below waits. */
export const isWaitedFor = (self: RateLimiter): boolean => self.waiting.size > 0

/** The lowest limit on the way to the root; `undefined` if there is none. */
export const lowest = (self: RateLimiter): number | undefined => {
  let found = self.bytesPerSecond
  for (let node = self.parent; node !== undefined; node = node.parent) {
    if (node.bytesPerSecond !== undefined) found = Math.min(found ?? node.bytesPerSecond, node.bytesPerSecond)
  }
  return found
}

/** Sets how many times the share of a child of weight 1 it receives. It counts for what it receives from now on. */
export const setWeight = (self: RateLimiter, weight: number): void => {
  self.weight = weight
}

/** Sets the limit; `undefined` for none. */
export const setLimit = (self: RateLimiter, bytesPerSecond: number | undefined, now: number): void => {
  const isNew = self.bytesPerSecond === undefined
  isOpen(self, now)
  self.bytesPerSecond = bytesPerSecond
  self.refilledAt = now
  self.tokens = isNew ? capacityOf(bytesPerSecond) : Math.min(self.tokens, capacityOf(bytesPerSecond))
  let root = self
  while (root.parent !== undefined) root = root.parent
  root.wake()
}

/** Grants bytes to the limiters that wait below `root`, in fair order and within all limits, and wakes them. */
export const step = (root: RateLimiter, now: number): void => {
  const granted = new Set<RateLimiter>()
  for (let leaf = nextServed(root, now); leaf !== undefined; leaf = nextServed(root, now)) {
    const bytes = Math.min(leaf.wanted, grantLength)
    spend(leaf, bytes)
    leaf.credit += bytes
    leaf.wanted -= bytes
    if (leaf.wanted === 0) stopWaiting(leaf)
    granted.add(leaf)
  }
  for (const leaf of granted) if (leaf.credit >= leaf.needed) leaf.wake()
}

/** The child to be served next, among those that are not closed. */
const nextServed = (self: RateLimiter, now: number): RateLimiter | undefined => {
  if (!isOpen(self, now)) return undefined
  if (self.wanted > 0) return self
  let first = Number.POSITIVE_INFINITY
  let leaf: RateLimiter | undefined
  for (const child of self.waiting) {
    if (child.served >= first) continue
    const found = nextServed(child, now)
    if (found === undefined) continue
    first = child.served
    leaf = found
  }
  return leaf
}

/** When the next limiter that waits below `root` can be served, at `now` at the earliest; `undefined` if none waits. */
export const nextAt = (root: RateLimiter, now: number): number | undefined => {
  if (root.wanted === 0 && root.waiting.size === 0) return undefined
  let below = root.wanted > 0 ? now : Number.POSITIVE_INFINITY
  for (const child of root.waiting) below = Math.min(below, nextAt(child, now)!)
  if (isOpen(root, now)) return below
  return Math.max(below, now + Math.ceil((-root.tokens * 1_000) / root.bytesPerSecond!))
}
