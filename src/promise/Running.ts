/**
 * Runs effects and streams for those who write promises: an `AbortSignal` interrupts, and what fails rejects with the
 * error itself, which is a class with a `_tag`.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** How long a promise or an iteration is waited for. */
export interface Waiting {
  /** Ends the wait: the promise or the iteration rejects with the signal's reason, and nothing of it goes on. */
  readonly signal?: AbortSignal | undefined
}

/** Runs an effect. Rejects with what it fails or dies with, or with the reason of the signal. */
export const promise = async <A, E, R>(
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  { signal }: Waiting = {}
): Promise<A> => {
  signal?.throwIfAborted()
  try {
    return await Effect.runPromiseWith(context)(effect, { signal })
  } catch (error) {
    // It may have failed for a reason of its own in the same moment, which the caller has given up on.
    signal?.throwIfAborted()
    throw error
  }
}

/** Fails with the reason of the signal once it is aborted. */
const aborted = (signal: AbortSignal): Effect.Effect<never, unknown> =>
  Effect.callback((resume) => {
    const fail = () => resume(Effect.fail(signal.reason))
    if (signal.aborted) return fail()
    signal.addEventListener("abort", fail, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", fail))
  })

/**
 * Iterates over a stream, which starts with each iteration and ends with it, also if a loop is left early. One value is
 * fetched ahead at most, so a slow loop holds the stream back.
 */
export const iterable = <A, E, R>(
  context: Context.Context<R>,
  stream: Stream.Stream<A, E, R>,
  { signal }: Waiting = {}
): AsyncIterable<A> =>
  Stream.toAsyncIterableWith(
    signal === undefined ? stream : Stream.interruptWhen(stream as Stream.Stream<A, unknown, R>, aborted(signal)),
    context
  )
