/**
 * Digests of stored pieces, read ahead of the hasher: while one buffer is hashed the other one is filled.
 *
 * Neighbouring small pieces are read together. Memory is two buffers for the whole stream, made when it starts. Where
 * the bytes come from is the caller's affair.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type { PieceHasher } from "../piece/PieceHasher.ts"
import type { StorageError, StoredDigest } from "./Storage.ts"

/**
 * Bytes read at once where pieces are smaller: 1 MiB. One read costs 20 to 70 us whatever its size, so reading pieces of
 * 16 KiB one by one would take longer than hashing them.
 */
export const readLength = 1 << 20

/** Pieces above this are not read ahead: 16 MiB, so that a recheck takes no more memory than a piece must. */
export const readAheadLimit = 16 << 20

/** Bytes of a read that are not stored, by their offsets in it. */
export interface MissingRange {
  readonly begin: number
  readonly end: number
}

/** A run of neighbouring pieces, in one read. */
interface Run {
  readonly pieces: ReadonlyArray<PieceIndex>
  readonly begin: number
  readonly length: number
}

/** Cuts `pieces` into runs that are contiguous and fit in `capacity`. */
const runsOf = function* (geometry: PieceGeometry.PieceGeometry, pieces: Iterable<PieceIndex>, capacity: number) {
  let run: Array<PieceIndex> = []
  let begin = 0
  let length = 0
  for (const piece of pieces) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    const offset = PieceGeometry.pieceOffset(geometry, piece)
    if (run.length > 0 && (offset !== begin + length || length + size > capacity)) {
      yield { pieces: run, begin, length } satisfies Run
      run = []
    }
    if (run.length === 0) {
      begin = offset
      length = 0
    }
    run.push(piece)
    length += size
  }
  if (run.length > 0) yield { pieces: run, begin, length } satisfies Run
}

/** Streams the digests of `pieces` in their order; a piece with a missing byte has none. */
export const make = (options: {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly hasher: PieceHasher["Service"]
  /** Fills `into` from offset `begin` of the torrent and tells what is not stored. */
  readonly read: (begin: number, into: Uint8Array) => Effect.Effect<ReadonlyArray<MissingRange>, StorageError>
  readonly pieces: Iterable<PieceIndex>
}): Stream.Stream<StoredDigest, StorageError> => {
  const { geometry, hasher } = options
  const capacity = Math.max(Math.min(geometry.pieceLength, geometry.totalLength), readLength)

  const start = Effect.gen(function* () {
    const scope = yield* Effect.scope
    const runs = runsOf(geometry, options.pieces, capacity)
    const buffers = Array.from({ length: capacity > readAheadLimit ? 1 : 2 }, () => new Uint8Array(capacity))
    let turn = 0

    const read = Effect.fnUntraced(function* (run: Run, buffer: Uint8Array) {
      const bytes = buffer.subarray(0, run.length)
      return { run, bytes, missing: yield* options.read(run.begin, bytes) }
    })

    // Started at once, so that the read is with the system before the hasher takes the thread.
    const readNext = Effect.fnUntraced(function* () {
      const next = runs.next()
      if (next.done) return undefined
      const buffer = buffers[turn++ % buffers.length]!
      return yield* Effect.forkIn(read(next.value, buffer), scope, { startImmediately: true })
    })

    const digestOf = (loaded: Effect.Success<ReturnType<typeof read>>, piece: PieceIndex) => {
      const begin = PieceGeometry.pieceOffset(geometry, piece) - loaded.run.begin
      const end = begin + PieceGeometry.pieceSize(geometry, piece)
      if (loaded.missing.some((range) => range.begin < end && begin < range.end)) {
        return Effect.succeed<StoredDigest>({ piece, sha1: undefined })
      }
      return Effect.map(hasher.sha1(loaded.bytes.subarray(begin, end)), (sha1): StoredDigest => ({ piece, sha1 }))
    }

    let ahead = yield* readNext()
    const pull = Effect.gen(function* () {
      if (ahead === undefined) return yield* Cause.done()
      const loaded = yield* Fiber.join(ahead)
      if (buffers.length > 1) ahead = yield* readNext()
      const digests = yield* Effect.forEach(loaded.run.pieces, (piece) => digestOf(loaded, piece))
      if (buffers.length === 1) ahead = yield* readNext()
      return digests as [StoredDigest, ...Array<StoredDigest>]
    })
    return Stream.fromPull(Effect.succeed(pull))
  })

  return Stream.unwrap(start)
}
