import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { Saved } from "../../../src/discovery/dht/DhtStore.ts"
import * as FileDhtStore from "../../../src/discovery/dht/provider/node/FileDhtStore.ts"

const folderScoped = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "piecewise-dht-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true }))
)

const saved = (digit: string): Saved => ({
  ipv4: { id: digit.repeat(40), nodes: [{ host: "192.0.2.1", port: 6_881 }] },
  ipv6: { id: digit.repeat(40), nodes: [{ host: "2001:db8::1", port: 6_881 }] }
})

describe("FileDhtStore", () => {
  it.live("loads nothing before the first save, and then what was saved last", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "not", "yet", "dht.json")
      const { load, save } = FileDhtStore.make({ file })

      const before = yield* load
      yield* save(saved("a"))
      yield* save(saved("b"))
      const after = yield* FileDhtStore.make({ file }).load

      assert.isUndefined(before)
      assert.deepStrictEqual(after, saved("b"))
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(path.dirname(file))), ["dht.json"])
    })
  )

  it.live.each(["", "{", "[]", '{"ipv4":{"id":"x","nodes":[]}}', `"${"a".repeat(FileDhtStore.maxBytes)}"`])(
    "says that the file has something else in it: %.20j",
    (text) =>
      Effect.gen(function* () {
        const file = path.join(yield* folderScoped, "dht.json")
        yield* Effect.promise(() => writeFile(file, text))
        const { load, save } = FileDhtStore.make({ file })

        const error = yield* Effect.flip(load)
        yield* save(saved("a"))

        assert.strictEqual(error.operation, "load")
        assert.include(error.why, file)
        assert.deepStrictEqual(yield* load, saved("a"))
      })
  )

  it.live("keeps the old file, and leaves no other, if a save fails", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")
      yield* Effect.promise(() => mkdir(file))
      const { save } = FileDhtStore.make({ file })

      const error = yield* Effect.flip(save(saved("a")))

      assert.strictEqual(error.operation, "save")
      assert.include(error.message, `${file}: it is a folder`)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(folder)), ["dht.json"])
    })
  )

  it.live("never leaves half a file to a reader, and replaces what a killed process left", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")
      yield* Effect.promise(() => writeFile(`${file}.${process.pid}.tmp`, "half"))
      yield* Effect.promise(() => chmod(`${file}.${process.pid}.tmp`, 0o400))
      const { load, save } = FileDhtStore.make({ file })
      yield* save(saved("0"))
      const saving = yield* Effect.forkChild(
        Effect.forEach("123456789abcdef", (digit) => save(saved(digit)), { discard: true })
      )

      for (let reads = 0; reads < 30; reads++) {
        const found = (yield* load)!
        assert.deepStrictEqual(found, saved(found.ipv4!.id[0]!))
      }
      yield* Fiber.join(saving)

      assert.include(yield* Effect.promise(() => readFile(file, "utf8")), "f".repeat(40))
    })
  )
})
