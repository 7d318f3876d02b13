/**
 * The decoders that are fuzzed.
 */
import type { Target } from "./Fuzz.ts"
import { mse } from "./mse.ts"

export const targets: ReadonlyArray<Target> = [mse]
