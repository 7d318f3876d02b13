/**
 * What an engine does while it has torrents: it begins with the first of them and ends with the last. Effect's `RcRef`
 * needs a scope of its own, and an engine that does not listen has none.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

/** The work, and how many use it. */
export interface SharedWork {
  /** Begins the work, which lasts until the scope closes. */
  readonly begin: Effect.Effect<void, never, Scope.Scope>
  readonly context: Context.Context<never>
  scope: Scope.Closeable | undefined
  users: number
}

/**
 * Makes it without users. The work runs in `context`, and not in that of its first user, whose span and annotations are
 * its own.
 */
export const make = (begin: SharedWork["begin"], context: Context.Context<never>): SharedWork => ({
  begin,
  context,
  scope: undefined,
  users: 0
})

/** Uses the work until the scope closes. */
export const use = (self: SharedWork): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      if (self.users++ > 0) return Effect.void
      self.scope = Scope.makeUnsafe()
      return Effect.setContext(self.begin, Context.add(self.context, Scope.Scope, self.scope))
    }),
    () => Effect.suspend(() => (--self.users === 0 ? Scope.close(self.scope!, Exit.void) : Effect.void))
  )
