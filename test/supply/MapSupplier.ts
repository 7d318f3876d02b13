/** Supplies a torrent from a map of its pieces, without a network: a supplier that is no peer, as short as it can be. */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import type { SupplierContext, SupplierSource } from "../../src/assembly/SupplierSource.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Monotonic from "../../src/base/Monotonic.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import * as Supplier from "../../src/supply/Supplier.ts"
import * as SupplierId from "../../src/supply/SupplierId.ts"

/** Blocks that are answered before others get a turn. */
const blocksPerTurn = 8

/** A source over `pieces`, by their indices. `onExpelled` hears that it was found to have sent wrong bytes. */
export const make = (
  pieces: ReadonlyMap<number, Uint8Array>,
  onExpelled: (why: string) => void = () => {}
): SupplierSource => ({
  supply: Effect.fnUntraced(function* ({ assembly, limits }: SupplierContext) {
    const clock = yield* Clock.Clock
    const awake = yield* Latch.make(true)
    const id = SupplierId.nextId(assembly.ids)
    let isExpelled = false
    const supplier = Supplier.make({
      id,
      geometry: assembly.geometry,
      standing: Assembly.standingOf(assembly, id),
      limiter: limits.download,
      // What is requested is in its pipeline, where the loop below finds it.
      request: () => {},
      cancel: () => {},
      wake: () => Latch.openUnsafe(awake),
      expel: (why) => {
        isExpelled = true
        onExpelled(why)
        Latch.openUnsafe(awake)
      },
      now: Monotonic.nowUnsafe(clock)
    })
    yield* Effect.acquireRelease(
      Effect.sync(() => Assembly.join(assembly, supplier)),
      () => Assembly.leave(assembly, supplier)
    )
    const has = Bitfield.make(assembly.geometry.pieceCount)
    for (const piece of pieces.keys()) Bitfield.add(has, piece)
    Assembly.gainAll(assembly, supplier, has)
    Assembly.unchoked(supplier)

    while (!isExpelled) {
      yield* awake.await
      Latch.closeUnsafe(awake)
      for (;;) {
        const next = Requests.refill(assembly, supplier, Monotonic.nowUnsafe(clock))
        if (next === undefined || (yield* Requests.begin(assembly, supplier, next)) === undefined) break
      }
      for (const request of [...supplier.pipeline.requests.values()].slice(0, blocksPerTurn)) {
        const { block, buffer } = request
        const begin = block * PieceGeometry.blockLength
        const size = PieceBuffer.sizeOf(buffer, block)
        const now = Monotonic.nowUnsafe(clock)
        PieceBuffer.write(buffer, begin, pieces.get(buffer.piece)!.subarray(begin, begin + size))
        Assembly.arriving(assembly, size, now)
        Assembly.received(assembly, supplier, request, now)
        Latch.openUnsafe(awake)
      }
      yield* Effect.yieldNow
    }
  })
})

/** A source that joins with every piece, requests blocks, answers none of them, and ends after a while. */
export const ending = (after: Duration.Input): SupplierSource => ({
  supply: Effect.fnUntraced(function* ({ assembly, limits }: SupplierContext) {
    const clock = yield* Clock.Clock
    const id = SupplierId.nextId(assembly.ids)
    const supplier = Supplier.make({
      id,
      geometry: assembly.geometry,
      standing: Assembly.standingOf(assembly, id),
      limiter: limits.download,
      request: () => {},
      cancel: () => {},
      wake: () => {},
      now: Monotonic.nowUnsafe(clock)
    })
    yield* Effect.acquireRelease(
      Effect.sync(() => Assembly.join(assembly, supplier)),
      () => Assembly.leave(assembly, supplier)
    )
    Assembly.gainAll(assembly, supplier, Bitfield.full(assembly.geometry.pieceCount))
    Assembly.unchoked(supplier)
    for (;;) {
      const next = Requests.refill(assembly, supplier, Monotonic.nowUnsafe(clock))
      if (next === undefined || (yield* Requests.begin(assembly, supplier, next)) === undefined) break
    }
    yield* Effect.sleep(after)
  })
})
