/**
 * Checks the package as users receive it: packs it, lints the tarball, installs the program for the whole system with
 * no other package, and imports the entry points in projects that have only the declared packages. Needs no network.
 * Everything except `dist` is in a temporary folder that is removed.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Rolldown from "rolldown"
import { build } from "./build.ts"
import * as Command from "./command.ts"

interface Manifest {
  readonly name: string
  readonly version: string
  readonly exports: Readonly<Record<string, unknown>>
  readonly bin: { readonly piecewise: string }
  readonly peerDependencies: Readonly<Record<string, string>>
}

interface Packed {
  readonly filename: string
  readonly size: number
  readonly files: ReadonlyArray<{ readonly path: string }>
}

/** npm 12 prints an object by package name; earlier versions print a list. */
const packedOf = (json: string): Packed => Object.values(JSON.parse(json) as Record<string, Packed>)[0]!

/**
 * Files that the package must contain besides the program: the sources for the source maps, and what readers look for.
 */
const expectedFiles = ["README.md", "LICENSE", "CHANGELOG.md", "package.json", "src/index.ts", "dist/index.js"]

/**
 * A program that is compiled strictly and run. It checks that every entry has exports, and that none has the type
 * `any`.
 */
const programOf = (entries: ReadonlyArray<string>): string => {
  const lines = ["type IsAny<T> = 0 extends 1 & T ? true : false", "type Anys<T> = { [K in keyof T]: IsAny<T[K]> }"]
  entries.forEach((entry, index) => {
    lines.push(`import * as entry${index} from "${entry}"`)
    lines.push(`const typed${index}: Anys<typeof entry${index}>[keyof typeof entry${index}] = false`)
    lines.push(
      `if (typed${index} || Object.keys(entry${index}).length === 0) throw new Error("${entry} exports nothing")`
    )
  })
  return `${lines.join("\n")}\n`
}

const userConfig = {
  compilerOptions: {
    target: "es2024",
    lib: ["esnext"],
    types: ["node"],
    module: "nodenext",
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    outDir: "out",
    rootDir: "."
  },
  files: ["program.ts"]
}

const link = async (project: string, name: string): Promise<void> => {
  const target = path.join(project, "node_modules", name)
  await mkdir(path.dirname(target), { recursive: true })
  await symlink(path.join(Command.root, "node_modules", name), target, "junction")
}

/** What a user's project has beside the package. Only that is linked, so that an undeclared import fails here. */
const unpack = async (tarball: string, name: string, project: string, packages: Iterable<string>): Promise<void> => {
  const installed = path.join(project, "node_modules", name)
  await mkdir(installed, { recursive: true })
  await Command.capture("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"])
  for (const name of packages) await link(project, name)
}

/** Compiles a program that imports entry points, and runs it, in a project with these packages. */
const useEntries = async (
  { manifest, tarball }: Pack,
  project: string,
  entries: ReadonlyArray<string>,
  packages: Iterable<string>
): Promise<void> => {
  await unpack(tarball, manifest.name, project, packages)
  await link(project, "@types/node")
  const names = entries.map((entry) => path.posix.join(manifest.name, entry))
  await writeFile(path.join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
  await writeFile(path.join(project, "tsconfig.json"), JSON.stringify(userConfig))
  await writeFile(path.join(project, "program.ts"), programOf(names))
  await Command.capture("tsc", ["-p", "tsconfig.json"], { cwd: project })
  await Command.capture("node", ["out/program.js"], { cwd: project })
}

/**
 * Bundles the compiled program as for a page, and runs it: a page has one file for each source, not the entry points
 * that are bundled for Node.
 */
const usePage = async (project: string): Promise<void> => {
  const file = path.join(project, "out", "page.js")
  const { output } = await Rolldown.build({
    cwd: project,
    input: "out/program.js",
    platform: "browser",
    logLevel: "warn",
    output: { file }
  })
  const modules = output.flatMap((part) => (part.type === "chunk" ? part.moduleIds : []))
  const ours = modules.filter((id) => id.includes(`${path.sep}piecewise${path.sep}dist${path.sep}`))
  if (ours.length < 100) throw new Command.CommandFailed("rolldown", `found ${ours.length} files for pages`, "")
  await Command.capture("node", [file], { cwd: project })
}

/** Entry points that need `effect` alone. */
const coreEntries = [".", "./http", "./session", "./testing"]

/** Installs the package for the whole system, as npm does, with no other package. Returns its program. */
const installProgram = async ({ manifest, tarball }: Pack, prefix: string): Promise<string> => {
  // The program is bundled. npm would look up the packages that only the entry points need.
  const flags = ["--global", "--prefix", prefix, "--offline", "--legacy-peer-deps"]
  await Command.capture("npm", ["install", ...flags, tarball])
  const [name] = Object.keys(manifest.bin)
  return path.join(prefix, "bin", name!)
}

/** Runs the installed program as by a shell: through its first line and its executable bit. */
const useProgram = async (program: string, version: string, folder: string): Promise<void> => {
  const answer = await Command.capture(program, ["--version"], { cwd: folder })
  if (!answer.includes(version)) {
    throw new Command.CommandFailed("piecewise --version", `does not print ${version}`, answer)
  }
  await writeFile(path.join(folder, "content.txt"), "content\n".repeat(100_000))
  await Command.capture(program, ["create", "content.txt", "--output", "content.torrent"], { cwd: folder })
  const shown = await Command.capture(program, ["info", "content.torrent"], { cwd: folder })
  if (!shown.includes("content.txt")) throw new Command.CommandFailed("piecewise info", "does not name the file", shown)
  await checkDownload(program, folder)
  await checkLateImports(program, folder)
}

/** Downloads the torrent that lies in the folder from a peer in another process. */
const checkDownload = async (program: string, folder: string): Promise<void> => {
  const seeder = spawn(process.execPath, [path.join(Command.root, "scripts", "seeder.ts"), "content.torrent", folder], {
    cwd: folder,
    stdio: ["pipe", "pipe", "inherit"]
  })
  try {
    const [address] = (await once(seeder.stdout.setEncoding("utf8"), "data")) as [string]
    const args = ["download", "content.torrent", "--output", "downloads", "--peer", address.trim()]
    await Command.capture(program, args, { cwd: folder, env: { PIECEWISE_BIND: "127.0.0.1" } })
  } finally {
    const ended = once(seeder, "close")
    seeder.stdin.end()
    await ended
  }
  const [source, copy] = await Promise.all(
    ["content.txt", path.join("downloads", "content.txt")].map((file) => readFile(path.join(folder, file)))
  )
  if (!source!.equals(copy!)) throw new Command.CommandFailed("piecewise download", "wrote other bytes", "")
}

/**
 * Lets the program look for an io-daemon that is not there. Its HTTP client is loaded only then, so a bundle may lack a
 * part of it and still start.
 */
const checkLateImports = async (program: string, folder: string): Promise<void> => {
  const env = { PIECEWISE_IO_DAEMON_TOKEN: "none" }
  // No program can listen on port 1 of loopback without being the administrator's.
  const daemon = ["--storage", "io-daemon", "--io-daemon-url", "http://127.0.0.1:1"]
  const args = ["download", "content.torrent", "--output", "elsewhere", "--peer", "127.0.0.1:1", ...daemon]
  const said = await Command.capture(program, args, { cwd: folder, env }).catch((error: unknown) => {
    if (!(error instanceof Command.CommandFailed)) throw error
    return error.output
  })
  if (!said.includes("the io-daemon is not there")) {
    throw new Command.CommandFailed("piecewise download", "does not say that the io-daemon is not there", said)
  }
}

/** A package as npm would publish it. */
interface Pack {
  readonly manifest: Manifest
  readonly packed: Packed
  readonly tarball: string
}

/** Builds the package, and packs it into a folder. */
const pack = async (folder: string): Promise<Pack> => {
  await build()
  const manifest = JSON.parse(await readFile(path.join(Command.root, "package.json"), "utf8")) as Manifest
  const packed = packedOf(
    await Command.capture("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder])
  )
  return { manifest, packed, tarball: path.join(folder, packed.filename) }
}

/** Builds, packs and installs into an empty folder. Returns the program `piecewise`. Fails with `CommandFailed`. */
export const install = async (folder: string): Promise<string> => {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  return await installProgram(await pack(folder), folder)
}

/** Builds, packs and checks. Returns one sentence about the package. Fails with `CommandFailed`. */
export const checkPackage = async (): Promise<string> => {
  const temporary = await mkdtemp(path.join(tmpdir(), "piecewise-package-"))
  try {
    const built = await pack(temporary)
    const { manifest, packed, tarball } = built
    const paths = new Set(packed.files.map((file) => file.path))
    const missing = expectedFiles.filter((file) => !paths.has(file))
    if (missing.length > 0) throw new Command.CommandFailed("npm pack", `did not include ${missing.join(", ")}`, "")

    await Command.capture("publint", ["run", tarball, "--strict"])
    await Command.capture("attw", [tarball, "--profile", "esm-only", "--no-definitely-typed", "--no-emoji"])
    const program = await installProgram(built, path.join(temporary, "system"))
    await useProgram(program, manifest.version, temporary)
    const core = path.join(temporary, "core")
    await useEntries(built, core, coreEntries, ["effect"])
    await usePage(core)
    const entries = Object.keys(manifest.exports).filter((entry) => entry !== "./package.json")
    await useEntries(built, path.join(temporary, "all"), entries, Object.keys(manifest.peerDependencies))
    return `${packed.files.length} files, ${Math.ceil(packed.size / 1024)} KiB packed; they import, compile and run`
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}
