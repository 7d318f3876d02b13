import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fault from "../../src/webseed/SeedFault.ts"
import * as SeedHealth from "../../src/webseed/SeedHealth.ts"

const kinds = Object.keys(SeedHealth.rests) as ReadonlyArray<Fault.Kind>

const fail = (self: SeedHealth.SeedHealth, kind: Fault.Kind, now: number, retryAfter?: number) =>
  SeedHealth.step(self, { _tag: "Failed", fault: Fault.make(kind, "why", retryAfter) }, now)

describe("SeedHealth", () => {
  it("rests twice as long after each fault, up to the longest rest of its kind", () => {
    for (const kind of kinds) {
      let self = SeedHealth.make()
      let now = 0
      const lengths: Array<number> = []
      for (let times = 0; times < 12; times++) {
        self = fail(self, kind, now)
        lengths.push(self.restsUntil - now)
        now = self.restsUntil
      }
      const { first, longest } = SeedHealth.rests[kind]
      assert.deepStrictEqual(lengths.slice(0, 2), [first, Math.min(longest, first * 2)], kind)
      assert.isAtMost(Math.max(...lengths), longest, kind)
    }
  })

  it("begins anew after a block, unless what it did before was a lie", () => {
    const served = (kind: Fault.Kind) => {
      const once = fail(SeedHealth.make(), kind, 0)
      return fail(SeedHealth.step(once, { _tag: "Served" }, 1), kind, 1).restsUntil - 1
    }

    for (const kind of ["Unreachable", "Busy", "Slow"] as const)
      assert.strictEqual(served(kind), SeedHealth.rests[kind].first)
    for (const kind of ["Strange", "Wrong"] as const) assert.strictEqual(served(kind), 2 * SeedHealth.rests[kind].first)
  })

  it("forgets faults after a day", () => {
    const old = fail(SeedHealth.make(), "Wrong", 0)
    const forgotten = SeedHealth.step(old, { _tag: "Tick" }, SeedHealth.forgottenAfter)

    assert.deepStrictEqual(forgotten.faults, {})
  })

  it("waits as long as a busy server says, but at least a second", () => {
    assert.strictEqual(fail(SeedHealth.make(), "Busy", 10, 120_000).restsUntil, 120_010)
    assert.strictEqual(fail(SeedHealth.make(), "Busy", 10, 0).restsUntil, 1_010)
  })

  it("goes on without a file that it lacks, asks for it again later, and rests if it lacks many", () => {
    const lack = (self: SeedHealth.SeedHealth, file: number, now: number) =>
      SeedHealth.step(self, { _tag: "Failed", fault: Fault.make("Missing", "why"), file }, now)
    const one = lack(SeedHealth.make(), 3, 0)
    let many = SeedHealth.make()
    for (let file = 0; file <= SeedHealth.maxLacking; file++) many = lack(many, file, 0)

    assert.deepStrictEqual(one.lacking, new Set([3]))
    assert.strictEqual(one.restsUntil, 0)
    assert.deepStrictEqual(SeedHealth.step(one, { _tag: "Tick" }, one.lacksUntil).lacking, new Set())
    assert.strictEqual(many.restsUntil, SeedHealth.rests.Missing.first)
  })

  it("always ends its rest within a day, whatever happens", () => {
    const event = fc.oneof(
      fc.record({
        kind: fc.constantFrom(...kinds),
        file: fc.option(fc.nat(40), { nil: undefined }),
        retry: fc.option(fc.nat(3_600_000), { nil: undefined })
      }),
      fc.constant("Served" as const),
      fc.constant("Tick" as const)
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.nat(7_200_000))), (events) => {
        let self = SeedHealth.make()
        let now = 0
        for (const [event, pause] of events) {
          now += pause
          self =
            typeof event === "string"
              ? SeedHealth.step(self, { _tag: event }, now)
              : SeedHealth.step(
                  self,
                  { _tag: "Failed", fault: Fault.make(event.kind, "why", event.retry), file: event.file },
                  now
                )
          assert.isAtMost(self.restsUntil, now + 86_400_000)
          assert.isAtMost(self.lacking.size, SeedHealth.maxLacking)
          if (self.lacking.size > 0) assert.isAtMost(self.lacksUntil, now + 86_400_000)
        }
      })
    )
  })
})
