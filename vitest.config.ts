import { defineConfig } from "vitest/config"

export default defineConfig({
  ssr: { resolve: { conditions: ["@piecewise/source"] } },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    // No test may look outside this machine.
    env: { PIECEWISE_OFFLINE: "1" },
    // One worker less than there are cores would leave half of a small machine idle, because many tests wait.
    maxWorkers: "100%"
  }
})
