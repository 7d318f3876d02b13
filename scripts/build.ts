/**
 * Builds the contents of the package into a clean `dist`: one file for each source, with its types; the entry points,
 * bundled for Node; and the command line, bundled and executable.
 */
import { chmod, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import * as path from "node:path"
import * as Rolldown from "rolldown"
import * as Command from "./command.ts"
import * as Eager from "./eager.ts"

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
 * The parts of a bundle, each with the modules that need it. A module is in the first part that its need leads to. What
 * is in none is bundled with the entry or the dynamic import that leads to it.
 */
type Parts = Readonly<Record<string, ReadonlyArray<string>>>

/**
 * The parts that commands have in common. By default the bundler makes a file for each combination of commands, and
 * finding, reading and linking 60 of them took a third of the CPU time until a download connects. One file for all would
 * take longer still (ADR 20).
 */
const programParts: Parts = {
  start: ["src/node/main.ts"],
  common: ["src/cli/Run.ts", "src/cli/Info.ts"],
  files: ["src/cli/Verify.ts"],
  engine: ["src/cli/Download.ts", "src/cli/Seed.ts"],
  http: ["src/node/NodeRoutedHttp.ts", "src/discovery/tracker/provider/HttpTracker.ts"]
}

/** The part that entry points have in common: what `piecewise` exports. */
const entryParts: Parts = { common: ["src/index.ts"] }

/** Finds the parts of modules, once the bundler has read them all. */
const makeParts = (parts: Parts) => {
  const imports = new Map<string, ReadonlyArray<string>>()
  const found = new Map<string, string | null>()
  const visit = (id: string, part: string): void => {
    if (found.has(id)) return
    found.set(id, part)
    for (const imported of imports.get(id) ?? []) visit(imported, part)
  }
  const findAll = (): void => {
    const rootsOf = Object.entries(parts).map(
      ([part, roots]) => [part, roots.map((root) => path.join(Command.root, root))] as const
    )
    // A root is a file of its own, because it is imported by itself.
    for (const root of rootsOf.flatMap(([, roots]) => roots)) found.set(root, null)
    for (const [part, roots] of rootsOf) {
      for (const root of roots) for (const imported of imports.get(root) ?? []) visit(imported, part)
    }
  }
  const collect: Rolldown.Plugin = {
    name: "collect-imports",
    moduleParsed: ({ id, importedIds }) => void imports.set(id, importedIds)
  }
  const partOf = (id: string): string | null | undefined => {
    if (found.size === 0) findAll()
    return found.get(id)
  }
  const names = Object.keys(parts)
  const groups = names.map((name, index) => ({
    name,
    test: (id: string) => partOf(id) === name,
    priority: names.length - index
  }))
  return { collect, groups }
}

/**
 * Whether the modules of a file are ours and Effect's alone. Of the others, such as undici, most functions are never
 * called.
 */
const isOurs = (modules: Iterable<string>): boolean =>
  packagesOf(modules).every((name) => /^@?effect(?:\/|$)/.test(name))

/** Whether a module is the one that exports undici. */
const isUndici = (id: string): boolean => id.replaceAll("\\", "/").endsWith("/@effect/platform-node/dist/Undici.js")

/**
 * Names every export of undici. The HTTP client of Effect imports a file that has `export * from "undici"`, and
 * Rolldown drops such a line if the package is CommonJS, whose exports are known only when it runs.
 */
const undiciExports: Rolldown.Plugin = {
  name: "undici-exports",
  load: (id) => {
    if (!isUndici(id)) return undefined
    const names = Object.keys(createRequire(id)("undici")).filter((name) => name !== "default")
    return `import Undici from "undici"\nexport default Undici\nexport const { ${names.join(", ")} } = Undici\n`
  }
}

/** Whether a module is the one from which Effect's HTTP client has Node's. */
const isNodeHttp = (id: string): boolean =>
  id.replaceAll("\\", "/").endsWith("/@effect/platform-node/dist/internal/http.js")

/**
 * Loads `node:https` when a request needs it. Effect's HTTP client loads it together with `node:http`, and with it
 * comes TLS, which takes 10 ms, or 30 ms if `NODE_EXTRA_CA_CERTS` names the certificates of a whole system.
 */
const lateHttps: Rolldown.Plugin = {
  name: "late-https",
  load: (id) =>
    isNodeHttp(id)
      ? `export const http = process.getBuiltinModule("node:http")
const load = () => process.getBuiltinModule("node:https")
export const https = { request: (...args) => load().request(...args), get Agent() { return load().Agent } }
`
      : undefined
}

/**
 * Bundles the command line with its dependencies: loading some 400 files took more than half of its start-up time. Each
 * command still loads only its own parts.
 */
const bundleProgram = async (main: string): Promise<void> => {
  const { collect, groups } = makeParts(programParts)
  const { output } = await Rolldown.build({
    cwd: Command.root,
    input: { main: "src/node/main.ts" },
    platform: "node",
    logLevel: "warn",
    plugins: [collect, undiciExports, lateHttps],
    output: {
      dir: "dist",
      entryFileNames: path.relative("dist", main),
      chunkFileNames: "cli/[name]-[hash].js",
      codeSplitting: { groups },
      // V8 keeps the text of what it loads, in two bytes a character if one of them needs that: this way 5 MiB less.
      comments: false,
      minify: { compress: false, mangle: false, codegen: { asciiOnly: true, removeWhitespace: false } },
      format: "esm"
    }
  })
  const chunks = output.filter((part) => part.type === "chunk")
  const start = chunks.filter(({ isEntry, name }) => isEntry || name === "start")
  const own = new Set(start.map(({ fileName }) => fileName))
  const others = start.flatMap(({ imports }) => imports).filter((file) => !file.startsWith("node:") && !own.has(file))
  if (others.length > 0) throw new Command.CommandFailed("build", `even --help would load ${others.join(", ")}`, "")
  const modules = chunks.flatMap(({ moduleIds }) => moduleIds)
  if (!modules.some(isUndici)) throw new Command.CommandFailed("build", "the exports of undici were not named", "")
  if (!modules.some(isNodeHttp)) throw new Command.CommandFailed("build", "node:https would be loaded too early", "")
  for (const { code, fileName, moduleIds } of chunks) {
    if (isOurs(moduleIds)) await writeFile(path.join(Command.root, "dist", fileName), Eager.parenthesize(code))
  }
  await writeFile(path.join(Command.root, "dist", "cli", "LICENSES"), await licencesOf(packagesOf(modules)))
  await chmod(path.join(Command.root, main), 0o755)
}

interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>
  readonly bin: { readonly piecewise: string }
  readonly peerDependencies: Readonly<Record<string, string>>
}

/** Where an entry point is: its source, and the file that Node loads. */
interface Entry {
  readonly "@piecewise/source": string
  readonly node: string
}

/** The folder of the entry points for Node. */
const entryFolder = "dist/bundle"

/**
 * Bundles the entry points for Node, without the packages that they need: finding, reading and linking a file for each
 * of 320 sources took a third of the CPU time of importing `piecewise`. A bundler of pages is given those files instead,
 * because it leaves out the ones that a page does not use (ADR 23).
 */
const bundleEntries = async ({ exports, peerDependencies }: Manifest): Promise<void> => {
  const { collect, groups } = makeParts(entryParts)
  const entries = Object.values(exports).filter((entry): entry is Entry => typeof entry === "object")
  await Rolldown.build({
    cwd: Command.root,
    input: Object.fromEntries(
      entries.map(({ "@piecewise/source": source, node }) => [path.posix.relative(entryFolder, node), source])
    ),
    external: Object.keys(peerDependencies).map((name) => new RegExp(`^${name}(?:/|$)`)),
    platform: "node",
    logLevel: "warn",
    plugins: [collect],
    output: {
      dir: entryFolder,
      entryFileNames: "[name]",
      chunkFileNames: "[name]-[hash].js",
      codeSplitting: { groups },
      comments: false,
      sourcemap: true,
      sourcemapExcludeSources: true,
      format: "esm"
    }
  })
}

/** Builds everything. Fails with `CommandFailed` if the compiler finds an error. */
export const build = async (): Promise<void> => {
  await rm(path.join(Command.root, "dist"), { recursive: true, force: true })
  await Command.capture("tsc", ["-p", "tsconfig.build.json"])
  const manifest = JSON.parse(await readFile(path.join(Command.root, "package.json"), "utf8")) as Manifest
  await bundleEntries(manifest)
  await bundleProgram(manifest.bin.piecewise)
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
