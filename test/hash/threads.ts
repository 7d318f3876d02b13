/** Threads that tests see, and memory for them. */
import * as Effect from "effect/Effect"
import type * as PieceThread from "../../src/hash/provider/node/PieceThread.ts"
import * as SharedMemory from "../../src/hash/provider/node/SharedMemory.ts"
import * as SideThread from "../../src/hash/provider/node/SideThread.ts"

const nextTurn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Waits for what happens outside of this program. */
export const until = (isTrue: () => boolean) =>
  Effect.whileLoop({ while: () => !isTrue(), body: () => nextTurn, step: () => {} })

/** Shared memory of so many bytes, with a digest of its own. */
export const piece = (length: number, seed = 1): Uint8Array => {
  const bytes = SharedMemory.memory.make(length)
  for (let at = 0; at < length; at += 997) bytes[at] = at * seed
  return bytes
}

/** Threads that are started at once and noted, for what `make` makes of them. */
export const watch = <A, R>(
  make: (options: PieceThread.Options) => Effect.Effect<A, never, R>,
  options: PieceThread.Options = {}
) => {
  const threads: Array<SideThread.SideThread> = []
  const start = () => {
    const thread = SideThread.start()
    threads.push(thread)
    return thread
  }
  return Effect.map(make({ startAfter: 0, start, ...options }), (made) => ({ made, threads }))
}
