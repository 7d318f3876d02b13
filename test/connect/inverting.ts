/**
 * An encryption that hides nothing: it inverts every byte, in both directions.
 */
import * as Effect from "effect/Effect"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as Encryption from "../../src/connect/Encryption.ts"
import type { Connection } from "../../src/network/Transport.ts"

/** The bytes as they cross the network. */
export const inverted = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 0xff)

const invert = (connection: Connection): Connection => ({
  ...connection,
  isEncrypted: true,
  receiveUnsafe: (sink) => connection.receiveUnsafe((view) => sink(inverted(view))),
  writeUnsafe: (bytes) => connection.writeUnsafe(inverted(bytes))
})

/** Calls `onDial` with the torrent for which each connection was opened. */
export const inverting = (onDial: (infoHash: InfoHash) => void = () => {}): Encryption.Encryption => ({
  ...Encryption.plain,
  dialled: (connection, { handshake, infoHash }) =>
    Effect.sync(() => {
      onDial(infoHash)
      const encrypted = invert(connection)
      encrypted.writeUnsafe(handshake)
      return encrypted
    }),
  accepted: (connection) => Effect.succeed(invert(connection))
})
