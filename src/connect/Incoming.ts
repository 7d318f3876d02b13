/**
 * Handles connections that peers open to us: reads which torrent each asks for, and passes it to the swarm of that
 * torrent.
 *
 * A stranger costs little: 68 bytes of handshake within 10 seconds, and at most `maxStrangers` at once. When one more
 * connects, the one that has taken longest is dropped. A connection for a torrent that does not run is closed without a
 * reply.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { InfoHash } from "../base/InfoHash.ts"
import type { Connection, Listening } from "../network/Transport.ts"
import * as Introduction from "./Introduction.ts"
import * as OwnedFibers from "./OwnedFibers.ts"

/**
 * How many connections may be waiting for a handshake. Each holds a socket, and few peers connect at the same moment.
 */
export const maxStrangers = 64

/**
 * Takes a peer that asks for its torrent. Closes `scope`, that of the connection, when the session with it has ended.
 */
export type Accept = (caller: Introduction.Caller, scope: Scope.Closeable) => Effect.Effect<void>

/** Where connections come from, and where they go. */
export interface Options {
  readonly listening: Listening
  /** Takes the connections for a torrent; `undefined` if no such torrent runs. */
  readonly find: (infoHash: InfoHash) => Accept | undefined
}

/** Accepts connections until it is interrupted. They belong to the current scope. */
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
  const caller = yield* Scope.provide(Introduction.accepted(connection), scope)
  const accept = find(caller.handshake.infoHash)
  if (accept === undefined) return yield* Effect.interrupt
  yield* accept(caller, scope)
})
