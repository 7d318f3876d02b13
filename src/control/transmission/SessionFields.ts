/**
 * The fields of a session in the Transmission RPC (version 17). Pure.
 *
 * Much of what Transmission can be told is decided here when the service starts, or does not exist. The value says how
 * it is, and only those of `RpcArguments.SessionSet` can be changed.
 */
import type * as Effect from "effect/Effect"
import * as Size from "../../base/Size.ts"
import * as Version from "../../base/Version.ts"
import type { Policy } from "../../connect/Encryption.ts"
import type { SessionLimits } from "../../session/SavedTorrent.ts"
import * as TorrentFields from "./TorrentFields.ts"

/** The version of the RPC that is spoken, and the oldest one whose clients are understood. */
export const rpcVersion = 17
const oldestRpcVersion = 14

/** What a client chose in this run that has no effect while it is not enabled, or that no session keeps. */
export interface Choices {
  /** In kB a second. */
  readonly speedLimitDown: number
  readonly speedLimitUp: number
  readonly downloadQueueSize: number
  readonly seedQueueSize: number
  /** Whether torrents run that are added without a word about it. */
  readonly startAddedTorrents: boolean
}

/** What it is before anybody chose: as in Transmission. */
export const noChoices: Choices = {
  speedLimitDown: 100,
  speedLimitUp: 100,
  downloadQueueSize: 5,
  seedQueueSize: 10,
  startAddedTorrents: true
}

/** What a service was started with, and what its clients may do. */
export interface Options {
  /** Whether the DHT is used; default `true`. */
  readonly dht?: boolean | undefined
  /** How connections are encrypted; default `prefer`. */
  readonly encryption?: Policy | undefined
  /** The most connections of the engine; default 200. */
  readonly maxConnections?: number | undefined
  /**
   * The room on the disk of a folder, in bytes, for `free-space`, such as `NodeDiskSpace.of`. Default: it
   * is not known.
   */
  readonly space?:
    | ((
        folder: string
      ) => Effect.Effect<{ readonly freeBytes: number; readonly totalBytes: number }, { readonly message: string }>)
    | undefined
  /** Ends the service, for `session-close`. Started after the answer. Default: clients cannot. */
  readonly close?: Effect.Effect<void> | undefined
}

/** What the fields are made from. */
export interface SessionView {
  readonly limits: SessionLimits
  readonly choices: Choices
  readonly directory: string
  /** `undefined` if it is not known. */
  readonly freeBytes: number | undefined
  /** The port that peers are told; 0 if there is none. */
  readonly port: number
  /** The id that this client has sent. */
  readonly sessionId: string
}

const inKilobytes = (limit: Size.Size | undefined, otherwise: number): number => {
  const bytes = Size.bytesOf(limit)
  return bytes === undefined ? otherwise : Math.round(bytes / TorrentFields.kilobyte)
}

const units = {
  "speed-units": ["kB/s", "MB/s", "GB/s", "TB/s"],
  "speed-bytes": TorrentFields.kilobyte,
  "size-units": ["kB", "MB", "GB", "TB"],
  "size-bytes": 1_000,
  "memory-units": ["KiB", "MiB", "GiB", "TiB"],
  "memory-bytes": 1_024
}

/** By name. */
export const of = ({
  choices,
  directory,
  freeBytes,
  limits,
  port,
  sessionId
}: SessionView): Record<string, unknown> => ({
  "alt-speed-down": 0,
  "alt-speed-enabled": false,
  "alt-speed-time-begin": 0,
  "alt-speed-time-day": 0,
  "alt-speed-time-enabled": false,
  "alt-speed-time-end": 0,
  "alt-speed-up": 0,
  "blocklist-enabled": false,
  "blocklist-size": 0,
  "blocklist-url": "",
  "cache-size-mb": 0,
  "config-dir": "",
  "default-trackers": "",
  "download-dir": directory,
  "download-dir-free-space": freeBytes ?? -1,
  "download-queue-enabled": limits.downloads !== undefined,
  "download-queue-size": limits.downloads ?? choices.downloadQueueSize,
  "idle-seeding-limit": 0,
  "idle-seeding-limit-enabled": false,
  "incomplete-dir": directory,
  "incomplete-dir-enabled": false,
  "lpd-enabled": false,
  "peer-limit-per-torrent": TorrentFields.defaultPeerLimit,
  "peer-port": port,
  "peer-port-random-on-start": false,
  "pex-enabled": true,
  "port-forwarding-enabled": false,
  "queue-stalled-enabled": false,
  "queue-stalled-minutes": 0,
  "rename-partial-files": false,
  "rpc-version": rpcVersion,
  "rpc-version-minimum": oldestRpcVersion,
  "rpc-version-semver": "5.3.0",
  "script-torrent-added-enabled": false,
  "script-torrent-added-filename": "",
  "script-torrent-done-enabled": false,
  "script-torrent-done-filename": "",
  "script-torrent-done-seeding-enabled": false,
  "script-torrent-done-seeding-filename": "",
  "seed-queue-enabled": limits.seeds !== undefined,
  "seed-queue-size": limits.seeds ?? choices.seedQueueSize,
  seedRatioLimit: 0,
  seedRatioLimited: false,
  "session-id": sessionId,
  "speed-limit-down": inKilobytes(limits.downloadBytesPerSecond, choices.speedLimitDown),
  "speed-limit-down-enabled": limits.downloadBytesPerSecond !== undefined,
  "speed-limit-up": inKilobytes(limits.uploadBytesPerSecond, choices.speedLimitUp),
  "speed-limit-up-enabled": limits.uploadBytesPerSecond !== undefined,
  "start-added-torrents": choices.startAddedTorrents,
  "tcp-enabled": true,
  "trash-original-torrent-files": false,
  units,
  "utp-enabled": false,
  // Clients look for a version of Transmission that they know.
  version: `4.0.6 (piecewise ${Version.version})`
})

/** Those that a service was started with. */
export const ofOptions = ({ dht = true, encryption = "prefer", maxConnections = 200 }: Options) => ({
  "dht-enabled": dht,
  encryption: { prefer: "preferred", require: "required", off: "tolerated" }[encryption],
  "peer-limit-global": maxConnections
})
