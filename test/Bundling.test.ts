import { Script } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import * as Eager from "../scripts/eager.ts"

/** The bytes of the compiled form of a script, with the functions that are compiled with it. */
const compiledBytes = (code: string): number => new Script(code).createCachedData().length

describe("parenthesize", () => {
  it("has functions compiled with their file", () => {
    const body = "{ let sum = 0; for (const one of all) sum += one * one + one; return sum }"
    for (const code of [
      `const squares = (all) => ${body}`,
      `const squares = function (all) ${body}`,
      `const squares = [function* (all) ${body}]`,
      `const squares = (all) => [() => 1, () => ${body}]`
    ]) {
      assert.isAbove(compiledBytes(Eager.parenthesize(code)), compiledBytes(code) + 200, code)
    }
  })

  it("leaves what functions do and what they are called as it is", () => {
    const code = `
      const arrow = (a) => (b) => a + b
      const named = function own(depth) { return depth === 0 ? own.name : own(depth - 1) }
      class Counter { count = () => ++this.total; total = 0; get next() { return this.count() } plus(n) { return this.total + n } }
      const object = { plain: () => 1, method() { return this.plain() }, get got() { return 3 }, async *later() {}, short: arrow }
      const counter = new Counter()
      ;(() => { counter.total += 10 })()
      ;[
        arrow(1)(2), arrow.name, named(2), counter.next, counter.plus(1), Counter.prototype.plus.name, object.method(), object.got,
        object.plain.name, new (function () { this.made = 4 })().made, \`\${((x) => x)(5)}\`, typeof object.later, (async () => 6).name
      ].join()`

    const changed = Eager.parenthesize(code)

    assert.notStrictEqual(changed, code)
    assert.strictEqual(new Script(changed).runInNewContext(), new Script(code).runInNewContext())
  })
})
