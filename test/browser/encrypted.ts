/** What both ends of the encrypted connections have in common: the page's, and the test's. */
import * as Effect from "effect/Effect"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PeerId } from "../../src/base/PeerId.ts"
import * as Encryption from "../../src/connect/Encryption.ts"
import type * as Introduction from "../../src/connect/Introduction.ts"
import * as Mse from "../../src/connect/mse/Mse.ts"
import * as TorrentNames from "../../src/connect/mse/TorrentNames.ts"
import * as PeerSession from "../../src/peer/PeerSession.ts"

const infoHash = new Uint8Array(20).fill(7) as InfoHash

/** One end. The two have different ids. */
export const ourselves = (id: number): Introduction.Ourselves => ({
  infoHash,
  peerId: new Uint8Array(20).fill(id) as PeerId,
  features: PeerSession.features
})

/** Accepts and dials only connections that are encrypted altogether, with what the platform has for that. */
export const provide = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const torrents = TorrentNames.make()
  TorrentNames.add(torrents, infoHash)
  return Effect.provideServiceEffect(effect, Encryption.Encryption, Mse.make({ policy: "require", torrents }))
}
