/**
 * What is known of a peer when it is decided whether to dial, accept or keep it: where its address comes from, and
 * after the handshakes what it says about itself.
 */
import type { InfoHash } from "../base/InfoHash.ts"
import * as Naming from "../base/Naming.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import * as Reach from "../base/Reach.ts"

/** Where an address comes from. */
export type Origin =
  /**
   * A source of peers, named as in its events: the URL of a tracker, the name that a source gives itself, or `given`
   * for addresses from the user and from magnet links.
   */
  | {
      readonly _tag: "Source"
      readonly source: string
      /** From where whoever named it can be reached; default from everywhere. See `base/Naming.ts`. */
      readonly reach?: Reach.Reach | undefined
      /** Whether the address is from the user. */
      readonly isGiven?: boolean | undefined
    }
  /** A connected peer named it (BEP 11). `reach` is that peer's, and as above. */
  | { readonly _tag: "Exchange"; readonly reach?: Reach.Reach | undefined }
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

/** The origin of an address that the connected peer at `host` named. */
export const exchange = (host: string): Origin => ({ _tag: "Exchange", reach: Reach.of(host) })

/** The origin of an address from the user. */
export const given: Origin = { _tag: "Source", source: "given", reach: Naming.anything, isGiven: true }

/** Whether an address is from the user. */
export const isGiven = (origin: Origin): boolean => origin._tag === "Source" && origin.isGiven === true

/** From where whoever named an address can be reached. A peer that connected to us is what it says. */
export const reachOf = (origin: Origin): Reach.Reach =>
  origin._tag === "Incoming" ? Naming.anything : (origin.reach ?? "public")

/** Whether a source is trusted with more than whoever named an address before: the user with most. */
export const isMoreTrusted = (origin: Origin, before: Origin): boolean =>
  origin._tag === "Source" &&
  (isGiven(origin) === isGiven(before) ? Reach.isLessPublic(reachOf(origin), reachOf(before)) : isGiven(origin))

/** The name of an origin in reports: that of the source, or what else it is. */
export const nameOf = (origin: Origin): string => {
  if (origin._tag === "Source") return origin.source
  return origin._tag === "Exchange" ? "peer exchange" : "a connection to us"
}

/** Somebody who has just connected to us, and named no torrent yet. */
export const ofCaller = (address: PeerAddress): Candidate => ({
  address,
  origin: incoming,
  infoHash: undefined,
  peerId: undefined,
  client: undefined
})
