/**
 * What the sessions of one torrent share while they give it to others: how stored pieces are read, which of them cannot
 * be read any more, and how much was given. Whom to give to is `swarm/Choker.ts`'s matter, what each peer asked for
 * `peer/UploadQueue.ts`'s.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceGeometry, PieceIndex } from "../base/PieceGeometry.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import * as ReadCache from "../storage/ReadCache.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as Resting from "../supply/Resting.ts"

/** How long a lost piece is left alone at first (milliseconds); looking costs the read of a piece. */
export const afterLoss = 30_000

/** How often it is seen which pieces are due. */
const lookEvery = "5 seconds"

/** The shared state. */
export interface Upload {
  readonly reader: ReadCache.Reader
  /**
   * Pieces that the storage has lost: whoever asks for them is refused, and whoever connects is not told of them. They
   * stay stored for the download, because they may come back (`recover`).
   */
  readonly unreadable: Bitfield.Bitfield
  /** When each of them is looked at again. */
  readonly lost: Resting.Resting
  /** How fast payload is sent. */
  readonly rate: RateMeter.RateMeter
  /** Payload bytes sent. */
  uploadedBytes: number
  readonly stored: Bitfield.Bitfield
  readonly onFailure: (piece: PieceIndex, error: StorageError, isLost: boolean) => void
}

/** Makes an upload that has sent nothing yet; it reads until the scope closes. */
export const make = Effect.fnUntraced(function* (options: {
  readonly geometry: PieceGeometry
  readonly storage: Pick<TorrentStorage, "readBlock">
  /** The stored pieces of the download. What is not stored any more is refused anyway, and not reported. */
  readonly stored: Bitfield.Bitfield
  readonly cache: ReadCache.ReadCache
  /** Called once for a piece that is lost, and each time if the failure may pass. */
  readonly onFailure: Upload["onFailure"]
}) {
  const { cache, geometry, onFailure, storage, stored } = options
  const self: Upload = {
    stored,
    reader: yield* ReadCache.open(cache, { geometry, storage }),
    unreadable: Bitfield.make(geometry.pieceCount),
    lost: Resting.make(),
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

/** A piece is stored anew: it can be read. */
export const noteStored = (self: Upload, piece: PieceIndex): void => void Bitfield.remove(self.unreadable, piece)

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
    Effect.map(Monotonic.now, (now) => {
      if (!Bitfield.has(self.stored, piece)) return undefined
      const isLost = error.reason._tag !== "StorageUnavailable"
      if (isLost) Resting.rest(self.lost, piece, afterLoss, now)
      if (!isLost || Bitfield.add(self.unreadable, piece)) self.onFailure(piece, error, isLost)
      return undefined
    })
  )

/**
 * Looks again for the pieces that were lost, each after a while and ever more rarely, for ever: a drive may be plugged in
 * again, or a permission given back. A piece counts as readable only if its digest is right, and `onRecovered` hears of it.
 */
export const recover = (
  self: Upload,
  options: {
    readonly storage: Pick<TorrentStorage, "digests" | "readBlock">
    readonly digestOf: (piece: PieceIndex) => Uint8Array
    readonly onRecovered: (piece: PieceIndex) => void
  }
): Effect.Effect<void> =>
  Effect.gen(function* () {
    Resting.wake(self.lost, yield* Monotonic.now)
    for (const index of [...Bitfield.indices(self.unreadable)]) {
      const piece = index as PieceIndex
      if (self.lost.resting.has(piece)) continue
      if (yield* isBack(options.storage, piece, options.digestOf(piece))) {
        // Its history is kept: one that is lost again rests longer.
        Bitfield.remove(self.unreadable, piece)
        options.onRecovered(piece)
      } else Resting.rest(self.lost, piece, afterLoss, yield* Monotonic.now)
    }
  }).pipe(Effect.repeat(Schedule.spaced(lookEvery)), Effect.asVoid)

/** Whether a piece can be read and is right: its digest may be taken where reads for us do not pass, as by the io-daemon. */
const isBack = Effect.fnUntraced(
  function* (storage: Pick<TorrentStorage, "digests" | "readBlock">, piece: PieceIndex, digest: Uint8Array) {
    yield* storage.readBlock(piece, 0, 1, new Uint8Array(1))
    const [stored] = yield* Stream.runCollect(storage.digests([piece]))
    return stored?.sha1 !== undefined && Bytes.equals(stored.sha1, digest)
  },
  Effect.orElseSucceed(() => false)
)

/** Payload was sent to a peer. */
export const sent = (self: Upload, bytes: number, now: number): void => {
  self.uploadedBytes += bytes
  RateMeter.add(self.rate, bytes, now)
}
