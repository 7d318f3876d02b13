/**
 * The piece buffers of one torrent, lent to pieces as scoped resources.
 *
 * Free buffers wait in a line. A piece borrows one before its first block is requested, so that every
 * requested block has a place. If there is none, no new piece is requested; reading from peers never waits for it.
 * Closing the loan, for whatever reason, returns the memory. Buffers are made when they are first needed and then used
 * again, because allocating fresh memory is slow on a virtual machine.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Gate from "../base/Gate.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import * as PieceMemory from "../hash/PieceMemory.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as BufferBudget from "./BufferBudget.ts"

/**
 * The most active pieces by default: 20. With fewer, fast peers idle at the end of every piece; with more, peers'
 * blocks only spread over more pieces.
 */
export const defaultMaxActivePieces = 20

/** Bytes that small pieces may have active beyond the cap in pieces: 20 buffers of 16 KiB would starve any peer. */
export const smallPieceBytes = 20 * 1024 * 1024

/** A piece that receives no block for this long returns its buffer (milliseconds). */
export const staleAfter = 60_000

/** How often stale pieces are looked for. */
export const sweepEvery = "10 seconds"

/** A piece that holds a buffer, and the scope of its loan. */
interface Loan {
  readonly buffer: PieceBuffer.PieceBuffer
  readonly scope: Scope.Closeable
  /** What returns when the loan ends; `undefined` once it was passed on to another piece. */
  memory: Uint8Array | undefined
}

/** The buffers of one torrent. */
export interface BufferPool {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly memory: PieceMemory.PieceMemory
  readonly clock: Clock.Clock
  /** The most buffers that it may have. */
  readonly capacity: number
  readonly free: Array<Uint8Array>
  /** Set when there is a buffer. */
  readonly some: Signal.Signal
  readonly loans: Map<PieceIndex, Loan>
  /** Opened when a loan ends. Whoever waits for that closes it before. */
  readonly returned: Gate.Gate
  /** Buffers with blocks that are neither here nor requested, the oldest first. */
  readonly partial: Set<PieceBuffer.PieceBuffer>
  readonly account: BufferBudget.Account
  readonly ledger: BufferBudget.Ledger
  /** The scope of all loans. It closes with the pool, after the fibers that were started later. */
  readonly scope: Scope.Scope
}

/** How many buffers a torrent has by default: 20, or 20 MiB of small pieces, within its share of the budget. */
export const capacityFor = (pieceLength: number, totalBytes: number): number =>
  Math.max(
    1,
    Math.min(
      Math.floor(BufferBudget.sharedBytes(totalBytes) / pieceLength),
      Math.max(defaultMaxActivePieces, Math.ceil(smallPieceBytes / pieceLength))
    )
  )

/** How many buffers a torrent has, and how they are made. */
export interface Buffers {
  /** The most pieces that are active at once; default `capacityFor`. */
  readonly maxActivePieces?: number | undefined
  /** How buffers are made and filled; default `PieceMemory.plain`. */
  readonly memory?: PieceMemory.PieceMemory | undefined
}

/** Makes the pool of a torrent, until the scope closes. The bytes come from the engine's `BufferBudget`. */
export const make = Effect.fnUntraced(function* (
  geometry: PieceGeometry.PieceGeometry,
  options?: Buffers & {
    /** Called when the budget has granted this pool one more free buffer, after it had found none. */
    readonly onGrow?: (() => void) | undefined
    /** Whether a buffer could be used now; default always. While it could not, the pool is granted none. */
    readonly isUsable?: (() => boolean) | undefined
    /** Whether the storage takes no writes, so that verified pieces keep their buffers; default never. */
    readonly isStuck?: (() => boolean) | undefined
  }
) {
  const { memory = PieceMemory.plain } = options ?? {}
  const ledger = yield* BufferBudget.BufferBudget
  const clock = yield* Clock.Clock
  // A torrent of one short piece needs no larger buffer.
  const bufferBytes = Math.min(geometry.pieceLength, geometry.totalLength)
  const wanted = options?.maxActivePieces ?? capacityFor(bufferBytes, ledger.totalBytes)
  const capacity = Math.max(1, Math.min(geometry.pieceCount, wanted))
  const free: Array<Uint8Array> = []
  const some = Signal.make()
  const account: BufferBudget.Account = {
    bufferBytes,
    held: 0,
    isGranted: false,
    isStuck: options?.isStuck ?? (() => false),
    isUsable: options?.isUsable ?? (() => true),
    dropIdle: () => free.shift() !== undefined,
    grow: () => {
      Signal.set(some)
      free.push(memory.make(bufferBytes))
      options?.onGrow?.()
    }
  }
  // The scope around it would end the loans before the older fibers that hash or write their bytes.
  const scope = Scope.makeUnsafe()
  yield* Effect.acquireRelease(
    Effect.sync(() => BufferBudget.open(ledger, account)),
    () =>
      Effect.ensuring(
        Scope.close(scope, Exit.void),
        Effect.sync(() => {
          BufferBudget.close(ledger, account)
          free.length = 0
        })
      )
  )
  const loans: BufferPool["loans"] = new Map()
  const partial: BufferPool["partial"] = new Set()
  const self: BufferPool = {
    geometry,
    memory,
    clock,
    capacity,
    free,
    some,
    loans,
    returned: Gate.make(true),
    partial,
    account,
    ledger,
    scope
  }
  return self
})

const takeMemory = (self: BufferPool): Uint8Array | undefined => {
  const idle = self.free.shift()
  if (idle !== undefined) {
    BufferBudget.settle(self.ledger, self.account)
    return idle
  }
  if (self.account.held >= self.capacity || !BufferBudget.reserve(self.ledger, self.account)) return undefined
  Signal.set(self.some)
  return self.memory.make(self.account.bufferBytes)
}

const returnMemory = (self: BufferPool, memory: Uint8Array): void => {
  if (!BufferBudget.keep(self.ledger, self.account)) return
  self.free.push(memory)
}

/** Whether it makes sense to borrow: a buffer is free, or the budget has not refused one yet. */
export const mayLend = (self: BufferPool): boolean =>
  self.free.length > 0 || (self.account.held < self.capacity && !self.ledger.waiting.has(self.account))

/** How a borrower takes part in its loan. */
export interface Borrower {
  /** Called when the loan begins, before anybody else can see the buffer. */
  readonly onOpen?: ((buffer: PieceBuffer.PieceBuffer) => void) | undefined
  /** Called when the loan ends, before the memory is returned. */
  readonly onClose?: ((buffer: PieceBuffer.PieceBuffer) => void) | undefined
}

/** Ends a loan. Its memory does not return, so that no other torrent can be granted it. */
const takeOver = (self: BufferPool, piece: PieceIndex): Uint8Array | undefined => {
  const loan = self.loans.get(piece)
  if (loan?.memory === undefined) return undefined
  const { memory } = loan
  loan.memory = undefined
  // Never suspends: the loan has one finalizer, which is plain.
  Effect.runSync(Scope.close(loan.scope, Exit.void))
  return memory
}

/**
 * Lends a buffer to `piece` without waiting; `undefined` if none is free or the pool is closed. With `from`, lends the
 * buffer of that piece, whose loan ends. A piece that has a buffer already gets the same one, and the borrower is not
 * called. Plain, so that whoever reads from a peer can borrow in the middle of it.
 */
export const lendNow = (
  self: BufferPool,
  piece: PieceIndex,
  borrower: Borrower = {},
  from?: PieceIndex
): PieceBuffer.PieceBuffer | undefined => {
  const lent = self.loans.get(piece)
  if (lent !== undefined) return lent.buffer
  if (self.scope.state._tag === "Closed") return undefined
  const memory = from === undefined ? takeMemory(self) : takeOver(self, from)
  if (memory === undefined) return undefined
  const scope = Scope.forkUnsafe(self.scope)
  const bytes = memory.subarray(0, PieceGeometry.pieceSize(self.geometry, piece))
  const buffer = PieceBuffer.make(piece, bytes, Monotonic.nowUnsafe(self.clock), self.partial, self.memory)
  const loan: Loan = { buffer, scope, memory }
  self.loans.set(piece, loan)
  borrower.onOpen?.(buffer)
  const end = Effect.sync(() => {
    PieceBuffer.close(buffer)
    self.loans.delete(piece)
    borrower.onClose?.(buffer)
    if (loan.memory !== undefined) returnMemory(self, loan.memory)
    if (!self.returned.isOpen) Gate.open(self.returned)
  })
  // Never suspends, and costs half a microsecond.
  Effect.runSync(Scope.addFinalizer(scope, end))
  return buffer
}

/** Ends the loan of `piece`, if it has one. Its memory returns and its requests are forgotten. */
export const close = (self: BufferPool, piece: PieceIndex): Effect.Effect<void> =>
  Effect.suspend(() => {
    const loan = self.loans.get(piece)
    return loan === undefined ? Effect.void : Scope.close(loan.scope, Exit.void)
  })

/** Ends the loans in which no block has arrived and none is requested. */
export const closeEmpty = Effect.fnUntraced(function* (self: BufferPool) {
  for (const { buffer } of [...self.loans.values()]) {
    if (buffer.freeBlocks === buffer.blockCount) yield* close(self, buffer.piece)
  }
}, Effect.uninterruptible)

/** Gives the memory of all buffers that are not lent back to the budget. */
export const dropIdle = (self: BufferPool): void => BufferBudget.dropIdle(self.ledger, self.account)

/** How many buffers are lent. */
export const lentCount = (self: BufferPool): number => self.loans.size

/** How stale pieces are recognized and reported. */
export interface SweepOptions {
  /** Called for each stale piece before its loan ends. */
  readonly onStale?: ((buffer: PieceBuffer.PieceBuffer) => void) | undefined
  /** Whether a rate limit holds back requests for the piece. That time does not count. */
  readonly isHeldUp?: ((buffer: PieceBuffer.PieceBuffer) => boolean) | undefined
}

/**
 * Every 10 s while there are buffers, ends the loans of incomplete pieces that received no block for 60 s, and offers
 * idle buffers to other torrents. Until the scope closes.
 */
export const sweep = (self: BufferPool, options: SweepOptions = {}): Effect.Effect<void, never, Scope.Scope> =>
  Signal.attend(self.some, sweeping(self, options))

const sweeping = (self: BufferPool, options: SweepOptions): Effect.Effect<void> =>
  Effect.gen(function* () {
    let last = yield* Monotonic.now
    while (self.account.held > 0) {
      yield* Effect.sleep(sweepEvery)
      const now = yield* Monotonic.now
      const passed = now - last
      last = now
      for (const { buffer } of [...self.loans.values()]) {
        if (PieceBuffer.isComplete(buffer)) continue
        // No more than the time since the last sweep, so that a supplier that only waits now and then is no excuse.
        if (options.isHeldUp?.(buffer) === true) buffer.lastActivity = Math.min(now, buffer.lastActivity + passed)
        if (now - buffer.lastActivity < staleAfter) continue
        options.onStale?.(buffer)
        // Closed first, so that no late block can complete it.
        PieceBuffer.close(buffer)
        yield* close(self, buffer.piece)
      }
      BufferBudget.reconsider(self.ledger, self.account)
    }
  })
