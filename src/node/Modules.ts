/**
 * Modules that are loaded when they are first needed, to keep the start short. Files are opened for that, and
 * descriptors may be short by then.
 */
import * as Effect from "effect/Effect"
import * as Descriptors from "../base/Descriptors.ts"

/** Loads modules by dynamic imports. A module that cannot be loaded is a defect. */
export const load = <A>(modules: () => Promise<A>): Effect.Effect<A> =>
  Effect.tryPromise({ try: modules, catch: (cause) => new Error("a module cannot be loaded", { cause }) }).pipe(
    Descriptors.retry,
    Effect.orDie
  )
