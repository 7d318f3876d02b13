/**
 * Assemblies for the tests of pieces and suppliers.
 */
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceGeometry } from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import type { Supplier } from "../../src/supply/Supplier.ts"
import { blockLength, has, piece } from "./pieces.ts"

/** An assembly with at most `cap` active pieces, and the drawn pieces stored. */
export const assemblyOf = (
  geometry: PieceGeometry,
  options?: { readonly cap?: number; readonly stored?: string; readonly isSequential?: boolean }
) =>
  Assembly.make({
    geometry,
    stored: options?.stored === undefined ? Bitfield.make(geometry.pieceCount) : has(options.stored),
    random: Prng.make(1),
    maxActivePieces: options?.cap,
    isSequential: options?.isSequential
  })

/** Four buffers of sixteen blocks, and the quarter that is reserved for other torrents. */
export const budget = Effect.provide(BufferBudget.layer(86 * blockLength))

/** Begins a piece that has no buffer yet. */
export const begin = (assembly: Assembly.Assembly, supplier: Supplier, index: number) =>
  Requests.begin(assembly, supplier, piece(index))!
