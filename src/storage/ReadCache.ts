/**
 * What peers request, read from the storage in spans of 256 KiB and kept for a while: one read serves the neighbouring
 * blocks that a peer requests next, and every other peer that requests the same piece.
 *
 * Bounded in bytes over all torrents. When the cache is full, the least recently used span is dropped and its memory is
 * reused, because a fresh 256 KiB for each read costs more than the read. If all spans are being read or waited for,
 * the next read waits. A span is read once, however many callers wait for it, and the read continues if a caller stops
 * waiting. A failed read is not kept: the next request tries again.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { PieceGeometry, PieceIndex } from "../base/PieceGeometry.ts"
import * as Geometry from "../base/PieceGeometry.ts"
import type { StorageError, StoredBytes, TorrentStorage } from "./Storage.ts"

/** Bytes of a span, less at the end of a piece: a read of 256 KiB costs little more than one of a block. */
export const spanLength = 262_144

/** Bytes kept by default: 64 spans, several for each peer that is served at once. */
export const defaultMaxBytes = 16_777_216

interface Span {
  readonly reader: Reader
  readonly key: number
  /** Bytes that count as held: as many as a span of this torrent can have. */
  readonly length: number
  readonly done: Deferred.Deferred<void, StorageError>
  /** `undefined` during the read. */
  bytes: Uint8Array | undefined
  /** Callers that wait for the span and have not seen its bytes. */
  waiting: number
}

/** The spans of all torrents. */
export interface ReadCache {
  readonly maxBytes: number
  /** Bytes of the spans that are kept or being read. */
  heldBytes: number
  /** The least recently used comes first. */
  readonly spans: Set<Span>
  /** Opens when a span that was in use becomes free to drop. */
  readonly freed: Latch.Latch
}

/** An empty cache of at most `maxBytes`, at least one span. */
export const make = (maxBytes = defaultMaxBytes): ReadCache => ({
  maxBytes: Math.max(maxBytes, spanLength),
  heldBytes: 0,
  spans: new Set(),
  freed: Latch.makeUnsafe(false)
})

/** Reads one torrent. */
export interface Reader {
  readonly cache: ReadCache
  readonly storage: Pick<TorrentStorage, "readBlock">
  readonly geometry: PieceGeometry
  readonly spansPerPiece: number
  /** Bytes in the longest of its spans. */
  readonly spanLength: number
  readonly spans: Map<number, Span>
  readonly scope: Scope.Scope
}

/** Reads a torrent's stored pieces until the scope closes, when its spans are forgotten. */
export const open = Effect.fnUntraced(function* (
  cache: ReadCache,
  options: Pick<Reader, "geometry" | "storage">
): Effect.fn.Return<Reader, never, Scope.Scope> {
  const self: Reader = {
    ...options,
    cache,
    spansPerPiece: Math.ceil(options.geometry.pieceLength / spanLength),
    spanLength: Math.min(spanLength, options.geometry.pieceLength),
    spans: new Map(),
    scope: yield* Effect.scope
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const span of [...self.spans.values()]) forget(span)
    })
  )
  return self
})

/** Bytes from `begin` to the end of its span. A read of no more than these copies nothing. */
export const lengthToSpanEnd = (begin: number): number => spanLength - (begin % spanLength)

/**
 * Passes `length` bytes from `begin` of a stored piece to `take`, which must copy what it wants to keep: the memory is
 * shared and reused. If the storage fails, so do all callers that wait for the same span.
 */
export const read = <A>(
  self: Reader,
  piece: PieceIndex,
  begin: number,
  length: number,
  take: (bytes: Uint8Array) => A
): Effect.Effect<A, StorageError> => {
  const offset = begin % spanLength
  if (offset + length > spanLength) return readAcross(self, piece, begin, length, take)
  return withSpan(self, piece, Math.floor(begin / spanLength), (bytes) => take(bytes.subarray(offset, offset + length)))
}

/** Reads over the border of spans. Blocks lie within a span, so no known client needs this, but a request may. */
const readAcross = Effect.fnUntraced(function* <A>(
  self: Reader,
  piece: PieceIndex,
  begin: number,
  length: number,
  take: (bytes: Uint8Array) => A
) {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; ) {
    const count = Math.min(length - at, lengthToSpanEnd(begin + at))
    yield* read(self, piece, begin + at, count, (part) => bytes.set(part, at))
    at += count
  }
  return take(bytes)
})

const withSpan = <A>(
  self: Reader,
  piece: PieceIndex,
  index: number,
  take: (bytes: Uint8Array) => A
): Effect.Effect<A, StorageError> =>
  Effect.uninterruptibleMask((restore) => {
    const { cache } = self
    const key = spanOf(self, piece, index * spanLength)
    const found = self.spans.get(key)
    if (found !== undefined) {
      cache.spans.delete(found)
      cache.spans.add(found)
      return found.bytes === undefined ? whenRead(found, take, restore) : Effect.succeed(take(found.bytes))
    }
    const room = makeRoom(cache, self.spanLength)
    if (room === undefined) {
      cache.freed.closeUnsafe()
      return restore(Effect.andThen(cache.freed.await, withSpan(self, piece, index, take)))
    }
    const added = add(self, key)
    const reading = fill(added, piece, index * spanLength, room.memory)
    return whenRead(added, take, (waiting) => Effect.andThen(reading, restore(waiting)))
  })

/**
 * The bytes that `read` would pass on, if their span has been read and they do not cross its border. They must be used
 * before anything else happens.
 */
export const heldUnsafe = (self: Reader, piece: PieceIndex, begin: number, length: number): Uint8Array | undefined => {
  const offset = begin % spanLength
  const found = self.spans.get(spanOf(self, piece, begin))
  if (found?.bytes === undefined || offset + length > spanLength) return undefined
  self.cache.spans.delete(found)
  self.cache.spans.add(found)
  return found.bytes.subarray(offset, offset + length)
}

/** The number of the span that `begin` lies in, among all spans of the torrent. */
export const spanOf = (self: Reader, piece: PieceIndex, begin: number): number =>
  piece * self.spansPerPiece + Math.floor(begin / spanLength)

/** Begins to read the span around `begin`, which will be requested soon, if there is room. Does not wait. */
export const readAhead = (self: Reader, piece: PieceIndex, begin: number): Effect.Effect<void> =>
  // Uninterruptible, because others may wait for this span, and nobody else would read it.
  Effect.uninterruptible(
    Effect.suspend(() => {
      const key = spanOf(self, piece, begin)
      if (self.spans.has(key)) return Effect.void
      const room = makeRoom(self.cache, self.spanLength)
      return room === undefined ? Effect.void : fill(add(self, key), piece, begin - (begin % spanLength), room.memory)
    })
  )

const add = (reader: Reader, key: number): Span => {
  const { cache, spanLength: length } = reader
  const span: Span = { reader, key, length, done: Deferred.makeUnsafe(), bytes: undefined, waiting: 0 }
  reader.spans.set(key, span)
  cache.spans.add(span)
  cache.heldBytes += length
  return span
}

/** A caller that waits keeps the span in its memory until it has seen the bytes. */
const whenRead = <A>(
  span: Span,
  take: (bytes: Uint8Array) => A,
  around: (waiting: Effect.Effect<void, StorageError>) => Effect.Effect<void, StorageError>
): Effect.Effect<A, StorageError> => {
  span.waiting++
  return Effect.ensuring(
    Effect.map(around(Deferred.await(span.done)), () => take(span.bytes!)),
    Effect.sync(() => {
      if (--span.waiting === 0) span.reader.cache.freed.openUnsafe()
    })
  )
}

/**
 * Drops the least recently used spans until `length` bytes are free. Returns memory of that length if a dropped span
 * had it; `undefined` if the spans in use leave no room.
 */
const makeRoom = (self: ReadCache, length: number): { readonly memory: Uint8Array | undefined } | undefined => {
  let memory: Uint8Array | undefined
  for (const span of self.spans) {
    if (self.heldBytes + length <= self.maxBytes) break
    if (span.bytes === undefined || span.waiting > 0) continue
    forget(span)
    const { buffer } = span.bytes
    if (buffer.byteLength === length) memory = new Uint8Array(buffer)
  }
  return self.heldBytes + length <= self.maxBytes ? { memory } : undefined
}

const forget = (span: Span): void => {
  const { cache, spans } = span.reader
  if (!cache.spans.delete(span)) return
  spans.delete(span.key)
  cache.heldBytes -= span.length
}

/** Starts to read a span, in the scope of its torrent, so that a caller that stops waiting does not end the read. */
const fill = (span: Span, piece: PieceIndex, begin: number, memory: Uint8Array | undefined): Effect.Effect<void> => {
  const { cache, geometry, scope, spanLength, storage } = span.reader
  const length = Math.min(spanLength, Geometry.pieceSize(geometry, piece) - begin)
  let hasBegun = false
  const end = (exit: Exit.Exit<StoredBytes, StorageError>): void => {
    if (Exit.isSuccess(exit)) span.bytes = exit.value.bytes
    else forget(span)
    Deferred.doneUnsafe(span.done, Exit.asVoid(exit))
    cache.freed.openUnsafe()
  }
  const filling = Effect.suspend(() => {
    hasBegun = true
    return storage.readBlock(piece, begin, length, memory ?? new Uint8Array(spanLength))
  }).pipe(
    Effect.onExit((exit) => Effect.sync(() => end(exit))),
    Effect.ignoreCause
  )
  return Effect.map(Effect.forkIn(filling, scope, { startImmediately: true }), (fiber) => {
    // In a closed scope the fiber never runs. Its span would take room in the cache of all torrents for ever.
    if (!hasBegun && fiber.pollUnsafe() !== undefined) end(Exit.interrupt())
  })
}
