import * as Effect from "effect/Effect"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PeerId } from "../../src/base/PeerId.ts"
import type { PeerSourceContext } from "../../src/discovery/PeerSource.ts"
import * as ListeningPort from "../../src/network/ListeningPort.ts"

/** Makes a listening port that peers are told. */
export const listeningPort = (port: number | undefined) => Effect.runSync(ListeningPort.make(port))

/** A torrent that lacks one byte and never completes, as its sources see it. `own` overrides fields. */
export const peerSourceContext = (own: Partial<PeerSourceContext> = {}): PeerSourceContext => ({
  infoHash: new Uint8Array(20).fill(1) as InfoHash,
  peerId: new Uint8Array(20).fill(2) as PeerId,
  port: listeningPort(undefined),
  isPrivate: false,
  trackers: [],
  facts: () => ({ uploaded: 0, downloaded: 0, left: 1 }),
  completed: Effect.never,
  ...own
})
