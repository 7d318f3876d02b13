/**
 * The output of a download: each event as a JSON line for programs, and as a note for people if it matters to them.
 *
 * Lines of `--json` are objects, and their `event` says which other fields they have. Peers are `host:port`, sizes are
 * bytes:
 *
 *   listening  port                          peers can connect to this TCP port
 *   checking   checked, pieces               stored pieces are being verified
 *   started    infoHash, name, stored, missing, pieces, bytes, storedBytes: `missing` pieces will be fetched
 *   peer       address, connected, why?      a peer connected, or disconnected and why
 *   unreachable  address, why                a connection could not be made; it is tried again later
 *   closed     peers, why                    so many peers closed before the handshake, or called without one
 *   banned     address, why                  a peer sent wrong bytes and is refused for a while
 *   piece      index, stored                 a piece was verified and stored; how many are stored now
 *   rejected   index, peers                  a piece did not match its digest; nothing of it was written
 *   damaged    index, peer?                  the only source of a piece sent wrong bytes; it is asked again later
 *   tracker    url, peers | error            a tracker answered or failed; it is asked again later
 *   refused    trackers, url, error          every tracker refused for good, one of them for this reason
 *   storage    ok, index?, reason?, error?   a write, or a flush (no `index`), failed and is retried; `ok` once it works
 *   unreadable index, error                  a stored piece could not be read for a peer, and is not uploaded for now
 *   readable   index                         such a piece can be read again
 *   missing    files, paths                  every file with stored bytes is gone; the first of their paths
 *   changed    paths                         these files were changed by others; their pieces are verified again
 *   lost       pieces, paths                 stored pieces that are missing or wrong on disk, and are fetched again
 *   flushing   stored                        every wanted piece is stored, and the files are being flushed
 *   resume     error                         resume data could not be written
 *   progress   state, bottleneck and why (what limits its speed), stored, pieces, bytes, storedBytes,
 *              wantedBytes, missingBytes, downloadedBytes, wastedBytes, bytesPerSecond, uploadedBytes,
 *              uploadBytesPerSecond, shareRatio, peers, unchokedPeers, knownPeers, bannedPeers, bufferedBytes,
 *              rejectedPieces, damagedPieces (the indices of pieces whose only copies are damaged), unreadablePieces:
 *              once a second
 *   complete   stored, pieces, bytes, downloadedBytes, wastedBytes, uploadedBytes, seconds: the last line of a success,
 *              unless it seeds
 *   seeded     reached                       ratio or time: the limit that was reached; last line of a seeding success
 *   stopped    stored?, pieces?, storedBytes?  a signal ended it, and this is kept; exit code 130 follows. Without them
 *              the metadata of a magnet link was not found yet, and what is stored is kept
 *   failed     error                         the last line of a failure; exit code 1 follows
 *
 * Later versions may add fields, so readers must ignore unknown ones.
 */
import * as InfoHash from "../base/InfoHash.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as Storage from "../storage/Storage.ts"
import * as Bottleneck from "../torrent/Bottleneck.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentState, TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as Units from "./Units.ts"

/** A line of `--json`. */
export type Line = { readonly event: string } & Readonly<Record<string, unknown>>

/** The source name of addresses that the user gave, which is not a tracker. */
const givenSource = "given"

/**
 * The line of an event; `undefined` for events that `complete` or `failed` report, and for those not reported at all.
 */
export const line = (event: TorrentEvent, metainfo: Metainfo, status: TorrentStatus): Line | undefined => {
  switch (event._tag) {
    case "Checking":
      return { event: "checking", checked: event.checkedPieces, pieces: event.totalPieces }
    case "Started":
      return {
        event: "started",
        infoHash: InfoHash.toHex(metainfo.infoHash),
        name: metainfo.name,
        stored: event.storedPieces,
        missing: event.missingPieces,
        pieces: event.totalPieces,
        bytes: metainfo.layout.geometry.totalLength,
        storedBytes: status.storedBytes
      }
    case "PeerConnected":
      return { event: "peer", address: PeerAddress.format(event.address), connected: true }
    case "PeerDisconnected":
      return { event: "peer", address: PeerAddress.format(event.address), connected: false, why: event.why }
    case "PeerUnreachable":
      return { event: "unreachable", address: PeerAddress.format(event.address), why: event.why }
    case "PeersHungUp":
      return { event: "closed", peers: event.peers, why: Bottleneck.hangUp(event.peers) }
    case "PeerBanned":
      return { event: "banned", address: PeerAddress.format(event.address), why: event.why }
    case "PieceStored":
      return { event: "piece", index: event.piece, stored: event.storedPieces }
    case "PieceRejected":
      return { event: "rejected", index: event.piece, peers: event.contributors.map(PeerAddress.format) }
    case "PieceDamaged":
      return { event: "damaged", index: event.piece, peer: event.address && PeerAddress.format(event.address) }
    case "StorageFailed": {
      const { message, reason } = event.error
      return { event: "storage", ok: false, index: event.piece, reason: reason._tag, error: message }
    }
    case "StorageRecovered":
      return { event: "storage", ok: true }
    case "FlushFailed": {
      const { message, reason } = event.error
      return { event: "storage", ok: false, reason: reason._tag, error: message }
    }
    case "FilesMissing":
      return { event: "missing", files: event.missingFiles, paths: event.paths }
    case "FilesChanged":
      return { event: "changed", paths: event.paths }
    case "PiecesLost":
      return { event: "lost", pieces: event.pieces, paths: event.paths }
    case "Flushing":
      return { event: "flushing", stored: status.storedPieces }
    case "ReadFailed":
      return { event: "unreadable", index: event.piece, error: event.error.message }
    case "ReadRecovered":
      return { event: "readable", index: event.piece }
    case "SourceAnswered":
      return event.source === givenSource ? undefined : { event: "tracker", url: event.source, peers: event.peers }
    case "SourceFailed":
      return { event: "tracker", url: event.source, error: event.why }
    case "TrackersRefused":
      return { event: "refused", trackers: event.trackers, url: event.source, error: event.why }
    case "ResumeFailed":
      return { event: "resume", error: event.why }
    case "SeedingEnded":
      return { event: "seeded", reached: event.reached }
    // The command line fetches metadata by itself, and pauses nothing.
    case "MetadataFetched":
    case "Paused":
    case "Resumed":
    case "Completed":
    case "Failed":
      return undefined
  }
}

const states: Readonly<Record<TorrentState["_tag"], string>> = {
  FetchingMetadata: "fetching metadata",
  Checking: "checking",
  FilesMissing: "files missing",
  Downloading: "downloading",
  StorageFailing: "storage failing",
  Flushing: "flushing",
  Complete: "complete",
  Paused: "paused",
  Stopped: "stopped",
  Failed: "failed"
}

/** The `progress` line, written once a second. */
export const progress = (status: TorrentStatus): Line => ({
  event: "progress",
  state: states[status.state._tag],
  bottleneck: status.bottleneck._tag,
  why: Bottleneck.describe(status.bottleneck),
  stored: status.storedPieces,
  pieces: status.totalPieces,
  bytes: status.totalBytes,
  storedBytes: status.storedBytes,
  wantedBytes: status.wantedBytes,
  missingBytes: status.missingBytes,
  downloadedBytes: status.downloadedBytes,
  wastedBytes: status.wastedBytes,
  bytesPerSecond: Math.round(status.downloadBytesPerSecond),
  uploadedBytes: status.uploadedBytes,
  uploadBytesPerSecond: Math.round(status.uploadBytesPerSecond),
  peers: status.connectedPeers,
  shareRatio: Math.round(status.shareRatio * 1_000) / 1_000,
  unchokedPeers: status.unchokedPeers,
  knownPeers: status.knownPeers,
  bannedPeers: status.bannedPeers,
  bufferedBytes: status.bufferedBytes,
  rejectedPieces: status.rejectedPieces,
  damagedPieces: status.damagedPieces,
  unreadablePieces: status.unreadablePieces
})

/** The last line of a success that does not seed. */
export const complete = (status: TorrentStatus, seconds: number): Line => ({
  event: "complete",
  stored: status.storedPieces,
  pieces: status.totalPieces,
  bytes: status.totalBytes,
  downloadedBytes: status.downloadedBytes,
  wastedBytes: status.wastedBytes,
  uploadedBytes: status.uploadedBytes,
  seconds: Math.round(seconds * 1_000) / 1_000
})

/** Written if the engine listens, and before that if peers can connect while a magnet link is fetched. */
export const listening = (port: number): Line => ({ event: "listening", port })

/** The same for people. */
export const listeningNote = (port: number): string => `peers can connect to port ${port}`

/** The last line if a signal ended the command. */
export const stopped = (status: TorrentStatus): Line => ({
  event: "stopped",
  stored: status.storedPieces,
  pieces: status.totalPieces,
  storedBytes: status.storedBytes
})

/** The last line if a signal ended the command before the metadata of a magnet link was found. */
export const stoppedEarly: Line = { event: "stopped" }

/** The last line of a failure. */
export const failed = (why: string): Line => ({ event: "failed", error: why })

/** The first of some paths, and how many more there are. */
const firstOf = ([first, ...others]: ReadonlyArray<string>): string =>
  others.length === 0 ? (first ?? "files") : `${first} and ${Units.count(others.length, "more file")}`

/** Makes notes of events. A problem that continues is noted only once. */
export const makeNotes = (): ((event: TorrentEvent) => string | undefined) => {
  const told = new Map<string, string>()
  const once = (about: string, note: string): string | undefined => {
    if (told.get(about) === note) return undefined
    told.set(about, note)
    return note
  }
  return (event) => {
    switch (event._tag) {
      case "PeersHungUp":
        return Bottleneck.hangUp(event.peers)
      case "PeerBanned":
        return `${PeerAddress.format(event.address)} is banned: ${event.why}`
      case "PieceDamaged": {
        const only = event.address === undefined ? "" : `, ${PeerAddress.format(event.address)},`
        const note = `piece ${event.piece} is damaged: its only source${only} sent wrong bytes; it will be asked again later`
        return once(`piece ${event.piece}`, note)
      }
      case "PieceStored":
        told.delete(`piece ${event.piece}`)
        return undefined
      case "StorageFailed":
        // A refusal ends the download, and the command prints this same message.
        return Storage.isLasting(event.error) ? undefined : once("storage", `${event.error.message}; trying again`)
      case "FlushFailed":
        return once(
          "storage",
          `${event.error.message}; what was written since the last flush is verified and written again`
        )
      case "FilesChanged":
        return `${firstOf(event.paths)} changed on disk; verifying`
      case "PiecesLost":
        return `${firstOf(event.paths)}: ${Units.count(event.pieces.length, "piece")} missing or wrong on disk; downloading again`
      case "StorageRecovered":
        told.delete("storage")
        return "the storage accepts pieces again"
      case "SourceAnswered":
        told.delete(event.source)
        return undefined
      case "SourceFailed":
        return once(event.source, `${event.source}: ${event.why}`)
      case "TrackersRefused": {
        const who = event.trackers === 1 ? "the only tracker" : `all ${event.trackers} trackers`
        return once(
          "refused",
          `${who} refused this torrent for good, so no peers are found; add a peer with --peer HOST:PORT`
        )
      }
      case "ReadRecovered":
        told.delete("reading")
        return undefined
      case "ReadFailed":
        return once("reading", `a piece could not be read for a peer: ${event.error.message}`)
      case "ResumeFailed":
        return once("resume", `the resume data could not be written: ${event.why}`)
      default:
        return undefined
    }
  }
}
