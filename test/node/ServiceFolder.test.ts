import { spawnSync } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as ServiceFolder from "../../src/node/ServiceFolder.ts"

const url = "http://127.0.0.1:6880/"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "piecewise-service-"))),
  (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
)

/** The id of a process that has ended. */
const endedPid = () => spawnSync(process.execPath, ["--version"]).pid

describe("ServiceFolder", () => {
  it.live("finds a service while it is announced", () =>
    Effect.gen(function* () {
      const state = yield* folder

      const before = yield* ServiceFolder.find(state)
      const during = yield* Effect.scoped(Effect.andThen(ServiceFolder.announce(state, url), ServiceFolder.find(state)))
      const after = yield* ServiceFolder.find(state)

      assert.deepStrictEqual(before, undefined)
      assert.deepStrictEqual(during, { url, pid: process.pid })
      assert.deepStrictEqual(after, undefined)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(state)), [])
    })
  )

  it.live("replaces what a killed service left", () =>
    Effect.gen(function* () {
      const state = yield* folder
      const file = path.join(state, ServiceFolder.names.service)
      yield* Effect.promise(() => writeFile(file, JSON.stringify({ url, pid: endedPid() })))

      assert.deepStrictEqual(yield* ServiceFolder.find(state), undefined)
      yield* ServiceFolder.announce(state, url)

      assert.deepStrictEqual(yield* ServiceFolder.find(state), { url, pid: process.pid })
      const written = yield* Effect.promise(() => readFile(file, "utf8"))
      assert.deepStrictEqual(JSON.parse(written), { url, pid: process.pid })
    })
  )

  it.live.each([
    "",
    "{",
    "[]",
    '{"url":"http://127.0.0.1/"}',
    '{"url":"http://127.0.0.1/","pid":0}',
    '{"url":"http://127.0.0.1/","pid":-1}',
    '{"url":1,"pid":1}'
  ])("takes %j for no service", (content) =>
    Effect.gen(function* () {
      const state = yield* folder
      yield* Effect.promise(() => writeFile(path.join(state, ServiceFolder.names.service), content))

      assert.deepStrictEqual(yield* ServiceFolder.find(state), undefined)
    })
  )

  it.live("reads the token without the end of its line", () =>
    Effect.gen(function* () {
      const state = yield* folder

      const before = yield* ServiceFolder.readToken(state)
      yield* Effect.promise(() => writeFile(path.join(state, ServiceFolder.names.token), "secret\n"))
      const after = yield* ServiceFolder.readToken(state)

      assert.deepStrictEqual(before, undefined)
      assert.deepStrictEqual(after && Redacted.value(after), "secret")
      assert.notInclude(JSON.stringify(after), "secret")
    })
  )

  it.live("says which file cannot be read", () =>
    Effect.gen(function* () {
      const state = yield* folder
      const file = path.join(state, ServiceFolder.names.token)
      yield* Effect.promise(() => mkdir(file))

      const error = yield* Effect.flip(ServiceFolder.readToken(state))

      assert.strictEqual(error.message, `${file} cannot be used: it is a folder`)
    })
  )
})
