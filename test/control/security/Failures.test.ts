import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Failures from "../../../src/control/security/Failures.ts"

const minute = 60_000

/** Fails once, if the address may; returns how long it has to wait otherwise. */
const fail = (self: Failures.Failures, address: string, now: number): number => {
  const wait = Failures.begin(self, address, now)
  if (wait === 0) Failures.end(self, address, true, now)
  return wait
}

const failTimes = (self: Failures.Failures, address: string, now: number, times: number) =>
  Array.from({ length: times }, () => fail(self, address, now))

const a = "192.0.2.1"
const b = "192.0.2.2"

describe("Failures (fault 102)", () => {
  it("lock an address after ten in a minute", () => {
    const failures = Failures.make()
    assert.deepEqual(failTimes(failures, a, 0, 10), Array(10).fill(0))
    assert.equal(fail(failures, a, 0), minute)
    assert.equal(fail(failures, a, minute - 1), 1)
    assert.equal(fail(failures, a, minute), 0)
  })

  it("that are further apart lock nobody", () => {
    const failures = Failures.make()
    for (let now = 0; now < 100 * minute; now += minute / 8) assert.equal(fail(failures, a, now), 0)
  })

  it("lock twice as long each time, up to an hour, and for a minute again after a day without any", () => {
    const failures = Failures.make()
    let now = 0
    const locks: Array<number> = []
    for (let index = 0; index < 9; index++) {
      failTimes(failures, a, now, 10)
      const wait = fail(failures, a, now)
      locks.push(wait / minute)
      now += wait
    }
    assert.deepEqual(locks, [1, 2, 4, 8, 16, 32, 60, 60, 60])

    now += 1_440 * minute
    failTimes(failures, a, now, 10)
    assert.equal(fail(failures, a, now), minute)
  })

  it("do not lock other addresses, even while there are many", () => {
    const failures = Failures.make()
    failTimes(failures, a, 0, 11)
    assert.equal(Failures.begin(failures, b, 0), 0)
    for (let index = 0; index < Failures.maxFailuresOfAll; index++) fail(failures, `198.51.100.${index}`, 0)
    assert.equal(Failures.begin(failures, "203.0.113.1", 0), 0)
  })

  it("lock an address after the first one while all addresses have more than 100 in a minute", () => {
    const failures = Failures.make()
    for (let index = 0; index < Failures.maxFailuresOfAll; index++) fail(failures, `198.51.100.${index}`, 0)
    assert.equal(fail(failures, a, 0), 0)
    assert.equal(fail(failures, a, 0), minute)
    // Afterwards there are ten again.
    assert.deepEqual(failTimes(failures, b, minute, 10), Array(10).fill(0))
  })

  it("are reserved before a check, so as many at once are no more", () => {
    const failures = Failures.make()
    const begun = Array.from({ length: 20 }, () => Failures.begin(failures, a, 0))
    assert.equal(begun.filter((wait) => wait === 0).length, Failures.maxFailures)
    // Those that were right count for nothing.
    for (let index = 0; index < Failures.maxFailures; index++) Failures.end(failures, a, false, 0)
    assert.equal(Failures.begin(failures, a, 0), 0)
  })

  it("are counted for a /64 of IPv6", () => {
    const failures = Failures.make()
    for (let index = 0; index < 10; index++) fail(failures, `2001:db8::${index}:1`, 0)
    assert.isAbove(Failures.begin(failures, "2001:db8::f", 0), 0)
    assert.equal(Failures.begin(failures, "2001:db8:0:1::f", 0), 0)
  })

  it("are remembered of 10,000 addresses at most, and of none that only succeeds", () => {
    const failures = Failures.make()
    for (let index = 0; index < Failures.maxAddresses + 100; index++) {
      fail(failures, `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, index)
    }
    assert.equal(failures.addresses.entries.size, Failures.maxAddresses)

    const successes = Failures.make()
    Failures.begin(successes, a, 0)
    Failures.end(successes, a, false, 0)
    assert.equal(successes.addresses.entries.size, 0)
  })

  it("of others never change how long an address waits that has not failed, whatever happens", () => {
    const step = fc.record({ host: fc.nat(9), isFailure: fc.boolean(), wait: fc.nat(30_000) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const failures = Failures.make()
        let now = 0
        for (const { host, isFailure, wait } of steps) {
          now += wait
          const address = `198.51.100.${host}`
          if (Failures.begin(failures, address, now) === 0) Failures.end(failures, address, isFailure, now)
          assert.equal(Failures.begin(failures, a, now), 0)
          Failures.end(failures, a, false, now)
        }
      })
    )
  })
})
