import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import * as SeedProgress from "../../src/webseed/SeedProgress.ts"

const { slowestBlock, timeoutAfter } = RequestPipeline

describe("SeedProgress", () => {
  it("fault 86: finds that a server sends nothing, however little was asked for", () => {
    const self = { ...SeedProgress.make(0), waitsSince: 5_000 }

    assert.isFalse(SeedProgress.isTooSlow(self, 5_000 + timeoutAfter - 1))
    assert.isTrue(SeedProgress.isTooSlow(self, 5_000 + timeoutAfter))
  })

  it("fault 86: finds that a server sends less than a block in the time that a block may take", () => {
    const self = SeedProgress.make(0)
    const look = (now: number, bytes: number) => {
      self.waitsSince = now
      self.bytes += bytes
      return SeedProgress.isTooSlow(self, now)
    }

    assert.isFalse(look(slowestBlock - 1, 0))
    assert.isFalse(look(slowestBlock, PieceGeometry.blockLength))
    assert.isFalse(look(2 * slowestBlock - 1, PieceGeometry.blockLength - 1))
    assert.isTrue(look(2 * slowestBlock, 0))
  })

  it("does not count time in which the server waits for us", () => {
    const self = SeedProgress.make(0)
    SeedProgress.rest(self, slowestBlock)
    self.waitsSince = slowestBlock + 1

    assert.isFalse(SeedProgress.isTooSlow(self, slowestBlock + 2))
    self.waitsSince = undefined
    assert.isFalse(SeedProgress.isTooSlow(self, 10 * slowestBlock))
  })

  it.effect("knows since when it waits", () =>
    Effect.gen(function* () {
      const self = SeedProgress.make(0)
      yield* TestClock.adjust(700)
      let during: number | undefined

      yield* SeedProgress.awaiting(
        self,
        yield* Clock.Clock,
        Effect.sync(() => {
          during = self.waitsSince
        })
      )

      assert.strictEqual(during, 700)
      assert.isUndefined(self.waitsSince)
    })
  )
})
