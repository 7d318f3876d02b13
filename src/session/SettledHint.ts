/**
 * Forgets what another client has said of the pieces of a torrent, once all of it was verified.
 */
import * as Effect from "effect/Effect"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as SessionEntry from "./SessionEntry.ts"
import * as SessionRecord from "./SessionRecord.ts"

/** Whether a hint is saved, and every piece of it was verified. */
export const is = ({ saved }: SessionEntry.Entry, { state, totalBytes, unverifiedPieces }: TorrentStatus): boolean =>
  saved.hintedBytes !== undefined && !SessionEntry.unknown.has(state._tag) && totalBytes > 0 && unverifiedPieces === 0

/** Forgets the hint. If that fails, it is tried again with the next look at the torrent. */
export const forget = Effect.fnUntraced(
  function* (self: SessionRecord.SessionRecord, entry: SessionEntry.Entry) {
    const { infoHash } = entry
    yield* self.saving.withPermit(
      Effect.gen(function* () {
        const content = yield* self.store.content(infoHash)
        if (content === undefined || entry.saved.hintedBytes === undefined) return
        yield* SessionRecord.updateHeld(self, entry, (saved) => ({ ...saved, hintedBytes: undefined }), [
          { _tag: "SetFiles", infoHash, files: { ...content.files, hintedPieces: undefined } }
        ])
      })
    )
  },
  (effect) => Effect.catch(effect, (error) => Effect.logWarning("a hint that was verified is still saved", error))
)
