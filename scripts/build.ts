/**
 * Builds what the package ships into a clean `dist`: the entries that programs import, a file for each source, and the
 * command line, bundled and executable.
 */
import { chmod, readFile, rm } from "node:fs/promises"
import * as path from "node:path"
import * as Rolldown from "rolldown"
import * as Command from "./command.ts"

/**
 * Bundles the command line: a third of its start-up was the loading of some 150 files of ours. A command still loads only
 * what it needs. What the package depends on stays outside, and is what the user installed.
 */
const bundle = async (main: string): Promise<void> => {
  await Rolldown.build({
    cwd: Command.root,
    input: { main: "src/node/main.ts" },
    platform: "node",
    external: [/^effect(\/|$)/, /^@effect\//],
    logLevel: "warn",
    output: {
      dir: "dist",
      entryFileNames: path.relative("dist", main),
      chunkFileNames: "cli/[name]-[hash].js",
      format: "esm",
      sourcemap: true
    }
  })
  await chmod(path.join(Command.root, main), 0o755)
}

/** Builds everything. Fails with `CommandFailed` when the compiler finds an error. */
export const build = async (): Promise<void> => {
  await rm(path.join(Command.root, "dist"), { recursive: true, force: true })
  await Command.capture("tsc", ["-p", "tsconfig.build.json"])
  const { bin } = JSON.parse(await readFile(path.join(Command.root, "package.json"), "utf8")) as {
    readonly bin: { readonly piecewise: string }
  }
  await bundle(bin.piecewise)
}

if (import.meta.main) {
  try {
    await build()
  } catch (error) {
    if (!(error instanceof Command.CommandFailed)) throw error
    process.stderr.write(`${error.output}${error.message}\n`)
    process.exitCode = 1
  }
}
