/**
 * What is known of a peer when it is decided whether to dial, accept or keep it: where its address comes from, and
 * after the handshakes what it says about itself.
 */
import type { InfoHash } from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"

/** Where an address comes from. */
export type Origin =
  /**
   * A source of peers, named as in its events: the URL of a tracker, the name that a source gives itself, or `given`
   * for addresses from the user and from magnet links.
   */
  | { readonly _tag: "Source"; readonly source: string }
  /** A connected peer named it (BEP 11). */
  | { readonly _tag: "Exchange" }
  /** The peer connected to us. */
  | { readonly _tag: "Incoming" }

/** A peer that might be dialled, accepted or kept. */
export interface Candidate {
  /** Where to dial it, or where a peer that connected to us did so from. The host may be a name, if a source gave one. */
  readonly address: PeerAddress
  readonly origin: Origin
  /** The torrent that it is wanted for; `undefined` for a connection that has not named one yet. */
  readonly infoHash: InfoHash | undefined
  /** Its id, once the handshake has been read. A claim, as is `client`. */
  readonly peerId: PeerId | undefined
  /**
   * The name and version that it gives itself (BEP 10 `v`), at most 64 printable characters, once the extension
   * handshake has been read. `PeerId.client` has a name for many ids before.
   */
  readonly client: string | undefined
}

/** The origin of an address from which a peer connected to us. */
export const incoming: Origin = { _tag: "Incoming" }

/** The origin of an address that a connected peer named. */
export const exchange: Origin = { _tag: "Exchange" }

/** The name of the source of addresses from the user and from magnet links, as in `PeerSource.fromAddresses`. */
export const givenName = "given"

/** The origin of an address from the user. */
export const given: Origin = { _tag: "Source", source: givenName }

/** Somebody who has just connected to us, and named no torrent yet. */
export const ofCaller = (address: PeerAddress): Candidate => ({
  address,
  origin: incoming,
  infoHash: undefined,
  peerId: undefined,
  client: undefined
})
