import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as ReadCache from "../../src/storage/ReadCache.ts"
import type { TorrentStorage } from "../../src/storage/Storage.ts"
import { NotStored, StorageError } from "../../src/storage/Storage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as Property from "../../src/testing/Property.ts"

const block = 16_384
const span = ReadCache.spanLength

/** Pieces of two spans and a half; the last is 1,000 bytes long. */
const geometry = PieceGeometry.make({ pieceLength: 2.5 * span, totalLength: 10 * 2.5 * span + 1_000 })

const contentOf = (piece: number, begin: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  KnownTorrent.fill(bytes, piece * geometry.pieceLength + begin, 1)
  return bytes
}

/**
 * A storage that counts its reads, and returns nothing before `gate` opens, if there is one. It reads into the memory
 * it is passed, and would overwrite another read whose memory is reused too early.
 */
const medium = (gate: Effect.Effect<void, StorageError> = Effect.void) => {
  const reads: Array<string> = []
  const memories = new Set<ArrayBufferLike>()
  const readBlock: TorrentStorage["readBlock"] = (piece, begin, length, into) =>
    Effect.suspend(() => {
      reads.push(`${piece}:${begin}+${length}`)
      const bytes = into!.subarray(0, length)
      memories.add(bytes.buffer)
      return Effect.map(gate, () => {
        KnownTorrent.fill(bytes, piece * geometry.pieceLength + begin, 1)
        return { bytes, files: [] }
      })
    })
  return { reads, memories, storage: { readBlock } }
}

const read = (reader: ReadCache.Reader, piece: number, begin: number, length = block) =>
  ReadCache.read(reader, piece as PieceIndex, begin, length, (bytes) => bytes.slice())

const lost = new StorageError({ operation: "read", reason: new NotStored({ path: "a.bin" }) })

describe("ReadCache", () => {
  it.effect("reads a span once, whichever of its blocks are requested", () =>
    Effect.gen(function* () {
      const { reads, storage } = medium()
      const reader = yield* ReadCache.open(ReadCache.make(), { geometry, storage })

      const blocks = yield* Effect.forEach([0, 1, 15, 3], (at) => read(reader, 1, at * block))
      const next = yield* read(reader, 1, span)
      const half = yield* read(reader, 1, 2 * span)

      assert.deepStrictEqual(reads, [`1:0+${span}`, `1:${span}+${span}`, `1:${2 * span}+${span / 2}`])
      assert.deepStrictEqual(blocks[2], contentOf(1, 15 * block, block))
      assert.deepStrictEqual([next, half], [contentOf(1, span, block), contentOf(1, 2 * span, block)])
    })
  )

  it.effect("reads a span that was begun to be read ahead, wherever that was interrupted", () =>
    Effect.gen(function* () {
      for (let operations = 3; operations < 20; operations++)
        for (let turns = 0; turns < 6; turns++) {
          const { storage } = medium()
          const reader = yield* ReadCache.open(ReadCache.make(), { geometry, storage })
          const ahead = yield* ReadCache.readAhead(reader, 1 as PieceIndex, 0).pipe(
            Effect.forkScoped,
            Effect.provideService(Scheduler.MaxOpsBeforeYield, operations)
          )
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          yield* Fiber.interrupt(ahead)

          const reading = yield* Effect.forkScoped(read(reader, 1, 0))
          for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow

          assert.isDefined(reading.pollUnsafe(), `${operations} operations, ${turns} turns`)
        }
    })
  )

  it.effect("keeps no room for what is read after its torrent has stopped", () =>
    Effect.gen(function* () {
      const cache = ReadCache.make(span)
      const { storage } = medium()
      const stopped = yield* Effect.scoped(ReadCache.open(cache, { geometry, storage }))
      const other = yield* ReadCache.open(cache, { geometry, storage })

      const late = yield* Effect.exit(Effect.forkChild(read(stopped, 1, 0)).pipe(Effect.flatMap(Fiber.join)))
      const block = yield* read(other, 2, 0)

      assert.isTrue(Exit.isFailure(late))
      assert.deepStrictEqual(block, contentOf(2, 0, block.length))
      assert.strictEqual(cache.heldBytes, span)
    })
  )

  it.effect("reads no further than the piece is long, and across spans if it must", () =>
    Effect.gen(function* () {
      const { reads, storage } = medium()
      const reader = yield* ReadCache.open(ReadCache.make(), { geometry, storage })

      const short = yield* read(reader, 10, 100, 900)
      const across = yield* read(reader, 0, span - 5, 10)

      assert.deepStrictEqual(reads, ["10:0+1000", `0:0+${span}`, `0:${span}+${span}`])
      assert.deepStrictEqual([short, across], [contentOf(10, 100, 900), contentOf(0, span - 5, 10)])
    })
  )

  it.effect("has one read under way for all callers, and continues when one of them is gone", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { reads, storage } = medium(Deferred.await(gate))
      const reader = yield* ReadCache.open(ReadCache.make(), { geometry, storage })
      const fork = Effect.forkChild(read(reader, 0, 0), { startImmediately: true })
      const [gone, stays] = [yield* fork, yield* fork]

      yield* Fiber.interrupt(gone)
      yield* Deferred.succeed(gate, undefined)

      assert.deepStrictEqual(yield* Fiber.join(stays), contentOf(0, 0, block))
      assert.deepStrictEqual(reads, [`0:0+${span}`])
    })
  )

  it.effect("reads ahead what will be requested, once, and only if there is room", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { reads, storage } = medium(Deferred.await(gate))
      const reader = yield* ReadCache.open(ReadCache.make(2 * span), { geometry, storage })

      yield* ReadCache.readAhead(reader, 0 as PieceIndex, block)
      yield* ReadCache.readAhead(reader, 0 as PieceIndex, 5 * block)
      yield* ReadCache.readAhead(reader, 1 as PieceIndex, span)
      yield* ReadCache.readAhead(reader, 2 as PieceIndex, 0)
      yield* Deferred.succeed(gate, undefined)
      const bytes = yield* read(reader, 1, span)

      assert.deepStrictEqual(reads, [`0:0+${span}`, `1:${span}+${span}`])
      assert.deepStrictEqual(bytes, contentOf(1, span, block))
    })
  )

  it.effect("fails all callers that wait for a span that cannot be read, and tries again for the next", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void, StorageError>()
      const { reads, storage } = medium(Deferred.await(gate))
      const cache = ReadCache.make()
      const reader = yield* ReadCache.open(cache, { geometry, storage })
      const fork = Effect.forkChild(Effect.flip(read(reader, 0, 0)), { startImmediately: true })
      const waiting = [yield* fork, yield* fork]

      yield* Deferred.fail(gate, lost)
      const errors = yield* Effect.forEach(waiting, Fiber.join)
      yield* Effect.flip(read(reader, 0, 0))

      assert.deepStrictEqual(errors, [lost, lost])
      assert.deepStrictEqual([reads.length, cache.heldBytes], [2, 0])
    })
  )

  it.effect("drops the least recently used span, and reuses its memory", () =>
    Effect.gen(function* () {
      const { memories, reads, storage } = medium()
      const reader = yield* ReadCache.open(ReadCache.make(2 * span), { geometry, storage })

      for (const [piece, begin] of [
        [0, 0],
        [1, 0],
        [0, block],
        [2, 0],
        [0, 0],
        [1, 0]
      ] as const)
        yield* read(reader, piece, begin)

      assert.deepStrictEqual(
        reads.map((name) => name[0]),
        ["0", "1", "2", "1"]
      )
      assert.strictEqual(memories.size, 2, "memory is used again")
    })
  )

  it.effect("waits for a read to end if everything it holds is being read", () =>
    Effect.gen(function* () {
      const gates = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      let begun = 0
      const storage = {
        readBlock: (piece: PieceIndex, begin: number, length: number) =>
          Effect.suspend(() =>
            Effect.as(Deferred.await(gates[begun++]!), { bytes: contentOf(piece, begin, length), files: [] })
          )
      }
      const cache = ReadCache.make(span)
      const reader = yield* ReadCache.open(cache, { geometry, storage })
      const first = yield* Effect.forkChild(read(reader, 0, 0), { startImmediately: true })
      const second = yield* Effect.forkChild(read(reader, 1, 0), { startImmediately: true })
      const before = begun

      yield* Deferred.succeed(gates[0]!, undefined)
      yield* Fiber.join(first)
      yield* Effect.yieldNow
      const after = begun
      yield* Deferred.succeed(gates[1]!, undefined)

      assert.deepStrictEqual([before, after, cache.heldBytes], [1, 2, span])
      assert.deepStrictEqual(yield* Fiber.join(second), contentOf(1, 0, block))
    })
  )

  it.effect("frees the memory of a torrent when it is closed, and stops its reads", () =>
    Effect.gen(function* () {
      const cache = ReadCache.make()
      const scope = yield* Scope.make()
      const reading = medium(Effect.never)
      const closing = yield* Scope.provide(ReadCache.open(cache, { geometry, storage: reading.storage }), scope)
      const staying = yield* ReadCache.open(cache, { geometry, storage: medium().storage })
      yield* read(staying, 0, 0)
      const waiting = yield* Effect.forkChild(read(closing, 0, 0), { startImmediately: true })
      const held = cache.heldBytes

      yield* Scope.close(scope, Exit.void)

      assert.isTrue(Exit.isFailure(yield* Fiber.await(waiting)))
      assert.deepStrictEqual([held, cache.heldBytes, cache.spans.size], [2 * span, span, 1])
    })
  )

  it.effect("keeps its bound and returns right bytes, whatever is requested at once", () =>
    Property.check(
      fc.record({
        spans: fc.integer({ min: 1, max: 4 }),
        asked: fc.array(fc.tuple(fc.nat(10), fc.nat(39)), { minLength: 1, maxLength: 40 }),
        turns: fc.nat(3)
      }),
      ({ asked, spans, turns }) =>
        Effect.gen(function* () {
          const cache = ReadCache.make(spans * span)
          const { storage } = medium(
            Effect.gen(function* () {
              for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
              if (cache.heldBytes > spans * span) return yield* Effect.die(new Error(`${cache.heldBytes} bytes held`))
            })
          )
          const reader = yield* ReadCache.open(cache, { geometry, storage })
          yield* Effect.forEach(
            asked,
            Effect.fnUntraced(function* ([piece, at]) {
              const size = PieceGeometry.pieceSize(geometry, piece as PieceIndex)
              const begin = Math.min(at * block, size - 1)
              const length = Math.min(block, size - begin)
              assert.deepStrictEqual(yield* read(reader, piece, begin, length), contentOf(piece, begin, length))
            }),
            { concurrency: "unbounded", discard: true }
          )
          assert.isAtMost(cache.heldBytes, spans * span)
        }).pipe(Effect.scoped),
      { runs: 30 }
    )
  )
})
