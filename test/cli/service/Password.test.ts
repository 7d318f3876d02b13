import { existsSync } from "node:fs"
import * as path from "node:path"
import { Readable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Password from "../../../src/cli/service/Password.ts"
import { Credentials } from "../../../src/control/security/Credentials.ts"
import * as NodeCredentials from "../../../src/control/security/provider/node/NodeCredentials.ts"
import { folderScoped } from "../program.ts"
import { run } from "./server.ts"

/** Runs the command with what standard input has, in these parts. */
const change = (state: string, parts: ReadonlyArray<string | Uint8Array>, ...words: ReadonlyArray<string>) =>
  run(
    (args, output) => Password.change(args, output, Readable.from(parts.map((part) => Buffer.from(part)))),
    ["password", "--state", state, ...words]
  )

/** Which of some texts is the password. */
const passwordOf = (state: string, ...texts: ReadonlyArray<string>) =>
  Credentials.use(({ isPassword }) => Effect.filter(texts, isPassword)).pipe(
    Effect.provide(NodeCredentials.layer({ directory: state })),
    Effect.scoped
  )

describe("password", () => {
  it.live("sets the first line of standard input, and removes it", () =>
    Effect.gen(function* () {
      const state = path.join(yield* folderScoped, "state")
      const set = yield* change(state, ["correct ", "horse\r\nanother line"])
      const right = yield* passwordOf(state, "correct horse", "another line")
      const removed = yield* change(state, [], "--remove")

      assert.deepStrictEqual(set.printed, [`the service of ${state} has a new password`])
      assert.deepStrictEqual(right, ["correct horse"])
      assert.deepStrictEqual(removed.printed, [`the service of ${state} has no password`])
      assert.deepStrictEqual(yield* passwordOf(state, "correct horse"), [])
    })
  )

  it.live.each<[string, ReadonlyArray<string | Uint8Array>, RegExp]>([
    ["nothing", [], /it has fewer than 8 characters/],
    ["an empty line", ["\ncorrect horse"], /it has fewer than 8 characters/],
    ["one that is too short", ["horse\n"], /it has fewer than 8 characters/],
    ["one that is too long", ["x".repeat(1_025)], /it is longer than 1024 bytes/],
    ["one that does not end", [Buffer.alloc(20_000, "x")], /it is longer than 1024 bytes/],
    ["what is not UTF-8", [Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255)], /must be one line of UTF-8/]
  ])("does not set %s", ([, parts, why]) =>
    Effect.gen(function* () {
      const state = path.join(yield* folderScoped, "state")
      const done = yield* change(state, parts)

      assert.match(done.why!, why)
      assert.isFalse(existsSync(path.join(state, "password")))
    })
  )
})
