import { tmpdir } from "node:os"
import { join } from "node:path"
import { defineConfig } from "vitest/config"

export default defineConfig({
  ssr: { resolve: { conditions: ["@piecewise/source"] } },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    // No test may look outside this machine, or change what programs of the user remember.
    env: { PIECEWISE_OFFLINE: "1", XDG_STATE_HOME: join(tmpdir(), "piecewise-tests") },
    // One worker less than there are cores would leave half of a small machine idle, because many tests wait.
    maxWorkers: "100%"
  }
})
