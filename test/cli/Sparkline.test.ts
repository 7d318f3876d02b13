import { assert, describe, it } from "@effect/vitest"
import * as Sparkline from "../../src/cli/Sparkline.ts"

const render = (samples: ReadonlyArray<number>, width: number, more: Partial<Sparkline.Options> = {}) =>
  Sparkline.render({ samples, total: samples.length, span: 8, width, unicode: true, ...more })

describe("Sparkline", () => {
  it("draws the newest sample at the right", () => {
    assert.strictEqual(render([0, 1, 2, 3, 4, 5, 6, 7], 8), "▁▂▃▄▅▆▇█")
    assert.strictEqual(render([0, 7], 8), "      ▁█")
    assert.strictEqual(render([], 8), "        ")
    assert.strictEqual(render([0, 0], 8), "      ▁▁")
    assert.strictEqual(render([0, 7], 8, { unicode: false }), "      .#")
  })

  it("draws averages if it is narrower", () => {
    assert.strictEqual(render([0, 0, 7, 7, 0, 0, 14, 14], 4), "▁▅▁█")
  })

  it("does not change older bars when a sample comes", () => {
    const samples = [9, 9, 1, 1, 5, 5, 3, 3, 9, 9]
    const before = render(samples.slice(0, 8), 4, { total: 8 })
    const after = render(samples.slice(1, 9), 4, { total: 9 })
    const later = render(samples.slice(2, 10), 4, { total: 10 })

    assert.deepStrictEqual([before, after, later], ["█▂▅▃", "▂▅▃█", "▂▅▃█"])
  })
})
