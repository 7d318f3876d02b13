import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as Streaming from "../../src/assembly/Streaming.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import { answer, ask, idOf, join, type ScriptedSupplier } from "../supply/ScriptedSupplier.ts"
import { assemblyOf, begin, budget } from "./assemblies.ts"
import { blockLength, geometryOf, piece } from "./pieces.ts"

const seed = idOf(1)
const peer = idOf(2)

/** Four pieces of four blocks fit into the buffers. */
const torrent = (options?: Parameters<typeof assemblyOf>[1]) => assemblyOf(geometryOf(8, 4), options)

/** Refills up to so many requests, and returns those that are new. */
const refill = (assembly: Assembly.Assembly, supplier: ScriptedSupplier, run: Streaming.Run, depth: number) => {
  const before = supplier.requests.length
  RequestPipeline.bound(supplier.pipeline, depth)
  supplier.pipeline.depth = depth
  Streaming.refill(assembly, supplier, run, 0)
  return supplier.requests.slice(before)
}

describe("Streaming", () => {
  it.effect("requests pieces that follow each other", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent({ isSequential: true })
      const one = join(assembly, seed)
      const run = Streaming.make()

      const names = refill(assembly, one, run, 9)

      assert.deepStrictEqual(names, ["0:0", "0:1", "0:2", "0:3", "1:0", "1:1", "1:2", "1:3", "2:0"])
    }).pipe(budget)
  )

  it.effect("goes on with the piece behind its last one, although the order would choose another", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent()
      const one = join(assembly, seed)
      const run = { piece: piece(3) }
      begin(assembly, one, 3)

      const names = refill(assembly, one, run, 6)

      assert.deepStrictEqual(names, ["3:0", "3:1", "3:2", "3:3", "4:0", "4:1"])
    }).pipe(budget)
  )

  it.effect("does not begin elsewhere before its requests are answered", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent({ stored: "    *   " })
      const one = join(assembly, seed)
      const run = { piece: piece(3) }
      begin(assembly, one, 3)

      const first = refill(assembly, one, run, 6)
      answer(assembly, one)
      const then = refill(assembly, one, run, 1)

      assert.deepStrictEqual(first, ["3:0", "3:1", "3:2", "3:3"])
      assert.match(then[0]!, /^[0125-7]:0$/)
    }).pipe(budget)
  )

  it.effect("leaves a piece that a peer is sending, and takes up one that was left", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent()
      const one = join(assembly, seed)
      const two = join(assembly, peer)
      const run = { piece: piece(3) }
      begin(assembly, one, 3)
      begin(assembly, two, 4)
      ask(assembly, two, 1)

      const beside = refill(assembly, one, run, 6)
      RequestPipeline.releaseAll(two.pipeline)
      const after = refill(assembly, one, run, 6)

      assert.deepStrictEqual(beside, ["3:0", "3:1", "3:2", "3:3"])
      assert.deepStrictEqual(after, ["4:0", "4:1"])
    }).pipe(budget)
  )

  it.effect("shares a piece with a peer if nothing else is left", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(1, 4))
      const two = join(assembly, peer)
      begin(assembly, two, 0)
      ask(assembly, two, 2)

      const names = refill(assembly, join(assembly, seed), Streaming.make(), 6)

      assert.deepStrictEqual(names, ["0:2", "0:3"])
    }).pipe(budget)
  )

  it.effect("requests no block before its piece has a buffer (law 2)", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent({ cap: 2, isSequential: true })
      const one = join(assembly, seed)

      const names = refill(assembly, one, Streaming.make(), 100)

      assert.strictEqual(names.length, 8)
      assert.isTrue(assembly.idleSuppliers.has(one))
    }).pipe(budget)
  )

  it.effect("requests a piece with a deadline first", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent()
      const one = join(assembly, seed)
      const run = { piece: piece(3) }
      begin(assembly, one, 3)
      Assembly.setDeadlines(assembly, {}, [{ piece: piece(6), at: 0 }])

      assert.deepStrictEqual(refill(assembly, one, run, 2), ["6:0", "6:1"])
    }).pipe(budget)
  )

  it.effect("requests nothing beyond the limit of rate", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent()
      const one = join(assembly, seed)
      RateLimiter.setLimit(one.pipeline.limiter, 1, 0)

      assert.isAtMost(refill(assembly, one, Streaming.make(), 10).length, 1)
    }).pipe(budget)
  )

  it.effect("requests one piece, for a supplier that sends whole files, and says whether it comes", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent({ stored: "*       " })
      const one = join(assembly, seed)
      const run = Streaming.make()
      const ofPiece = (index: number) => Streaming.refillPiece(assembly, one, run, piece(index), 0)

      const answers = [ofPiece(0), ofPiece(1), ofPiece(1)]

      assert.deepStrictEqual(answers, [false, true, true])
      assert.deepStrictEqual(one.requests, ["1:0", "1:1", "1:2", "1:3"])
    }).pipe(budget)
  )

  it.effect("reaches as far as pieces can be requested one after the other", () =>
    Effect.gen(function* () {
      const assembly = yield* torrent({ stored: "     *  " })
      const one = join(assembly, seed)
      const { pieceLength } = assembly.geometry
      begin(assembly, one, 2)
      const reach = (from: PieceIndex | number, most: number) =>
        Streaming.reach(assembly, one, from * pieceLength + blockLength, most) / pieceLength

      assert.strictEqual(reach(2, 100 * pieceLength), 5)
      assert.strictEqual(reach(2, pieceLength), 4)
      assert.strictEqual(reach(2, 1), 3)
      assert.strictEqual(reach(7, 100 * pieceLength), 8)
    }).pipe(budget)
  )
})
