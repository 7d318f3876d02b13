import { spawnSync } from "node:child_process"
import { rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import * as Arguments from "../../../src/cli/Arguments.ts"
import * as Commands from "../../../src/cli/Commands.ts"
import * as Limits from "../../../src/cli/service/Limits.ts"
import * as ServiceConnection from "../../../src/cli/service/ServiceConnection.ts"
import * as ServiceFolder from "../../../src/node/ServiceFolder.ts"
import { folderScoped } from "../program.ts"
import { run, start, token } from "./server.ts"

const limits = Commands.all.find(({ name }) => name === "limits")!

const find = (words: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  ServiceConnection.find(Arguments.read(limits, words)).pipe(
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
  )

const why = (words: ReadonlyArray<string>) => Effect.map(run(Limits.run, ["limits", ...words]), (ended) => ended.why)

/** A state folder with a token, and what its service announces. */
const folderWith = Effect.fnUntraced(function* (announced: object) {
  const state = yield* folderScoped
  yield* Effect.promise(() => writeFile(ServiceFolder.tokenIn(state), "secret"))
  yield* Effect.promise(() => writeFile(path.join(state, ServiceFolder.names.service), JSON.stringify(announced)))
  return state
})

/** A server that is no service. */
const strange = (status: number, type: string, body: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const server = createServer((_, response) => response.writeHead(status, { "content-type": type }).end(body))
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return server
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  )

describe("ServiceConnection", () => {
  it.live("finds the service of the state folder, and its token", () =>
    Effect.gen(function* () {
      const { state, url } = yield* start()

      const place = yield* find(["--state", state])

      assert.deepStrictEqual([place.url.href, Redacted.value(place.token)], [url, token])
    })
  )

  it.live("prefers what the user says", () =>
    Effect.gen(function* () {
      const { state } = yield* start()
      const env = { PIECEWISE_SERVICE_URL: "https://a.example/base", PIECEWISE_SERVICE_TOKEN: "mine" }

      const named = yield* find(["--state", state, "--service", "http://b.example:1/x/"], env)
      const variable = yield* find(["--state", state], env)
      const local = yield* find(["--state", state, "--service", "http://b.example:1"])

      assert.deepStrictEqual([named.url.href, Redacted.value(named.token)], ["http://b.example:1/x/", "mine"])
      assert.strictEqual(variable.url.href, "https://a.example/base/")
      assert.strictEqual(Redacted.value(local.token), token)
    })
  )

  it.live.each([
    "127.0.0.1:6880",
    "ftp://127.0.0.1",
    "http://user:word@127.0.0.1",
    "http://127.0.0.1/?q",
    "http://127.0.0.1/#x"
  ])("refuses %s", (url) =>
    Effect.gen(function* () {
      const option = yield* Effect.flip(find(["--service", url]))
      const variable = yield* Effect.flip(find([], { PIECEWISE_SERVICE_URL: url }))

      for (const error of [option, variable]) assert.instanceOf(error, Arguments.WrongUsage)
      assert.match(option.message, /^--service .* is not the URL of a service/)
      assert.match(variable.message, /^PIECEWISE_SERVICE_URL .* is not the URL of a service/)
    })
  )

  it.live("says that no service runs, and how to start one", () =>
    Effect.gen(function* () {
      const state = yield* folderScoped
      const sentence = `no service runs with the state folder ${state}; start one with piecewise serve DIR`
      assert.strictEqual(yield* why(["--state", state]), sentence)

      const pid = spawnSync(process.execPath, ["--version"]).pid
      const killed = yield* folderWith({ url: "http://127.0.0.1:9/", pid })
      assert.include(yield* why(["--state", killed]), "no service runs with the state folder")

      const silent = yield* folderWith({ url: "http://127.0.0.1:9/", pid: process.pid })
      assert.strictEqual(
        yield* why(["--state", silent]),
        "no service answers at http://127.0.0.1:9/: connection refused; start one with piecewise serve DIR"
      )
    })
  )

  it.live("sends no token to another machine that only a file names", () =>
    Effect.gen(function* () {
      for (const url of ["http://192.0.2.1:6880/", "https://a.example/", "http://127.0.0.1.a.example/"]) {
        const state = yield* folderWith({ url, pid: process.pid })
        assert.include(yield* why(["--state", state]), `is at ${url}, which is not this machine`)
      }
    })
  )

  it.live("says where the token is from that is wrong or missing", () =>
    Effect.gen(function* () {
      const { state, url } = yield* start()
      const file = ServiceFolder.tokenIn(state)
      yield* Effect.promise(() => writeFile(file, "wrong"))

      const wrong = yield* why(["--state", state])
      yield* Effect.promise(() => rm(file))
      const missing = yield* why(["--state", state])

      assert.strictEqual(wrong, `the service at ${url} does not accept the token of ${file}`)
      assert.strictEqual(
        missing,
        `there is no token for the service: set PIECEWISE_SERVICE_TOKEN, or have it in ${file}`
      )
    })
  )

  it.live.each([
    [404, "text/html", "<html>"],
    [200, "text/html", "<html>"],
    [200, "application/json", '{"downloads":"many"}'],
    [200, "application/json", "{"],
    [302, "text/plain", ""]
  ] as const)("says that what answers %i with %s %s is no service", ([status, type, body]) =>
    Effect.gen(function* () {
      const url = yield* strange(status, type, body)
      const state = yield* folderWith({})

      const sentence = yield* why(["--state", state, "--service", url])

      assert.match(sentence ?? "", /^what answers at http:\/\/127\.0\.0\.1:\d+\/ is no service that piecewise/)
    })
  )

  it.live("tells a service that fails from one that is away behind a proxy", () =>
    Effect.gen(function* () {
      const [failing, away] = [yield* strange(500, "text/plain", ""), yield* strange(502, "text/html", "<html>")]
      const state = yield* folderWith({})

      assert.strictEqual(
        yield* why(["--state", state, "--service", failing]),
        `the service at ${failing}/ failed; its log says why`
      )
      assert.strictEqual(
        yield* why(["--state", state, "--service", away]),
        `no service answers behind ${away}/ (status 502); start one with piecewise serve DIR`
      )
    })
  )
})
