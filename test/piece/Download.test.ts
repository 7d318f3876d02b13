import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Scheduler from "effect/Scheduler"
import * as TestClock from "effect/testing/TestClock"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceGeometry } from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as BufferBudget from "../../src/piece/BufferBudget.ts"
import * as BufferPool from "../../src/piece/BufferPool.ts"
import * as Download from "../../src/piece/Download.ts"
import * as PieceBuffer from "../../src/piece/PieceBuffer.ts"
import * as PieceOrder from "../../src/piece/PieceOrder.ts"
import * as PiecePicker from "../../src/piece/PiecePicker.ts"
import * as PieceTable from "../../src/piece/PieceTable.ts"
import * as RequestPipeline from "../../src/piece/RequestPipeline.ts"
import * as Resting from "../../src/piece/Resting.ts"
import type { TestSource } from "./pieces.ts"
import { answer, ask, asked, blockLength, geometryOf, has, joined, nameOf, piece, sourceOf } from "./pieces.ts"

const alice = 1
const bob = 2
const carol = 3
const dave = 4

const downloadOf = (geometry: PieceGeometry, options?: { readonly cap?: number; readonly stored?: string }) =>
  Download.make({
    geometry,
    stored: options?.stored === undefined ? Bitfield.make(geometry.pieceCount) : has(options.stored),
    random: Prng.make(1),
    maxActivePieces: options?.cap
  })

/** Four buffers of sixteen blocks, and the quarter that is kept for other torrents. */
const budget = Effect.provide(BufferBudget.layer(86 * blockLength))

const begin = (download: Download.Download, source: Download.Source, index: number) =>
  Effect.map(Download.begin(download, source, piece(index)), (buffer) => buffer!)

/** Every request that others make in the end game, until they can make none. */
const duplicates = (download: Download.Download, source: Download.Source) => {
  const names: Array<string | undefined> = []
  for (;;) {
    const request = Download.nextDuplicate(download, source, 0)
    if (request === undefined) return names
    names.push(nameOf(request))
  }
}

describe("Download", () => {
  it.effect("asks for blocks of pieces under way before it starts another", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(3, 2))
      const one = joined(download, alice)
      const two = joined(download, bob)
      yield* begin(download, one, 1)

      const names = [...ask(download, one, 1), ...ask(download, two, 2)]

      assert.deepStrictEqual(names, ["1:0", "1:1", undefined])
      assert.notStrictEqual(Download.nextPiece(download, two), piece(1))
    }).pipe(budget)
  )

  it.effect("lets a source go on with the piece it was asked for last", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(3, 4))
      const one = joined(download, alice)
      const two = joined(download, bob)
      yield* begin(download, one, 0)
      yield* begin(download, two, 1)

      const names = [...ask(download, two, 1), ...ask(download, one, 1), ...ask(download, two, 1)]

      assert.deepStrictEqual(names, ["1:0", "0:0", "1:1"])
    }).pipe(budget)
  )

  it.effect("asks nobody for a piece that it does not have or has refused", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(3, 1))
      const one = joined(download, alice, " * ")
      yield* begin(download, joined(download, bob), 0)

      const before: ReadonlyArray<unknown> = [Download.nextPiece(download, one), ...ask(download, one, 1)]
      Resting.rest(one.refused, piece(1), 5_000, 0)
      const after = Download.nextPiece(download, one)

      assert.deepStrictEqual(before, [1, undefined])
      assert.isUndefined(after)
    }).pipe(budget)
  )

  it.effect("starts no piece that is stored", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(3, 1), { stored: "* *" })
      const one = joined(download, alice)

      const next = Download.nextPiece(download, one)

      assert.strictEqual(next, piece(1))
      assert.isTrue(Download.isInteresting(download, has(" * ")))
      assert.isFalse(Download.isInteresting(download, has("* *")))
    }).pipe(budget)
  )

  it.effect("wants nothing of pieces that are skipped, and starts those of high priority first", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(4, 1), { stored: "*   " })
      const one = joined(download, alice)

      Download.setPriorities(download, ["normal", "skip", "normal", "high"])
      const first = Download.nextPiece(download, one)
      yield* begin(download, one, 3)
      const second = Download.nextPiece(download, one)

      assert.deepStrictEqual([first, second], [piece(3), piece(2)])
      assert.isTrue(Download.isInteresting(download, has("  * ")))
      assert.isFalse(Download.isInteresting(download, has("**  ")))
    }).pipe(budget)
  )

  it.effect("is of interest to nobody once all that is wanted is stored, until more is", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(3, 1), { stored: "*  " })
      const one = joined(download, alice)
      Download.setPriorities(download, ["normal", "skip", "skip"])
      const before = Download.nextPiece(download, one)
      const wasInteresting = Download.isInteresting(download, one.has)
      download.hungry.add(one)

      Download.setPriorities(download, ["normal", "skip", "normal"])

      assert.isUndefined(before)
      assert.isFalse(wasInteresting)
      assert.isTrue(Download.isInteresting(download, one.has))
      assert.strictEqual(one.woken, 1)
      assert.strictEqual(Download.nextPiece(download, one), piece(2))
    }).pipe(budget)
  )

  it.effect("goes on with a piece that was skipped under way, and does not start it again", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      yield* begin(download, one, 0)
      Download.setPriorities(download, ["skip", "skip"])

      const names = ask(download, one, 2)
      yield* BufferPool.close(download.pool, piece(0))

      assert.deepStrictEqual(names, ["0:0", "0:1"])
      assert.strictEqual(PieceTable.stateOf(download.table, piece(0)), "missing")
      assert.isUndefined(Download.nextPiece(download, one))
    }).pipe(budget)
  )

  it.effect("borrows no buffer for a piece that was skipped meanwhile, and looks for another", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 1))
      const one = joined(download, alice)
      Download.setPriorities(download, ["skip", "normal"])

      const buffer = yield* Download.begin(download, one, piece(0))

      assert.isUndefined(buffer)
      assert.strictEqual(one.woken, 1)
      assert.strictEqual(BufferPool.lentCount(download.pool), 0)
    }).pipe(budget)
  )

  it.effect("starts pieces in the order it is told", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(4, 1))
      const one = joined(download, alice)
      download.order.isSequential = true
      PieceOrder.setDeadline(download.order, piece(2), 1_000)

      const first = Download.nextPiece(download, one)
      yield* begin(download, one, 2)
      const second = Download.nextPiece(download, one)

      assert.deepStrictEqual([first, second], [piece(2), piece(0)])
    }).pipe(budget)
  )

  it.effect("requests nothing that has no home: without a free buffer no piece begins", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(3, 2), { cap: 1 })
      const one = joined(download, alice)
      const two = joined(download, bob)
      yield* begin(download, one, 0)

      const buffer = yield* Download.begin(download, two, piece(1))

      assert.isUndefined(buffer)
      assert.strictEqual(PieceTable.stateOf(download.table, piece(1)), "missing")
      assert.isTrue(download.hungry.has(two))
    }).pipe(budget)
  )

  it.effect("feeds who is hungry when a buffer comes free", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(3, 2), { cap: 1 })
      const one = joined(download, alice)
      const two = joined(download, bob)
      yield* begin(download, one, 0)
      yield* Download.begin(download, two, piece(1))

      yield* BufferPool.close(download.pool, piece(0))

      assert.strictEqual(two.woken, 1)
      assert.strictEqual(download.hungry.size, 0)
    }).pipe(budget)
  )

  it.effect("feeds who is hungry when another torrent gives a buffer back", () =>
    Effect.gen(function* () {
      const first = yield* downloadOf(geometryOf(3, 64))
      const second = yield* downloadOf(geometryOf(3, 64))
      const one = joined(first, alice)
      const two = joined(second, alice)
      yield* begin(first, one, 0)
      yield* Download.begin(second, two, piece(0))

      yield* BufferPool.close(first.pool, piece(0))
      const buffer = yield* Download.begin(second, two, piece(0))

      assert.strictEqual(two.woken, 1)
      assert.isDefined(buffer)
    }).pipe(budget)
  )

  for (let operations = 3; operations <= 12; operations++) {
    it.effect(`begins a piece once for all sources, also when fibers give way after ${operations} operations`, () =>
      Effect.gen(function* () {
        const download = yield* downloadOf(geometryOf(3, 2))
        const sources = [alice, bob, carol].map((key) => joined(download, key))

        const buffers = yield* Effect.forEach(sources, (source) => Download.begin(download, source, piece(0)), {
          concurrency: "unbounded"
        }).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, operations))

        assert.strictEqual(new Set(buffers).size, 1)
        assert.strictEqual(download.table.counts.active, 1)
        assert.strictEqual(download.hungry.size, 0)
      }).pipe(budget)
    )
  }

  it.effect("does not begin a piece that was stored meanwhile, and lets the source look for another", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 1), { stored: "* " })
      const one = joined(download, alice)

      const buffer = yield* Download.begin(download, one, piece(0))

      assert.isUndefined(buffer)
      assert.strictEqual(one.woken, 1)
      assert.strictEqual(BufferPool.lentCount(download.pool), 0)
    }).pipe(budget)
  )

  it.effect("hands a piece to the verifier once, when its last block arrives", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2, blockLength + 100))
      const one = joined(download, alice)
      const buffer = yield* begin(download, one, 1)
      ask(download, one, 2)

      answer(download, one, { count: 1 })
      const early = Queue.sizeUnsafe(download.completed)
      answer(download, one)

      assert.strictEqual(early, 0)
      assert.deepStrictEqual(yield* Queue.takeAll(download.completed), [buffer])
      assert.strictEqual(PieceTable.stateOf(download.table, piece(1)), "complete")
      assert.deepStrictEqual(asked(one), [])
    }).pipe(budget)
  )

  it.effect("has no end game while there is a piece to start", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 1))
      const one = joined(download, alice)
      yield* begin(download, one, 0)
      ask(download, one, 1)

      const names = duplicates(download, joined(download, bob, "* "))

      assert.deepStrictEqual(names, [])
    }).pipe(budget)
  )

  it.effect("fault 44: asks at most three peers for a block in the end game, and cancels the slower ones", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(1, 2))
      const sources = [alice, bob, carol, dave].map((key) => joined(download, key))
      const buffer = yield* begin(download, sources[0]!, 0)
      ask(download, sources[0]!, 2)

      const names = sources.map((source) => duplicates(download, source))
      answer(download, sources[2]!, { count: 1 })

      assert.deepStrictEqual(names, [[], ["0:0", "0:1"], ["0:0", "0:1"], []])
      assert.deepStrictEqual([...buffer.requests], [0, 3])
      assert.deepStrictEqual(
        sources.map((source) => source.cancels),
        [["0:0"], ["0:0"], [], []]
      )
      assert.deepStrictEqual(
        sources.map((source) => asked(source)),
        [["0:1"], ["0:1"], ["0:1"], []]
      )
    }).pipe(budget)
  )

  it.effect("goes into the end game while only delayed pieces are left", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 1))
      const one = joined(download, alice)
      yield* begin(download, one, 1)
      download.delayed.set(piece(1), 60_000)
      yield* BufferPool.close(download.pool, piece(1))
      yield* begin(download, one, 0)
      ask(download, one, 1)

      const names = duplicates(download, joined(download, bob))

      assert.deepStrictEqual(names, ["0:0"])
    }).pipe(budget)
  )

  it.effect("feeds who is hungry when the last piece is started, as the end game has something for it", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 1))
      const one = joined(download, alice)
      const two = joined(download, bob, "* ")
      yield* begin(download, one, 0)
      ask(download, one, 1)
      download.hungry.add(two)

      yield* begin(download, one, 1)

      assert.strictEqual(two.woken, 1)
      assert.deepStrictEqual(duplicates(download, two), ["0:0"])
    }).pipe(budget)
  )

  it.effect("gives a piece that came bad from several to one source alone", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      const two = joined(download, bob)
      Download.single(download, piece(0))
      yield* begin(download, one, 0)
      ask(download, one, 1)

      const names = [...ask(download, two, 1), ...ask(download, one, 1)]

      assert.deepStrictEqual(names, [undefined, "0:1"])
    }).pipe(budget)
  )

  it.effect("gives such a piece to another while the one source neither sent anything nor is asked for anything", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      const two = joined(download, bob)
      Download.single(download, piece(0))
      yield* begin(download, one, 0)
      ask(download, one, 1)
      RequestPipeline.releaseAll(one.pipeline)

      const names = [...ask(download, two, 1), ...ask(download, one, 1)]

      assert.deepStrictEqual(names, ["0:0", undefined])
    }).pipe(budget)
  )

  it.effect("drops such a piece when its source leaves, and lets another one start it", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      const two = joined(download, bob)
      Download.single(download, piece(0))
      yield* begin(download, one, 0)
      ask(download, one, 2)
      answer(download, one, { count: 1 })

      yield* Download.leave(download, one)

      assert.strictEqual(PieceTable.stateOf(download.table, piece(0)), "missing")
      assert.strictEqual(BufferPool.lentCount(download.pool), 0)
      assert.strictEqual((yield* begin(download, two, 0)).soleSource, bob)
    }).pipe(budget)
  )

  it.effect("leaves such a piece to who failed to send it least often", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(1, 2))
      const sources = [joined(download, alice), joined(download, bob), joined(download, carol)]
      Download.single(download, piece(0))
      const tried: Array<string> = []
      for (let round = 0; round < 7; round++) {
        // The first that may: the order in which they are woken says nothing.
        const sole = sources.find((source) => Download.nextPiece(download, source) !== undefined)!
        yield* begin(download, sole, 0)
        ask(download, sole, 2)
        answer(download, sole, { count: 1 })
        yield* Download.abandon(download, sole)
        tried.push("?ABC"[sole.key]!)
      }

      assert.strictEqual(tried.join(""), "ABCABCA")
    }).pipe(budget)
  )

  const nobodyElse: ReadonlyArray<readonly [string, (download: Download.Download, other: TestSource) => unknown]> = [
    ["chokes", (_, other) => (other.peerChoking = true)],
    ["is snubbed", (_, other) => (other.pipeline.isSnubbed = true)],
    ["refused the piece", (_, other) => Resting.rest(other.refused, piece(0), 5_000, 0)],
    ["lost the piece", (download, other) => Download.lose(download, other, piece(0))]
  ]
  for (const [what, happens] of nobodyElse) {
    it.effect(`gives such a piece back to who failed to send it where the only other source ${what}`, () =>
      Effect.gen(function* () {
        const download = yield* downloadOf(geometryOf(1, 2))
        const one = joined(download, alice)
        Download.single(download, piece(0))
        yield* begin(download, one, 0)
        yield* Download.abandon(download, one)
        const other = joined(download, bob)
        const before = Download.nextPiece(download, one)

        happens(download, other)

        assert.deepStrictEqual([before, Download.nextPiece(download, one)], [undefined, piece(0)])
      }).pipe(budget)
    )
  }

  it.effect("wakes who failed to send such a piece when the other it was left to loses it", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(1, 2))
      const one = joined(download, alice)
      Download.single(download, piece(0))
      yield* begin(download, one, 0)
      yield* Download.abandon(download, one)
      const other = joined(download, bob)
      download.hungry.add(one)

      Download.lose(download, other, piece(0))

      assert.strictEqual(one.woken, 1)
    }).pipe(budget)
  )

  it.effect("does not let who failed to send such a piece take it over from another", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(1, 2))
      const [one, two] = [joined(download, alice), joined(download, bob)]
      Download.single(download, piece(0))
      yield* begin(download, one, 0)
      yield* Download.abandon(download, one)
      yield* begin(download, two, 0)

      const names = [...ask(download, one, 1), ...ask(download, two, 1)]

      assert.deepStrictEqual(names, [undefined, "0:0"])
    }).pipe(budget)
  )

  it.effect("frees the blocks of a source that leaves, and feeds the others", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(1, 2))
      const one = joined(download, alice)
      const two = joined(download, bob)
      yield* begin(download, one, 0)
      ask(download, one, 2)
      download.hungry.add(two)

      yield* Download.leave(download, one)

      assert.strictEqual(two.woken, 1)
      assert.deepStrictEqual(ask(download, two, 2), ["0:0", "0:1"])
    }).pipe(budget)
  )

  it.effect("counts the pieces of a source as long as it is there, however it told them", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(4, 1))
      const one = joined(download, alice, "** *")
      const two = sourceOf(download.geometry, bob)
      Bitfield.add(two.has, 3)
      Download.join(download, two)
      Download.gain(download, two, piece(1))
      Download.gain(download, two, piece(1))
      joined(download, carol)

      const during = [...download.picker.availability].join("")
      yield* Download.leave(download, one)
      yield* Download.leave(download, one)
      yield* Download.leave(download, two)

      assert.strictEqual(during, "1202")
      assert.strictEqual([...download.picker.availability].join(""), "0000")
    }).pipe(budget)
  )

  it.effect("forgets and cancels the requests of a piece whose loan ends", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      const two = joined(download, bob)
      yield* begin(download, one, 0)
      ask(download, one, 1)
      ask(download, two, 1)
      yield* Effect.forkScoped(BufferPool.sweep(download.pool))

      yield* TestClock.adjust("60 seconds")

      assert.deepStrictEqual([one.cancels, two.cancels], [["0:0"], ["0:1"]])
      assert.deepStrictEqual([asked(one), asked(two)], [[], []])
      assert.strictEqual(PieceTable.stateOf(download.table, piece(0)), "missing")
      assert.strictEqual(download.picker.count, 2)
    }).pipe(budget)
  )

  it.effect("keeps no buffer alive whose loan has ended", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      yield* begin(download, one, 0)
      ask(download, one, 1)

      yield* BufferPool.close(download.pool, piece(0))

      assert.isUndefined(one.current)
    }).pipe(budget)
  )

  it.effect("starts a delayed piece again when its time has come, and feeds who is hungry", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(1, 1))
      const one = joined(download, alice)
      yield* begin(download, one, 0)
      download.delayed.set(piece(0), 2_000)
      yield* BufferPool.close(download.pool, piece(0))
      download.hungry.add(one)
      one.woken = 0

      Download.tick(download, 1_999)
      const early = Download.nextPiece(download, one)
      Download.tick(download, 2_000)

      assert.isUndefined(early)
      assert.strictEqual(one.woken, 1)
      assert.strictEqual(Download.nextPiece(download, one), piece(0))
    }).pipe(budget)
  )

  it.effect("takes a piece that rests with everybody out of the way of the others, until somebody else has it", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      const two = joined(download, bob, " *")
      one.standing = Download.standingOf(download, alice)
      yield* begin(download, one, 0)
      Download.damage(download, piece(0), alice, 0)
      yield* BufferPool.close(download.pool, piece(0))
      yield* begin(download, one, 1)
      ask(download, one, 2)

      const isEndGame = nameOf(Download.nextDuplicate(download, two, 0)) !== undefined
      const damaged = Download.damagedPieces(download)
      const three = joined(download, carol)

      assert.deepStrictEqual([isEndGame, damaged], [true, [0]])
      assert.deepStrictEqual([Download.nextPiece(download, one), Download.nextPiece(download, three)], [undefined, 0])
      assert.deepStrictEqual(Download.damagedPieces(download), [])
      yield* Download.leave(download, three)
      Download.tick(download, 2_000)
      assert.deepStrictEqual([[...download.withheld], Download.damagedPieces(download)], [[0], [0]])
      Download.tick(download, 30_000)
      assert.deepStrictEqual([[...download.withheld], PiecePicker.isCandidate(download.picker, piece(0))], [[], true])
    }).pipe(budget)
  )

  it.effect("starts no new piece while the storage takes no writes", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      yield* begin(download, one, 0)
      download.isPaused = true

      assert.isUndefined(Download.nextPiece(download, one))
      assert.deepStrictEqual(ask(download, one, 2), ["0:0", "0:1"])
    }).pipe(budget)
  )

  it.effect("fault 46: gives no new piece to a snubbed peer while others are under way, but one block at a time", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(2, 2))
      const one = joined(download, alice)
      yield* begin(download, one, 0)
      ask(download, one, 2)
      RequestPipeline.expire(one.pipeline, 10_000)

      assert.isUndefined(Download.nextPiece(download, one))
      assert.strictEqual(RequestPipeline.room(one.pipeline), 1)
      assert.deepStrictEqual(ask(download, joined(download, bob), 2), ["0:0", "0:1"])
    }).pipe(budget)
  )

  it.effect("fault 47: goes on at the byte cap with all pieces incomplete, as every free block has a home", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(20, 16))
      const dead = joined(download, alice)
      const alive = joined(download, bob)
      for (let index = 0; (yield* Download.begin(download, dead, piece(index))) !== undefined; index++) {
        ask(download, dead, 8)
      }
      const lent = BufferPool.lentCount(download.pool)
      const heldBytes = download.pool.ledger.heldBytes
      for (let round = 0; round < 2; round++) {
        while (Download.nextBlock(download, alive, 0) !== undefined);
        answer(download, alive)
        RequestPipeline.expire(dead.pipeline, 10_000)
      }

      assert.deepStrictEqual([lent, heldBytes], [4, 64 * blockLength])
      assert.strictEqual(Queue.sizeUnsafe(download.completed), 4)
    }).pipe(budget)
  )

  it.effect("names every sender of a piece that several sent", () =>
    Effect.gen(function* () {
      const download = yield* downloadOf(geometryOf(1, 3))
      const one = joined(download, alice)
      const two = joined(download, bob)
      const buffer = yield* begin(download, one, 0)
      ask(download, one, 1)
      ask(download, two, 2)

      answer(download, one)
      answer(download, two)

      assert.deepStrictEqual(PieceBuffer.contributorsOf(buffer), new Set([alice, bob]))
    }).pipe(budget)
  )
})
