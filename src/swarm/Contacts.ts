/**
 * At which addresses the connected peers of a swarm can be dialled, as far as that is known. These addresses are sent
 * to other peers (BEP 11); `peer/PeerExchange.ts` decides when.
 */
import * as Bitfield from "../base/Bitfield.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as PeerExtensions from "../peer/PeerExtensions.ts"
import type { PeerProtocol } from "../peer/PeerProtocol.ts"
import type { Contact } from "../wire/extension/PexMessage.ts"
import * as PexMessage from "../wire/extension/PexMessage.ts"

/** A peer that the swarm is connected to. */
export interface Connected {
  readonly protocol: Pick<PeerProtocol, "extensions" | "has" | "isUploadOnly">
  /** The address of the peer, as we see it. */
  readonly remote: PeerAddress.PeerAddress
  /** Whether the peer opened the connection. */
  readonly isIncoming: boolean
  /** Whether the peer prefers encrypted connections, as far as it is known. */
  readonly prefersEncryption: () => boolean
}

/**
 * The address at which a peer can be dialled. Of a peer that connected to us it is known only if it has sent its port
 * (BEP 10 `p`).
 */
export const dialAddress = ({ isIncoming, protocol, remote }: Connected): PeerAddress.PeerAddress | undefined => {
  if (!isIncoming) return remote
  return protocol.extensions && PeerExtensions.dialAddress(protocol.extensions, false)
}

/** The addresses that can be sent to the peer at `remote`: those of all others that can be dialled. */
export function* others(sessions: Iterable<Connected>, remote: PeerAddress.PeerAddress): Generator<Contact> {
  for (const session of sessions) {
    const address = dialAddress(session)
    if (address !== undefined && !PeerAddress.equals(session.remote, remote)) yield { address, flags: flagsOf(session) }
  }
}

const flagsOf = ({ isIncoming, prefersEncryption, protocol }: Connected): number => {
  const wantsNothing = protocol.isUploadOnly || Bitfield.isFull(protocol.has)
  return (
    (wantsNothing ? PexMessage.flag.uploadOnly : 0) |
    (isIncoming ? 0 : PexMessage.flag.isReachable) |
    (prefersEncryption() ? PexMessage.flag.prefersEncryption : 0)
  )
}

/** The addresses of those contacts that are said to prefer encryption. */
export const preferringEncryption = (contacts: ReadonlyArray<Contact>): ReadonlyArray<PeerAddress.PeerAddress> =>
  contacts.flatMap(({ address, flags }) => ((flags & PexMessage.flag.prefersEncryption) === 0 ? [] : address))
