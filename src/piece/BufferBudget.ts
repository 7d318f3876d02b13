/**
 * The bytes that all piece buffers of an engine may take together: the hard bound on its memory.
 *
 * Each torrent has an account. A buffer that exists counts, lent or idle, so the sum never passes the bound; the one
 * exception is a single piece larger than the bound, which gets its one buffer when nothing else is held. An account
 * that wants a buffer and gets none is served, first come first served, from what others give back: always when it has
 * none at all, and else while that leaves the giver with no less than the taker. So no torrent starves another.
 *
 * Plain and synchronous; buffers themselves, and waiting for them, are `BufferPool`'s matter.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"

/** Default bound: 64 MiB. Less slows many fast peers, as fewer pieces are under way; more buys little. */
export const defaultBufferBytes = 64 * 1024 * 1024

/** What one torrent holds. */
export interface Account {
  /** Bytes in each of its buffers. */
  readonly bufferBytes: number
  /** Buffers it has, lent and idle. */
  held: number
  /** Destroys one idle buffer; `false` where all are lent. Does not touch `held`. */
  readonly dropIdle: () => boolean
  /** Makes one more buffer, for which `held` has been raised. */
  readonly grow: () => void
}

/** The ledger. Change it only through this module. */
export interface Ledger {
  readonly totalBytes: number
  heldBytes: number
  readonly accounts: Set<Account>
  /** Accounts that want a buffer, the longest waiting first. */
  readonly waiting: Set<Account>
}

/** The ledger that the torrents of an engine share. */
export class BufferBudget extends Context.Service<BufferBudget, Ledger>()("piecewise/piece/BufferBudget") {}

/** A ledger over `totalBytes`. */
export const make = (totalBytes: number): Ledger => ({
  totalBytes,
  heldBytes: 0,
  accounts: new Set(),
  waiting: new Set()
})

/** A budget of `totalBytes` (default 64 MiB). */
export const layer = (totalBytes: number = defaultBufferBytes): Layer.Layer<BufferBudget> =>
  Layer.sync(BufferBudget, () => make(totalBytes))

const fits = (self: Ledger, account: Account): boolean =>
  self.heldBytes === 0 || self.heldBytes + account.bufferBytes <= self.totalBytes

const raise = (self: Ledger, account: Account): void => {
  account.held++
  self.heldBytes += account.bufferBytes
  self.waiting.delete(account)
}

const lower = (self: Ledger, account: Account): void => {
  account.held--
  self.heldBytes -= account.bufferBytes
}

/** The first waiting account that should have what `giver` holds. */
const claimant = (self: Ledger, giver: Account): Account | undefined => {
  for (const account of self.waiting) {
    if (account === giver) continue
    if (account.held === 0) return account
    if ((account.held + 1) * account.bufferBytes <= (giver.held - 1) * giver.bufferBytes) return account
  }
  return undefined
}

const serve = (self: Ledger): void => {
  for (const account of self.waiting) {
    if (!fits(self, account)) {
      if (account.held === 0) return
      continue
    }
    raise(self, account)
    account.grow()
  }
}

/** Opens an account. */
export const open = (self: Ledger, account: Account): void => {
  self.accounts.add(account)
}

/** Closes an account whose buffers are all idle or gone, and gives their bytes to who waits. */
export const close = (self: Ledger, account: Account): void => {
  self.accounts.delete(account)
  self.waiting.delete(account)
  self.heldBytes -= account.held * account.bufferBytes
  account.held = 0
  serve(self)
}

/**
 * Asks for one more buffer. `true` raises `held`, and the caller makes the buffer; `false` leaves the account waiting,
 * and `grow` is called when its turn comes. Idle buffers of others are destroyed where that makes room.
 */
export const reserve = (self: Ledger, account: Account): boolean => {
  self.waiting.add(account)
  for (const waiting of self.waiting) {
    if (waiting === account) break
    if (waiting.held === 0) return false
  }
  for (const other of self.accounts) {
    while (!fits(self, account) && other !== account && other.dropIdle()) lower(self, other)
  }
  if (!fits(self, account)) return false
  raise(self, account)
  return true
}

/**
 * Tells what to do with a buffer that comes back from a piece. `true` keeps it; `false` has taken its bytes off the
 * account, and the caller forgets the memory.
 */
export const keep = (self: Ledger, account: Account): boolean => {
  if (claimant(self, account) === undefined) return true
  lower(self, account)
  serve(self)
  return false
}

/** Says that the account needs no further buffer for now. */
export const settle = (self: Ledger, account: Account): void => {
  self.waiting.delete(account)
}
