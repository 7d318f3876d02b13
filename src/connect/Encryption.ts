/**
 * What a connection goes through before the handshake: nothing, or a protocol that hides what both ends send, such as
 * Message Stream Encryption. Everything that the engine sends to a peer and receives from it passes through here.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { InfoHash } from "../base/InfoHash.ts"
import type { Connection, ConnectionError } from "../network/Transport.ts"
import type { WireError } from "../wire/WireError.ts"

/** Wraps connections to peers. The returned connection ends with the given one. */
export interface Encryption {
  /** For a connection that we opened for the torrent `infoHash`. We send first. */
  readonly dialled: (
    connection: Connection,
    infoHash: InfoHash
  ) => Effect.Effect<Connection, ConnectionError | WireError, Scope.Scope>
  /** For a connection that a peer opened. It has not named its torrent yet. */
  readonly accepted: (connection: Connection) => Effect.Effect<Connection, ConnectionError | WireError, Scope.Scope>
}

/** Leaves every connection as it is. */
export const plain: Encryption = { dialled: Effect.succeed, accepted: Effect.succeed }

/** How connections to peers are encrypted; default `plain`. */
export const Encryption = Context.Reference<Encryption>("piecewise/connect/Encryption", { defaultValue: () => plain })
