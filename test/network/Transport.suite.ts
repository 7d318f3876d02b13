/** Runs the suite that every pair of `Dialer` and `Listener` passes. */
import { describe, type it } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import type { Dialer, Listener } from "../../src/network/Transport.ts"
import * as TransportSuite from "../../src/testing/suite/TransportSuite.ts"
import { runCases } from "../runCases.ts"

export * from "../../src/testing/suite/TransportProbe.ts"

export interface Medium extends TransportSuite.Medium {
  readonly layer: Layer.Layer<Dialer | Listener>
  /** Runs a test: `it.effect` or `it.live`. */
  readonly test: typeof it.effect
}

export const suite = (name: string, medium: Medium) =>
  describe(`Transport (${name})`, () => runCases(TransportSuite.cases(medium), medium.layer, medium.test))
