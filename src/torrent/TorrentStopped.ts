/**
 * What a program that waits for something of a torrent is told when the torrent ends before that.
 */
import * as Data from "effect/Data"
import * as InfoHash from "../base/InfoHash.ts"

/**
 * The torrent was stopped: its scope closed, or it was removed from the engine. Whatever was waited for does not happen
 * any more.
 */
export class TorrentStopped extends Data.TaggedError("TorrentStopped")<{ readonly infoHash: InfoHash.InfoHash }> {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} has stopped`
  }
}
