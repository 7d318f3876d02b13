import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import * as ServiceConfig from "../../src/node/ServiceConfig.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "piecewise-config-"))),
  (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
)

/** Writes a configuration, and returns its path and the download folder beside it. */
const written = Effect.fnUntraced(function* (content: string | Uint8Array) {
  const base = yield* folder
  const [file, directory] = [path.join(base, "service.json"), path.join(base, "downloads")]
  yield* Effect.promise(() => writeFile(file, content, { mode: 0o600 }))
  return { base, file, directory }
})

/** Why a configuration is refused, without the path of the file. */
const refusal = ({ directory, file }: { readonly directory: string; readonly file: string }) =>
  Effect.map(Effect.flip(ServiceConfig.read(file, directory)), ({ message }) => {
    const start = `the configuration ${file} cannot be used: `
    assert.isTrue(message.startsWith(start), message)
    return message.slice(start.length)
  })

describe("ServiceConfig", () => {
  it.live("reads commands and folders", () =>
    Effect.gen(function* () {
      const { base, directory, file } = yield* written(
        JSON.stringify({
          completionHooks: [
            { command: "/usr/bin/touch", args: ["a b", "$x"], timeLimitSeconds: 5, labels: ["films"] },
            { command: "sync" }
          ],
          watchFolders: [
            { folder: "incoming", labels: ["films", "new"], paused: true, downloadFolder: "films" },
            { folder: "/srv/incoming" }
          ]
        })
      )

      const { completionHooks, watchFolders } = yield* ServiceConfig.read(file, directory)

      assert.deepStrictEqual(completionHooks, [
        { command: "/usr/bin/touch", args: ["a b", "$x"], labels: ["films"], timeLimit: Duration.seconds(5) },
        { command: "sync", timeLimit: undefined }
      ])
      assert.deepStrictEqual(watchFolders, [
        {
          folder: path.join(base, "incoming"),
          add: { labels: ["films", "new"], isPaused: true, folder: "films" }
        },
        { folder: "/srv/incoming", add: { labels: undefined, isPaused: undefined, folder: undefined } }
      ])
    })
  )

  it.live("needs nothing in the file", () =>
    Effect.gen(function* () {
      const { directory, file } = yield* written("{}")
      assert.deepStrictEqual(yield* ServiceConfig.read(file, directory), ServiceConfig.none)
    })
  )

  it.live.each([
    ["", "it is not JSON: Unexpected end of JSON input"],
    ['{"a":1,}', "it is not JSON: Expected double-quoted property name in JSON at position 7 (line 1 column 8)"],
    ["[]", "it must be an object"],
    ['{"completionHook":[]}', "completionHook is not known"],
    ['{"__proto__":{}}', "__proto__ is not known"],
    ['{"completionHooks":{}}', "completionHooks must be an array"],
    ['{"completionHooks":[{}]}', "completionHooks[0].command is missing"],
    ['{"completionHooks":[{"command":"a"},{"command":"a","shell":true}]}', "completionHooks[1].shell is not known"],
    ['{"completionHooks":[{"command":""}]}', "completionHooks[0].command must be a value with a length of at least 1"],
    [
      '{"completionHooks":[{"command":"./a"}]}',
      "completionHooks[0].command must be an absolute path, or a name that is looked for in PATH"
    ],
    ['{"completionHooks":[{"command":"a","args":[1]}]}', "completionHooks[0].args[0] must be a string"],
    [
      '{"completionHooks":[{"command":"a","args":["a\\u0000"]}]}',
      "completionHooks[0].args[0] must be text without a NUL character"
    ],
    [
      '{"completionHooks":[{"command":"a","timeLimitSeconds":0}]}',
      "completionHooks[0].timeLimitSeconds must be a value between 1 and 86400"
    ],
    ['{"watchFolders":[{"folder":"a","labels":["a/b"]}]}', "watchFolders[0].labels[0] must be text without /"],
    [
      '{"watchFolders":[{"folder":"a","downloadFolder":"../b"}]}',
      "watchFolders[0].downloadFolder must be a folder without .. in its path"
    ]
  ])("refuses %s", ([content, why]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* refusal(yield* written(content!)), why)
    })
  )

  it.live("reads 1 MiB, and not a byte more", () =>
    Effect.gen(function* () {
      const { directory, file } = yield* written(`{}${" ".repeat(1_048_574)}`)
      assert.deepStrictEqual(yield* ServiceConfig.read(file, directory), ServiceConfig.none)
      const why = yield* refusal(yield* written(`{}${" ".repeat(1_048_575)}`))
      assert.strictEqual(why, "it is longer than 1048576 bytes")
    })
  )

  it.live("refuses what is not UTF-8, no file, or not there", () =>
    Effect.gen(function* () {
      const { base, directory } = yield* written("{}")
      const missing = yield* refusal({ directory, file: path.join(base, "other.json") })

      assert.strictEqual(yield* refusal(yield* written(Uint8Array.of(0x22, 0xff, 0x22))), "it is not UTF-8")
      assert.strictEqual(yield* refusal({ directory, file: base }), "it is a folder")
      assert.strictEqual(missing, "there is no such file")
    })
  )

  it.live.runIf(process.platform !== "win32")("refuses a file that others may change, also by a link to it", () =>
    Effect.gen(function* () {
      const { base, directory, file } = yield* written("{}")
      const link = path.join(base, "link")
      yield* Effect.promise(() => symlink(file, link))
      for (const mode of [0o620, 0o602, 0o666]) {
        yield* Effect.promise(() => chmod(file, mode))
        for (const name of [file, link]) {
          const why = yield* refusal({ directory, file: name })
          assert.strictEqual(why, "other users may write to it, and it has commands: run chmod go-w on that")
        }
      }
      yield* Effect.promise(() => chmod(file, 0o644))
      yield* ServiceConfig.read(file, directory)
    })
  )

  it.live.runIf(process.platform !== "win32")("refuses a folder in which others may replace the file", () =>
    Effect.gen(function* () {
      const { base, directory, file } = yield* written("{}")
      yield* Effect.promise(() => chmod(base, 0o777))
      assert.include(yield* refusal({ directory, file }), `other users may write to its folder, ${base}`)
      // As /tmp: nobody may rename the files of others.
      yield* Effect.promise(() => chmod(base, 0o1777))
      yield* ServiceConfig.read(file, directory)
    })
  )

  it.live("refuses to watch a folder that torrents are stored in, by any name", () =>
    Effect.gen(function* () {
      const { base, directory, file } = yield* written("")
      yield* Effect.promise(() => mkdir(directory))
      yield* Effect.promise(() => symlink(directory, path.join(base, "link")))
      const watch = (...watchFolders: ReadonlyArray<object>) =>
        Effect.promise(() => writeFile(file, JSON.stringify({ watchFolders })))
      for (const name of ["downloads", "downloads/incoming", "link", "link/new", "x/../downloads"]) {
        yield* watch({ folder: "other" }, { folder: name })
        const why = yield* refusal({ directory, file })
        assert.strictEqual(
          why,
          `watchFolders[1].folder is within ${directory}, where torrents are stored: use one elsewhere`
        )
      }
      yield* watch({ folder: "new", downloadFolder: path.join(base, "new") })
      assert.include(yield* refusal({ directory, file }), `watchFolders[0].folder is within ${base}/new`)
      // Beside it, and above it.
      yield* watch({ folder: "downloads-new" }, { folder: "." })
      yield* ServiceConfig.read(file, directory)
    })
  )
})
