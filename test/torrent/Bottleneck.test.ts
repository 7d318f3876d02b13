import { assert, describe, it } from "@effect/vitest"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { DiskFull, StorageError, StorageRefused } from "../../src/storage/Storage.ts"
import * as Bottleneck from "../../src/torrent/Bottleneck.ts"

/** A download that is as fast as its three peers. */
const fast: Bottleneck.Facts = {
  state: "Downloading",
  storageError: undefined,
  connectedPeers: 4,
  webSeeds: 0,
  knownPeers: 9,
  failedSources: new Map(),
  hungUpPeers: 0,
  encryption: "prefer",
  answeringSources: new Map([["udp://u.example", true]]),
  haveTrackersRefused: false,
  interestingPeers: 3,
  unchokingPeers: 3,
  hungryPeers: 0,
  lentBuffers: 12,
  bufferCapacity: 20,
  isBudgetSpent: false,
  verifyingPieces: 1,
  writingPieces: 2,
  missingPieces: 100,
  damagedPieces: [],
  isOnlyDamagedLeft: false,
  isRateLimited: false
}

const full = StorageError.of("write", [new DiskFull({ path: "d/a" })])
const refused = StorageError.of("write", [new StorageRefused({ path: "d/a", why: "permission denied" })])
const failed = new Map([["http://t.example", "connection refused"]])

const empty = new Map([["udp://u.example", false]])

const damaged = (...pieces: ReadonlyArray<number>) => ({ damagedPieces: pieces as ReadonlyArray<PieceIndex> })

/** What differs from `fast`, and what follows. */
const cases: ReadonlyArray<readonly [why: string, changes: Partial<Bottleneck.Facts>, tag: string, text: string]> = [
  ["nothing is wrong", {}, "PeersSlow", "as fast as 3 peers send"],
  ["there is one peer", { unchokingPeers: 1 }, "PeersSlow", "as fast as the only peer sends"],
  ["everything is stored", { state: "Complete" }, "Nothing", ""],
  ["stored pieces are verified", { state: "Checking" }, "Checking", "verifying what is stored"],
  ["it failed", { state: "Failed", storageError: refused }, "Failed", "it failed"],
  ["the disk is full", { storageError: full }, "DiskFull", "the disk is full: d/a cannot grow"],
  ["the disk refuses", { storageError: refused }, "StorageFailing", "d/a: permission denied"],
  [
    "no source has answered",
    { connectedPeers: 0, knownPeers: 0, answeringSources: new Map() },
    "NobodyKnown",
    "no peers found yet"
  ],
  [
    "all sources fail",
    { connectedPeers: 0, knownPeers: 0, answeringSources: new Map(), failedSources: failed },
    "SourcesFailing",
    "no peers: http://t.example: connection refused"
  ],
  [
    "all trackers refused for good",
    { connectedPeers: 0, knownPeers: 0, answeringSources: new Map(), failedSources: failed, haveTrackersRefused: true },
    "TrackersRefused",
    "no tracker serves this torrent: http://t.example: connection refused"
  ],
  [
    "one source fails and another knows nobody",
    { connectedPeers: 0, knownPeers: 0, answeringSources: empty, failedSources: failed },
    "SourcesFailing",
    "no peers: http://t.example: connection refused"
  ],
  [
    "the only source knows nobody",
    { connectedPeers: 0, knownPeers: 0, answeringSources: empty },
    "NobodyKnown",
    "no peers: udp://u.example knows none"
  ],
  [
    "some peers close before the handshake",
    { connectedPeers: 0, hungUpPeers: 2, encryption: "off" },
    "PeersHangUp",
    "2 peers closed at once; they may require encryption, which is off"
  ],
  [
    "the only peer closes before the handshake",
    { connectedPeers: 0, hungUpPeers: 1, encryption: "off" },
    "PeersHangUp",
    "1 peer closed at once; it may require encryption, which is off"
  ],
  [
    "peers close encrypted connections, and there are no others",
    { connectedPeers: 0, hungUpPeers: 1, encryption: "require" },
    "PeersHangUp",
    "1 peer closed at once, or does not encrypt, which is required here"
  ],
  [
    "peers close plain and encrypted connections",
    { connectedPeers: 0, hungUpPeers: 3 },
    "PeersHangUp",
    "3 peers closed at once, with and without encryption; they may have no room"
  ],
  ["no peer is reached", { connectedPeers: 0 }, "NobodyConnected", "none of 9 known peers has answered"],
  [
    "the only known peer is not reached",
    { connectedPeers: 0, knownPeers: 1 },
    "NobodyConnected",
    "the only known peer has not answered"
  ],
  [
    "what is left is damaged",
    { ...damaged(7), isOnlyDamagedLeft: true, interestingPeers: 0 },
    "PiecesDamaged",
    "the only copies of piece 7 are damaged; asking again now and then"
  ],
  [
    "much of what is left is damaged",
    { ...damaged(1, 2, 3, 4, 5, 6, 7), isOnlyDamagedLeft: true },
    "PiecesDamaged",
    "the only copies of pieces 1, 2, 3, 4, 5 and 2 more are damaged; asking again now and then"
  ],
  ["some of what is left is damaged", damaged(7), "PeersSlow", "as fast as 3 peers send"],
  ["no peer has a missing piece", { interestingPeers: 0 }, "NobodyHasMore", "no connected peer has what is missing"],
  ["all peers choke us", { unchokingPeers: 0 }, "AllChoke", "waiting for one of 3 peers to unchoke us"],
  [
    "the only peer chokes us",
    { unchokingPeers: 0, interestingPeers: 1 },
    "AllChoke",
    "waiting for the only peer to unchoke us"
  ],
  ["requests wait for a limit", { isRateLimited: true }, "RateLimited", "at the rate limit"],
  [
    "buffers wait for the storage",
    { hungryPeers: 2, lentBuffers: 20, writingPieces: 11 },
    "StorageSlow",
    "the storage is slow"
  ],
  [
    "buffers wait for their digest",
    { hungryPeers: 2, lentBuffers: 20, writingPieces: 2, verifyingPieces: 11 },
    "VerifyingSlow",
    "verifying is slow"
  ],
  ["buffers wait for peers", { hungryPeers: 2, lentBuffers: 20 }, "BuffersFull", "the buffers are full"],
  [
    "other torrents have the whole budget",
    { hungryPeers: 1, isBudgetSpent: true },
    "BuffersFull",
    "the buffers are full"
  ],
  [
    "other torrents have the whole budget, and it has no buffer at all",
    { hungryPeers: 1, isBudgetSpent: true, lentBuffers: 0, verifyingPieces: 0, writingPieces: 0 },
    "BuffersFull",
    "the buffers are full"
  ],
  [
    "all buffers are lent, and no peer would send more",
    { lentBuffers: 20, writingPieces: 15 },
    "PeersSlow",
    "as fast as 3 peers send"
  ],
  [
    "there are web seeds alone",
    { connectedPeers: 0, interestingPeers: 0, unchokingPeers: 0, webSeeds: 2 },
    "WebSeedsSlow",
    "as fast as 2 web seeds send"
  ],
  [
    "there is one web seed, and all peers choke us",
    { unchokingPeers: 0, webSeeds: 1 },
    "WebSeedsSlow",
    "as fast as the only web seed sends"
  ],
  ["there are peers and web seeds", { webSeeds: 2 }, "PeersSlow", "as fast as 3 peers send"],
  ["the last blocks are requested", { hungryPeers: 2, missingPieces: 0 }, "LastPieces", "waiting for the last blocks"]
]

describe("Bottleneck", () => {
  it.each(cases)("finds the reason if %s", (_, changes, tag, text) => {
    const bottleneck = Bottleneck.of({ ...fast, ...changes })

    assert.strictEqual(bottleneck._tag, tag)
    assert.strictEqual(Bottleneck.describe(bottleneck), text)
  })
})
