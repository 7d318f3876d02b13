import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as FileRenaming from "../../src/session/FileRenaming.ts"
import { layoutOf } from "../../src/testing/suite/Layouts.ts"

const layoutFor = (paths: ReadonlyArray<string>) => layoutOf(16_384, ...paths.map((path) => [path, 1] as const))

describe("FileRenaming.fault", () => {
  it("finds two files of one path, and files that are folders too, whatever their order", () => {
    const path = fc.array(fc.constantFrom("a", "A", "a b", "a!", "b"), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(fc.array(path, { minLength: 1, maxLength: 5 }), (paths) => {
        const names = paths.map((components) => components.join("/").toLowerCase())
        const isTwice = new Set(names).size < names.length
        const isFolder = names.some((name) => names.some((other) => other.startsWith(`${name}/`)))
        const expected = isTwice
          ? "Two files of the torrent have the same path."
          : isFolder
            ? "A file cannot also be a folder."
            : undefined

        assert.strictEqual(FileRenaming.fault(layoutFor(paths.map((components) => components.join("/"))), []), expected)
      })
    )
  })

  it("compares no folder with all folders above it", () => {
    const folder = "folder/".repeat(3_000)
    const layout = layoutFor(Array.from({ length: 100 }, (_, index) => `${index}/${folder}a`))
    const begun = performance.now()

    assert.isUndefined(FileRenaming.fault(layout, []))
    assert.isBelow(performance.now() - begun, 3_000)
  })

  it("does not repeat a name of megabytes", () => {
    const why = FileRenaming.fault(layoutFor(["a"]), [{ file: 0, path: ["a".repeat(1_000_000)] }])

    assert.isBelow(why!.length, 300)
  })
})
