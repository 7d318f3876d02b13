/**
 * Whether a torrent could use another buffer now. One that has nobody to fetch from must not keep others waiting.
 */
import type { Supplier } from "../supply/Supplier.ts"
import * as BufferBudget from "./BufferBudget.ts"
import type { BufferPool } from "./BufferPool.ts"
import type { PiecePicker } from "./PiecePicker.ts"

/** What decides it. */
interface Deciding {
  readonly isPaused: boolean
  readonly picker: PiecePicker
  readonly pool: BufferPool
  readonly suppliers: ReadonlySet<Supplier>
}

/** Whether there is a piece to start and a supplier to fetch it from. */
export const canStart = ({ isPaused, picker, suppliers }: Deciding): boolean => {
  if (isPaused || picker.count === 0) return false
  for (const { allowedFast, interesting, peerChoking, standing } of suppliers) {
    if (interesting > 0 && !standing.isPaused && (!peerChoking || allowedFast.size > 0)) return true
  }
  return false
}

/** Returns a buffer that was granted meanwhile and has no use any more. */
export const returnUnused = (self: Deciding): void => {
  const { account, ledger } = self.pool
  if (account.isGranted && !canStart(self)) BufferBudget.reconsider(ledger, account)
}
