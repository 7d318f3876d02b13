import * as FileSystem from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as PeerId from "../../src/base/PeerId.ts"
import * as Version from "../../src/base/Version.ts"

describe("Version", () => {
  it("is that of the package", () => {
    const manifest = JSON.parse(FileSystem.readFileSync(new URL("../../package.json", import.meta.url), "utf8"))

    assert.strictEqual(Version.version, manifest.version)
  })

  it("is the one sent to trackers and peers", () => {
    const id = PeerId.make((bytes) => bytes.fill(0))

    assert.strictEqual(Version.userAgent, `piecewise/${Version.version}`)
    assert.strictEqual(PeerId.client(id), `piecewise ${Version.version}`)
  })
})
