import { mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as NodeWholeFile from "../../src/storage/provider/node/NodeWholeFile.ts"
import { temporaryFolder } from "./disk.ts"

describe("NodeWholeFile", () => {
  it.live("replaces a file that others replace at the same time", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = path.join(folder, "file")
      const texts = Array.from("abcdefgh", (letter) => letter.repeat(100_000))

      yield* Effect.promise(() => Promise.all(texts.map((text) => NodeWholeFile.replace(file, text))))

      assert.include(texts, yield* Effect.promise(() => readFile(file, "utf8")))
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(folder)), ["file"])
    })
  )

  it.live("leaves what it cannot replace, and no file of its own", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = path.join(folder, "file")
      yield* Effect.promise(() => mkdir(file))

      const code = yield* Effect.promise(() =>
        NodeWholeFile.replace(file, "text").catch((error: NodeJS.ErrnoException) => error.code)
      )

      assert.strictEqual(code, "EISDIR")
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(folder)), ["file"])
    })
  )

  it.live("removes its leftovers of one file alone", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = path.join(folder, "file")
      const others = ["file", "file.tmp", `${NodeWholeFile.temporaryStart("other")}0`]
      const all = [...others, `${NodeWholeFile.temporaryStart(file)}0`]
      yield* Effect.promise(() => Promise.all(all.map((name) => writeFile(path.join(folder, name), ""))))

      yield* Effect.promise(() => NodeWholeFile.removeLeftovers(file))

      assert.sameMembers(yield* Effect.promise(() => readdir(folder)), others)
    })
  )

  it.live("takes the longest names", () =>
    Effect.gen(function* () {
      const file = path.join(yield* temporaryFolder, "n".repeat(255))

      yield* Effect.promise(() => NodeWholeFile.replace(file, "text"))

      assert.strictEqual(yield* Effect.promise(() => readFile(file, "utf8")), "text")
    })
  )
})
