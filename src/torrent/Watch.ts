/**
 * Wakes whoever watches a value that changes: a wake says that it may have changed, and the watcher looks at it. Costs
 * nothing while nobody watches.
 */
import * as Effect from "effect/Effect"

/** Those that wait for the next change, and how many changes there were. */
export interface Watch {
  /** Present while somebody waits. */
  waiting: Set<() => void> | undefined
  version: number
}

/** Makes it without watchers. */
export const make = (): Watch => ({ waiting: undefined, version: 0 })

/** Notes that the value may have changed. */
export const wake = (self: Watch): void => {
  self.version++
  const { waiting } = self
  if (waiting === undefined) return
  self.waiting = undefined
  for (const resume of waiting) resume()
}

/** Waits until there was a change after the one that made `version`. Changes made together are noticed together. */
export const after = (self: Watch, version: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (self.version !== version) return resume(Effect.void)
    const go = () => resume(Effect.void)
    self.waiting ??= new Set()
    self.waiting.add(go)
    return Effect.sync(() => void self.waiting?.delete(go))
    // A callback runs its fiber within the call that resumes it, in the middle of what others do.
  }).pipe(Effect.andThen(Effect.yieldNow))

/** Waits until `look` returns something, and returns that. Looks at once, and after every change. */
export const until = <A>(self: Watch, look: () => A | undefined): Effect.Effect<A> =>
  Effect.suspend(() => {
    const { version } = self
    const found = look()
    return found === undefined ? Effect.andThen(after(self, version), until(self, look)) : Effect.succeed(found)
  })
