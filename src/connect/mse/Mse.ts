/**
 * Message Stream Encryption, also called Protocol Encryption: hides from whoever looks at the traffic that it is
 * BitTorrent. It is no protection of what is transferred, because whoever knows the info hash can read along.
 *
 * The shell of the two machines (`MseInitiator.ts`, `MseResponder.ts`): reads and writes the connection, and decides in
 * which way peers are dialled. The caller limits the time.
 */
import * as Effect from "effect/Effect"
import type { Connection } from "../../network/Transport.ts"
import type { Encryption, Policy } from "../Encryption.ts"
import * as Preamble from "../Preamble.ts"
import { DiffieHellman, RandomBytes } from "./DiffieHellman.ts"
import * as EncryptedConnection from "./EncryptedConnection.ts"
import * as KnownWays from "./KnownWays.ts"
import * as MseHandshake from "./MseHandshake.ts"
import * as MseInitiator from "./MseInitiator.ts"
import * as MseResponder from "./MseResponder.ts"
import * as TorrentNames from "./TorrentNames.ts"

/** How connections are encrypted. */
export interface Options {
  readonly policy: Exclude<Policy, "off">
  /** The torrents that peers can ask for. */
  readonly torrents: TorrentNames.TorrentNames
}

/** Makes the encryption of one engine. */
export const make = Effect.fnUntraced(function* ({ policy, torrents }: Options): Effect.fn.Return<Encryption> {
  const diffieHellman = yield* DiffieHellman
  const random = yield* RandomBytes
  const known = KnownWays.make()
  const isRequired = policy === "require"
  const methods = isRequired ? MseHandshake.method.rc4 : MseHandshake.anyMethod

  const encryption: Encryption = {
    policy,
    ways: (address) => (isRequired ? ["encrypted"] : KnownWays.waysTo(known, address)),
    note: (address, way, hasWorked) => KnownWays.note(known, address, way, hasWorked),
    notePreference: (address) => KnownWays.prefer(known, address),
    dialled: Effect.fnUntraced(function* (connection, { handshake, infoHash, way }) {
      if (way === "plain") {
        connection.writeUnsafe(handshake)
        return connection
      }
      const machine = MseInitiator.make({ diffieHellman, random, infoHash, methods, payload: handshake })
      connection.writeUnsafe(machine.first)
      const { connection: behind, value } = yield* Preamble.read(connection, (view) =>
        readOf(MseInitiator.push(machine, view, connection.writeUnsafe))
      )
      return encrypted(behind, value)
    }),
    accepted: Effect.fnUntraced(function* (connection) {
      const find = (name: Uint8Array) => TorrentNames.find(torrents, name)
      const machine = MseResponder.make({ diffieHellman, random, find, isRequired })
      const { connection: behind, value } = yield* Preamble.read(connection, (view) =>
        readOf(MseResponder.push(machine, view, connection.writeUnsafe))
      )
      return value.isEncrypted ? encrypted(behind, value) : behind
    })
  }
  return encryption
})

const readOf = <A extends MseHandshake.Established>(end: A | undefined): Preamble.Read<A> | undefined => {
  if (end === undefined) return undefined
  const { receive, rest } = end
  return { value: end, rest, decode: receive && ((view) => MseHandshake.applyInPlace(receive, view)) }
}

/** The connection after the handshake, as both sides have agreed. */
const encrypted = (behind: Connection, { send }: MseHandshake.Established): Connection => {
  const connection: Connection = { ...behind, canEncrypt: true }
  return send === undefined ? connection : EncryptedConnection.make(connection, send)
}
