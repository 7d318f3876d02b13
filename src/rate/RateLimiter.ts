/**
 * Limits on bytes per second for the engine, its torrents and their peers, shared fairly among those that wait.
 *
 * Limiters form a tree, one tree for each direction: the engine's at the root, a torrent's below it, a peer's below
 * that. Only peers, the leaves, take bytes, from themselves and everyone above. Each limiter is a token bucket that may
 * be overdrawn by one take: who finds no debt on its way up may take a whole block, and the next waits until that is
 * paid back. So in any stretch of time a limiter lets through its rate times that time, half a second's worth, and one
 * take.
 *
 * Among those that wait a limiter serves the child that had least since it began to compete, in bytes: torrents share
 * the engine's limit evenly whatever their number of peers, and peers share their torrent's. Nobody waits while no
 * limiter on its way is in debt, and what a child is not entitled to by its own limit goes to the others.
 *
 * Uploading takes a block's length before it is sent. Downloading takes it before the block is requested and gives it
 * back if the block will not come; or, where reads are to be limited, takes the room of the read buffer and gives back
 * what was not filled.
 *
 * Plain and synchronous; `now` is in milliseconds. Who keeps the root steps it when `nextAt` says so (`RateLimits.ts`).
 * Hot path: `take` is called once per block and costs 6 ns without limits, 12 ns under three, and 55 ns where 50 peers
 * wait (`test/bench/Rates.bench.ts`, two shared x64 cores, Node 24).
 */

/**
 * Seconds of its rate that a limiter saves up while nobody takes. Less would be lost where a timer comes late, more would
 * be felt as a burst by whoever shares the line.
 */
export const burstSeconds = 0.5

/** Bytes granted at a time to one of those that wait: a block. */
const grantLength = 16_384

/** Milliseconds by which callers may lag behind each other. */
const clockSlack = 1_000

/** A limiter. Change it only through this module. */
export interface RateLimiter {
  readonly parent: RateLimiter | undefined
  readonly wake: () => void
  /** The limit, positive; `undefined` for none. */
  bytesPerSecond: number | undefined
  /** Bytes that may pass now; negative for a debt. */
  tokens: number
  refilledAt: number
  /** The children that wait, or have somebody below that does. */
  readonly waiting: Set<RateLimiter>
  /** For how many bytes it waits itself, or 0. */
  wanted: number
  /** How much credit it needs before it is of use to wake it. */
  needed: number
  /** Bytes that were granted to it and are not taken yet. */
  credit: number
  /** Up to where it has been served, on its parent's scale of bytes. */
  served: number
  /** On the scale of its children: where the one that was served last began. */
  turn: number
}

/**
 * A limiter under `parent`. `wake` of one that takes bytes is called at the end of a `step` after a `take` was refused,
 * when the same `take` succeeds; it should come back to it soon. `wake` of the root is called when what `nextAt` says may
 * have changed: somebody began to wait, or there is another limit.
 */
export const make = (options: {
  readonly bytesPerSecond?: number | undefined
  readonly parent?: RateLimiter | undefined
  readonly wake?: (() => void) | undefined
  readonly now: number
}): RateLimiter => ({
  parent: options.parent,
  wake: options.wake ?? (() => {}),
  bytesPerSecond: options.bytesPerSecond,
  tokens: capacityOf(options.bytesPerSecond),
  refilledAt: options.now,
  waiting: new Set(),
  wanted: 0,
  needed: 0,
  credit: 0,
  served: options.parent?.turn ?? 0,
  turn: 0
})

const capacityOf = (bytesPerSecond: number | undefined): number => (bytesPerSecond ?? 0) * burstSeconds

/** Whether bytes may pass this limiter: it has no limit, or no debt. */
const isOpen = (self: RateLimiter, now: number): boolean => {
  const { bytesPerSecond } = self
  if (bytesPerSecond === undefined) return true
  const elapsed = Math.max(0, now - self.refilledAt)
  // A clock that is put back stands still for us; who still goes by a time that has just passed does not put it back.
  if (now > self.refilledAt || self.refilledAt - now > clockSlack) self.refilledAt = now
  self.tokens = Math.min(capacityOf(bytesPerSecond), self.tokens + (bytesPerSecond * elapsed) / 1_000)
  // A debt of less than a byte is what rounding leaves of one that is paid.
  return self.tokens > -1
}

/** Counts bytes that pass, whether they may or not: those that come after them wait until they are paid back. */
export const spend = (self: RateLimiter, bytes: number): void => {
  for (let node = self; ; node = node.parent) {
    if (node.bytesPerSecond !== undefined) node.tokens -= bytes
    if (node.parent === undefined) return
    // Who did not compete for a while has no claim to what it did not use.
    node.parent.turn = Math.max(node.served, node.parent.turn)
    node.served = node.parent.turn + bytes
  }
}

/** Whether `self` may take now: nothing on its way is closed, and nobody waits whose turn it is. */
const mayPass = (self: RateLimiter, now: number): boolean => {
  let top: RateLimiter | undefined
  for (let node: RateLimiter | undefined = self; node !== undefined; node = node.parent) {
    if (node.bytesPerSecond === undefined) continue
    if (!isOpen(node, now)) return false
    top = node
  }
  // Most who wait do so for limits of their own.
  return top === undefined || top.waiting.size === 0 || nextServed(top, now) === undefined
}

/**
 * Takes `bytes`, at least 1, for a block or a read; all of them or none. After `false` the limiter waits and is woken when
 * it may take that much. It waits for `demand` bytes in all, as much as it could send or ask for now: those that wait are
 * granted what there is in turns of a block, and who demands one block at a time has to wait for each.
 */
export const take = (self: RateLimiter, bytes: number, now: number, demand = bytes): boolean => {
  if (self.credit >= bytes) {
    self.credit -= bytes
    return true
  }
  const missing = bytes - self.credit
  const isNew = self.wanted === 0
  if (isNew && mayPass(self, now)) {
    spend(self, missing)
    self.credit = 0
    return true
  }
  self.needed = bytes
  self.wanted = Math.max(bytes, demand) - self.credit
  let root = self
  for (; root.parent !== undefined; root = root.parent) root.parent.waiting.add(root)
  if (isNew) root.wake()
  return false
}

/** Gives back `bytes` that were taken and did not pass. */
export const giveBack = (self: RateLimiter, bytes: number): void => {
  for (let node: RateLimiter | undefined = self; node !== undefined; node = node.parent) {
    if (node.bytesPerSecond !== undefined) {
      node.tokens = Math.min(capacityOf(node.bytesPerSecond), node.tokens + bytes)
    }
    node.served -= bytes
    // Nobody sleeps on until a debt would be paid that is paid now.
    if (node.parent === undefined && node.waiting.size > 0) node.wake()
  }
}

const stopWaiting = (self: RateLimiter): void => {
  self.wanted = 0
  for (let node = self; node.parent !== undefined && node.waiting.size === 0; node = node.parent) {
    node.parent.waiting.delete(node)
  }
}

/** Wants nothing any more: waits no longer, and gives back what it was woken for. To be called before it is dropped. */
export const rest = (self: RateLimiter): void => {
  if (self.wanted > 0) stopWaiting(self)
  if (self.credit > 0) giveBack(self, self.credit)
  self.credit = 0
}

/** Whether somebody below waits. */
export const isWaitedFor = (self: RateLimiter): boolean => self.waiting.size > 0

/** The lowest limit on the way to the root; `undefined` where there is none. */
export const lowest = (self: RateLimiter): number | undefined => {
  let found = self.bytesPerSecond
  for (let node = self.parent; node !== undefined; node = node.parent) {
    if (node.bytesPerSecond !== undefined) found = Math.min(found ?? node.bytesPerSecond, node.bytesPerSecond)
  }
  return found
}

/** Sets another limit, `undefined` for none. */
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

/** Grants bytes to those that wait below `root`, in fair order and as far as the limits allow, and wakes them. */
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

/** Who is to be served next, of those to which nothing is closed. */
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

/**
 * When the next of those that wait below `root` can be served, at `now` at the earliest; `undefined` where nobody
 * waits.
 */
export const nextAt = (root: RateLimiter, now: number): number | undefined => {
  if (root.wanted === 0 && root.waiting.size === 0) return undefined
  let below = root.wanted > 0 ? now : Number.POSITIVE_INFINITY
  for (const child of root.waiting) below = Math.min(below, nextAt(child, now)!)
  if (isOpen(root, now)) return below
  return Math.max(below, now + Math.ceil((-root.tokens * 1_000) / root.bytesPerSecond!))
}
