import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Dial from "../../src/connect/Dial.ts"
import { Dialer } from "../../src/network/Transport.ts"

const address = { host: "10.0.0.1", port: 6_881 }

describe("Dial", () => {
  it.effect("fails after 10 seconds for an address that does not answer", () =>
    Effect.gen(function* () {
      const dialer = Dialer.of({ connect: () => Effect.never })
      const fiber = yield* Effect.forkChild(Effect.flip(Dial.connect(dialer, address, "public")), {
        startImmediately: true
      })

      yield* TestClock.adjust("9 seconds")
      const before = fiber.pollUnsafe()
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(fiber)

      assert.isUndefined(before)
      assert.deepStrictEqual([error.why, error.address], ["timed out", address])
    })
  )
})
