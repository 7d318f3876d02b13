/**
 * What the sessions of one torrent share when they upload it: how stored pieces are read, which of them cannot be read
 * any more, and how much was sent.
 *
 * Leaves to `swarm/Choker.ts` whom to upload to, and to `UploadQueue.ts` what each peer requested.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceGeometry, PieceIndex } from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import * as ReadCache from "../storage/ReadCache.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as Resting from "../supply/Resting.ts"

/** Milliseconds until a lost piece is looked at again for the first time; a look costs the read of a piece. */
export const afterLoss = 30_000

/** How often lost pieces are checked for those whose time has come. */
const lookEvery = "5 seconds"

/** The shared state. */
export interface Upload {
  readonly reader: ReadCache.Reader
  /**
   * Pieces that the storage has lost: requests for them are refused, and they are not announced to new peers. They stay
   * stored for the download, because they may come back (`recover`).
   */
  readonly unreadable: Bitfield.Bitfield
  /** When each lost piece is looked at again. */
  readonly lost: Resting.Resting
  /** Set when a piece is lost. */
  readonly someLost: Signal.Signal
  /** How fast payload is sent. */
  readonly rate: RateMeter.RateMeter
  /** Payload bytes sent. */
  uploadedBytes: number
  readonly stored: Bitfield.Bitfield
  readonly onFailure: (piece: PieceIndex, error: StorageError, isLost: boolean) => void
}

/** Makes the upload of a torrent, which reads until the scope closes. */
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
    someLost: Signal.make(),
    rate: RateMeter.make({ now: yield* Monotonic.now }),
    uploadedBytes: 0,
    onFailure
  }
  return self
})

/** The pieces of `stored` that may be announced to peers: `stored` itself if all can be read, otherwise a copy. */
export const offered = (self: Upload, stored: Bitfield.Bitfield): Bitfield.Bitfield => {
  if (self.unreadable.count === 0) return stored
  const offered = Bitfield.copy(stored)
  for (const piece of Bitfield.indices(self.unreadable)) Bitfield.remove(offered, piece)
  return offered
}

/** A piece is stored anew: it can be read. */
export const noteStored = (self: Upload, piece: PieceIndex): void => void Bitfield.remove(self.unreadable, piece)

/**
 * Reads bytes of a stored piece and passes them to `take`, which must copy what it wants to keep. Succeeds with what
 * `take` returns, or with `undefined` if the bytes could not be read.
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
      if (isLost) Signal.set(self.someLost)
      if (!isLost || Bitfield.add(self.unreadable, piece)) self.onFailure(piece, error, isLost)
      return undefined
    })
  )

/**
 * Looks again for the pieces that were lost, each after a while and less and less often, until the scope closes: a
 * drive may be plugged in again, or a permission restored. A piece counts as readable only if its digest is right;
 * `onRecovered` is called for it then.
 */
export const recover = (
  self: Upload,
  options: {
    readonly storage: Pick<TorrentStorage, "digests" | "readBlock">
    readonly digestOf: (piece: PieceIndex) => Uint8Array
    readonly onRecovered: (piece: PieceIndex) => void
  }
): Effect.Effect<void, never, Scope.Scope> => {
  const look = Effect.gen(function* () {
    yield* Effect.sleep(lookEvery)
    Resting.wake(self.lost, yield* Monotonic.now)
    for (const index of [...Bitfield.indices(self.unreadable)]) {
      const piece = index as PieceIndex
      if (self.lost.resting.has(piece)) continue
      if (yield* isBack(options.storage, piece, options.digestOf(piece))) {
        // Its history is kept, so that a piece that is lost again rests longer.
        Bitfield.remove(self.unreadable, piece)
        options.onRecovered(piece)
      } else Resting.rest(self.lost, piece, afterLoss, yield* Monotonic.now)
    }
  })
  const isAnyLost = () => self.unreadable.count > 0
  // Some were lost before a pause.
  if (isAnyLost()) Signal.set(self.someLost)
  return Signal.attend(self.someLost, Effect.whileLoop({ while: isAnyLost, body: () => look, step: () => {} }))
}

/**
 * Whether a piece can be read and is right. The read is separate, because the storage may compute the digest on a path
 * of its own.
 */
const isBack = Effect.fnUntraced(
  function* (storage: Pick<TorrentStorage, "digests" | "readBlock">, piece: PieceIndex, digest: Uint8Array) {
    yield* storage.readBlock(piece, 0, 1, new Uint8Array(1))
    const [stored] = yield* Stream.runCollect(storage.digests([piece]))
    return stored?.sha1 !== undefined && Bytes.equals(stored.sha1, digest)
  },
  Effect.orElseSucceed(() => false)
)

/** Counts payload that was sent to a peer. */
export const sent = (self: Upload, bytes: number, now: number): void => {
  self.uploadedBytes += bytes
  RateMeter.add(self.rate, bytes, now)
}
