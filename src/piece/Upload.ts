/**
 * What the sessions of one torrent share while they give it to others: how stored pieces are read, which of them cannot
 * be read any more, and how much was given. Whom to give to is `swarm/Choker.ts`'s matter, what each peer asked for
 * `peer/UploadQueue.ts`'s.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceGeometry, PieceIndex } from "../base/PieceGeometry.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import * as ReadCache from "../storage/ReadCache.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"

/** The shared state. */
export interface Upload {
  readonly reader: ReadCache.Reader
  /**
   * Pieces that the storage has lost: who asks for them is refused, and who connects is not told of them. They stay
   * stored for the download, as only a recheck can tell what is left.
   */
  readonly unreadable: Bitfield.Bitfield
  /** How fast payload is sent. */
  readonly rate: RateMeter.RateMeter
  /** Payload bytes sent. */
  uploadedBytes: number
  /** Hears of a piece that cannot be read, once; where that may pass, each time. */
  readonly onFailure: (piece: PieceIndex, error: StorageError) => void
}

/** Nothing given yet; reads until the scope closes. */
export const make = Effect.fnUntraced(function* (options: {
  readonly geometry: PieceGeometry
  readonly storage: Pick<TorrentStorage, "readBlock">
  readonly cache: ReadCache.ReadCache
  readonly onFailure: Upload["onFailure"]
}) {
  const { cache, geometry, onFailure, storage } = options
  const self: Upload = {
    reader: yield* ReadCache.open(cache, { geometry, storage }),
    unreadable: Bitfield.make(geometry.pieceCount),
    rate: RateMeter.make({ now: yield* Monotonic.now }),
    uploadedBytes: 0,
    onFailure
  }
  return self
})

/** The pieces of `stored` that peers may be told of: `stored` itself where all can be read, else a copy. */
export const offered = (self: Upload, stored: Bitfield.Bitfield): Bitfield.Bitfield => {
  if (self.unreadable.count === 0) return stored
  const offered = Bitfield.copy(stored)
  for (const piece of Bitfield.indices(self.unreadable)) Bitfield.remove(offered, piece)
  return offered
}

/**
 * Gives bytes of a stored piece to `take`, which must copy what it wants to keep, and tells what it gives; `undefined`
 * where they could not be read.
 */
export const read = <A>(
  self: Upload,
  piece: PieceIndex,
  begin: number,
  length: number,
  take: (bytes: Uint8Array) => A
): Effect.Effect<A | undefined> =>
  Effect.catch(ReadCache.read(self.reader, piece, begin, length, take), (error) =>
    Effect.sync(() => {
      const isLost = error.reason._tag !== "StorageUnavailable"
      if (!isLost || Bitfield.add(self.unreadable, piece)) self.onFailure(piece, error)
      return undefined
    })
  )

/** Payload was sent to a peer. */
export const sent = (self: Upload, bytes: number, now: number): void => {
  self.uploadedBytes += bytes
  RateMeter.add(self.rate, bytes, now)
}
