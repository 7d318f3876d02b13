/**
 * Where the peers that a swarm is connected to can be dialled, as far as it is known: what peers are told of each other
 * (BEP 11). When they are told is `peer/PeerExchange.ts`'s matter.
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
  /** The peer, as we see it. */
  readonly remote: PeerAddress.PeerAddress
  /** Whether the peer began the connection. */
  readonly isIncoming: boolean
}

/** The address at which a peer can be dialled; one that came by itself must have said its port (BEP 10 `p`). */
export const dialAddress = ({ isIncoming, protocol, remote }: Connected): PeerAddress.PeerAddress | undefined => {
  if (!isIncoming) return remote
  return protocol.extensions && PeerExtensions.dialAddress(protocol.extensions, false)
}

/** What the peer at `remote` may be told: the others, as far as they can be dialled. */
export function* others(sessions: Iterable<Connected>, remote: PeerAddress.PeerAddress): Generator<Contact> {
  for (const session of sessions) {
    const address = dialAddress(session)
    if (address !== undefined && !PeerAddress.equals(session.remote, remote)) yield { address, flags: flagsOf(session) }
  }
}

const flagsOf = ({ isIncoming, protocol }: Connected): number => {
  const wantsNothing = protocol.isUploadOnly || Bitfield.isFull(protocol.has)
  return (wantsNothing ? PexMessage.flag.uploadOnly : 0) | (isIncoming ? 0 : PexMessage.flag.isReachable)
}
