import { existsSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { CommandFailed } from "../../../src/cli/CommandFailed.ts"
import * as Password from "../../../src/cli/service/Password.ts"
import { Credentials } from "../../../src/control/security/Credentials.ts"
import * as NodeCredentials from "../../../src/control/security/provider/node/NodeCredentials.ts"
import { folderScoped, startScoped } from "../program.ts"
import { run } from "./server.ts"
import { places, serve } from "./services.ts"

const cost = { ln: 4, r: 8, p: 1 }

const change = (state: string, choose: Password.Choose, ...words: ReadonlyArray<string>) =>
  run((args, output) => Password.change(args, output, choose, { cost }), ["password", "--state", state, ...words])

const isPassword = (directory: string, text: string) =>
  Credentials.use((credentials) => credentials.isPassword(text)).pipe(
    Effect.provide(NodeCredentials.layer({ directory, cost }))
  )

describe("password", () => {
  it.live("sets the password, changes it, and removes it", () =>
    Effect.gen(function* () {
      const state = path.join(yield* folderScoped, "state")

      const first = yield* change(state, Effect.succeed("correct horse"))
      const isSet = yield* isPassword(state, "correct horse")
      yield* change(state, Effect.succeed("battery staple"))
      const afterwards = yield* Effect.all([isPassword(state, "correct horse"), isPassword(state, "battery staple")])
      const removed = yield* change(state, Effect.never, "--remove")
      const again = yield* change(state, Effect.never, "--remove")

      assert.deepStrictEqual(first.printed, ["The password is set. Whoever was logged in has to log in again."])
      assert.deepStrictEqual([isSet, ...afterwards], [true, false, true])
      assert.deepStrictEqual(removed.printed, ["The password is removed. The token is still good."])
      assert.deepStrictEqual(again.printed, ["No password is set."])
      assert.isFalse(existsSync(path.join(state, "password")))
    })
  )

  it.live("sets none that is too short, and none if the user gives up", () =>
    Effect.gen(function* () {
      const state = yield* folderScoped
      const givenUp = Effect.fail(new CommandFailed({ why: "no password was set" }))

      const short = yield* change(state, Effect.succeed("short"))
      const none = yield* change(state, givenUp)

      assert.strictEqual(short.why, "this password cannot be set: it has fewer than 8 characters")
      assert.strictEqual(none.why, "no password was set")
      assert.isFalse(existsSync(path.join(state, "password")))
    })
  )

  it.live("gives a service that runs the first line of standard input", () =>
    Effect.gen(function* () {
      const folders = yield* places
      const { url } = yield* serve(folders)
      const login = (password: string) =>
        Effect.promise(async () => {
          const { status } = await fetch(new URL("v1/login", url), {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ password })
          })
          return status
        })
      const before = yield* login("correct horse")
      const { child, ended } = yield* startScoped(["password", "--state", folders.state])
      child.stdin.end("correct horse\r\nignored\n")
      const { code, stderr, stdout } = yield* Effect.promise(() => ended)
      // The service looks at the file once a second.
      const after = yield* Effect.repeat(login("correct horse"), {
        until: (status) => status !== 401,
        schedule: Schedule.spaced("100 millis")
      })

      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^The password is set\./)
      assert.deepStrictEqual([before, after], [401, 200])
    })
  )
})
