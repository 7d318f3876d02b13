/**
 * Checks the package as users receive it: packs it, lints the tarball, and installs it into a separate project that has
 * only the declared dependencies. Needs no network. Everything except `dist` is in a temporary folder that is removed.
 */
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { build } from "./build.ts"
import * as Command from "./command.ts"

interface Manifest {
  readonly name: string
  readonly version: string
  readonly exports: Readonly<Record<string, unknown>>
  readonly bin: { readonly piecewise: string }
  readonly dependencies: Readonly<Record<string, string>>
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

/** Unpacks the tarball into a project, and returns the folder. */
const unpack = async (tarball: string, manifest: Manifest, project: string): Promise<string> => {
  const installed = path.join(project, "node_modules", manifest.name)
  await mkdir(installed, { recursive: true })
  await Command.capture("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"])
  // Only declared dependencies are linked, so that an undeclared import fails here as it would for a user.
  for (const name of [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)]) {
    await link(project, name)
  }
  return installed
}

const useAsUser = async (tarball: string, manifest: Manifest, project: string): Promise<void> => {
  const installed = await unpack(tarball, manifest, project)
  await link(project, "@types/node")

  const entries = Object.keys(manifest.exports)
    .filter((entry) => entry !== "./package.json")
    .map((entry) => path.posix.join(manifest.name, entry))
  await writeFile(path.join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
  await writeFile(path.join(project, "tsconfig.json"), JSON.stringify(userConfig))
  await writeFile(path.join(project, "program.ts"), programOf(entries))
  await Command.capture("tsc", ["-p", "tsconfig.json"], { cwd: project })
  await Command.capture("node", ["out/program.js"], { cwd: project })

  for (const [name, program] of Object.entries(manifest.bin)) {
    // Started as by a shell: through its first line and its executable bit.
    const answer = await Command.capture(path.join(installed, program), ["--version"], { cwd: project })
    if (!answer.includes(manifest.version)) {
      throw new Command.CommandFailed(`${name} --version`, `does not print ${manifest.version}`, answer)
    }
    const torrent = path.join(project, "program.torrent")
    await Command.capture(path.join(installed, program), ["create", "program.ts", "-o", torrent], { cwd: project })
    const shown = await Command.capture(path.join(installed, program), ["info", torrent], { cwd: project })
    if (!shown.includes("program.ts")) throw new Command.CommandFailed(`${name} info`, "does not name the file", shown)
  }
  await checkLateImports(path.join(installed, manifest.bin.piecewise), project)
}

/**
 * Lets the program look for an io-daemon that is not there. Its HTTP client is loaded only then, so a bundle may lack a
 * part of it and still start.
 */
const checkLateImports = async (program: string, project: string): Promise<void> => {
  const env = { PIECEWISE_IO_DAEMON_TOKEN: "none" }
  await Command.capture(program, ["create", "program.ts", "--output", "program.torrent"], { cwd: project })
  // No program can listen on port 1 of loopback without being the administrator's.
  const daemon = ["--storage", "io-daemon", "--io-daemon-url", "http://127.0.0.1:1"]
  const args = ["download", "program.torrent", "--output", "downloads", "--peer", "127.0.0.1:1", ...daemon]
  const said = await Command.capture(program, args, { cwd: project, env }).catch((error: unknown) => {
    if (!(error instanceof Command.CommandFailed)) throw error
    return error.output
  })
  if (!said.includes("the io-daemon is not there")) {
    throw new Command.CommandFailed("piecewise download", "does not say that the io-daemon is not there", said)
  }
}

/** Builds the package, and packs it into a folder. */
const pack = async (folder: string) => {
  await build()
  const manifest = JSON.parse(await readFile(path.join(Command.root, "package.json"), "utf8")) as Manifest
  const packed = packedOf(
    await Command.capture("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder])
  )
  return { manifest, packed, tarball: path.join(folder, packed.filename) }
}

/** Builds, packs and installs into an empty project. Returns the program `piecewise`. Fails with `CommandFailed`. */
export const install = async (project: string): Promise<string> => {
  await rm(project, { recursive: true, force: true })
  await mkdir(project, { recursive: true })
  const { manifest, tarball } = await pack(project)
  return path.join(await unpack(tarball, manifest, project), manifest.bin.piecewise)
}

/** Builds, packs and checks. Returns one sentence about the package. Fails with `CommandFailed`. */
export const checkPackage = async (): Promise<string> => {
  const temporary = await mkdtemp(path.join(tmpdir(), "piecewise-package-"))
  try {
    const { manifest, packed, tarball } = await pack(temporary)
    const paths = new Set(packed.files.map((file) => file.path))
    const missing = expectedFiles.filter((file) => !paths.has(file))
    if (missing.length > 0) throw new Command.CommandFailed("npm pack", `did not include ${missing.join(", ")}`, "")

    await Command.capture("publint", ["run", tarball, "--strict"])
    await Command.capture("attw", [tarball, "--profile", "esm-only", "--no-definitely-typed", "--no-emoji"])
    await useAsUser(tarball, manifest, path.join(temporary, "project"))
    return `${packed.files.length} files, ${Math.ceil(packed.size / 1024)} KiB packed; they import, compile and run`
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}
