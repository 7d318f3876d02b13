/**
 * Why the metadata of a magnet link is not found yet. Pure: it is told what the sources of peers report.
 */
import * as SourceUrl from "../base/SourceUrl.ts"
import type { PeerSourceEvent } from "../discovery/PeerSource.ts"
import type { MetadataProgress } from "../engine/Engine.ts"
import * as Bottleneck from "../torrent/Bottleneck.ts"

/** How the sources of peers are doing. */
export interface MagnetTrouble {
  /** How many trackers there are to ask. */
  readonly trackers: number
  /** Sources whose last answer was a failure, the latest last: why, and whether they refused for good. */
  readonly failed: Map<string, { readonly why: string; readonly isFinal: boolean }>
}

/** Makes a record without answers. */
export const make = (trackers: number): MagnetTrouble => ({ trackers, failed: new Map() })

/** Notes what a source reports. */
export const note = ({ failed }: MagnetTrouble, event: PeerSourceEvent): void => {
  failed.delete(event.source)
  if (event._tag === "Failed") failed.set(event.source, { why: event.why, isFinal: event.isFinal === true })
}

/** Returns what is wrong; `undefined` if nothing is known to be, or if a peer has the metadata. */
export const of = (
  { failed, trackers }: MagnetTrouble,
  { closedPeers, encryption, knownPeers, peers }: MetadataProgress
): Bottleneck.Bottleneck | undefined => {
  if (peers > 0) return undefined
  if (closedPeers > 0) return { _tag: "PeersHangUp", peers: closedPeers, encryption }
  // A tracker that failed says more of the torrent than the DHT.
  const all = [...failed]
  const latest = all.findLast(([source]) => SourceUrl.isTracker(source)) ?? all.at(-1)
  if (knownPeers > 0 || latest === undefined) return undefined
  const [source, { why }] = latest
  const haveRefused = trackers > 0 && [...failed.values()].filter(({ isFinal }) => isFinal).length >= trackers
  return { _tag: haveRefused ? "TrackersRefused" : "SourcesFailing", source, why }
}

/** Says why the metadata was not found, for whoever gives up: a clause in lower case. */
export const whyNotFound = (self: MagnetTrouble, progress: MetadataProgress): string => {
  const trouble = of(self, progress)
  const { knownPeers } = progress
  if (trouble !== undefined) return Bottleneck.describe(trouble)
  if (knownPeers === 0) return "no peers were found"
  return knownPeers === 1 ? "the only known peer has not sent it" : `none of ${knownPeers} known peers has sent it`
}
