/**
 * Connections that peers open to us: reads whose torrent they ask for and hands each to its swarm.
 *
 * A stranger costs little: 68 bytes of handshake within 10 seconds, and no more strangers at once than `maxStrangers`, of
 * which the one that takes longest goes when another comes. What belongs to no torrent is closed without a word.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { InfoHash } from "../base/InfoHash.ts"
import * as PeerSession from "../peer/PeerSession.ts"
import type { Connection, Listening, Sink } from "../transport/Transport.ts"
import * as Handshake from "../wire/Handshake.ts"
import { WireError } from "../wire/WireError.ts"
import * as OwnedFibers from "./OwnedFibers.ts"

/**
 * Connections whose handshake is awaited at once: a swarm that finds us at once is smaller, and each holds one socket.
 */
export const maxStrangers = 64

/** Takes a connection whose handshake names its torrent, and closes `scope` with it once that has ended. */
export type Accept = (connection: Connection, scope: Scope.Closeable) => Effect.Effect<void>

/** What comes in, and where it goes. */
export interface Options {
  readonly listening: Listening
  /** Who takes connections for a torrent; `undefined` where there is no such torrent. */
  readonly find: (infoHash: InfoHash) => Accept | undefined
}

/** Hands on what comes in for as long as it runs. Connections belong to the scope at hand. */
export const run = Effect.fnUntraced(function* ({ find, listening }: Options) {
  const owner = yield* Effect.scope
  const strangers = yield* OwnedFibers.make<Connection>()
  while (true) {
    const scope = yield* Scope.fork(owner)
    const connection = yield* Scope.provide(listening.accept, scope)
    if (strangers.running.size >= maxStrangers) {
      const [longest] = strangers.running.keys()
      OwnedFibers.interruptUnsafe(strangers, longest!)
      strangers.running.delete(longest!)
    }
    yield* OwnedFibers.run(strangers, connection, greet(connection, scope, find), (exit) =>
      Exit.isFailure(exit) ? Scope.close(scope, Exit.void) : Effect.void
    )
  }
})

const greet = Effect.fnUntraced(function* (connection: Connection, scope: Scope.Closeable, find: Options["find"]) {
  const replay = makeReplay(connection)
  const goneEarly = Effect.andThen(Effect.ignore(connection.closed), Effect.interrupt)
  const { infoHash } = yield* Effect.timeout(
    Effect.raceFirst(replay.handshake, goneEarly),
    PeerSession.handshakeTimeout
  )
  // The handshake completes in the middle of the sink's call, in which reading must not go on.
  yield* Effect.yieldNow
  const accept = find(infoHash)
  if (accept === undefined) return yield* Effect.interrupt
  yield* accept(replay.connection, scope)
})

/** A connection whose first bytes are looked at before anybody receives from it; they are then received again. */
const makeReplay = (connection: Connection) => {
  const decoder = Handshake.makeDecoder()
  const handshake = Deferred.makeUnsafe<Handshake.Handshake, WireError>()
  let rest = new Uint8Array(0)
  let sink: Sink | undefined

  connection.receiveUnsafe((view) => {
    if (sink !== undefined) return sink(view)
    try {
      const taken = Handshake.push(decoder, view)
      const theirs = Handshake.result(decoder)
      if (theirs === undefined) return true
      rest = view.slice(taken)
      Deferred.doneUnsafe(handshake, Effect.succeed(theirs))
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      Deferred.doneUnsafe(handshake, Effect.fail(error))
    }
    return false
  })

  const replayed: Connection = {
    ...connection,
    receiveUnsafe: (receiver) => {
      sink = receiver
      receiver(decoder.bytes)
      const isReady = rest.length === 0 || receiver(rest)
      rest = new Uint8Array(0)
      if (isReady) connection.resumeUnsafe()
    }
  }
  return { handshake: Deferred.await(handshake), connection: replayed }
}
