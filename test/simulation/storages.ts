/**
 * Storages that replace a step or two of another one, for one file alone. `FaultyStorage` cannot distinguish files
 * there.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Storage, StorageError, type StorageReason, type TorrentStorage } from "../../src/storage/Storage.ts"

/** Replaces some steps of every torrent. */
export const around =
  (change: (torrent: TorrentStorage) => Partial<TorrentStorage>) =>
  (storage: Storage["Service"]): Storage["Service"] => ({
    open: (options) => Effect.map(storage.open(options), (torrent) => ({ ...torrent, ...change(torrent) }))
  })

/**
 * A medium that is unplugged while `isAway`: no file can be seen on it. Writes that have begun go on, as into a cache.
 */
export const unpluggable = () => {
  const state = { isAway: false }
  const storage = around((torrent) => ({
    look: (files) => Effect.map(torrent.look(files), (seen) => (state.isAway ? files.map(() => undefined) : seen)),
    readBlock: (...block) =>
      Effect.map(torrent.readBlock(...block), (read) => (state.isAway ? { ...read, files: [] } : read))
  }))
  return { state, storage }
}

/** A medium that takes so much longer to look at files, and to move them. */
export const slowToLook = (time: Duration.Input) =>
  around((torrent) => ({
    look: (files) => Effect.delay(torrent.look(files), time),
    prepare: (files) => Effect.delay(torrent.prepare(files), time)
  }))

/** A medium that says how a flush went, and what the files were then, so much later. */
export const slowToFlush = (time: Duration.Input) =>
  around((torrent) => ({ flush: (files) => Effect.tap(torrent.flush(files), () => Effect.sleep(time)) }))

/** A medium on which one file cannot be claimed while there is a `reason`. */
export const refusing = (file: number, reason: StorageReason) => {
  const state: { reason: StorageReason | undefined } = { reason }
  const storage = around((torrent) => ({
    claim: (claims) =>
      state.reason !== undefined && claims.some((claim) => claim.file === file)
        ? Effect.fail(StorageError.of("claim", [state.reason]))
        : torrent.claim(claims)
  }))
  return { state, storage }
}
