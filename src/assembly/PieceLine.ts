/** Complete pieces that wait to be verified or to be written, the first one first. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Signal from "../base/Signal.ts"
import type { PieceBuffer } from "../supply/PieceBuffer.ts"

/** The pieces, and the signal that there are some. */
export interface PieceLine {
  readonly waiting: Array<PieceBuffer>
  readonly some: Signal.Signal
}

/** Makes an empty line. */
export const make = (): PieceLine => ({ waiting: [], some: Signal.make() })

/** Puts a piece at the end. */
export const add = ({ some, waiting }: PieceLine, buffer: PieceBuffer): void => {
  waiting.push(buffer)
  Signal.set(some)
}

/** Does `act` for each piece, for so many at once, until the scope closes. */
export const serve = <R>(
  { some, waiting }: PieceLine,
  act: (buffer: PieceBuffer) => Effect.Effect<void, never, R>,
  atOnce: number
): Effect.Effect<void, never, R | Scope.Scope> => {
  const all = Effect.whileLoop({ while: () => waiting.length > 0, body: () => act(waiting.shift()!), step: () => {} })
  if (waiting.length > 0) Signal.set(some)
  return Signal.attend(some, all, atOnce)
}
