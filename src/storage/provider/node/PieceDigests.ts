/**
 * Digests of stored pieces, read ahead of the hasher: while some buffers are hashed, another one is filled.
 *
 * Neighbouring small pieces are read together. Memory is two buffers for the whole stream, made when it starts, or more
 * if the hasher takes several at once. The caller supplies the bytes. What it once reported as missing is not read
 * again, so a torrent of which nothing is stored costs one read a file, not one a piece.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../../base/Bitfield.ts"
import type { PieceIndex } from "../../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import type { PieceHasher } from "../../../hash/PieceHasher.ts"
import * as PieceMemory from "../../../hash/PieceMemory.ts"
import type { StorageError, StoredDigest } from "../../Storage.ts"

/**
 * Bytes read at once if pieces are smaller: 1 MiB. One read costs 20 to 70 us whatever its size, so reading pieces of
 * 16 KiB one by one would take longer than hashing them.
 */
export const readLength = 1 << 20

/**
 * Larger pieces are not read ahead: 8 MiB, so that a recheck takes a quarter of the engine's default budget at most.
 */
export const readAheadLimit = 8 << 20

const capacityOf = ({ pieceLength, totalLength }: PieceGeometry.PieceGeometry): number =>
  Math.min(totalLength, Math.max(pieceLength, readLength))

/** One buffer is filled while so many are digested as the hasher takes at once, within twice `readAheadLimit`. */
const bufferCountOf = (capacity: number, { atOnce = 1 }: Hasher): number =>
  capacity > readAheadLimit ? 1 : Math.min(1 + atOnce, Math.floor((2 * readAheadLimit) / capacity))

/** Bytes of the buffers of one stream. */
export const memoryOf = (geometry: PieceGeometry.PieceGeometry, hasher: Hasher): number => {
  const capacity = capacityOf(geometry)
  return capacity * bufferCountOf(capacity, hasher)
}

type Hasher = PieceHasher["Service"]

/** Missing pieces reported at once: few enough to take well under a millisecond. */
const maxMissingRun = 4096

/** Bytes that are not stored, by their offsets in the torrent; the range may extend beyond what was read. */
export interface MissingRange {
  readonly begin: number
  readonly end: number
}

/** A run of neighbouring pieces, in one read; or of any pieces that are known to be missing, in none. */
interface Run {
  readonly pieces: ReadonlyArray<PieceIndex>
  readonly isMissing: boolean
  readonly begin: number
  readonly length: number
}

/** A run that is being read into a buffer; without bytes if it is missing. */
interface Reading {
  readonly run: Run
  readonly buffer: Uint8Array
  readonly bytes: Fiber.Fiber<Uint8Array, StorageError> | undefined
}

/** A run that is being digested. */
interface Digesting {
  readonly buffer: Uint8Array
  readonly digests: Fiber.Fiber<ReadonlyArray<StoredDigest>, StorageError>
}

/** Cuts `pieces` into runs that fit in `capacity`; `missing` may grow from one run to the next. */
const runsOf = function* (
  geometry: PieceGeometry.PieceGeometry,
  pieces: Iterable<PieceIndex>,
  capacity: number,
  missing: Bitfield.Bitfield
) {
  let run: Array<PieceIndex> = []
  let isMissing = false
  let begin = 0
  let length = 0
  for (const piece of pieces) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    const offset = PieceGeometry.pieceOffset(geometry, piece)
    const fits = isMissing
      ? run.length < maxMissingRun && Bitfield.has(missing, piece)
      : offset === begin + length && length + size <= capacity && !Bitfield.has(missing, piece)
    if (run.length > 0 && !fits) {
      yield { pieces: run, isMissing, begin, length } satisfies Run
      run = []
    }
    if (run.length === 0) {
      isMissing = Bitfield.has(missing, piece)
      begin = offset
      length = 0
    }
    run.push(piece)
    length += size
  }
  if (run.length > 0) yield { pieces: run, isMissing, begin, length } satisfies Run
}

/** Streams the digests of `pieces` in their order; a piece with a missing byte has none. */
export const make = (options: {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly hasher: Hasher
  /** Fills `into` from offset `begin` of the torrent and returns which ranges are known to be missing. */
  readonly read: (begin: number, into: Uint8Array) => Effect.Effect<ReadonlyArray<MissingRange>, StorageError>
  readonly pieces: Iterable<PieceIndex>
}): Stream.Stream<StoredDigest, StorageError> => {
  const { geometry, hasher } = options
  const { atOnce = 1, memory = PieceMemory.plain } = hasher
  const capacity = capacityOf(geometry)

  const start = Effect.gen(function* () {
    const scope = yield* Effect.scope
    const missing = Bitfield.make(geometry.pieceCount)
    const runs = runsOf(geometry, options.pieces, capacity, missing)
    const free = Array.from({ length: bufferCountOf(capacity, hasher) }, () => memory.make(capacity))
    const reading: Array<Reading> = []
    const digesting: Array<Digesting> = []

    const noteMissing = ({ begin, end }: MissingRange) => {
      const { pieceLength } = geometry
      for (let piece = Math.floor(begin / pieceLength); piece * pieceLength < end; piece++) Bitfield.add(missing, piece)
    }

    const read = Effect.fnUntraced(function* (run: Run, buffer: Uint8Array) {
      const bytes = buffer.subarray(0, run.length)
      for (const range of yield* options.read(run.begin, bytes)) noteMissing(range)
      return bytes
    })

    /** Begins to read what there are buffers for, so that the system has it before the hasher takes this thread. */
    const readAhead = Effect.gen(function* () {
      for (let buffer = free.pop(); buffer !== undefined; buffer = free.pop()) {
        const next = runs.next()
        if (next.done) return
        const run = next.value
        const bytes = run.isMissing
          ? undefined
          : yield* Effect.forkIn(read(run, buffer), scope, { startImmediately: true })
        reading.push({ run, buffer, bytes })
      }
    })

    const digestOf = (run: Run, bytes: Uint8Array, piece: PieceIndex) => {
      if (Bitfield.has(missing, piece)) return Effect.succeed<StoredDigest>({ piece, sha1: undefined })
      const begin = PieceGeometry.pieceOffset(geometry, piece) - run.begin
      const end = begin + PieceGeometry.pieceSize(geometry, piece)
      return Effect.map(hasher.sha1(bytes.subarray(begin, end)), (sha1): StoredDigest => ({ piece, sha1 }))
    }

    const digestsOf = (run: Run, bytes: Uint8Array | undefined) =>
      bytes === undefined
        ? Effect.succeed(run.pieces.map((piece): StoredDigest => ({ piece, sha1: undefined })))
        : Effect.forEach(run.pieces, (piece) => digestOf(run, bytes, piece))

    /** Digests what is being read once it is there, so that a failed read fails in its turn. */
    const digestNext = Effect.fnUntraced(function* ({ buffer, bytes, run }: Reading) {
      const read = bytes === undefined ? Effect.undefined : Fiber.join(bytes)
      const digests = Effect.flatMap(read, (bytes) => digestsOf(run, bytes))
      digesting.push({ buffer, digests: yield* Effect.forkIn(digests, scope, { startImmediately: true }) })
    })

    yield* readAhead
    const pull = Effect.gen(function* () {
      while (reading.length > 0 && digesting.length < atOnce) yield* digestNext(reading.shift()!)
      const first = digesting.shift()
      if (first === undefined) return yield* Cause.done()
      const digests = yield* Fiber.join(first.digests)
      free.push(first.buffer)
      yield* readAhead
      return digests as [StoredDigest, ...Array<StoredDigest>]
    })
    return Stream.fromPull(Effect.succeed(pull))
  })

  return Stream.unwrap(start)
}
