/**
 * The scripted peers of a simulated world by torrent, and what tells an engine about them: a source of peers, and a
 * tracker that knows them under every URL.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as InfoHash from "../base/InfoHash.ts"
import type { PeerSource } from "../discovery/PeerSource.ts"
import { Tracker, TrackerError } from "../discovery/tracker/Tracker.ts"
import type * as ScriptedPeer from "./ScriptedPeer.ts"

/** Peers that have joined swarms. */
export interface JoinedPeers {
  /** By info hash in hex. */
  readonly swarms: Map<string, ReadonlyArray<ScriptedPeer.Serving>>
  /** How many have joined any swarm. */
  readonly joined: SubscriptionRef.SubscriptionRef<number>
}

/** How long an engine waits until it asks the simulated tracker again, in seconds. */
const intervalSeconds = 1_800

/** Nobody has joined yet. */
export const make: Effect.Effect<JoinedPeers> = Effect.map(SubscriptionRef.make(0), (joined) => ({
  swarms: new Map(),
  joined
}))

/** Adds a peer to the swarm of a torrent, until the scope closes. */
export const add = (
  self: JoinedPeers,
  infoHash: InfoHash.InfoHash,
  peer: ScriptedPeer.Serving
): Effect.Effect<void, never, Scope.Scope> => {
  const hex = InfoHash.toHex(infoHash)
  const others = () => (self.swarms.get(hex) ?? []).filter((other) => other !== peer)
  return Effect.acquireRelease(
    Effect.suspend(() => {
      self.swarms.set(hex, [...others(), peer])
      return SubscriptionRef.update(self.joined, (count) => count + 1)
    }),
    () => Effect.sync(() => void self.swarms.set(hex, others()))
  )
}

/** The peers of a swarm, in the order in which they joined. */
export const of = (self: JoinedPeers, infoHash: InfoHash.InfoHash): ReadonlyArray<ScriptedPeer.Serving> =>
  self.swarms.get(InfoHash.toHex(infoHash)) ?? []

/** Emits the addresses of all peers of a torrent, at once and whenever a peer joins. */
export const source = (self: JoinedPeers): PeerSource => ({
  isGiven: true,
  peers: ({ infoHash }) =>
    Stream.map(SubscriptionRef.changes(self.joined), () => ({
      _tag: "Peers",
      source: "the simulated world",
      addresses: of(self, infoHash).map(({ address }) => address)
    }))
})

/** A tracker that knows the peers of every torrent, whatever its URL. */
export const tracker = (self: JoinedPeers): Tracker["Service"] => {
  const peersOf = (url: string, bytes: Uint8Array) => {
    const infoHash = InfoHash.fromBytes(bytes)
    return infoHash === undefined
      ? Effect.fail(new TrackerError({ url, why: "the info hash is not of 20 bytes", retryAfter: "never" }))
      : Effect.sync(() => of(self, infoHash))
  }
  return Tracker.of({
    announce: (url, { infoHash, numWant }) =>
      Effect.map(peersOf(url, infoHash), (peers) => ({
        peers: peers.slice(0, numWant).map(({ address }) => address),
        intervalSeconds,
        minIntervalSeconds: undefined,
        seeders: peers.length,
        leechers: 0,
        trackerId: undefined,
        warning: undefined,
        externalHost: undefined,
        // The peers have addresses of private networks.
        from: "127.0.0.1"
      })),
    scrape: (url, infoHash) =>
      Effect.map(peersOf(url, infoHash), (peers) => ({ seeders: peers.length, leechers: 0, downloads: undefined }))
  })
}
