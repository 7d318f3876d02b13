/**
 * Why a torrent is not faster: the one thing that a user would have to change. Pure.
 *
 * The checks go from what stops everything to what only slows it down, and the first that applies is the answer. For
 * example, if no peer is connected, it does not matter that none unchokes us.
 */
import * as Schema from "effect/Schema"
import { PieceIndex } from "../base/PieceGeometry.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import { Policy } from "../connect/Encryption.ts"
import { StorageError } from "../storage/Storage.ts"

/** What the answer follows from. */
export interface Facts {
  /** As in `TorrentStatus`. */
  readonly state:
    | "FetchingMetadata"
    | "Checking"
    | "FilesMissing"
    | "Downloading"
    | "StorageFailing"
    | "Flushing"
    | "Complete"
    | "Paused"
    | "Stopped"
    | "Failed"
  /** Why the storage takes no writes; `undefined` if it takes them. */
  readonly storageError: StorageError | undefined
  readonly connectedPeers: number
  /** Web seeds that are used now. */
  readonly webSeeds: number
  readonly knownPeers: number
  /** Known peers that closed our latest connection to them before the handshake. */
  readonly hungUpPeers: number
  /** How connections to peers are encrypted. */
  readonly encryption: Policy
  /** Sources whose last attempt failed: their names, and why they failed. */
  readonly failedSources: ReadonlyMap<string, string>
  /** Sources that have answered: their names, and whether they ever found an address. */
  readonly answeringSources: ReadonlyMap<string, boolean>
  /** Whether every tracker refused the torrent for good, and no other source has found an address. */
  readonly haveTrackersRefused: boolean
  /** Connected peers that have a piece that is missing here. */
  readonly interestingPeers: number
  /** Interesting peers that have unchoked us. */
  readonly unchokingPeers: number
  /** Unchoking peers whose pipeline has room although there is no block to request from them. */
  readonly hungryPeers: number
  /** Pieces that hold buffers, and the most that may. */
  readonly lentBuffers: number
  readonly bufferCapacity: number
  /** Whether the budget of all torrents has no room for another buffer. */
  readonly isBudgetSpent: boolean
  /** Pieces that have all their blocks and wait: for their digest, or for their write. */
  readonly verifyingPieces: number
  readonly writingPieces: number
  readonly missingPieces: number
  /** Missing pieces of which every available copy is damaged, and whether nothing else can be fetched now. */
  readonly damagedPieces: ReadonlyArray<PieceIndex>
  readonly isOnlyDamagedLeft: boolean
  /** Whether requests wait for a rate limit. */
  readonly isRateLimited: boolean
}

/** The schema of what holds a torrent up. */
export const Bottleneck = Schema.TaggedUnion({
  /** Nothing does: every wanted piece is stored and flushed. */
  Nothing: {},
  /** The metadata of a magnet link is being fetched, from `peers` that have it. */
  FetchingMetadata: { peers: Schema.Natural },
  /** Existing files are being verified. */
  Checking: {},
  /** Every file with stored bytes is gone. The torrent waits until one is back. */
  FilesMissing: {},
  /** Every wanted piece is stored, and the disk has not confirmed it yet. */
  Flushing: {},
  /** Somebody paused the torrent. */
  Paused: {},
  /** The torrent was stopped, so nothing runs. */
  Stopped: {},
  /** The torrent has failed, so nothing runs. */
  Failed: {},
  /** The disk is full. Verified pieces wait until there is space. */
  DiskFull: { error: StorageError },
  /** Writes or flushes fail for another reason. */
  StorageFailing: { error: StorageError },
  /** No address was found yet, and `source` failed when it was last asked. */
  SourcesFailing: { source: Schema.String, why: Schema.String },
  /** No address was found, and every tracker refused the torrent for good: `source` is one of them. */
  TrackersRefused: { source: Schema.String, why: Schema.String },
  /** No address is known yet. `source` answered and knows none; `undefined` if none has answered. */
  NobodyKnown: { source: Schema.UndefinedOr(Schema.String) },
  /** Addresses are known, but no peer is connected. */
  NobodyConnected: { knownPeers: Schema.Natural },
  /** No peer is connected, and `peers` closed the connection before the handshake. `encryption` may be the reason. */
  PeersHangUp: { peers: Schema.Natural, encryption: Policy },
  /** Every available copy of the missing pieces is damaged. */
  PiecesDamaged: { pieces: Schema.Array(PieceIndex) },
  /** No connected peer has a piece that is missing here. */
  NobodyHasMore: {},
  /** All `peers` that have missing pieces choke us. */
  AllChoke: { peers: Schema.Natural },
  /** Requests wait for a rate limit. */
  RateLimited: {},
  /** `pieces` hold most buffers while they wait to be written. */
  StorageSlow: { pieces: Schema.Natural },
  /** `pieces` hold most buffers while they wait for their digest. */
  VerifyingSlow: { pieces: Schema.Natural },
  /** Peers would send more, but there is no memory for another piece. */
  BuffersFull: {},
  /** Every missing block is requested already, and the torrent is as fast as the peers that have them. */
  LastPieces: {},
  /** The torrent is as fast as the `peers` that have unchoked us can send. */
  PeersSlow: { peers: Schema.Natural },
  /** The torrent is as fast as its `webSeeds` can send. No peer has unchoked us. */
  WebSeedsSlow: { webSeeds: Schema.Natural }
})

/** What holds a torrent up. */
export type Bottleneck = typeof Bottleneck.Type

/** Returns what holds a torrent up. */
export const of = (facts: Facts): Bottleneck => {
  switch (facts.state) {
    case "Complete":
      return { _tag: "Nothing" }
    case "Checking":
    case "FilesMissing":
    case "Flushing":
    case "Paused":
    case "Stopped":
    case "Failed":
      return { _tag: facts.state }
    case "FetchingMetadata":
      return facts.connectedPeers === 0 ? ofNobody(facts) : { _tag: facts.state, peers: facts.connectedPeers }
  }
  const { storageError: error } = facts
  if (error !== undefined) return { _tag: error.reason._tag === "DiskFull" ? "DiskFull" : "StorageFailing", error }
  return ofPeers(facts) ?? ofPipeline(facts)
}

const ofPeers = (facts: Facts): Bottleneck | undefined => {
  if (facts.connectedPeers === 0 && facts.webSeeds === 0) return ofNobody(facts)
  const { damagedPieces: pieces } = facts
  if (pieces.length > 0 && facts.isOnlyDamagedLeft) return { _tag: "PiecesDamaged", pieces }
  if (facts.webSeeds > 0) return undefined
  if (facts.interestingPeers === 0) return { _tag: "NobodyHasMore" }
  if (facts.unchokingPeers === 0) return { _tag: "AllChoke", peers: facts.interestingPeers }
  return undefined
}

const ofNobody = (facts: Facts): Bottleneck => {
  const { answeringSources, failedSources, hungUpPeers: peers, knownPeers } = facts
  if (peers > 0) return { _tag: "PeersHangUp", peers, encryption: facts.encryption }
  if (knownPeers > 0) return { _tag: "NobodyConnected", knownPeers }
  const [answer] = answeringSources
  // A tracker that failed says more of the torrent than the DHT.
  const all = [...failedSources]
  const failure = all.find(([source]) => SourceUrl.isTracker(source)) ?? all[0]
  if (failure === undefined || answer?.[1] === true) return { _tag: "NobodyKnown", source: answer?.[0] }
  const [source, why] = failure
  return { _tag: facts.haveTrackersRefused ? "TrackersRefused" : "SourcesFailing", source, why }
}

const ofPipeline = (facts: Facts): Bottleneck => {
  if (facts.isRateLimited) return { _tag: "RateLimited" }
  const isFull = facts.isBudgetSpent || facts.lentBuffers >= facts.bufferCapacity
  if (facts.hungryPeers > 0 && isFull) {
    const waiting = facts.writingPieces + facts.verifyingPieces
    // More than half of the buffers wait for verifying or writing, so the peers are not the reason.
    if (waiting * 2 > facts.lentBuffers) {
      return facts.writingPieces >= facts.verifyingPieces
        ? { _tag: "StorageSlow", pieces: facts.writingPieces }
        : { _tag: "VerifyingSlow", pieces: facts.verifyingPieces }
    }
    if (facts.missingPieces > 0) return { _tag: "BuffersFull" }
  }
  if (facts.missingPieces === 0 && facts.hungryPeers > 0) return { _tag: "LastPieces" }
  if (facts.unchokingPeers === 0 && facts.webSeeds > 0) return { _tag: "WebSeedsSlow", webSeeds: facts.webSeeds }
  return { _tag: "PeersSlow", peers: facts.unchokingPeers }
}

/** How many pieces a description names; it counts the others. */
const maxNamed = 5

const naming = (pieces: ReadonlyArray<PieceIndex>): string => {
  if (pieces.length === 1) return `piece ${pieces[0]}`
  const rest = pieces.length - maxNamed
  return `pieces ${pieces.slice(0, maxNamed).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`
}

/** Says that peers close before the handshake, and why they may do so. */
export const hangUp = (peers: number, encryption: Policy): string => {
  const [who, they] = peers === 1 ? ["1 peer", "it"] : [`${peers} peers`, "they"]
  switch (encryption) {
    case "off":
      return `${who} closed at once; ${they} may require encryption, which is off`
    case "require":
      return `${who} closed at once, or ${peers === 1 ? "does" : "do"} not encrypt, which is required here`
    case "prefer":
      return `${who} closed at once, with and without encryption; ${they} may have no room`
  }
}

/**
 * Describes the answer for a user: a short clause in lower case, without a full stop. Empty for `Nothing`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Bottleneck } from "piecewise"
 *
 * // In a program, the `bottleneck` of a torrent's status.
 * const bottleneck: Bottleneck.Bottleneck = { _tag: "NobodyConnected", knownPeers: 3 }
 * assert.equal(Bottleneck.describe(bottleneck), "none of 3 known peers has answered")
 * ```
 */
export const describe = (self: Bottleneck): string => {
  switch (self._tag) {
    case "Nothing":
      return ""
    case "Checking":
      return "verifying what is stored"
    case "FilesMissing":
      return "its files are gone; is the disk mounted?"
    case "Flushing":
      return "waiting for the disk to confirm what was written"
    case "FetchingMetadata":
      return `fetching its metadata from ${self.peers} ${self.peers === 1 ? "peer" : "peers"}`
    case "Paused":
      return "it is paused"
    case "Stopped":
      return "it was stopped"
    case "Failed":
      return "it failed"
    case "DiskFull":
    case "StorageFailing":
      return self.error.message
    case "SourcesFailing":
      return `no peers: ${self.source}: ${self.why}`
    case "TrackersRefused":
      return `no tracker serves this torrent: ${self.source}: ${self.why}`
    case "NobodyKnown":
      return self.source === undefined ? "no peers found yet" : `no peers: ${self.source} knows none`
    case "PeersHangUp":
      return hangUp(self.peers, self.encryption)
    case "NobodyConnected":
      return self.knownPeers === 1
        ? "the only known peer has not answered"
        : `none of ${self.knownPeers} known peers has answered`
    case "PiecesDamaged":
      return `the only copies of ${naming(self.pieces)} are damaged; asking again now and then`
    case "NobodyHasMore":
      return "no connected peer has what is missing"
    case "AllChoke":
      return self.peers === 1
        ? "waiting for the only peer to unchoke us"
        : `waiting for one of ${self.peers} peers to unchoke us`
    case "RateLimited":
      return "at the rate limit"
    case "StorageSlow":
      return "the storage is slow"
    case "VerifyingSlow":
      return "verifying is slow"
    case "BuffersFull":
      return "the buffers are full"
    case "LastPieces":
      return "waiting for the last blocks"
    case "PeersSlow":
      return self.peers === 1 ? "as fast as the only peer sends" : `as fast as ${self.peers} peers send`
    case "WebSeedsSlow":
      return self.webSeeds === 1 ? "as fast as the only web seed sends" : `as fast as ${self.webSeeds} web seeds send`
  }
}
