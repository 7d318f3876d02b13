/**
 * What a swarm reports to its torrent.
 */
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Policy } from "../connect/Encryption.ts"

/** What a swarm reports. */
export type Fact =
  | { readonly _tag: "PeerConnected"; readonly address: PeerAddress }
  | { readonly _tag: "PeerDisconnected"; readonly address: PeerAddress; readonly why: string }
  /** A dial failed: the connection did not open, or the handshake failed. */
  | { readonly _tag: "PeerUnreachable"; readonly address: PeerAddress; readonly why: string }
  | { readonly _tag: "PeerBanned"; readonly address: PeerAddress; readonly why: string }
  /** `peers` ended a connection before the handshake, or called us repeatedly without one that we accept. */
  | { readonly _tag: "PeersHungUp"; readonly peers: number; readonly encryption: Policy }
  /** `source` named that many addresses so far that are not used. */
  | { readonly _tag: "AddressesRefused"; readonly source: string; readonly addresses: number; readonly why: string }
