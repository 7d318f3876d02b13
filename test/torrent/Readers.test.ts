import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Assembly from "../../src/assembly/Assembly.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { MetainfoError } from "../../src/metainfo/Metainfo.ts"
import type { ResumeError } from "../../src/resume/ResumeStore.ts"
import type { StorageError } from "../../src/storage/Storage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Readers from "../../src/torrent/Readers.ts"
import * as Selection from "../../src/torrent/Selection.ts"
import type { Torrent } from "../../src/torrent/Torrent.ts"
import type { ContentExists } from "../../src/torrent/TorrentStatus.ts"
import type { TorrentStopped } from "../../src/torrent/TorrentStopped.ts"
import { assemblyOf, budget } from "../assembly/assemblies.ts"
import { piece } from "../assembly/pieces.ts"

const pieceLength = 65_536
const layout = FileLayout.make({
  pieceLength,
  files: [
    { path: ["pad"], length: 10, padding: true },
    { path: ["film"], length: 100 * pieceLength - 10 }
  ]
})

/** Readers of a run with 16 buffers whose storage returns the piece and the offset of each read. */
const make = Effect.gen(function* () {
  const readers = Readers.make({
    infoHash: new Uint8Array(20) as never,
    layout,
    selection: Selection.make(layout, []),
    selected: () => undefined
  })
  const assembly = yield* assemblyOf(layout.geometry, { cap: 16 })
  const reads: Array<string> = []
  const storage = {
    readBlock: (piece: PieceIndex, begin: number, length: number) =>
      Effect.sync(() => {
        reads.push(`${piece}:${begin}+${length}`)
        return { bytes: new Uint8Array(length), files: [] }
      })
  }
  const run = yield* Scope.make()
  yield* Scope.provide(Readers.attach(readers, { assembly, storage }), run)
  const store = (...indices: ReadonlyArray<number>) =>
    Effect.sync(() => {
      Assembly.regainStored(assembly, indices.map(piece))
      for (const index of indices) Readers.noteStored(readers, piece(index))
    })
  return { readers, assembly, storage, reads, run, store }
})

const due = ({ order }: Assembly.Assembly) => [...(order.due ?? [])]

/** Reads in a fiber of its own, and takes so long for each chunk. */
const start = (readers: Readers.Readers, range: Readers.ReadRange = {}, each: Effect.Effect<unknown> = Effect.void) =>
  Effect.forkChild(
    Stream.runForEach(Readers.read(readers, 1, range), () => each),
    { startImmediately: true }
  )

describe("Readers", () => {
  it.effect("ask for the piece that is needed now and the next one, and no longer once they end", () =>
    Effect.gen(function* () {
      const { assembly, readers } = yield* make
      yield* TestClock.adjust("7 seconds")

      const one = yield* start(readers, { begin: 5 * pieceLength })
      const other = yield* start(readers, { begin: 90 * pieceLength })
      const both = due(assembly)
      yield* Fiber.interrupt(one)
      const left = due(assembly).map(([index]) => index)
      yield* Fiber.interrupt(other)

      // Padding shifts the file: its byte 5 * pieceLength is in piece 5, 10 bytes after its start.
      assert.deepStrictEqual(both.slice(0, 2), [
        [5, 7_000],
        [90, 7_000]
      ])
      assert.deepStrictEqual(
        both.slice(2).map(([index]) => index),
        [6, 91]
      )
      assert.isAbove(both[2]![1], 7_000)
      assert.deepStrictEqual(left, [90, 91])
      assert.deepStrictEqual(
        [assembly.order.due, readers.waiting?.size, readers.beginning?.size ?? 0],
        [undefined, 0, 0]
      )
    }).pipe(budget)
  )

  it.effect("wake for their own piece alone, and read it once", () =>
    Effect.gen(function* () {
      const { assembly, reads, readers, store } = yield* make
      const fiber = yield* start(readers, { begin: pieceLength - 10, end: 2 * pieceLength + 90 })

      yield* store(2)
      yield* Effect.yieldNow
      const early = reads.length
      yield* store(1, 3)
      yield* Fiber.join(fiber)

      assert.strictEqual(early, 0)
      assert.deepStrictEqual(reads, ["1:0+65536", "2:0+100"])
      assert.isUndefined(assembly.order.due)
    }).pipe(budget)
  )

  it.effect("look further ahead the faster they consume, up to half of the buffers", () =>
    Effect.gen(function* () {
      const { assembly, readers, store } = yield* make
      const ahead = Effect.fnUntraced(function* (period: number) {
        const fiber = yield* start(readers, {}, Effect.sleep(period))
        yield* TestClock.adjust("10 seconds")
        const count = due(assembly).length
        yield* Fiber.interrupt(fiber)
        return count
      })
      yield* store(...Array.from({ length: 40 }, (_, index) => index))

      // 40 pieces in ten seconds take it to the first missing piece.
      const fast = yield* ahead(250)
      Assembly.loseStored(
        assembly,
        Array.from({ length: 35 }, (_, index) => piece(5 + index))
      )
      const slow = yield* ahead(2_000)
      Assembly.loseStored(assembly, [piece(1), piece(2), piece(3), piece(4)])
      const slowest = yield* ahead(9_000)

      // Half of the buffers; five seconds at half a piece a second; and the least.
      assert.deepStrictEqual([fast, slow, slowest], [8, 3, 2])
    }).pipe(budget)
  )

  it.effect("go on in the run that follows, and interrupt what they read when a run ends", () =>
    Effect.gen(function* () {
      const { assembly, readers, run } = yield* make
      let interrupted = 0
      const never = { readBlock: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++)) }
      Assembly.regainStored(assembly, [piece(0)])
      yield* Scope.close(run, Exit.void)
      const second = yield* Scope.make()
      yield* Scope.provide(Readers.attach(readers, { assembly, storage: never }), second)
      const fiber = yield* start(readers, { end: 100 })

      yield* Scope.close(second, Exit.void)
      yield* Effect.yieldNow
      const isWaiting = fiber.pollUnsafe() === undefined && readers.waiting?.size === 1
      const reads: Array<number> = []
      const storage = {
        readBlock: (_: PieceIndex, begin: number, length: number) => {
          reads.push(begin)
          return Effect.succeed({ bytes: new Uint8Array(length), files: [] })
        }
      }
      yield* Readers.attach(readers, { assembly, storage })
      yield* Fiber.join(fiber)

      assert.strictEqual(interrupted, 1)
      assert.isTrue(isWaiting)
      assert.deepStrictEqual(reads, [10])
    }).pipe(Effect.scoped, budget)
  )

  it.effect("end at once if the torrent ends while the storage takes a skipped file", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(layout.geometry)
      const selection = Selection.make(layout, ["normal", "skip"])
      const running = { assembly, select: () => Effect.never, onChange: () => {} }
      const readers = Readers.make({
        infoHash: new Uint8Array(20) as never,
        layout,
        selection,
        selected: () => running
      })
      const fiber = yield* start(readers)

      Readers.end(readers)
      const exit = yield* Fiber.await(fiber)

      assert.strictEqual(Exit.isFailure(exit) && String(exit.cause).includes("piecewise/TorrentStopped"), true)
      assert.deepStrictEqual([selection.readers?.size, readers.beginning?.size], [0, 0])
    }).pipe(budget)
  )

  it.effect("have no room for padding, symbolic links and files that do not exist", () =>
    Effect.gen(function* () {
      const { readers } = yield* make

      const exits = yield* Effect.forEach([0, 2], (file) => Effect.exit(Stream.runDrain(Readers.read(readers, file))))

      assert.deepStrictEqual(exits.map(Exit.hasDies), [true, true])
    }).pipe(budget)
  )

  it.effect("leave nothing behind, whatever turn they are interrupted at", () =>
    Property.check(
      fc.record({
        turn: fc.nat(60),
        operations: fc.integer({ min: 3, max: 40 }),
        stored: fc.subarray([0, 1, 2, 3, 4]),
        pauses: fc.nat(3),
        ends: fc.constantFrom("interrupted", "stopped", "run ended")
      }),
      ({ ends, operations, pauses, stored, turn }) =>
        Effect.gen(function* () {
          const turns = (count: number) => Effect.repeat(Effect.yieldNow, { times: count })
          const assembly = yield* assemblyOf(layout.geometry, { cap: 16 })
          const selection = Selection.make(layout, ["normal", "skip"])
          Selection.begin(selection, assembly, selection.wanted)
          const running = { assembly, select: () => turns(pauses), onChange: () => {} }
          const readers = Readers.make({
            infoHash: new Uint8Array(20) as never,
            layout,
            selection,
            selected: () => running
          })
          let reading = 0
          const storage = {
            readBlock: (_: PieceIndex, __: number, length: number) =>
              Effect.acquireUseRelease(
                Effect.sync(() => void reading++),
                () => Effect.as(turns(pauses), { bytes: new Uint8Array(length), files: [] }),
                () => Effect.sync(() => void reading--)
              )
          }
          const run = yield* Scope.make()
          yield* Scope.provide(Readers.attach(readers, { assembly, storage }), run)
          yield* Selection.run(selection, () => running)
          const fibers = yield* Effect.forEach([0, pieceLength], (begin) =>
            start(readers, { begin }, turns(pauses)).pipe(
              Effect.provideService(Scheduler.MaxOpsBeforeYield, operations)
            )
          )
          for (const index of stored) {
            yield* turns(3)
            Assembly.regainStored(assembly, [piece(index)])
            Readers.noteStored(readers, piece(index))
          }

          yield* turns(turn)
          if (ends === "run ended") yield* Scope.close(run, Exit.void)
          const duringEnd = reading
          if (ends === "stopped") Readers.end(readers)
          else for (const fiber of fibers) yield* Fiber.interrupt(fiber)
          yield* Effect.forEach(fibers, Fiber.await)
          yield* turns(10)

          if (ends === "run ended") assert.strictEqual(duringEnd, 0)
          assert.strictEqual(reading, 0)
          assert.isUndefined(ends === "run ended" ? undefined : assembly.order.due)
          assert.deepStrictEqual(
            [readers.waiting?.size ?? 0, readers.beginning?.size ?? 0, selection.readers?.size ?? 0],
            [0, 0, 0]
          )
          // Nothing of the skipped file is wanted any more.
          assert.strictEqual(assembly.table.wanted.count, 0)
        }).pipe(Effect.scoped, budget),
      { runs: 200 }
    )
  )

  it("fail only as a torrent does, or as the storage, or because the torrent stops", () => {
    expectTypeOf<Torrent["read"]>().returns.toEqualTypeOf<
      Stream.Stream<Uint8Array, StorageError | ResumeError | ContentExists | MetainfoError | TorrentStopped>
    >()
  })
})
