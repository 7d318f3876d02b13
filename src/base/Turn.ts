/** Work that is done one at a time. Takes memory only while somebody does some, so that a torrent may have many. */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** Whose turn it is. */
export interface Turn {
  /** Present while somebody works or waits. */
  permit: Semaphore.Semaphore | undefined
  /** How many work or wait. */
  users: number
}

/** Makes it with nobody at work. */
export const make = (): Turn => ({ permit: undefined, users: 0 })

/** Does `work` when those that came before have ended. */
export const take = <A, E, R>(self: Turn, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let isCounted = false
    // Counted inside `onExit`. Otherwise an interruption between the two would leave it counted.
    const working = Effect.suspend(() => {
      isCounted = true
      self.users++
      self.permit ??= Semaphore.makeUnsafe(1)
      return self.permit.withPermit(work)
    })
    return Effect.onExit(working, () => {
      if (isCounted && --self.users === 0) self.permit = undefined
      return Effect.void
    })
  })
