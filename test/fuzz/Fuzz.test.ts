import { assert, describe, it } from "@effect/vitest"
import * as Fuzz from "./Fuzz.ts"
import { targets } from "./targets.ts"

/** A decoder of one seed whose only documented exception is a `RangeError`. */
const decoder = (decode: Fuzz.Seed["decode"], more: Partial<Fuzz.Target> = {}): Fuzz.Target => ({
  name: "decoder",
  seeds: [{ name: "seed", bytes: Uint8Array.of(1, 2, 3), decode }],
  refusal: (error) => (error instanceof RangeError ? error.message : undefined),
  branches: [],
  ...more
})

describe("fuzzed decoders", () => {
  it.each(targets.map((target) => [target.name, target] as const))(
    "%s: every branch is reached, and nothing but the documented exception is thrown",
    (_, target) => {
      const report = Fuzz.run(target, { inputs: 2_000, seed: 1 })

      assert.deepStrictEqual(report.faults, [], Fuzz.describe(target, report))
      assert.isAbove(report.accepted, 200)
      assert.isAbove(report.refusals.size, 3)
    },
    60_000
  )

  it.each(targets.map((target) => [target.name, target] as const))(
    "%s: accepts every seed as it was recorded, or refuses it for a documented reason",
    (_, target) => {
      const { inputs, refusals, accepted } = Fuzz.run(target, { inputs: target.seeds.length, seed: 1 })

      assert.strictEqual(accepted + [...refusals.values()].reduce((sum, times) => sum + times, 0), inputs)
      assert.isAbove(accepted, inputs / 2)
    }
  )
})

describe("Fuzz", () => {
  const options = { inputs: 300, seed: 7 }

  it("finds an exception that is not documented, and names its input", () => {
    const { faults } = Fuzz.run(
      decoder((input) => {
        if (input[0] !== 1) throw new TypeError("boom")
      }),
      options
    )

    assert.strictEqual(faults.length, 10)
    assert.match(faults[0]!, /TypeError: boom[\s\S]*decoder, seed, [0-9a-f]*$/)
  })

  it("counts refusals and branches, and finds a branch that no input reaches", () => {
    const target = decoder(
      (input, { visit }) => {
        if (input[0] !== 1) throw new RangeError("first byte")
        visit("first byte")
      },
      { branches: ["first byte", "never"] }
    )
    const { accepted, branches, faults, refusals } = Fuzz.run(target, options)

    assert.strictEqual(branches.get("first byte"), accepted)
    assert.strictEqual(accepted + refusals.get("first byte")!, options.inputs)
    assert.deepStrictEqual(faults, ["decoder: no input has reached never"])
  })

  it("finds an input that takes long, also when it is tried again, and no input that was slow once", () => {
    const wait = (millis: number) => {
      for (const end = performance.now() + millis; performance.now() < end; ) {}
    }
    let slowOnce = true
    const once = Fuzz.run(
      decoder(() => {
        if (slowOnce) wait(30)
        slowOnce = false
      }),
      { inputs: 3, seed: 1, maxMillis: 20 }
    )
    const always = Fuzz.run(
      decoder(() => wait(30)),
      { inputs: 2, seed: 1, maxMillis: 20 }
    )

    assert.deepStrictEqual(once.faults, [])
    assert.strictEqual(always.faults.length, 2)
  })

  it("finds memory that grows", () => {
    const kept: Array<Uint8Array> = []
    const { faults } = Fuzz.run(
      decoder(() => kept.push(new Uint8Array(20_000))),
      { inputs: 1_001, seed: 1, maxGrowthBytes: 10_000_000 }
    )

    assert.strictEqual(faults.length, 1)
    assert.match(faults[0]!, /memory grew by/)
  })

  it("gives the same inputs for the same seed, and cuts them without a loss", () => {
    const inputsOf = (seed: number) => {
      const inputs: Array<string> = []
      Fuzz.run(
        decoder((input, { cut }) => {
          const chunks = cut(input)
          assert.deepStrictEqual(Buffer.concat(chunks), Buffer.from(input))
          inputs.push(chunks.map((chunk) => Buffer.from(chunk).toString("hex")).join(" "))
        }),
        { inputs: 100, seed }
      )
      return inputs
    }

    assert.deepStrictEqual(inputsOf(3), inputsOf(3))
    assert.notDeepEqual(inputsOf(3), inputsOf(4))
    assert.isAbove(new Set(inputsOf(3)).size, 70)
  })
})
