import { vi } from "@effect/vitest"
import { Effect } from "effect"

/**
 * Lifts `PIECEWISE_OFFLINE` until the scope closes, for a test about names that do not exist, or about addresses of this
 * machine that others can see.
 */
export const online = Effect.acquireRelease(
  Effect.sync(() => vi.stubEnv("PIECEWISE_OFFLINE", "")),
  () => Effect.sync(() => vi.unstubAllEnvs())
)
