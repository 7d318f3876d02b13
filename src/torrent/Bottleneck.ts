/**
 * Why a torrent is not faster: the one thing that a user would have to change. Pure: facts in, an answer out, always.
 *
 * The list reads from what stops everything to what merely slows it down. What is asked first hides what comes after it:
 * without peers nobody wants to hear that none unchokes us.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"

/** What there is to know of a running torrent. */
export interface Facts {
  /** As in `TorrentStatus`. */
  readonly state: "Checking" | "FilesMissing" | "Downloading" | "StorageFailing" | "Flushing" | "Complete" | "Failed"
  /** Why the storage takes no writes, where it does not. */
  readonly storageError: StorageError | undefined
  readonly connectedPeers: number
  readonly knownPeers: number
  /** Why each source that failed last did so, by its name. */
  readonly failedSources: ReadonlyMap<string, string>
  /** Sources that answered last. */
  readonly answeringSources: number
  /** Connected peers that have a piece which is missing here. */
  readonly interestingPeers: number
  /** Of those, the ones that let us ask them. */
  readonly unchokingPeers: number
  /** Of those, the ones that would take more requests than there are blocks to ask for. */
  readonly hungryPeers: number
  /** Pieces that have buffers, and how many may have one. */
  readonly lentBuffers: number
  readonly bufferCapacity: number
  /** Whether the budget of all torrents has no room for another buffer. */
  readonly isBudgetSpent: boolean
  /** Pieces whose blocks are all there and that wait for their digest or for the storage. */
  readonly verifyingPieces: number
  readonly writingPieces: number
  readonly missingPieces: number
  /** Missing pieces of which every copy that is to be had is damaged, and whether nothing else can come now. */
  readonly damagedPieces: ReadonlyArray<PieceIndex>
  readonly isOnlyDamagedLeft: boolean
  /** Whether a limit holds back requests. */
  readonly isRateLimited: boolean
}

/** What holds a torrent up. */
export type Bottleneck =
  /** Nothing: everything is stored, or what was to come has come. */
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Checking" }
  /** Every file with stored bytes is gone, and it waits for them. */
  | { readonly _tag: "FilesMissing" }
  /** Everything is stored, and the disk has not confirmed it yet. */
  | { readonly _tag: "Flushing" }
  | { readonly _tag: "Failed" }
  | { readonly _tag: "DiskFull"; readonly error: StorageError }
  | { readonly _tag: "StorageFailing"; readonly error: StorageError }
  /** No address is known, and every source that was asked failed. */
  | { readonly _tag: "SourcesFailing"; readonly source: string; readonly why: string }
  /** No address is known so far. */
  | { readonly _tag: "NobodyKnown" }
  /** Addresses are known, and none is connected. */
  | { readonly _tag: "NobodyConnected"; readonly knownPeers: number }
  /** The only copies of what is missing are damaged. */
  | { readonly _tag: "PiecesDamaged"; readonly pieces: ReadonlyArray<PieceIndex> }
  /** Nobody connected has anything that is missing here. */
  | { readonly _tag: "NobodyHasMore" }
  | { readonly _tag: "AllChoke"; readonly peers: number }
  | { readonly _tag: "RateLimited" }
  /** Pieces wait for the storage, and hold all buffers. */
  | { readonly _tag: "StorageSlow"; readonly pieces: number }
  /** Pieces wait for their digest, and hold all buffers. */
  | { readonly _tag: "VerifyingSlow"; readonly pieces: number }
  /** Peers would send more, but there is no memory for another piece. */
  | { readonly _tag: "BuffersFull" }
  /** The last pieces are all asked for; who has them sends no faster. */
  | { readonly _tag: "LastPieces" }
  | { readonly _tag: "PeersSlow"; readonly peers: number }

/** The answer. */
export const of = (facts: Facts): Bottleneck => {
  switch (facts.state) {
    case "Complete":
      return { _tag: "Nothing" }
    case "Checking":
    case "FilesMissing":
    case "Flushing":
    case "Failed":
      return { _tag: facts.state }
  }
  const { storageError: error } = facts
  if (error !== undefined) return { _tag: error.reason._tag === "DiskFull" ? "DiskFull" : "StorageFailing", error }
  return ofPeers(facts) ?? ofPipeline(facts)
}

const ofPeers = (facts: Facts): Bottleneck | undefined => {
  const { connectedPeers, failedSources, knownPeers } = facts
  if (connectedPeers === 0) {
    if (knownPeers > 0) return { _tag: "NobodyConnected", knownPeers }
    const [failure] = facts.answeringSources === 0 ? failedSources : []
    return failure === undefined
      ? { _tag: "NobodyKnown" }
      : { _tag: "SourcesFailing", source: failure[0], why: failure[1] }
  }
  const { damagedPieces: pieces } = facts
  if (pieces.length > 0 && facts.isOnlyDamagedLeft) return { _tag: "PiecesDamaged", pieces }
  if (facts.interestingPeers === 0) return { _tag: "NobodyHasMore" }
  if (facts.unchokingPeers === 0) return { _tag: "AllChoke", peers: facts.interestingPeers }
  return undefined
}

const ofPipeline = (facts: Facts): Bottleneck => {
  if (facts.isRateLimited) return { _tag: "RateLimited" }
  const isFull = facts.lentBuffers > 0 && (facts.lentBuffers >= facts.bufferCapacity || facts.isBudgetSpent)
  if (facts.hungryPeers > 0 && isFull) {
    const waiting = facts.writingPieces + facts.verifyingPieces
    // More than half of the memory waits for one of the stages behind the peers.
    if (waiting * 2 > facts.lentBuffers) {
      return facts.writingPieces >= facts.verifyingPieces
        ? { _tag: "StorageSlow", pieces: facts.writingPieces }
        : { _tag: "VerifyingSlow", pieces: facts.verifyingPieces }
    }
    if (facts.missingPieces > 0) return { _tag: "BuffersFull" }
  }
  if (facts.missingPieces === 0 && facts.hungryPeers > 0) return { _tag: "LastPieces" }
  return { _tag: "PeersSlow", peers: facts.unchokingPeers }
}

/** Pieces that are named one by one; more would only fill the line. */
const maxNamed = 5

const naming = (pieces: ReadonlyArray<PieceIndex>): string => {
  if (pieces.length === 1) return `piece ${pieces[0]}`
  const rest = pieces.length - maxNamed
  return `pieces ${pieces.slice(0, maxNamed).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`
}

/** The answer as a short clause for people, lower case and without a full stop; empty where nothing holds it up. */
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
    case "Failed":
      return "it failed"
    case "DiskFull":
    case "StorageFailing":
      return self.error.message
    case "SourcesFailing":
      return `no peers: ${self.source}: ${self.why}`
    case "NobodyKnown":
      return "no peers found yet"
    case "NobodyConnected":
      return `none of ${self.knownPeers} known peers can be reached`
    case "PiecesDamaged":
      return `the only copies of ${naming(self.pieces)} are damaged; asking again now and then`
    case "NobodyHasMore":
      return "no connected peer has what is missing"
    case "AllChoke":
      return self.peers === 1 ? "the one peer lets us wait" : `all ${self.peers} peers let us wait`
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
      return self.peers === 1 ? "as fast as the one peer sends" : `as fast as ${self.peers} peers send`
  }
}
