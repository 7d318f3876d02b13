/**
 * Modules that are loaded when they are first needed, to keep the start short. Files are opened for that, and
 * descriptors may be short by then.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Descriptors from "../base/Descriptors.ts"

class NotLoaded extends Data.TaggedError("NotLoaded")<{ readonly cause: unknown }> {
  override readonly message = "a module cannot be loaded"
}

/** Loads modules by dynamic imports. A module that cannot be loaded is a defect. */
export const load = <A>(modules: () => Promise<A>): Effect.Effect<A> =>
  Effect.tryPromise({ try: modules, catch: (cause) => new NotLoaded({ cause }) }).pipe(Descriptors.retry, Effect.orDie)
