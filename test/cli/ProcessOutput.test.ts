import { spawn } from "node:child_process"
import { close, openSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { folderScoped, main } from "./program.ts"

/** `many.torrent` in a folder of its own: what `info` and `verify` say of it is more than a pipe holds. */
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

/** How the program ends whose standard output is `stdout`; `use` may do something to it meanwhile. */
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
        // Not "close", which would wait for what nobody reads.
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

describe("standard output that takes nothing", () => {
  it.live.each([
    "--help",
    "--version",
    "completions bash",
    "download --help",
    "info many.torrent",
    "info many.torrent --json",
    "create many.torrent"
  ])("is told in one sentence by piecewise %s, which ends with 1", (words) =>
    Effect.gen(function* () {
      const cwd = yield* manyFiles

      const ended = yield* run(words, { cwd, stdout: yield* full })

      assert.deepStrictEqual(ended, { code: 1, stderr: "piecewise: standard output: the disk is full\n" })
    })
  )

  it.live("is told besides what the command itself failed with", () =>
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
    "has gone ends piecewise %s in silence, with the code of SIGPIPE",
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
  ] as const)("never reads holds up no signal: one ends piecewise %s", ([words, signal]) =>
    Effect.gen(function* () {
      const cwd = yield* manyFiles

      const ended = yield* run(words, { cwd, stdout: "pipe" }, (child) => {
        // What is readable has filled the pipe, as more is written than it holds.
        child.stdout!.once("readable", () => setTimeout(() => child.kill(signal), 500))
      })

      assert.strictEqual(ended.code, 130)
    })
  )

  it.live("reads slowly gets everything", () =>
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
