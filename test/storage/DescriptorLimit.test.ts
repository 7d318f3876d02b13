import { assert, describe, it } from "@effect/vitest"
import * as DescriptorLimit from "../../src/storage/provider/node/DescriptorLimit.ts"

const limitsOf = (files: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units
Max processes             96365                96365                processes
Max open files            ${files.padEnd(20)} 524288               files
Max locked memory         8388608              8388608              bytes
`

describe("DescriptorLimit", () => {
  it("is the soft limit in the text of the system", () => {
    const found = ["256", "1048576", "unlimited", "none"].map((files) => DescriptorLimit.parse(limitsOf(files)))

    assert.deepStrictEqual(found, [256, 1_048_576, Number.POSITIVE_INFINITY, undefined])
  })

  it.runIf(process.platform === "linux")("is known on Linux", () => {
    assert.isAtLeast(DescriptorLimit.ofProcess()!, 1)
  })
})
