/**
 * A torrent without a wire: an assembly that verifies and stores over a medium in memory, and scripted suppliers that
 * request what they can whenever they are woken. Its facts are noted in the order in which they are read.
 */
import * as Crypto from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as Completion from "../../src/assembly/Completion.ts"
import * as Facts from "../../src/assembly/Facts.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import { contentOf, geometryOf, has, piece } from "../assembly/pieces.ts"
import { openToWrite } from "../storage/openings.ts"
import * as ScriptedSupplier from "./ScriptedSupplier.ts"

/** What a scripted torrent needs. */
export const world = (options?: MemoryStorage.MemoryStorageOptions) =>
  Layer.mergeAll(BufferBudget.layer(), MemoryStorage.layerTest(options)).pipe(Layer.provideMerge(NodePieceHasher.layer))

/** Starts a torrent of `pieceCount` pieces of `blocks` blocks each, until the scope closes. */
export const make = Effect.fnUntraced(function* (
  pieceCount: number,
  blocks: number,
  options: { readonly cap?: number; readonly stored?: string } = {}
) {
  const geometry = geometryOf(pieceCount, blocks)
  const layout = FileLayout.make({
    pieceLength: geometry.pieceLength,
    files: [{ path: ["t"], length: geometry.totalLength, padding: false }]
  })
  const medium = yield* MemoryStorage.MemoryMedium
  const storage = yield* openToWrite(layout)
  const assembly = yield* Assembly.make({
    geometry,
    stored: options.stored === undefined ? Bitfield.make(pieceCount) : has(options.stored),
    random: Prng.make(1),
    maxActivePieces: options.cap
  })
  const facts: Array<string> = []
  const suppliers: Array<ScriptedSupplier.ScriptedSupplier> = []
  yield* Facts.read(assembly.facts, (fact) => {
    const whose = fact._tag === "Guilty" || fact._tag === "Damaged" ? ` of ${fact.supplier}` : ""
    facts.push(fact._tag === "Recovered" ? fact._tag : `${fact._tag} ${fact.piece}${whose}`)
  })
  const digestOf = (index: number) => new Uint8Array(Crypto.hash("sha1", contentOf(geometry, index), "buffer"))
  yield* Completion.run(assembly, { storage, digestOf })

  /** Requests whatever can be requested, and lets everything happen that can happen now. */
  const settle = Effect.gen(function* () {
    for (let isBusy = true; isBusy; ) {
      isBusy = false
      for (const supplier of suppliers) {
        if (supplier.woken === 0) continue
        isBusy = true
        supplier.woken = 0
        const now = yield* Clock.currentTimeMillis
        Requests.refill(assembly, supplier, now)
      }
      const before = facts.length
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
      if (facts.length > before) isBusy = true
    }
  })

  /** A supplier joins with the pieces drawn (default: every piece), and requests what it can. */
  const join = Effect.fnUntraced(function* (number: number, drawn?: string) {
    const supplier = ScriptedSupplier.join(assembly, ScriptedSupplier.idOf(number), drawn)
    suppliers.push(supplier)
    supplier.wake()
    yield* settle
    return supplier
  })

  /** A supplier answers its oldest requests, `count` of them or all that are out now. */
  const answer = Effect.fnUntraced(function* (
    supplier: ScriptedSupplier.ScriptedSupplier,
    options: { readonly count?: number; readonly wrong?: boolean } = {}
  ) {
    ScriptedSupplier.answer(assembly, supplier, { ...options, now: yield* Clock.currentTimeMillis })
    supplier.wake()
    yield* settle
  })

  const leave = Effect.fnUntraced(function* (supplier: ScriptedSupplier.ScriptedSupplier) {
    suppliers.splice(suppliers.indexOf(supplier), 1)
    yield* Assembly.leave(assembly, supplier)
    yield* settle
  })

  /** Time passes, with what is due every second. */
  const advance = Effect.fnUntraced(function* (seconds: number) {
    for (let left = seconds; left > 0; left--) {
      yield* TestClock.adjust("1 second")
      Assembly.tick(assembly, yield* Clock.currentTimeMillis)
      Requests.wakeOvertakers(assembly, yield* Clock.currentTimeMillis)
      yield* settle
    }
  })

  const isRight = (): boolean => {
    const file = medium.torrent(layout).file("t")!
    return Array.from({ length: pieceCount }, (_, index) => {
      const begin = PieceGeometry.pieceOffset(geometry, piece(index))
      const right = contentOf(geometry, index)
      return Buffer.compare(file.subarray(begin, begin + right.length), right) === 0
    }).every(Boolean)
  }

  return { assembly, facts, join, leave, answer, advance, settle, isRight }
})
