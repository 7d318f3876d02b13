/** Runs the suite that every `PieceHasher` passes. */
import { describe, it } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import type { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as PieceHasherSuite from "../../src/testing/suite/PieceHasherSuite.ts"
import { runCases } from "../runCases.ts"

/** Runs the suite against `layer`. */
export const suite = (name: string, layer: Layer.Layer<PieceHasher>) =>
  describe(`PieceHasher (${name})`, () => runCases(PieceHasherSuite.cases, layer, it.effect))
