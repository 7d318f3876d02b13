/**
 * The TCP port at which peers can connect to us, as sources and handshakes announce it. It may change at any time, so
 * each of them reads it when it needs it; a `SubscriptionRef` publishes the changes.
 */
import type * as Effect from "effect/Effect"
import * as SubscriptionRef from "effect/SubscriptionRef"

/** `undefined` if nobody can connect to us. */
export type ListeningPort = SubscriptionRef.SubscriptionRef<number | undefined>

/**
 * A port that is `port` until somebody sets another (`SubscriptionRef.set`).
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, SubscriptionRef } from "effect"
 * import { ListeningPort } from "piecewise"
 *
 * const program = Effect.gen(function* () {
 *   const port = yield* ListeningPort.make(undefined)
 *   yield* SubscriptionRef.set(port, 6881)
 *   assert.equal(ListeningPort.current(port), 6881)
 * })
 * await Effect.runPromise(program)
 * ```
 */
export const make = (port: number | undefined): Effect.Effect<ListeningPort> => SubscriptionRef.make(port)

/** The port now. */
export const current = (self: ListeningPort): number | undefined => SubscriptionRef.getUnsafe(self)
