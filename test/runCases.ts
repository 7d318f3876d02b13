/** Runs the exported suites with vitest. */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Suite from "../src/testing/suite/Suite.ts"

/** Makes a test of each case, each with a fresh `layer`. Tests run live unless `test` is another runner. */
export const runCases = <R, E>(
  cases: ReadonlyArray<Suite.Case<R>>,
  layer: Layer.Layer<NoInfer<R>, E>,
  test: typeof it.effect | typeof it.live = it.live
): void => {
  for (const { name, run } of cases) test(name, () => Effect.provide(run, layer, { local: true }))
}
