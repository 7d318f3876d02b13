/**
 * Bytes of the budget for work that needs memory for a while and is no download: a check of stored pieces, or a repair.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as BufferBudget from "./BufferBudget.ts"

/**
 * Borrows `bytes` until the scope closes, after waiting in the line of all torrents until they fit. More bytes than the
 * whole budget fit when nothing else is held, or only by torrents whose storage takes no writes. An urgent borrower
 * waits for other urgent ones only.
 */
export const borrow = Effect.fnUntraced(function* (
  ledger: BufferBudget.Ledger,
  bytes: number,
  options?: { readonly isUrgent?: boolean }
): Effect.fn.Return<void, never, Scope.Scope> {
  if (bytes === 0) return
  const granted = Latch.makeUnsafe(false)
  const account: BufferBudget.Account = {
    bufferBytes: bytes,
    held: 0,
    isGranted: false,
    isBrief: true,
    isUrgent: options?.isUrgent,
    isStuck: () => false,
    isUsable: () => true,
    dropIdle: () => false,
    grow: () => void Latch.openUnsafe(granted)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => BufferBudget.open(ledger, account)),
    () => Effect.sync(() => BufferBudget.close(ledger, account))
  )
  if (!BufferBudget.reserve(ledger, account)) yield* granted.await
  BufferBudget.settle(ledger, account)
})
