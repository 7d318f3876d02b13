import { tmpdir } from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as NodeDiskSpace from "../../src/node/NodeDiskSpace.ts"

describe("NodeDiskSpace", () => {
  it.live("says how much room there is, also for a folder that does not exist yet", () =>
    Effect.gen(function* () {
      const space = yield* NodeDiskSpace.of(tmpdir())
      const below = yield* NodeDiskSpace.of(Path.join(tmpdir(), "not", "there"))

      assert.isTrue(space.freeBytes > 0 && space.totalBytes >= space.freeBytes)
      assert.strictEqual(below.totalBytes, space.totalBytes)
    })
  )

  it.live("says why it cannot", () =>
    Effect.gen(function* () {
      const folder = `/${"x".repeat(300)}`
      const error = yield* Effect.flip(NodeDiskSpace.of(folder))

      assert.strictEqual(error.message, `${folder}: the name is too long`)
    })
  )
})
