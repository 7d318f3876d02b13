/**
 * Torrents as a service sends them, for tests.
 */
import * as InfoHash from "../../../src/base/InfoHash.ts"
import type { ServiceStatus } from "../../../src/control/api/ServiceApi.ts"
import type { TorrentChanges, TorrentItem } from "../../../src/control/api/TorrentModel.ts"

export const MiB = 1_048_576

/** An info hash whose first digits are those given. */
export const hashOf = (digits: string): InfoHash.InfoHash => InfoHash.fromHex(digits.padEnd(40, "0"))!

/** A torrent of 200 MiB of which 50 MiB are missing. */
export const torrent = (digits: string, changes: Partial<TorrentItem> = {}): TorrentItem => ({
  infoHash: hashOf(digits),
  name: `torrent ${digits}`,
  position: Number.parseInt(digits, 16),
  labels: [],
  options: {},
  addedAtMillis: 1_700_000_000_000,
  progress: { totalBytes: 200 * MiB, wantedBytes: 200 * MiB, missingBytes: 50 * MiB },
  statistics: { downloadedBytes: 150 * MiB, uploadedBytes: 15 * MiB, seedingMillis: 0 },
  state: { _tag: "Active", state: { _tag: "Downloading" } },
  shareRatio: 0.075,
  downloadBytesPerSecond: 5 * MiB,
  uploadBytesPerSecond: 0.5 * MiB,
  connectedPeers: 12,
  ...changes
})

/** One that is complete and seeds. */
export const seed = (digits: string, changes: Partial<TorrentItem> = {}): TorrentItem =>
  torrent(digits, {
    state: { _tag: "Active", state: { _tag: "Complete" } },
    progress: { totalBytes: 700 * MiB, wantedBytes: 700 * MiB, missingBytes: 0 },
    downloadBytesPerSecond: 0,
    shareRatio: 1.5,
    ...changes
  })

/** One that is paused. */
export const paused = (digits: string, changes: Partial<TorrentItem> = {}): TorrentItem =>
  torrent(digits, {
    state: { _tag: "Paused" },
    downloadBytesPerSecond: 0,
    uploadBytesPerSecond: 0,
    connectedPeers: 0,
    ...changes
  })

/** A service with two torrents that download. */
export const service = (changes: Partial<ServiceStatus> = {}): ServiceStatus => ({
  version: "0.1.0",
  startedAtMillis: 1_700_000_000_000,
  directory: "/srv/downloads",
  torrents: { downloading: 2, seeding: 1, checking: 0, queued: 0, paused: 1, finished: 0, failed: 0 },
  downloadBytesPerSecond: 7.5 * MiB,
  uploadBytesPerSecond: 1.5 * MiB,
  connectedPeers: 31,
  port: 6881,
  freeBytes: 120 * 1_024 * MiB,
  ...changes
})

/** All torrents of a service. */
export const all = (torrents: ReadonlyArray<TorrentItem>): TorrentChanges => ({
  revision: "1",
  isAll: true,
  torrents,
  removed: []
})
