/**
 * Accepts the connections that peers open to us. Reads which torrent each peer asks for, and passes the connection to
 * that torrent.
 *
 * A stranger is a peer whose handshake has not been read yet. A stranger costs little: it has 10 seconds for its
 * handshake of 68 bytes and for the encryption before it, and there are at most `maxStrangers` at once. If one more
 * connects, the stranger that has taken longest is dropped, as it is if a file needs its descriptor. A connection for a
 * torrent that does not run is closed without a reply.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Descriptors from "../base/Descriptors.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Connection, Listening } from "../network/Transport.ts"
import * as Callers from "./Callers.ts"
import * as Introduction from "./Introduction.ts"
import * as OwnedFibers from "./OwnedFibers.ts"

/** How many strangers there may be. Each of them holds a socket, and few peers connect at the same moment. */
export const maxStrangers = 64

/**
 * Takes over the connection of a peer that asks for the torrent, together with `scope`, the scope of the connection.
 * Starts a session with the peer in a fiber of its own and returns without waiting for it. Closes `scope` when the
 * session has ended, or at once if the peer is not wanted.
 */
export type Accept = (caller: Introduction.Caller, scope: Scope.Closeable) => Effect.Effect<void>

/** Where connections are accepted, and which torrent takes each of them. */
export interface Options {
  readonly listening: Listening
  /** Returns the function that takes over connections for a torrent; `undefined` if there is no such torrent. */
  readonly find: (infoHash: InfoHash) => Accept | undefined
  /** Where callers without a handshake are noted. */
  readonly callers: Callers.Callers
  /**
   * Whether a connection from an address is accepted. It is closed at once if not, before a byte is read or sent.
   * Default: all are.
   */
  readonly admits?: ((address: PeerAddress) => boolean) | undefined
}

/** Accepts connections until it is interrupted. The connections end with the current scope at the latest. */
export const run = Effect.fnUntraced(function* ({ admits = () => true, callers, find, listening }: Options) {
  const owner = yield* Effect.scope
  const clock = yield* Clock.Clock
  const strangers = yield* OwnedFibers.make<Connection>()
  const dropLongest = (): void => {
    // A map keeps its keys in the order in which they were added, so the first stranger has taken longest.
    const [longest] = strangers.running.keys()
    OwnedFibers.interruptUnsafe(strangers, longest!)
    // The fiber ends a little later, but the stranger is not counted any more.
    strangers.running.delete(longest!)
  }
  yield* Descriptors.register(
    "connections",
    Effect.sync(() => {
      if (strangers.running.size === 0) return false
      dropLongest()
      return true
    })
  )
  while (true) {
    const scope = yield* Scope.fork(owner)
    const connection = yield* Scope.provide(listening.accept, scope)
    if (!(yield* isAdmitted(admits, connection))) {
      yield* Scope.close(scope, Exit.void)
      continue
    }
    if (strangers.running.size >= maxStrangers) dropLongest()
    // After success, the torrent that accepted the peer closes the scope.
    yield* OwnedFibers.run(strangers, connection, greet(connection, scope, find), (exit) => {
      if (Exit.isSuccess(exit)) return Effect.void
      if (isForeign(exit)) Callers.note(callers, connection.remote.host, Monotonic.nowUnsafe(clock))
      return Scope.close(scope, Exit.void)
    })
  }
})

/** A policy that throws admits nobody. Which torrent a connection is for, and so whom to tell, is not known yet. */
const isAdmitted = (admits: (address: PeerAddress) => boolean, { remote }: Connection): Effect.Effect<boolean> =>
  Effect.sync(() => admits(remote) === true).pipe(
    Effect.catchDefect((defect) =>
      Effect.as(Effect.logError("The peer policy failed, so a connection was closed.", defect), false)
    )
  )

/**
 * Whether what a stranger sent is no handshake that we accept: one that we do not understand, as an encrypted one is if
 * encryption is off, or a plain one if it is required.
 */
const isForeign = (exit: Exit.Exit<void, Introduction.IntroductionError>): boolean => {
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  return error?._tag === "piecewise/WireError" || (error?._tag === "NotIntroduced" && error.reason === "not encrypted")
}

/** Reads the handshake of a stranger, and passes its connection to the torrent that it asks for. */
const greet = Effect.fnUntraced(function* (connection: Connection, scope: Scope.Closeable, find: Options["find"]) {
  const caller = yield* Scope.provide(Introduction.accepted(connection), scope)
  const accept = find(caller.handshake.infoHash)
  // `run` closes the scope unless this fiber succeeds. It is interrupted because this is no error.
  if (accept === undefined) return yield* Effect.interrupt
  yield* accept(caller, scope)
})
