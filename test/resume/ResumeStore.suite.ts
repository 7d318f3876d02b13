/** Runs the suite that every `ResumeStore` passes (`ResumeStoreSuite`). Its cases about restarts hold fault 52. */
import { describe, it } from "@effect/vitest"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { ResumeStore } from "../../src/resume/ResumeStore.ts"
import * as ResumeStoreSuite from "../../src/testing/suite/ResumeStoreSuite.ts"
import { runCases } from "../runCases.ts"

export * from "../../src/testing/suite/ResumeDrawing.ts"

/** Runs the suite against `layer`; `cutPower` restarts the machine below it. Each test has a layer of its own. */
export const suite = <R, E>(
  name: string,
  layer: Layer.Layer<ResumeStore | R, E>,
  cutPower: Effect.Effect<void, never, R>
) =>
  describe(`ResumeStore (${name})`, () => {
    runCases(ResumeStoreSuite.cases, layer, it.effect)
    runCases(ResumeStoreSuite.restartCases(cutPower), layer, it.effect)
  })
