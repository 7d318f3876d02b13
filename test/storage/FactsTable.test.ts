import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as FactsTable from "../../src/storage/FactsTable.ts"
import * as FileIdentities from "../../src/storage/FileIdentities.ts"
import type { FileFacts } from "../../src/storage/Storage.ts"

const count = 5
const file = fc.nat(count - 1)
const number = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n + 1n }),
  fc.constantFrom(0n, 2n ** 64n - 1n, 2n ** 64n, -1n)
)
const identity = fc.oneof(
  fc.tuple(fc.constantFrom("1", "66306", "a:b", ""), number, number).map((parts) => parts.join(":")),
  fc.constantFrom("", ":", "::", "a", "1:2", "1:02:3", "1:2:3 ", "1::3", "memory:folder"),
  fc.string({ maxLength: 30 })
)
const facts: fc.Arbitrary<FileFacts> = fc.record({
  file,
  kind: fc.constantFrom("file", "other"),
  length: fc.maxSafeNat(),
  mtimeNs: fc.oneof(fc.bigInt({ min: -(2n ** 63n) - 2n, max: 2n ** 63n + 2n }), fc.bigInt()),
  identity,
  isHole: fc.boolean(),
  isAside: fc.boolean(),
  otherNames: fc.nat()
})
const step = fc.oneof(facts, fc.record({ removed: file }))

describe("FactsTable", () => {
  it("law: returns of each file what was put in last, and nothing of a file that was removed", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const table = FactsTable.make(count)
        const expected = new Map<number, FileFacts>()
        for (const step of steps) {
          if ("removed" in step) {
            FactsTable.remove(table, step.removed)
            expected.delete(step.removed)
          } else {
            FactsTable.set(table, step)
            expected.set(step.file, step)
          }
        }

        for (let file = 0; file < count; file++) {
          const found = expected.get(file)
          assert.deepStrictEqual(FactsTable.get(table, file), found)
          assert.strictEqual(FactsTable.has(table, file), found !== undefined)
          assert.strictEqual(FactsTable.identityOf(table, file), found?.identity)
        }
      })
    )
  })

  it("keeps identities of many devices", () => {
    const identities = FileIdentities.make(1_000)
    for (let file = 0; file < 1_000; file++) FileIdentities.set(identities, file, `${file}:1:2`)

    const found = Array.from({ length: 1_000 }, (_, file) => FileIdentities.get(identities, file))

    assert.deepStrictEqual(
      found,
      Array.from({ length: 1_000 }, (_, file) => `${file}:1:2`)
    )
  })
})
