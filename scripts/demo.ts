/**
 * Demonstrates piecewise: `npm run demo`. Makes a folder of about 200 MB and a torrent from it, seeds it from a second
 * process over loopback, downloads it with the command line as a user would, and compares the bytes.
 *
 * Everything happens in one temporary folder, which is always removed at the end. Exit code 0 means that the bytes are
 * equal.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, mkdtemp, open, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Units from "../src/cli/Units.ts"
import * as KnownTorrent from "../src/testing/KnownTorrent.ts"
import * as Command from "./command.ts"

const megabyte = 1_000_000

/**
 * Lengths that are no multiple of a piece length, an empty file, a file of one byte, and names with special characters.
 */
const files: ReadonlyArray<readonly [name: string, length: number]> = [
  ["film.mkv", 120 * megabyte + 1],
  ["extras/making of.mkv", 60 * megabyte - 7],
  ["extras/žluťoučký kůň.flac", 19 * megabyte + 4_321],
  ["subtitles/日本語.srt", 98_765],
  ["subtitles/empty.srt", 0],
  ["readme.txt", 1]
]

class Stopped extends Error {}

/** The running child processes, each with its exit. */
const children = new Map<ChildProcess, Promise<number | null>>()
let stopped = false

const say = (text: string): void => console.log(text)

/** The temporary folder, once it exists. */
let folder: string | undefined

/** Starts a script of the checkout with this Node, in the temporary folder. */
const start = (script: string, args: ReadonlyArray<string>, stdio: "inherit" | ["pipe", "pipe", "inherit"]) => {
  if (stopped) throw new Stopped()
  const env = { ...process.env, PIECEWISE_BIND: "127.0.0.1" }
  const child = spawn(process.execPath, [path.join(Command.root, script), ...args], { cwd: folder, env, stdio })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => {
      children.delete(child)
      resolve(code)
    })
  })
  children.set(child, ended)
  return { child, ended }
}

/** Runs the command line in this terminal, and prints the command as a user would type it. */
const piecewise = async (args: ReadonlyArray<string>): Promise<void> => {
  say(`\n$ piecewise ${args.map((arg) => (/^[\w./:=-]+$/.test(arg) ? arg : JSON.stringify(arg))).join(" ")}`)
  const code = await start("src/node/main.ts", args, "inherit").ended
  if (stopped) throw new Stopped()
  if (code !== 0) throw new Error(`piecewise ${args[0]} ended with ${code}`)
}

/** Writes noise that is the same on every run. To be fast, it repeats one block with a mark that differs. */
const makeFiles = async (folder: string): Promise<number> => {
  const block = new Uint8Array(megabyte)
  let total = 0
  for (const [index, [name, length]] of files.entries()) {
    if (stopped) throw new Stopped()
    const file = path.join(folder, name)
    await mkdir(path.dirname(file), { recursive: true })
    KnownTorrent.fill(block, 0, index + 1)
    const mark = new DataView(block.buffer)
    const handle = await open(file, "w")
    try {
      for (let offset = 0; offset < length; offset += block.length) {
        for (let at = 0; at < block.length; at += 10_000) mark.setUint32(at, offset + at)
        await handle.write(block, 0, Math.min(block.length, length - offset))
      }
    } finally {
      await handle.close()
    }
    total += length
  }
  return total
}

/** The SHA-256 of every file below a folder, by its path. */
const digests = async (folder: string): Promise<ReadonlyMap<string, string>> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const found = new Map<string, string>()
  for (const entry of entries.filter((entry) => entry.isFile())) {
    const file = path.join(entry.parentPath, entry.name)
    const hash = createHash("sha256")
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk)
    found.set(path.relative(folder, file), hash.digest("hex"))
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
}

const compare = async (source: string, copy: string): Promise<boolean> => {
  const expected = await digests(source)
  const actual = await digests(copy)
  for (const [name, digest] of expected) {
    const isEqual = actual.get(name) === digest
    say(`  ${isEqual ? "equal    " : "DIFFERENT"}  ${digest.slice(0, 16)}...  ${name}`)
  }
  const extra = [...actual.keys()].filter((name) => !expected.has(name))
  for (const name of extra) say(`  EXTRA      ${name}`)
  return extra.length === 0 && [...expected].every(([name, digest]) => actual.get(name) === digest)
}

const startSeeder = async (torrent: string, folder: string) => {
  const { child, ended } = start("scripts/seeder.ts", [torrent, folder], ["pipe", "pipe", "inherit"])
  const address = new Promise<string>((resolve) => {
    child.stdout!.setEncoding("utf8").once("data", (text: string) => resolve(text.trim()))
  })
  const early = ended.then((code): never => {
    throw stopped ? new Stopped() : new Error(`the seeder ended with ${code}`)
  })
  // It can reject only before the seeder has printed its address. Afterwards nothing awaits it.
  early.catch(() => {})
  return { child, ended, address: await Promise.race([address, early]) }
}

const demo = async (folder: string): Promise<boolean> => {
  // Relative paths, as a user would type them.
  const source = path.join("seed", "sample")
  const torrent = "sample.torrent"
  const target = "downloads"

  say("piecewise downloads a folder from another process, over loopback, and proves that every byte is right.")
  say(`It uses the folder ${folder}, which is removed afterwards.`)
  const bytes = await makeFiles(path.join(folder, source))
  say(`\nMade a sample of ${files.length} files, ${Units.bytes(bytes)}.`)

  await piecewise(["create", source, "-o", torrent])
  const seeder = await startSeeder(torrent, path.dirname(source))
  say(`\nA seeder in another process (${seeder.child.pid}) serves it at ${seeder.address}.`)

  await piecewise(["download", torrent, "-o", target, "--peer", seeder.address])
  seeder.child.kill("SIGTERM")
  await seeder.ended

  await piecewise(["verify", torrent, target])
  say("\nThe SHA-256 of each file on both sides, computed without piecewise:")
  const isEqual = await compare(path.join(folder, source), path.join(folder, target, "sample"))
  say(isEqual ? "\nAll bytes are equal." : "\nThe bytes differ.")
  return isEqual
}

const stop = (): void => {
  stopped = true
  // The command line also received Ctrl-C from the terminal, and ends by itself. The seeder needs a signal.
  for (const child of children.keys()) child.kill("SIGTERM")
}
process.on("SIGINT", stop)
process.on("SIGTERM", stop)

try {
  folder = await mkdtemp(path.join(tmpdir(), "piecewise-demo-"))
  process.exitCode = (await demo(folder)) ? 0 : 1
} catch (error) {
  if (!stopped) console.error(`demo: ${error instanceof Error ? error.message : error}`)
  process.exitCode = stopped ? 130 : 1
} finally {
  for (const child of children.keys()) child.kill("SIGTERM")
  await Promise.allSettled(children.values())
  if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  if (stopped) console.error("Stopped; nothing is left behind.")
}
