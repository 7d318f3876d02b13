/** What the microbenchmarks measure: operations of the hot files, without sockets and other processes. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as BufferBudget from "../../src/assembly/BufferBudget.ts"

/** Some operations at once: a plain function, or an effect. Any number of turns can follow each other. */
export type Turn = (() => void) | Effect.Effect<void>

export interface Operation {
  /** The file of `src` that it measures and what it does, such as `PieceBuffer: a block put into its place`. */
  readonly name: string
  /** How many operations a turn has. */
  readonly count: number
  /** Turns that are counted together; default 8. Fewer if a turn is long or allocates much. */
  readonly turns: number
  /** Whether it is only timed, because it takes too long without a compiler. */
  readonly isTimedOnly?: boolean
  /** Prepares the turn. What it acquires is released after the last one. */
  readonly make: Effect.Effect<Turn, never, Scope.Scope | BufferBudget.BufferBudget>
}

export const defaultTurns = 8

/** An operation of a plain function. */
export const plain = (name: string, count: number, turn: () => void, turns = defaultTurns): Operation => ({
  name,
  count,
  turns,
  make: Effect.succeed(turn)
})

/** An operation that has to be prepared in a scope. */
export const scoped = (name: string, count: number, make: Operation["make"], turns = defaultTurns): Operation => ({
  name,
  count,
  turns,
  make
})

/** Takes part in the result of operations whose value nobody needs, so that the compiler cannot remove them. */
export const seen = { value: 0 }
