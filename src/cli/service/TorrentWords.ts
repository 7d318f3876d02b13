/**
 * What people read of a torrent of a service: its state in a word, its share, the time that is left.
 */
import * as InfoHash from "../../base/InfoHash.ts"
import type { TorrentItem } from "../../control/api/TorrentModel.ts"
import * as TerminalText from "../TerminalText.ts"
import * as Units from "../Units.ts"

/** How a state looks: good, at work, in need of somebody, or at rest. */
export type Mood = "good" | "busy" | "bad" | "rest"

/** The state in a word of at most 11 columns, its mood, and its rank in a list of what goes on. */
export interface State {
  readonly word: string
  readonly mood: Mood
  readonly rank: number
}

const states = {
  downloading: { word: "downloading", mood: "busy", rank: 0 },
  metadata: { word: "metadata", mood: "busy", rank: 0 },
  checking: { word: "checking", mood: "busy", rank: 0 },
  moving: { word: "moving", mood: "busy", rank: 0 },
  flushing: { word: "flushing", mood: "busy", rank: 0 },
  diskFails: { word: "disk fails", mood: "bad", rank: 0 },
  seeding: { word: "seeding", mood: "good", rank: 1 },
  failed: { word: "failed", mood: "bad", rank: 2 },
  noFiles: { word: "no files", mood: "bad", rank: 2 },
  queued: { word: "queued", mood: "rest", rank: 3 },
  paused: { word: "paused", mood: "rest", rank: 4 },
  finished: { word: "finished", mood: "good", rank: 5 },
  stopped: { word: "stopped", mood: "rest", rank: 5 },
  removing: { word: "removing", mood: "rest", rank: 5 }
} as const satisfies Readonly<Record<string, State>>

/** The state of a torrent in a word. */
export const stateOf = ({ state }: TorrentItem): State => {
  switch (state._tag) {
    case "Queued":
      return states.queued
    case "Moving":
      return states.moving
    case "Paused":
      return states.paused
    case "Failed":
      return states.failed
    case "GoalReached":
      return states.finished
    case "Removing":
      return states.removing
    case "Active":
      return stateOfActive(state.state._tag)
  }
}

type Active = Extract<TorrentItem["state"], { readonly _tag: "Active" }>["state"]["_tag"]

const stateOfActive = (tag: Active): State => {
  switch (tag) {
    case "FetchingMetadata":
      return states.metadata
    case "Checking":
      return states.checking
    case "FilesMissing":
      return states.noFiles
    case "Downloading":
      return states.downloading
    case "StorageFailing":
      return states.diskFails
    case "Flushing":
      return states.flushing
    case "Complete":
      return states.seeding
    case "Paused":
      return states.paused
    case "Stopped":
      return states.stopped
    case "Failed":
      return states.failed
  }
}

/** Why the torrent needs somebody, as a clean text; `undefined` if it does not. */
export const troubleOf = ({ state }: TorrentItem): string | undefined => {
  if (state._tag === "Failed") return TerminalText.clean(state.message)
  if (state._tag !== "Active") return undefined
  if (state.state._tag === "FilesMissing") return "every file with stored bytes is gone"
  return "error" in state.state ? TerminalText.clean(state.state.error.message) : undefined
}

/** The name as a clean text. */
export const nameOf = ({ name }: { readonly name: string }): string => TerminalText.clean(name)

/** The first digits of the info hash, enough to tell torrents apart. */
export const shortHash = ({ infoHash }: { readonly infoHash: InfoHash.InfoHash }): string =>
  InfoHash.toHex(infoHash).slice(0, 8)

/** The stored and the total bytes of what is wanted; `undefined` while that is not known. */
export const storedOf = ({ progress }: TorrentItem): readonly [stored: number, wanted: number] | undefined =>
  progress === undefined ? undefined : [progress.wantedBytes - progress.missingBytes, progress.wantedBytes]

/** The percentage of what is wanted that is stored; empty while it is not known. */
export const percentOf = (torrent: TorrentItem): string => {
  const stored = storedOf(torrent)
  return stored === undefined ? "" : Units.percent(...stored)
}

/** The size of what is wanted; empty while it is not known. */
export const sizeOf = ({ progress }: TorrentItem): string =>
  progress === undefined ? "" : Units.bytes(progress.wantedBytes)

/** A rate without `/s`, for a column whose title says so; empty if nothing moves. */
export const rateOf = (bytesPerSecond: number): string => (bytesPerSecond >= 1 ? Units.bytes(bytesPerSecond) : "")

/** The time that is left at the rate of now; empty if nothing is missing or nothing comes. */
export const leftOf = ({ downloadBytesPerSecond, progress }: TorrentItem): string =>
  progress === undefined || progress.missingBytes === 0 || downloadBytesPerSecond < 1
    ? ""
    : Units.duration(Math.ceil(progress.missingBytes / downloadBytesPerSecond))

/** The share ratio; empty if nothing was uploaded. */
export const ratioOf = ({ shareRatio }: TorrentItem): string => (shareRatio > 0 ? shareRatio.toFixed(2) : "")

/** The number of connected peers; empty if there is none. */
export const peersOf = ({ connectedPeers }: TorrentItem): string => (connectedPeers > 0 ? String(connectedPeers) : "")
