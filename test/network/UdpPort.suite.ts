/** Runs the suite that every `UdpPort` passes. */
import { describe, type it } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import type { UdpPort } from "../../src/network/Transport.ts"
import * as UdpPortSuite from "../../src/testing/suite/UdpPortSuite.ts"
import { runCases } from "../runCases.ts"

export interface UdpMedium {
  readonly layer: Layer.Layer<UdpPort>
  /** Two hosts of one family, which may be the same. */
  readonly hosts: readonly [string, string]
  /** Runs a test: `it.effect` or `it.live`. */
  readonly test: typeof it.effect
}

export const suite = (name: string, { hosts, layer, test }: UdpMedium) =>
  describe(`UdpPort (${name})`, () => runCases(UdpPortSuite.cases(hosts), layer, test))
