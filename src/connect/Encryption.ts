/**
 * What a connection goes through before the handshake: nothing, or a protocol that hides what both ends send, such as
 * Message Stream Encryption. Everything that the engine sends to a peer and receives from it passes through here.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Connection, ConnectionError } from "../network/Transport.ts"
import type { WireError } from "../wire/WireError.ts"
import type { NotIntroduced } from "./NotIntroduced.ts"

/** The schema of `Policy`. */
export const Policy = Schema.Literals(["prefer", "require", "off"])

/**
 * Whether connections to peers are encrypted. `prefer`: plain and encrypted ones are accepted; a peer is dialled in the
 * way that is known to work for it. If none is, it is dialled plain first, or encrypted if it is said to prefer that, and
 * the other way if it closes the connection. `require`: every connection is encrypted, and so is all that it carries.
 * `off`: none is.
 */
export type Policy = typeof Policy.Type

/** How a connection begins. */
export type Way = "plain" | "encrypted"

/** Why a connection cannot be used for what follows. `why` is the end of a sentence. */
export type EncryptionError = ConnectionError | WireError | NotIntroduced

/** A connection that we opened. */
export interface Dialled {
  readonly infoHash: InfoHash
  /** One of those that `ways` names. */
  readonly way: Way
  /** Our handshake (BEP 3), to be sent first. */
  readonly handshake: Uint8Array
}

/** Wraps connections to peers. The returned connection ends with the given one. */
export interface Encryption {
  readonly policy: Policy
  /** In which ways a peer is dialled, one after the other until one works. There is at least one. */
  readonly ways: (address: PeerAddress) => ReadonlyArray<Way>
  /** Notes whether a peer has sent its handshake over a connection that began in this way. */
  readonly note: (address: PeerAddress, way: Way, hasWorked: boolean) => void
  /** Notes that a peer is said to prefer encryption. */
  readonly notePreference: (address: PeerAddress) => void
  /** For a connection that we opened. We send first: the handshake. */
  readonly dialled: (
    connection: Connection,
    options: Dialled
  ) => Effect.Effect<Connection, EncryptionError, Scope.Scope>
  /** For a connection that a peer opened. It has not named its torrent yet. */
  readonly accepted: (connection: Connection) => Effect.Effect<Connection, EncryptionError, Scope.Scope>
}

/** Leaves every connection as it is. */
export const plain: Encryption = {
  policy: "off",
  ways: () => ["plain"],
  note: () => {},
  notePreference: () => {},
  dialled: (connection, { handshake }) =>
    Effect.sync(() => {
      connection.writeUnsafe(handshake)
      return connection
    }),
  accepted: Effect.succeed
}

/**
 * How connections to peers are encrypted. An engine makes its own, as its option `encryption` says, unless one is
 * provided. Without an engine it is `plain`.
 */
export const Encryption = Context.Reference<Encryption | undefined>("piecewise/connect/Encryption", {
  defaultValue: () => undefined
})

/** The one that is provided, or `plain`. */
export const current: Effect.Effect<Encryption> = Effect.map(Encryption, (provided) => provided ?? plain)
