/** What the suites of transports connect, send and wait with. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Bytes from "../../base/Bytes.ts"
import { type Connection, Dialer, Listener, type Sink } from "../../network/Transport.ts"
import * as Assert from "./Assert.ts"

/** What a transport is like. */
export interface Medium {
  /** A host of this transport to listen on. */
  readonly host: string
  /** How many handles are open, beyond those of the test runner. */
  readonly handles: Effect.Effect<number, never, Dialer | Listener>
  /** What the transport itself buffers between a writer and a stopped reader, at most. */
  readonly bufferBytes: number
  /** Whether incoming connections read ahead of their sink, into fresh memory. Default `false`. */
  readonly readsAhead?: boolean | undefined
  /** Whether each view is in memory of its own, as those of messages are. Default `false`. */
  readonly freshViews?: boolean | undefined
}

/** A dialed connection, its other end, and the scopes that hold them. */
export const pair = (host: string) =>
  Effect.gen(function* () {
    const listening = yield* (yield* Listener).listen({ host, port: 0 })
    const nearScope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const farScope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const near = yield* Scope.provide((yield* Dialer).connect(listening.address), nearScope)
    const far = yield* Scope.provide(listening.accept, farScope)
    return {
      near,
      far,
      listening,
      closeNear: Scope.close(nearScope, Exit.void),
      closeFar: Scope.close(farScope, Exit.void)
    }
  })

/** A sink that copies, and can be waited for. */
export const collector = (onView: Sink = () => true) => {
  const chunks: Array<Uint8Array> = []
  const waiters: Array<{ readonly length: number; readonly done: Deferred.Deferred<void> }> = []
  let total = 0
  const sink: Sink = (view) => {
    chunks.push(view.slice())
    total += view.length
    for (const waiter of waiters) if (total >= waiter.length) Deferred.doneUnsafe(waiter.done, Exit.void)
    return onView(view)
  }
  return {
    sink,
    chunks,
    lengthUnsafe: () => total,
    /** Completes when `length` bytes have arrived. */
    until: (length: number) =>
      Effect.suspend(() => {
        const done = Deferred.makeUnsafe<void>()
        waiters.push({ length, done })
        if (total >= length) Deferred.doneUnsafe(done, Exit.void)
        return Deferred.await(done)
      })
  }
}

/** Bytes that show their position. */
export const pattern = (length: number, first = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => ((first + index) * 31 + ((first + index) >>> 8)) & 0xff)

/** Writes `chunks` and waits for room when `writeUnsafe` returns `false`. */
export const writeAll = Effect.fnUntraced(function* (connection: Connection, chunks: Iterable<Uint8Array>) {
  for (const chunk of chunks) if (!connection.writeUnsafe(chunk)) yield* connection.drained
})

/** Where there is no `setImmediate`, a timer takes its place. */
const nextTurn: (done: () => void) => unknown =
  (globalThis as unknown as { readonly setImmediate?: (done: () => void) => unknown }).setImmediate ??
  ((done) => setTimeout(done, 0))

/** Runs everything that needs no time: turns of the event loop. */
export const settle = Effect.promise(async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => nextTurn(resolve))
})

/** Joins the chunks of both sides and compares the bytes. If they differ, shows the first place and not all bytes. */
export const assertSame = (actual: ReadonlyArray<Uint8Array>, expected: ReadonlyArray<Uint8Array>): void => {
  const [a, b] = [Bytes.concat(actual), Bytes.concat(expected)]
  const at = Bytes.equals(a, b) ? -1 : b.findIndex((byte, index) => a[index] !== byte)
  Assert.deepStrictEqual({ length: a.length, differsAt: at }, { length: b.length, differsAt: -1 })
}

/** Waits, by turns of the event loop, until `check` holds; a test that waits in vain is ended by its timeout. */
export const eventually = <R>(check: Effect.Effect<boolean, never, R>): Effect.Effect<void, never, R> =>
  Effect.flatMap(check, (holds) => (holds ? Effect.void : Effect.andThen(settle, () => eventually(check))))

/** The sum of lengths. */
export const sum = (lengths: ReadonlyArray<number>): number => lengths.reduce((total, length) => total + length, 0)

/** The pattern, cut into pieces of `lengths`. */
export const cut = (lengths: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  let first = 0
  return lengths.map((length) => {
    const chunk = pattern(length, first)
    first += length
    return chunk
  })
}
