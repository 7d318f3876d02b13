/**
 * What two peers tell each other about their nodes of the DHT (BEP 5, "BitTorrent Protocol Extension"): each sends the
 * UDP port of its node in a `port` message. A pure machine.
 *
 * Leaves to the session to know that both sides have a node, and to the engine what is done with the address of one.
 */
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerAddressOf from "../base/PeerAddress.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"

/** Messages of one peer that are read. Its port may change, but not often. */
export const maxMessages = 5

/** Our node of the DHT, as it is for the peers of one torrent. Its functions are called synchronously and must not throw. */
export interface OurNode {
  /** The UDP port of our node for the family of a peer's address; `undefined` while there is none. */
  readonly port: (peer: PeerAddress) => number | undefined
  /** A peer has told us the address of its node. */
  readonly found: (node: PeerAddress) => void
}

/** The messages on one connection. Owned by its session. */
export interface DhtContact {
  readonly ours: OurNode
  /** The peer's address, as we see it. */
  readonly remote: PeerAddress
  /** The port that we have sent. */
  sent: number | undefined
  /** The messages of the peer that were read. */
  received: number
}

/** Makes it before any message. */
export const make = (ours: OurNode, remote: PeerAddress): DhtContact => ({
  ours,
  remote,
  sent: undefined,
  received: 0
})

/** Writes our port to the outbox, if it is known and was not sent yet. */
export const send = (self: DhtContact, outbox: FrameEncoder.FrameEncoder): void => {
  const port = self.ours.port(self.remote)
  if (port === undefined || port === self.sent) return
  self.sent = port
  FrameEncoder.port(outbox, port)
}

/** Reads the port that the peer has sent. */
export const receive = (self: DhtContact, port: number): void => {
  if (self.received >= maxMessages) return
  self.received++
  const node = PeerAddressOf.make(self.remote.host, port)
  if (node !== undefined) self.ours.found(node)
}
