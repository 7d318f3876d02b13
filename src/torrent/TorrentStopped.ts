/**
 * What a program is told that waits for something of a torrent which ends before that, or that removes one.
 */
import * as Schema from "effect/Schema"
import * as InfoHash from "../base/InfoHash.ts"
import { ResumeError } from "../resume/ResumeStore.ts"
import { StorageError } from "../storage/Storage.ts"

/**
 * The torrent was stopped: its scope closed, or it was removed from the engine. Whatever was waited for does not happen
 * any more.
 */
export class TorrentStopped extends Schema.TaggedError<TorrentStopped>()("piecewise/TorrentStopped", {
  infoHash: InfoHash.InfoHash
}) {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} has stopped`
  }
}

/**
 * The torrent was stopped and is not in the engine any more, but not all that was to be deleted is. `error` says what
 * is left, and why: of files, `reason` and `others` have a path each. What is remembered of the torrent was kept, unless
 * it is what could not be deleted, so the torrent may be added and removed again.
 */
export class RemovalFailed extends Schema.TaggedError<RemovalFailed>()("piecewise/RemovalFailed", {
  infoHash: InfoHash.InfoHash,
  error: Schema.Union([StorageError, ResumeError])
}) {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} has stopped, but was not deleted: ${this.error.message}`
  }
}
