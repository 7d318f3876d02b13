/**
 * Demonstrates piecewise: `npm run demo`. Makes a folder of about 200 MB and a torrent from it, seeds it from a second
 * process over loopback, downloads it with the command line as a user would, and compares the bytes.
 *
 * Everything happens in one temporary folder, which is always removed at the end. Exit code 0 means that the bytes are
 * equal.
 */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, open, readdir } from "node:fs/promises"
import * as path from "node:path"
import * as Units from "../src/cli/Units.ts"
import * as KnownTorrent from "../src/testing/KnownTorrent.ts"
import * as Demonstration from "./demonstration.ts"

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

const { say } = Demonstration

/** Writes noise that is the same on every run. To be fast, it repeats one block with a mark that differs. */
const makeFiles = async (folder: string, check: () => void): Promise<number> => {
  const block = new Uint8Array(megabyte)
  let total = 0
  for (const [index, [name, length]] of files.entries()) {
    check()
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

const demo = async (self: Demonstration.Demonstration): Promise<boolean> => {
  const { check, folder, piecewise } = self
  // Relative paths, as a user would type them.
  const source = path.join("seed", "sample")
  const torrent = "sample.torrent"
  const target = "downloads"

  say("piecewise downloads a folder from another process, over loopback, and proves that every byte is right.")
  say(`It uses the folder ${folder}, which is removed afterwards.`)
  const bytes = await makeFiles(path.join(folder, source), check)
  say(`\nMade a sample of ${files.length} files, ${Units.bytes(bytes)}.`)

  await piecewise(["create", source, "-o", torrent])
  const seeder = await Demonstration.seed(self, torrent, path.dirname(source))
  say(`\nA seeder in another process (${seeder.child.process.pid}) serves it at ${seeder.address}.`)

  await piecewise(["download", torrent, "-o", target, "--peer", seeder.address])
  seeder.child.process.kill("SIGTERM")
  await seeder.child.ended

  await piecewise(["verify", torrent, target])
  say("\nThe SHA-256 of each file on both sides, computed without piecewise:")
  const isEqual = await compare(path.join(folder, source), path.join(folder, target, "sample"))
  say(isEqual ? "\nAll bytes are equal." : "\nThe bytes differ.")
  return isEqual
}

await Demonstration.run("demo", demo)
