import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as TrackerTiers from "../../../src/discovery/tracker/TrackerTiers.ts"

const url = (name: string) => `http://${name}.example/announce`

/** Keeps the order of a tier: the shuffle swaps each entry with itself. */
const keep = () => 0.999_999

const tiersOf = (...tiers: ReadonlyArray<string>) =>
  TrackerTiers.make(
    tiers.map((tier) => Array.from(tier, url)),
    keep
  )

const drawn = (self: TrackerTiers.TrackerTiers) => self.tiers.map((tier) => tier.map((item) => item[7]).join(""))

describe("TrackerTiers", () => {
  it("asks the first tier, then the second", () => {
    const order = TrackerTiers.order(tiersOf("ab", "c"))

    assert.deepStrictEqual(order, ["a", "b", "c"].map(url))
  })

  it("puts the tracker that answered at the front of its own tier", () => {
    const promoted = TrackerTiers.promote(tiersOf("abc", "de"), url("c"))

    assert.deepStrictEqual(drawn(promoted), ["cab", "de"])
  })

  it("keeps a backup behind the first tier after it answered", () => {
    const promoted = TrackerTiers.promote(tiersOf("ab", "cd"), url("d"))

    assert.deepStrictEqual(drawn(promoted), ["ab", "dc"])
  })

  it("shuffles with the given random function", () => {
    const shuffled = TrackerTiers.make([Array.from("abc", url)], () => 0)

    assert.deepStrictEqual(drawn(shuffled), ["bca"])
  })

  it("keeps the first of equal URLs and drops tiers that become empty", () => {
    const tiers = tiersOf("ab", "b", "ca")

    assert.deepStrictEqual(drawn(tiers), ["ab", "c"])
  })

  it("fault 24: drops everything that is not a tracker URL", () => {
    const bad = ["file:///etc/passwd", "javascript:alert(1)", "data:,x", "", "tracker", "ftp://a.example/announce"]
    const good = ["https://a.example/announce", "udp://a.example:80", "wss://a.example"]

    const tiers = TrackerTiers.make([bad, [...bad, ...good]], keep)

    assert.deepStrictEqual(TrackerTiers.order(tiers), good)
  })

  it("keeps the contents of every tier for any random numbers and answers", () => {
    const tierArbitrary = fc.array(fc.array(fc.constantFrom(..."abcdefgh"), { maxLength: 6 }), { maxLength: 4 })
    fc.assert(
      fc.property(
        tierArbitrary,
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        fc.array(fc.constantFrom(..."abcdefgh")),
        (given, dice, answers) => {
          const random = () => dice.next().value
          const seen = new Set<string>()
          const expected = given.map((tier) => tier.filter((name) => !seen.has(name) && seen.add(name)).sort())

          let tiers = TrackerTiers.make(
            given.map((tier) => tier.map(url)),
            random
          )
          for (const answer of answers) tiers = TrackerTiers.promote(tiers, url(answer))

          assert.deepStrictEqual(
            drawn(tiers).map((tier) => [...tier].sort()),
            expected.filter((tier) => tier.length > 0)
          )
        }
      ),
      { numRuns: 200 }
    )
  })
})
