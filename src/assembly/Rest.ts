/**
 * Lets the assembly of a torrent that is paused rest. Its suppliers have left, so nothing more arrives. Complete pieces
 * are stored first; then nothing holds a buffer any more, and everything else has to be fetched again.
 */
import * as Effect from "effect/Effect"
import * as Gate from "../base/Gate.ts"
import type { PieceBuffer } from "../supply/PieceBuffer.ts"
import type * as Assembly from "./Assembly.ts"
import * as AssemblyOf from "./Assembly.ts"
import * as BufferPool from "./BufferPool.ts"
import * as PieceTable from "./PieceTable.ts"

/**
 * Waits until every piece that is complete now is stored, or turned out to be wrong. Gives up if the storage takes no
 * writes.
 */
export const settled = (self: Assembly.Assembly): Effect.Effect<void> =>
  Effect.suspend(() => {
    const isComplete = ({ piece }: PieceBuffer): boolean => PieceTable.stateOf(self.table, piece) !== "active"
    const complete = Array.from(self.pool.loans.values(), ({ buffer }) => buffer).filter(isComplete)
    return untilReturned(self, complete)
  })

const untilReturned = (self: Assembly.Assembly, buffers: ReadonlyArray<PieceBuffer>): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (self.isPaused || !buffers.some((buffer) => self.pool.loans.get(buffer.piece)?.buffer === buffer))
      return Effect.void
    Gate.close(self.pool.returned)
    return Effect.andThen(Gate.pass(self.pool.returned), untilReturned(self, buffers))
  })

/** Returns all buffers, and forgets what they hold. Nothing may be verified or written any more. */
export const begin = Effect.fnUntraced(function* (self: Assembly.Assembly) {
  self.completed.waiting.length = 0
  for (const { buffer } of [...self.pool.loans.values()]) {
    const { piece } = buffer
    const isVerified = PieceTable.stateOf(self.table, piece) === "verified"
    yield* BufferPool.close(self.pool, piece)
    if (!isVerified) continue
    PieceTable.giveUp(self.table, piece)
    AssemblyOf.restart(self, piece)
  }
  BufferPool.dropIdle(self.pool)
  AssemblyOf.setPaused(self, self.isReadOnly)
}, Effect.uninterruptible)
