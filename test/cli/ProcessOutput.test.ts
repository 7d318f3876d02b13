import { spawn } from "node:child_process"
import { close, openSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { folderScoped, main } from "./program.ts"

/** A folder with `many.torrent`, for which `info` and `verify` write more than a pipe holds. */
const manyFiles = Effect.gen(function* () {
  const folder = yield* folderScoped
  const count = 6_000
  const files = Array.from({ length: count }, (_, index) => {
    const name = `${index}-${"x".repeat(200)}`
    return `d6:lengthi1e4:pathl${name.length}:${name}ee`
  })
  const info = `d5:filesl${files.join("")}e4:name4:many12:piece lengthi16384e6:pieces20:${"p".repeat(20)}e`
  yield* Effect.promise(() => writeFile(path.join(folder, "many.torrent"), `d4:info${info}e`))
  return folder
})

/** Runs the program with `stdout` as its standard output. Meanwhile `use` may act on the process. */
const run = (
  words: string,
  options: { readonly cwd: string; readonly stdout: "pipe" | number },
  use: (child: ReturnType<typeof spawn>) => void = () => {}
) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [main, ...words.split(" ")], {
        cwd: options.cwd,
        stdio: ["ignore", options.stdout, "pipe"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  ).pipe(
    Effect.flatMap((child) =>
      Effect.promise(() => {
        let stderr = ""
        child.stderr!.setEncoding("utf8").on("data", (text: string) => {
          stderr += text
        })
        use(child)
        // Not "close", which would wait for unread output.
        return new Promise<{ readonly code: number | null; readonly stderr: string }>((resolve) =>
          child.once("exit", (code) => setTimeout(() => resolve({ code, stderr }), 50))
        )
      })
    )
  )

const full = Effect.acquireRelease(
  Effect.sync(() => openSync("/dev/full", "w")),
  (fd) => Effect.callback<void>((resume) => close(fd, () => resume(Effect.void)))
)

describe("standard output to a full disk", () => {
  it.live.each([
    "--help",
    "--version",
    "completions bash",
    "download --help",
    "info many.torrent",
    "info many.torrent --json",
    "create many.torrent"
  ])("is reported in one sentence by piecewise %s, which ends with 1", (words) =>
    Effect.gen(function* () {
      const cwd = yield* manyFiles

      const ended = yield* run(words, { cwd, stdout: yield* full })

      assert.deepStrictEqual(ended, { code: 1, stderr: "piecewise: standard output: the disk is full\n" })
    })
  )

  it.live("is reported besides the failure of the command itself", () =>
    Effect.gen(function* () {
      const cwd = yield* manyFiles

      const ended = yield* run("verify many.torrent . --json", { cwd, stdout: yield* full })

      assert.strictEqual(ended.code, 1)
      assert.include(ended.stderr, "piecewise: standard output: the disk is full\n")
    })
  )
})

describe("standard output whose reader", () => {
  it.live.each(["--help", "info many.torrent --json", "info many.torrent"])(
    "has gone ends piecewise %s without a message, with the code of SIGPIPE",
    (words) =>
      Effect.gen(function* () {
        const cwd = yield* manyFiles

        const ended = yield* run(words, { cwd, stdout: "pipe" }, (child) => child.stdout!.destroy())

        assert.deepStrictEqual(ended, { code: 141, stderr: "" })
      })
  )

  it.live.each([
    ["info many.torrent --json", "SIGINT"],
    ["info many.torrent", "SIGTERM"],
    ["verify many.torrent . --json", "SIGINT"]
  ] as const)("never reads does not delay a signal: piecewise %s ends with %s", ([words, signal]) =>
    Effect.gen(function* () {
      const cwd = yield* manyFiles

      const ended = yield* run(words, { cwd, stdout: "pipe" }, (child) => {
        // When something is readable, the pipe is full, because more is written than it holds.
        child.stdout!.once("readable", () => setTimeout(() => child.kill(signal), 500))
      })

      assert.strictEqual(ended.code, 130)
    })
  )

  it.live("reads slowly receives everything", () =>
    Effect.gen(function* () {
      const cwd = yield* manyFiles
      let text = ""

      const ended = yield* run("info many.torrent --json", { cwd, stdout: "pipe" }, (child) => {
        child.stdout!.setEncoding("utf8")
        setTimeout(
          () =>
            child.stdout!.on("data", (chunk: string) => {
              text += chunk
            }),
          1_000
        )
      })

      assert.strictEqual(ended.code, 0)
      assert.strictEqual((JSON.parse(text) as { readonly files: ReadonlyArray<unknown> }).files.length, 6_000)
    })
  )
})
