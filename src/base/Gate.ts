/** What others wait at while it is closed. Takes memory only while somebody waits, so that a torrent may have many. */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

/** A gate. */
export interface Gate {
  isOpen: boolean
  /** Present while somebody waits. */
  latch: Latch.Latch | undefined
}

/** Makes a gate. */
export const make = (isOpen: boolean): Gate => ({ isOpen, latch: undefined })

/** Opens a gate: whoever waits goes on. */
export const open = (self: Gate): void => {
  self.isOpen = true
  const { latch } = self
  self.latch = undefined
  latch?.openUnsafe()
}

/** Closes a gate. */
export const close = (self: Gate): void => {
  self.isOpen = false
}

/** Waits until a gate is open. */
export const pass = (self: Gate): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (self.isOpen) return Effect.void
    self.latch ??= Latch.makeUnsafe(false)
    return self.latch.await
  })
