import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as RestingFiles from "../../src/storage/provider/node/RestingFiles.ts"
import type { Resting } from "../../src/storage/provider/node/TorrentFile.ts"
import { layoutOf } from "./layouts.ts"

const layout = layoutOf(16, ["t/a", 8], ["t/b", 8], ["c", 8])
const file = fc.nat(2)
const path = fc
  .tuple(fc.constantFrom("/", "/d/t", "/d/.piecewise/parts/t"), fc.constantFrom("a", "b", "c", "a other"))
  .map(([folder, name]) => Path.join(folder, name))

const held = fc.record({
  file: fc.record({ path, identity: fc.constantFrom("1:2:3", "odd"), isLocal: fc.boolean(), follows: fc.boolean() }),
  end: fc.maxSafeNat(),
  unchecked: fc.nat()
})

const resting: fc.Arbitrary<Resting> = fc.record({
  held: fc.option(held, { nil: undefined }),
  isClaimed: fc.boolean(),
  isUnsynced: fc.boolean(),
  isSynced: fc.boolean()
})

describe("files that rest", () => {
  it("fault 74: return of each file what was remembered of it last", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(file, resting), { maxLength: 30 }), (puts) => {
        const self = RestingFiles.make(layout)
        const expected = new Map<number, Resting>()
        for (const [file, resting] of puts) {
          // As a file in use is not remembered.
          RestingFiles.take(self, file)
          RestingFiles.put(self, file, resting)
          expected.set(file, resting)
        }

        for (const [file, resting] of expected) {
          assert.strictEqual(RestingFiles.isClaimed(self, file), resting.isClaimed)
          assert.deepStrictEqual(RestingFiles.take(self, file), resting)
          assert.isFalse(RestingFiles.isClaimed(self, file))
        }
      })
    )
  })

  it("remember which file was claimed after the claim ended only if something is left to be synced", () => {
    const claimed = { path: "/d/t/a", identity: "1:2:3", isLocal: true, follows: false }
    const left = [true, false].map((isUnsynced) => {
      const self = RestingFiles.make(layout)
      const held = { file: claimed, end: 8, unchecked: 8 }
      RestingFiles.put(self, 0, { held, isClaimed: true, isUnsynced, isSynced: true })
      RestingFiles.unclaim(self, 0)
      return RestingFiles.take(self, 0)
    })

    assert.deepStrictEqual(
      left.map(({ held, isClaimed, isSynced }) => [held?.file, isClaimed, isSynced]),
      [
        [claimed, false, true],
        [undefined, false, true]
      ]
    )
  })
})
