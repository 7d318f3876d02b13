/**
 * A supplier without a wire: a test decides what it has and how it answers, and sees what is requested from it. It
 * takes the place of a peer's session.
 */

import * as Assembly from "../../src/assembly/Assembly.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceGeometry } from "../../src/base/PieceGeometry.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import type * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import * as Standing from "../../src/supply/Standing.ts"
import * as Supplier from "../../src/supply/Supplier.ts"
import type { SupplierId } from "../../src/supply/SupplierId.ts"
import { blockLength, contentOf, has } from "../assembly/pieces.ts"

/** A supplier that records what is requested from it. */
export interface ScriptedSupplier extends Supplier.Supplier {
  /** The blocks that were requested by `Requests.refill`, as `piece:block`. */
  readonly requests: Array<string>
  /** The blocks that were cancelled, as `piece:block`. */
  readonly cancels: Array<string>
  woken: number
}

/** The number of a supplier. */
export const idOf = (number: number) => number as SupplierId

/** Makes a supplier with no pieces that serves us. */
export const make = (
  geometry: PieceGeometry,
  id: SupplierId,
  standing: Standing.Standing = Standing.make()
): ScriptedSupplier => {
  const supplier: ScriptedSupplier = {
    ...Supplier.make({
      id,
      geometry,
      standing,
      now: 0,
      request: (index, begin) => void supplier.requests.push(`${index}:${begin / blockLength}`),
      cancel: (index, begin) => void supplier.cancels.push(`${index}:${begin / blockLength}`),
      wake: () => {
        supplier.woken++
      }
    }),
    peerChoking: false,
    requests: [],
    cancels: [],
    woken: 0
  }
  return supplier
}

/** Makes a supplier that joins an assembly with the pieces drawn (default: every piece). */
export const join = (assembly: Assembly.Assembly, id: SupplierId, drawn?: string): ScriptedSupplier => {
  const supplier = make(assembly.geometry, id, Assembly.standingOf(assembly, id))
  Assembly.join(assembly, supplier)
  Assembly.gainAll(assembly, supplier, drawn === undefined ? Bitfield.full(assembly.geometry.pieceCount) : has(drawn))
  return supplier
}

/** The block of a request as `piece:block`. */
export const nameOf = (request: RequestPipeline.Request | undefined) =>
  request === undefined ? undefined : `${request.buffer.piece}:${request.block}`

/** Requests `count` blocks of the pieces under way. */
export const ask = (assembly: Assembly.Assembly, supplier: Supplier.Supplier, count: number, now = 0) =>
  Array.from({ length: count }, () => nameOf(Requests.nextBlock(assembly, supplier, now)))

/** Requests blocks that are out to others, until there are none for the supplier. */
export const askAgain = (assembly: Assembly.Assembly, supplier: Supplier.Supplier, now = 0) => {
  const names: Array<string | undefined> = []
  for (;;) {
    const request = Requests.nextDuplicate(assembly, supplier, now)
    if (request === undefined) return names
    names.push(nameOf(request))
  }
}

/** The requests that are out to a supplier, as `piece:block`. */
export const asked = (supplier: Supplier.Supplier) =>
  [...supplier.pipeline.requests.values()].map((request) => nameOf(request))

/** A supplier answers its oldest requests, `count` of them or all, with right bytes or wrong ones. */
export const answer = (
  assembly: Assembly.Assembly,
  supplier: Supplier.Supplier,
  options: { readonly count?: number; readonly wrong?: boolean; readonly now?: number } = {}
) => {
  for (const request of [...supplier.pipeline.requests.values()].slice(0, options.count)) {
    const { block, buffer } = request
    const begin = block * blockLength
    const bytes = contentOf(assembly.geometry, buffer.piece).subarray(begin, begin + PieceBuffer.sizeOf(buffer, block))
    PieceBuffer.write(buffer, begin, options.wrong === true ? bytes.map((byte) => byte ^ 0x55) : bytes)
    Assembly.received(assembly, supplier, request, options.now ?? 0)
  }
}
