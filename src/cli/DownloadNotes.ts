/**
 * The notes of a download: one sentence for each event that people are told about.
 */
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Storage from "../storage/Storage.ts"
import * as Bottleneck from "../torrent/Bottleneck.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import * as Units from "./Units.ts"

/** Written if the engine listens, and before that if peers can connect while a magnet link is fetched. */
export const listeningNote = (port: number): string => `peers can connect to port ${port}`

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
        return Bottleneck.hangUp(event.peers, event.encryption)
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
