import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** What begins something until its scope closes, as an effect that lasts until it is interrupted. */
export const lasting = <R>(
  begin: Effect.Effect<void, never, R>
): Effect.Effect<never, never, Exclude<R, Scope.Scope>> => Effect.scoped(Effect.andThen(begin, Effect.never))
