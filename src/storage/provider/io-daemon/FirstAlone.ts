/**
 * Lets the first of many effects run alone; the others wait for its end, whatever that is.
 *
 * A browser asks a server for permission to send to a URL, and remembers it only once it has the answer: of requests
 * that start at once, each would ask.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

/** Makes a gate that only one effect has to open. */
export const make = () => {
  let first: Latch.Latch | undefined
  return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      if (first !== undefined) return Effect.andThen(first.await, effect)
      first = Latch.makeUnsafe()
      return Effect.ensuring(effect, first.open)
    })
}
