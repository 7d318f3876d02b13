import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as RateMeter from "../../src/rate/RateMeter.ts"

/** Adds `bytes` every `every` milliseconds from `from` to `to`, both included. */
const feed = (
  meter: RateMeter.RateMeter,
  options: { readonly bytes: number; readonly every: number; readonly from: number; readonly to: number }
) => {
  for (let now = options.from; now <= options.to; now += options.every) RateMeter.add(meter, options.bytes, now)
}

describe("RateMeter", () => {
  it("measures nothing before the first byte", () => {
    const meter = RateMeter.make({ now: 1_000 })

    const rate = RateMeter.bytesPerSecond(meter, 4_000)

    assert.strictEqual(rate, 0)
  })

  it("measures a constant rate within 3 percent, at any window and time", () => {
    fc.assert(
      fc.property(
        fc.nat(2_000_000_000_000),
        fc.integer({ min: 1_000, max: 20_000 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 1 << 20 }),
        fc.nat(60_000),
        (now, windowMillis, every, bytes, longer) => {
          const meter = RateMeter.make({ now, windowMillis })
          const end = now + windowMillis + longer
          feed(meter, { bytes, every, from: now + every, to: end })

          const rate = RateMeter.bytesPerSecond(meter, end)

          const expected = (bytes * 1_000) / every
          assert.isBelow(Math.abs(rate - expected) / expected, 0.03)
        }
      )
    )
  })

  it("measures a young stream from its start, not over the whole window", () => {
    const meter = RateMeter.make({ now: 0, windowMillis: 20_000 })
    feed(meter, { bytes: 100, every: 10, from: 10, to: 2_000 })

    const rate = RateMeter.bytesPerSecond(meter, 2_000)

    assert.strictEqual(rate, 10_000)
  })

  it("spreads the first bytes over a second", () => {
    const meter = RateMeter.make({ now: 500 })
    RateMeter.add(meter, 16_384, 500)

    const rate = RateMeter.bytesPerSecond(meter, 500)

    assert.strictEqual(rate, 16_384)
  })

  it("follows a change of rate within one window", () => {
    const meter = RateMeter.make({ now: 0, windowMillis: 4_000 })
    feed(meter, { bytes: 1_000, every: 10, from: 10, to: 60_000 })
    feed(meter, { bytes: 50, every: 10, from: 60_010, to: 64_200 })

    const rate = RateMeter.bytesPerSecond(meter, 64_200)

    assert.approximately(rate, 5_000, 150)
  })

  it("falls to 0 one window after the last byte", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(2_000), fc.nat(1 << 30)), { minLength: 1 }),
        fc.integer({ min: 100, max: 20_000 }),
        fc.nat(100_000),
        (steps, windowMillis, later) => {
          const meter = RateMeter.make({ now: 0, windowMillis })
          let now = 0
          for (const [wait, bytes] of steps) {
            now += wait
            RateMeter.add(meter, bytes, now)
          }

          const rate = RateMeter.bytesPerSecond(meter, now + windowMillis + later)

          assert.strictEqual(rate, 0)
        }
      )
    )
  })

  it("still counts a byte after nine tenths of the window", () => {
    const meter = RateMeter.make({ now: 0, windowMillis: 10_000 })
    RateMeter.add(meter, 1_000, 20_000)

    const rate = RateMeter.bytesPerSecond(meter, 29_000)

    assert.approximately(rate, 100, 6)
  })

  it("is never negative, infinite or more than all bytes in one second, however the clock jumps", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: -30_000, max: 30_000 }), fc.nat(1 << 30)), { maxLength: 60 }),
        (steps) => {
          const meter = RateMeter.make({ now: 0 })
          let now = 0
          let total = 0
          for (const [jump, bytes] of steps) {
            now += jump
            total += bytes
            RateMeter.add(meter, bytes, now)

            const rate = RateMeter.bytesPerSecond(meter, now)

            assert.isTrue(rate >= 0 && rate <= total, `${rate} of ${total}`)
          }
        }
      )
    )
  })

  it("fault 60: goes on after the clock was set back by an hour", () => {
    const meter = RateMeter.make({ now: 10_000_000 })
    feed(meter, { bytes: 100, every: 10, from: 10_000_010, to: 10_010_000 })
    feed(meter, { bytes: 200, every: 10, from: 6_400_010, to: 6_410_000 })

    const rate = RateMeter.bytesPerSecond(meter, 6_410_000)

    assert.approximately(rate, 20_000, 400)
  })

  it("fault 60: is not disturbed by a clock that is set back by a second", () => {
    const meter = RateMeter.make({ now: 0 })
    feed(meter, { bytes: 100, every: 10, from: 10, to: 10_000 })

    const rate = RateMeter.bytesPerSecond(meter, 9_000)

    assert.approximately(rate, 10_000, 200)
  })
})
