/**
 * The torrents that `npm run bench` downloads: their content is made from a seed, and kept in the cache folder of the
 * checkout.
 */
import { createCipheriv, hash } from "node:crypto"
import { mkdir, open, readFile, rm, writeFile } from "node:fs/promises"
import * as path from "node:path"
import * as Prng from "../../src/base/Prng.ts"
import * as Bencode from "../../src/bencode/Bencode.ts"
import * as Command from "../command.ts"

/** Everything that the benchmark keeps between runs. */
export const cache = path.join(Command.root, ".cache", "bench")

/** A torrent and its content. */
export interface Content {
  readonly name: string
  /** The folder that contains the content's file or folder. */
  readonly folder: string
  readonly torrent: string
  /** The torrent as JSON for programs that have no decoder; see `bare.ts`. */
  readonly plan: string
  readonly bytes: number
  readonly files: ReadonlyArray<File>
}

/** A file of a torrent. `path` begins with the torrent's name. */
export interface File {
  readonly path: string
  readonly length: number
}

/** What a plan says. `digests` are the SHA-1 digests of the pieces, in base64. */
export interface Plan {
  readonly infoHash: string
  readonly pieceLength: number
  readonly bytes: number
  readonly digests: string
  readonly files: ReadonlyArray<File>
}

const mebibyte = 1_048_576

/** Bytes that look random and are the same for the same seed. */
const makeNoise = (seed: number): ((length: number) => Uint8Array) => {
  const key = Buffer.alloc(16)
  key.writeUInt32BE(seed)
  const cipher = createCipheriv("aes-128-ctr", key, Buffer.alloc(16))
  return (length) => cipher.update(Buffer.alloc(length))
}

/**
 * The lengths of 2,000 files as they occur in large torrents: 50 are empty, 500 have less than 4 KiB, 1,000 less than
 * 128 KiB, 400 less than 1 MiB, and 50 share what is left of `total`.
 */
export const fileLengths = (total: number): ReadonlyArray<number> => {
  const random = Prng.make(7)
  // Smaller totals have smaller files, so that there is always something left.
  const scale = Math.min(1, total / (512 * mebibyte))
  const between = (low: number, high: number) =>
    Math.max(1, Math.round((low + Prng.integer(random, high - low)) * scale))
  const lengths = [
    ...Array.from({ length: 50 }, () => 0),
    ...Array.from({ length: 500 }, () => between(1, 4_096)),
    ...Array.from({ length: 1_000 }, () => between(4_096, 131_072)),
    ...Array.from({ length: 400 }, () => between(131_072, mebibyte))
  ]
  const left = total - lengths.reduce((sum, length) => sum + length, 0)
  for (let large = 0; large < 50; large++) {
    lengths.push(Math.floor((left * (large + 1)) / 50) - Math.floor((left * large) / 50))
  }
  for (let last = lengths.length - 1; last > 0; last--) {
    const other = Prng.integer(random, last + 1)
    const length = lengths[last]!
    lengths[last] = lengths[other]!
    lengths[other] = length
  }
  return lengths
}

/** Writes the files and returns the SHA-1 digest of every piece. */
const writeFiles = async (folder: string, files: ReadonlyArray<File>, pieceLength: number): Promise<Buffer> => {
  const noise = makeNoise(files.length)
  const digests: Array<Uint8Array> = []
  const piece = new Uint8Array(pieceLength)
  let filled = 0
  const take = (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + pieceLength - filled)
      piece.set(part, filled)
      filled += part.length
      at += part.length
      if (filled === pieceLength) {
        digests.push(hash("sha1", piece, "buffer"))
        filled = 0
      }
    }
  }
  for (const { length, path: name } of files) {
    const place = path.join(folder, name)
    await mkdir(path.dirname(place), { recursive: true })
    const handle = await open(place, "w")
    for (let at = 0; at < length; at += mebibyte) {
      const bytes = noise(Math.min(mebibyte, length - at))
      await handle.writeFile(bytes)
      take(bytes)
    }
    await handle.close()
  }
  if (filled > 0) digests.push(hash("sha1", piece.subarray(0, filled), "buffer"))
  return Buffer.concat(digests)
}

const make = async (folder: string, name: string, lengths: ReadonlyArray<number>, pieceLength: number) => {
  const bytes = lengths.reduce((sum, length) => sum + length, 0)
  const pathOf = (index: number): ReadonlyArray<string> => [
    `d${String(index % 40).padStart(2, "0")}`,
    `s${index % 7}`,
    `f${String(index).padStart(4, "0")}.bin`
  ]
  const files = lengths.map((length, index) => ({
    path: lengths.length === 1 ? name : [name, ...pathOf(index)].join("/"),
    length
  }))
  const content: Content = {
    name,
    folder,
    torrent: path.join(folder, "..", `${path.basename(folder)}.torrent`),
    plan: path.join(folder, "..", `${path.basename(folder)}.json`),
    bytes,
    files
  }
  // The plan is written last, so that interrupted work is repeated.
  if ((await readFile(content.plan).catch(() => undefined)) !== undefined) return content
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const digests = await writeFiles(folder, files, pieceLength)
  const what =
    lengths.length === 1
      ? { length: bytes }
      : { files: lengths.map((length, index) => ({ length, path: pathOf(index) })) }
  const info = { ...what, name, "piece length": pieceLength, pieces: new Uint8Array(digests) }
  await writeFile(content.torrent, Bencode.encode({ info }))
  const plan: Plan = {
    infoHash: hash("sha1", Bencode.encode(info), "hex"),
    pieceLength,
    bytes,
    digests: digests.toString("base64"),
    files
  }
  await writeFile(content.plan, JSON.stringify(plan))
  return content
}

/** One file of `mebibytes`, in pieces of 1 MiB. */
export const one = (mebibytes: number): Promise<Content> =>
  make(path.join(cache, `one-${mebibytes}`), "one.bin", [mebibytes * mebibyte], mebibyte)

/** 2,000 files of `mebibytes` together, in pieces of 256 KiB. */
export const many = (mebibytes: number): Promise<Content> =>
  make(path.join(cache, `many-${mebibytes}`), "many", fileLengths(mebibytes * mebibyte), mebibyte / 4)

/** Writes a copy of a torrent that names a tracker, for clients that find their peers only through one. */
export const withTracker = async (content: Content, tracker: string, file: string): Promise<void> => {
  // `announce` comes before `info`, which is the torrent's only key.
  const torrent = await readFile(content.torrent)
  await writeFile(file, Buffer.concat([Buffer.from(`d8:announce${tracker.length}:${tracker}`), torrent.subarray(1)]))
}

/** The first file that differs from the content; `undefined` if none does. An empty file may be missing. */
export const difference = async (content: Content, folder: string): Promise<string | undefined> => {
  const [ours, theirs] = [Buffer.alloc(mebibyte), Buffer.alloc(mebibyte)]
  for (const { length, path: name } of content.files) {
    const copy = await open(path.join(folder, name), "r").catch(() => undefined)
    if (copy === undefined) {
      if (length === 0) continue
      return name
    }
    const source = await open(path.join(content.folder, name), "r")
    try {
      if ((await copy.stat()).size !== length) return name
      for (let at = 0; at < length; at += mebibyte) {
        const { bytesRead } = await source.read(ours, 0, mebibyte, at)
        await copy.read(theirs, 0, mebibyte, at)
        if (ours.compare(theirs, 0, bytesRead, 0, bytesRead) !== 0) return name
      }
    } finally {
      await source.close()
      await copy.close()
    }
  }
  return undefined
}
