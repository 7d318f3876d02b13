/**
 * Builds the contents of the package into a clean `dist`: the entry points, one file for each source, and the command
 * line, bundled and executable.
 */
import { chmod, readdir, readFile, rm, writeFile } from "node:fs/promises"
import * as path from "node:path"
import * as Rolldown from "rolldown"
import * as Command from "./command.ts"

const nodeModules = path.join(Command.root, "node_modules")

/** The names of the packages that modules belong to. */
const packagesOf = (modules: Iterable<string>): ReadonlyArray<string> => {
  const names = new Set<string>()
  for (const id of modules) {
    const [, after] = id.split(`${path.sep}node_modules${path.sep}`).slice(-2)
    if (after === undefined) continue
    const [first = "", second = ""] = after.split(path.sep)
    names.add(first.startsWith("@") ? `${first}/${second}` : first)
  }
  return [...names].sort()
}

/** The licence texts of the packages whose code is bundled, as their licences require. Fails if a package has none. */
const licencesOf = async (packages: ReadonlyArray<string>): Promise<string> => {
  const texts: Array<string> = []
  for (const name of packages) {
    const folder = path.join(nodeModules, name)
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry))
    if (file === undefined) throw new Command.CommandFailed("build", `found no licence file of ${name}`, "")
    texts.push(`${name}\n\n${(await readFile(path.join(folder, file), "utf8")).trim()}\n`)
  }
  return texts.join(`\n${"-".repeat(80)}\n\n`)
}

/**
 * Bundles the command line with its dependencies: loading some 400 files took more than half of its start-up time. Each
 * command still loads only its own part.
 */
const bundle = async (main: string): Promise<void> => {
  const { output } = await Rolldown.build({
    cwd: Command.root,
    input: { main: "src/node/main.ts" },
    platform: "node",
    logLevel: "warn",
    output: {
      dir: "dist",
      entryFileNames: path.relative("dist", main),
      chunkFileNames: "cli/[name]-[hash].js",
      format: "esm"
    }
  })
  const modules = output.flatMap((part) => (part.type === "chunk" ? part.moduleIds : []))
  await writeFile(path.join(Command.root, "dist", "cli", "LICENSES"), await licencesOf(packagesOf(modules)))
  await chmod(path.join(Command.root, main), 0o755)
}

/** Builds everything. Fails with `CommandFailed` if the compiler finds an error. */
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
