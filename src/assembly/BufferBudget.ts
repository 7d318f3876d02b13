/**
 * Bounds the bytes that all piece buffers of an engine may take together.
 *
 * Each torrent has an account. Every existing buffer counts, lent or idle, so the sum never exceeds the bound. The one
 * exception is a single piece larger than the bound: it gets its one buffer when nothing else is held. An account that
 * wants a buffer and gets none waits for buffers that others return. An account without any buffer comes first. Other
 * accounts come smallest first, while the account that returns a buffer keeps at least as much as the one that takes
 * it. So no torrent starves another.
 *
 * An account whose torrent has nobody to fetch from keeps no place in the line, and none of its idle buffers.
 *
 * A torrent whose storage takes no writes returns nothing. So a quarter of the bytes is reserved for accounts without a
 * buffer: a torrent that is added later can make progress beside one that fails, if its pieces fit into the quarter. A
 * check of stored pieces that does not fit there gets its bytes, above the bound, when nothing else than stuck accounts
 * holds any. A repair after a failed flush cannot wait for buffers that may wait for it. It gets its bytes at once,
 * above the bound if need be, unless another repair holds any.
 *
 * Plain and synchronous. `BufferPool.ts` makes the buffers and waits for them.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"

/** Default bound: 64 MiB. With less, fewer pieces are active, which slows many fast peers; more gains little. */
export const defaultBufferBytes = 64 * 1024 * 1024

/** One part in this many is reserved for accounts without a buffer. */
const reservedPart = 4

/** The bytes that accounts with a buffer may take, out of `totalBytes`. */
export const sharedBytes = (totalBytes: number): number => totalBytes - Math.floor(totalBytes / reservedPart)

/** What one torrent holds. */
export interface Account {
  /** Bytes of each of its buffers. */
  readonly bufferBytes: number
  /** How many buffers it has, lent and idle. */
  held: number
  /** Whether it was granted a buffer while it waited. Nobody may take that buffer before the account could use it. */
  isGranted: boolean
  /** Whether it is work that ends by itself, such as a check, so that it may exceed the bound beside stuck accounts. */
  readonly isBrief?: boolean | undefined
  /** Whether others may wait for its work, so that only accounts of the same kind may keep it waiting. */
  readonly isUrgent?: boolean | undefined
  /** Whether it returns no buffers for now, because its storage takes no writes. */
  readonly isStuck: () => boolean
  /**
   * Whether somebody could use one more buffer now. An account for which this is false leaves the line, and is to ask
   * again when it becomes true.
   */
  readonly isUsable: () => boolean
  /** Destroys one idle buffer; returns `false` if all are lent. Does not change `held`. */
  readonly dropIdle: () => boolean
  /** Makes one more buffer. `held` was already raised for it. */
  readonly grow: () => void
}

/** The ledger. Change it only through this module. */
export interface Ledger {
  readonly totalBytes: number
  heldBytes: number
  readonly accounts: Set<Account>
  /** Those of them that have a buffer: few, however many torrents there are. */
  readonly holders: Set<Account>
  /** Accounts that want a buffer, the longest waiting first. */
  readonly waiting: Set<Account>
}

/** The ledger that the torrents of an engine share. */
export class BufferBudget extends Context.Service<BufferBudget, Ledger>()("piecewise/assembly/BufferBudget") {}

/** Makes a ledger over `totalBytes`. */
export const make = (totalBytes: number): Ledger => ({
  totalBytes,
  heldBytes: 0,
  accounts: new Set(),
  holders: new Set(),
  waiting: new Set()
})

/** Provides a budget of `totalBytes` (default 64 MiB). */
export const layer = (totalBytes: number = defaultBufferBytes): Layer.Layer<BufferBudget> =>
  Layer.sync(BufferBudget, () => make(totalBytes))

/** Bytes of accounts that return nothing for now. */
const stuckBytes = (self: Ledger): number => {
  let bytes = 0
  for (const account of self.holders) if (account.isStuck()) bytes += account.held * account.bufferBytes
  return bytes
}

const isUrgentHeld = (self: Ledger): boolean => {
  for (const account of self.accounts) if (account.isUrgent === true && account.held > 0) return true
  return false
}

const fits = (self: Ledger, account: Account): boolean =>
  self.heldBytes === 0 ||
  (account.isUrgent === true && !isUrgentHeld(self)) ||
  (account.isBrief === true && self.heldBytes === stuckBytes(self)) ||
  self.heldBytes + account.bufferBytes <= (account.held === 0 ? self.totalBytes : sharedBytes(self.totalBytes))

/** Whether there is no room for one more buffer of the account. */
export const isSpent = (self: Ledger, account: Account): boolean => !fits(self, account)

/** Whether one more buffer would fit for the account if all others returned what they can. */
const mayFit = (self: Ledger, account: Account): boolean => {
  const stuck = stuckBytes(self)
  return stuck === 0 || account.isBrief === true || stuck + account.bufferBytes <= self.totalBytes
}

const raise = (self: Ledger, account: Account): void => {
  account.held++
  self.holders.add(account)
  self.heldBytes += account.bufferBytes
  self.waiting.delete(account)
}

const lower = (self: Ledger, account: Account): void => {
  if (--account.held === 0) self.holders.delete(account)
  self.heldBytes -= account.bufferBytes
}

/**
 * The accounts that wait and could use a buffer: the urgent ones first, then the longest waiting. The others leave the
 * line.
 */
function* claimants(self: Ledger): Generator<Account> {
  for (const account of self.waiting) if (account.isUrgent === true) yield account
  for (const account of self.waiting) {
    if (account.isUrgent === true) continue
    if (account.isUsable()) yield account
    else self.waiting.delete(account)
  }
}

/** The first waiting account that should have a buffer that `giver` holds. */
const claimant = (self: Ledger, giver: Account): Account | undefined => {
  for (const account of claimants(self)) {
    if (account === giver) continue
    if (account.held === 0 && mayFit(self, account)) return account
    if (account.held > 0 && (account.held + 1) * account.bufferBytes <= (giver.held - 1) * giver.bufferBytes)
      return account
  }
  return undefined
}

/**
 * The account without a buffer that has waited longest. Leaves out those that can get nothing before a storage works
 * again.
 */
const firstWithout = (self: Ledger): Account | undefined => {
  for (const account of claimants(self)) if (account.held === 0 && mayFit(self, account)) return account
  return undefined
}

/** The account with buffers that has waited longest for more. */
const firstWith = (self: Ledger): Account | undefined => {
  for (const account of claimants(self)) if (account.held > 0) return account
  return undefined
}

/** The account that holds least, among those that one more buffer would fit for. */
const leastOf = (self: Ledger): Account | undefined => {
  let least: Account | undefined
  for (const account of claimants(self)) {
    if (!fits(self, account)) continue
    if (least === undefined || account.held * account.bufferBytes < least.held * least.bufferBytes) least = account
  }
  return least
}

const grant = (self: Ledger, account: Account): void => {
  raise(self, account)
  account.isGranted = true
  account.grow()
}

/**
 * Grants free bytes to waiting accounts. No account overtakes one without a buffer: bytes gather until its buffer fits.
 */
const serve = (self: Ledger): void => {
  while (true) {
    const account = firstWithout(self) ?? leastOf(self)
    if (account === undefined || !fits(self, account)) return
    grant(self, account)
  }
}

/** Destroys idle buffers of others until one more fits for `account`. */
const makeRoom = (self: Ledger, account: Account): void => {
  // Hundreds of checks hold bytes at once, and whether an account fits is asked of all that hold some.
  if (fits(self, account)) return
  for (const other of self.holders) {
    if (other === account || (other.isGranted && other.isUsable())) continue
    while (other.dropIdle()) {
      lower(self, other)
      if (fits(self, account)) return
    }
  }
}

/** Opens an account. */
export const open = (self: Ledger, account: Account): void => {
  self.accounts.add(account)
}

/** Closes an account whose buffers are all idle or gone, and grants their bytes to those that wait. */
export const close = (self: Ledger, account: Account): void => {
  self.accounts.delete(account)
  self.holders.delete(account)
  self.waiting.delete(account)
  self.heldBytes -= account.held * account.bufferBytes
  account.held = 0
  serve(self)
}

/**
 * Requests one more buffer. `true` raises `held`, and the caller makes the buffer. `false` leaves the account waiting,
 * and `grow` is called when its turn comes. Destroys idle buffers of others if that makes room. Always `false` for a
 * closed account.
 */
export const reserve = (self: Ledger, account: Account): boolean => {
  if (!self.accounts.has(account)) return false
  self.waiting.add(account)
  if (!mayFit(self, account)) return false
  while (true) {
    const first = firstWithout(self) ?? account
    makeRoom(self, first)
    if (!fits(self, first)) return false
    if (first === account) break
    grant(self, first)
  }
  raise(self, account)
  return true
}

/**
 * Decides about a buffer that a piece returns. `true` keeps it. `false` has subtracted its bytes from the account, and
 * the caller drops the memory.
 */
export const keep = (self: Ledger, account: Account): boolean => {
  if (claimant(self, account) === undefined) return true
  lower(self, account)
  serve(self)
  return false
}

/** Takes the idle buffers of an account that needs none for now, and grants their bytes to those that wait. */
export const dropIdle = (self: Ledger, account: Account): void => {
  self.waiting.delete(account)
  account.isGranted = false
  while (account.dropIdle()) lower(self, account)
  serve(self)
}

/** Notes that the account has found a buffer and needs no other one for now. */
export const settle = (self: Ledger, account: Account): void => {
  self.waiting.delete(account)
  account.isGranted = false
}

/**
 * Grants the idle buffers of an account to those that wait. To be called now and then, because an account may have no
 * use for a buffer that it was granted, and those that wait do not ask again.
 */
export const reconsider = (self: Ledger, account: Account): void => {
  account.isGranted = false
  while (true) {
    const waiting = firstWithout(self) ?? firstWith(self)
    if (waiting === undefined || waiting === account) return
    while (!fits(self, waiting) && account.dropIdle()) lower(self, account)
    if (!fits(self, waiting)) return
    grant(self, waiting)
  }
}
