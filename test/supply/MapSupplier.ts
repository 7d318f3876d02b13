/**
 * Supplies a torrent from a map of its pieces, without a network: a supplier that is no peer, as short as it can be.
 */
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

/** Makes a supplier that serves us with these pieces, and joins the assembly until the scope closes. */
const join = Effect.fnUntraced(function* (
  { assembly, limits }: SupplierContext,
  pieces: Iterable<number>,
  told: Pick<Supplier.Supplier, "wake" | "expel">
) {
  const id = SupplierId.nextId(assembly.ids)
  const supplier = Supplier.make({
    id,
    geometry: assembly.geometry,
    standing: Assembly.standingOf(assembly, id),
    limiter: limits.download,
    // What is requested is in its pipeline.
    request: () => {},
    cancel: () => {},
    ...told,
    now: yield* Monotonic.now
  })
  yield* Effect.acquireRelease(
    Effect.sync(() => Assembly.join(assembly, supplier)),
    () => Assembly.leave(assembly, supplier)
  )
  const has = Bitfield.make(assembly.geometry.pieceCount)
  for (const piece of pieces) Bitfield.add(has, piece)
  Assembly.gainAll(assembly, supplier, has)
  Assembly.unchoked(supplier)
  return supplier
})

/** Requests as many blocks as the pipeline has room for, and starts pieces for them. */
const refill = ({ assembly }: SupplierContext, supplier: Supplier.Supplier) =>
  Effect.map(Monotonic.now, (now) => Requests.refill(assembly, supplier, now))

/** A source over `pieces`, by their indices. `onExpelled` hears that it was found to have sent wrong bytes. */
export const make = (
  pieces: ReadonlyMap<number, Uint8Array>,
  onExpelled: (why: string) => void = () => {}
): SupplierSource => ({
  supply: Effect.fnUntraced(function* (context: SupplierContext) {
    const { assembly } = context
    const awake = yield* Latch.make(true)
    let isExpelled = false
    const supplier = yield* join(context, pieces.keys(), {
      wake: () => Latch.openUnsafe(awake),
      expel: (why) => {
        isExpelled = true
        onExpelled(why)
        Latch.openUnsafe(awake)
      }
    })

    while (!isExpelled) {
      yield* awake.await
      // It is woken in the middle of what others do.
      yield* Effect.yieldNow
      Latch.closeUnsafe(awake)
      yield* refill(context, supplier)
      for (const request of [...supplier.pipeline.requests.values()].slice(0, blocksPerTurn)) {
        const { block, buffer } = request
        const begin = block * PieceGeometry.blockLength
        const size = PieceBuffer.sizeOf(buffer, block)
        const now = yield* Monotonic.now
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
  supply: Effect.fnUntraced(function* (context: SupplierContext) {
    const pieces = Array(context.assembly.geometry.pieceCount).keys()
    yield* refill(context, yield* join(context, pieces, { wake: () => {} }))
    yield* Effect.sleep(after)
  })
})
