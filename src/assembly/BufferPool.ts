/**
 * The piece buffers of one torrent, lent to pieces as scoped resources.
 *
 * Free buffers wait in a bounded queue. A piece borrows one before its first block is requested, so a block that was
 * asked for always has a home; when the queue is empty no new piece is requested, and reading never waits for it.
 * Closing the loan, for whatever reason, returns the memory. Buffers are made when first needed and used again, because
 * fresh memory is the dearest thing on a virtual machine.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as BufferBudget from "./BufferBudget.ts"

/** Default cap on pieces under way: 20. Fewer leave fast peers idle at every piece end; more only spread the work. */
export const defaultMaxActivePieces = 20

/** Bytes that small pieces may have under way beyond the cap in pieces: 20 buffers of 16 KiB would starve any peer. */
export const smallPieceBytes = 20 * 1024 * 1024

/** A piece without a new block for this long gives its buffer back (milliseconds). */
export const staleAfter = 60_000

/** How often stale pieces are looked for. */
export const sweepEvery = "10 seconds"

/** A piece that holds a buffer, and the scope of its loan. */
interface Loan {
  readonly buffer: PieceBuffer.PieceBuffer
  readonly scope: Scope.Closeable
}

/** The buffers of one torrent. */
export interface BufferPool {
  readonly geometry: PieceGeometry.PieceGeometry
  /** The most buffers there can be. */
  readonly capacity: number
  readonly free: Queue.Queue<Uint8Array>
  readonly loans: Map<PieceIndex, Loan>
  /** Buffers that have blocks which are neither there nor asked for, the oldest first. */
  readonly partial: Set<PieceBuffer.PieceBuffer>
  readonly account: BufferBudget.Account
  readonly ledger: BufferBudget.Ledger
  /** Of all loans: closes with the pool, after the fibers that were started later. */
  readonly scope: Scope.Scope
}

/**
 * How many buffers a torrent gets by default: 20, or 20 MiB of small pieces, as far as its part of the budget reaches.
 */
export const capacityFor = (pieceLength: number, totalBytes: number): number =>
  Math.max(
    1,
    Math.min(
      Math.floor(BufferBudget.sharedBytes(totalBytes) / pieceLength),
      Math.max(defaultMaxActivePieces, Math.ceil(smallPieceBytes / pieceLength))
    )
  )

/**
 * A pool for a torrent, until the scope closes. `maxActivePieces` caps the pieces under way (default `capacityFor`);
 * the bytes come from the engine's `BufferBudget`.
 */
export const make = Effect.fnUntraced(function* (
  geometry: PieceGeometry.PieceGeometry,
  options?: {
    readonly maxActivePieces?: number | undefined
    /** Hears that the budget gave this pool one more free buffer, after it had found none. */
    readonly onGrow?: (() => void) | undefined
    /** Whether the storage takes no writes, so that verified pieces keep their buffers; default: never. */
    readonly isStuck?: (() => boolean) | undefined
  }
) {
  const ledger = yield* BufferBudget.BufferBudget
  // A torrent of one short piece needs no more than that.
  const bufferBytes = Math.min(geometry.pieceLength, geometry.totalLength)
  const wanted = options?.maxActivePieces ?? capacityFor(bufferBytes, ledger.totalBytes)
  const capacity = Math.max(1, Math.min(geometry.pieceCount, wanted))
  const free = yield* Effect.acquireRelease(Queue.bounded<Uint8Array>(capacity), Queue.shutdown)
  const account: BufferBudget.Account = {
    bufferBytes,
    held: 0,
    isGranted: false,
    isStuck: options?.isStuck ?? (() => false),
    dropIdle: () => {
      const idle = Queue.takeUnsafe(free)
      return idle !== undefined && Exit.isSuccess(idle)
    },
    grow: () => {
      Queue.offerUnsafe(free, new Uint8Array(bufferBytes))
      options?.onGrow?.()
    }
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => BufferBudget.open(ledger, account)),
    () => Effect.sync(() => BufferBudget.close(ledger, account))
  )
  // Not the scope around it: there a loan would end before the older fibers that are hashing or writing its bytes.
  const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
  const self: BufferPool = { geometry, capacity, free, loans: new Map(), partial: new Set(), account, ledger, scope }
  return self
})

const takeMemory = (self: BufferPool): Uint8Array | undefined => {
  const idle = Queue.takeUnsafe(self.free)
  if (idle !== undefined && Exit.isSuccess(idle)) {
    BufferBudget.settle(self.ledger, self.account)
    return idle.value
  }
  if (self.account.held >= self.capacity || !BufferBudget.reserve(self.ledger, self.account)) return undefined
  return new Uint8Array(self.account.bufferBytes)
}

const returnMemory = (self: BufferPool, memory: Uint8Array): void => {
  if (BufferBudget.keep(self.ledger, self.account)) Queue.offerUnsafe(self.free, memory)
}

/** Whether asking for a buffer is worth it: one is free, or the budget has not been asked in vain. */
export const mayLend = (self: BufferPool): boolean =>
  Queue.sizeUnsafe(self.free) > 0 || (self.account.held < self.capacity && !self.ledger.waiting.has(self.account))

/** What the borrower of a buffer takes part in. */
export interface Borrower {
  /** Whether the piece, which has no buffer yet, should still get one: asked at the moment of the loan. */
  readonly isWanted?: (() => boolean) | undefined
  /** Runs when the loan begins, before anybody else can see the buffer. */
  readonly onOpen?: ((buffer: PieceBuffer.PieceBuffer) => void) | undefined
  /** Runs when the loan ends, before the memory is given back. */
  readonly onClose?: ((buffer: PieceBuffer.PieceBuffer) => void) | undefined
}

/**
 * Lends a buffer to `piece` without waiting; `undefined` if none is free, it is not wanted or the pool is closed. A
 * piece that has one keeps it: the same buffer is given again, and the borrower hears nothing.
 */
export const lendNow = Effect.fnUntraced(function* (self: BufferPool, piece: PieceIndex, borrower: Borrower = {}) {
  const clock = yield* Clock.Clock
  // One step without a `yield*` from here to `onOpen`: a fiber gives way to others between any two of its operations,
  // and two of them must not borrow for the same piece, nor one see a buffer whose piece has not been started.
  const lent = self.loans.get(piece)
  if (lent !== undefined) return lent.buffer
  if (self.scope.state._tag === "Closed" || borrower.isWanted?.() === false) return undefined
  const memory = takeMemory(self)
  if (memory === undefined) return undefined
  const scope = Scope.forkUnsafe(self.scope)
  const bytes = memory.subarray(0, PieceGeometry.pieceSize(self.geometry, piece))
  const buffer = PieceBuffer.make(piece, bytes, Monotonic.nowUnsafe(clock), self.partial)
  self.loans.set(piece, { buffer, scope })
  borrower.onOpen?.(buffer)
  yield* Scope.addFinalizer(
    scope,
    Effect.sync(() => {
      PieceBuffer.close(buffer)
      self.loans.delete(piece)
      borrower.onClose?.(buffer)
      returnMemory(self, memory)
    })
  )
  return buffer
}, Effect.uninterruptible)

/** Waits until a buffer is free, without taking it. */
export const available = (self: BufferPool): Effect.Effect<void> => Effect.asVoid(Queue.peek(self.free))

/** Lends a buffer to `piece`, waiting until one is free. The same piece is given the same buffer. */
export const lend = Effect.fnUntraced(function* (self: BufferPool, piece: PieceIndex, borrower?: Borrower) {
  while (true) {
    const buffer = yield* lendNow(self, piece, borrower)
    if (buffer !== undefined) return buffer
    yield* available(self)
  }
})

/** Ends the loan of `piece`, if it has one: its memory returns and its requests are forgotten. */
export const close = (self: BufferPool, piece: PieceIndex): Effect.Effect<void> =>
  Effect.suspend(() => {
    const loan = self.loans.get(piece)
    return loan === undefined ? Effect.void : Scope.close(loan.scope, Exit.void)
  })

/** How many buffers are lent now. */
export const lentCount = (self: BufferPool): number => self.loans.size

/** Buffers that wait to be lent, or could still be made: with the lent ones they are always `capacity`. */
export const freeCount = (self: BufferPool): number => Queue.sizeUnsafe(self.free) + (self.capacity - self.account.held)

/** How stale pieces are told. */
export interface SweepOptions {
  /** Hears of each piece before its loan ends. */
  readonly onStale?: ((buffer: PieceBuffer.PieceBuffer) => void) | undefined
  /** Whether blocks are not asked for, as a rate limit holds them up: that time does not count. */
  readonly isHeldUp?: (() => boolean) | undefined
}

/**
 * Ends the loans of incomplete pieces that got no block for 60 s, every 10 s, for ever, and offers idle buffers to other
 * torrents.
 */
export const sweep = (self: BufferPool, options: SweepOptions = {}): Effect.Effect<void> =>
  Effect.gen(function* () {
    const now = yield* Monotonic.now
    const isHeldUp = options.isHeldUp?.() === true
    for (const { buffer } of [...self.loans.values()]) {
      if (isHeldUp) buffer.lastActivity = now
      if (PieceBuffer.isComplete(buffer) || now - buffer.lastActivity < staleAfter) continue
      options.onStale?.(buffer)
      // From here on no late block can complete it.
      PieceBuffer.close(buffer)
      yield* close(self, buffer.piece)
    }
    BufferBudget.reconsider(self.ledger, self.account)
  }).pipe(Effect.repeat(Schedule.spaced(sweepEvery)), Effect.asVoid)
