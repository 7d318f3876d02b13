/**
 * Reads what comes first on a connection, and leaves all that follows to a later reader: each byte is delivered once.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Connection, ConnectionError, Sink } from "../network/Transport.ts"
import { WireError } from "../wire/WireError.ts"
import { NotIntroduced } from "./NotIntroduced.ts"

/** A preamble that has been read, and what belongs to what follows it. */
export interface Read<A> {
  readonly value: A
  /** The first bytes of what follows, a copy. */
  readonly rest: Uint8Array
  /** Called with each later chunk before it is delivered, to decrypt it in place. */
  readonly decode?: ((view: Uint8Array) => void) | undefined
}

/** What was read, and the connection that delivers what follows. */
export interface Behind<A> {
  readonly value: A
  readonly connection: Connection
}

/**
 * Passes what arrives to `take`, until it returns what it has read. `take` throws what the peer did wrong: a `WireError`
 * or a `NotIntroduced`. It is the first reader of the connection. Fails with `NotIntroduced` if the peer closes before.
 */
export const read = Effect.fnUntraced(function* <A>(
  connection: Connection,
  take: (view: Uint8Array) => Read<A> | undefined
): Effect.fn.Return<Behind<A>, ConnectionError | WireError | NotIntroduced> {
  const taken = Deferred.makeUnsafe<Read<A>, WireError | NotIntroduced>()
  // Released once the preamble is read: the connection keeps its sink, and a handshake may be 66 kilobytes long.
  let reading: { readonly take: typeof take; readonly taken: typeof taken } | undefined = { take, taken }
  let sink: Sink | undefined

  connection.receiveUnsafe((view) => {
    if (sink !== undefined) return sink(view)
    if (reading === undefined) throw new Error("something arrived after the sink had stopped reading")
    const { take, taken } = reading
    try {
      const result = take(view)
      if (result === undefined) return true
      Deferred.doneUnsafe(taken, Effect.succeed(result))
    } catch (error) {
      if (!(error instanceof WireError || error instanceof NotIntroduced)) throw error
      Deferred.doneUnsafe(taken, Effect.fail(error))
    }
    return false
  })

  const { decode, rest, value } = yield* Effect.raceFirst(Deferred.await(taken), gone(connection))
  reading = undefined
  // The sink wakes this fiber within its call, during which reading must not continue.
  yield* Effect.yieldNow
  let first = rest
  const behind: Connection = {
    ...connection,
    receiveUnsafe: (receiver) => {
      if (sink !== undefined) throw new Error("receiveUnsafe was called twice")
      sink =
        decode === undefined
          ? receiver
          : (view) => {
              decode(view)
              return receiver(view)
            }
      const given = first
      first = new Uint8Array(0)
      if (given.length === 0 || receiver(given)) connection.resumeUnsafe()
    }
  }
  return { value, connection: behind }
})

/** Fails once the peer has closed the connection. */
export const gone = (connection: Connection): Effect.Effect<never, ConnectionError | NotIntroduced> =>
  Effect.andThen(connection.closed, Effect.fail(new NotIntroduced({ reason: "closed" })))
