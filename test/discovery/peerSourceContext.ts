import * as Effect from "effect/Effect"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PeerId } from "../../src/base/PeerId.ts"
import type { PeerSourceContext } from "../../src/discovery/PeerSource.ts"
import * as ListeningPort from "../../src/network/ListeningPort.ts"

/** A port of which peers are told. */
export const listeningPort = (port: number | undefined) => Effect.runSync(ListeningPort.make(port))

/** What a torrent that misses one byte and never completes tells its sources, with what is its own. */
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
