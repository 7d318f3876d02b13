/**
 * Prints how many bytes each file of a torrent takes, names included, while nothing happens. The files are on a disk
 * that is only played. Arguments: `empty` (no file exists), `seed` (all are complete) or `half` (half of the bytes of
 * each file are downloaded), how many files the torrent has (an even number above 2,200, because the torrent's events
 * take room up to then), and where they are: `shared` (100 folders), `portable` (the same with a `?` in their names) or
 * `alone` (a folder for each).
 */
import * as NFS from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import * as V8 from "node:v8"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type SupplierSource, SupplierSources } from "../../../src/assembly/SupplierSource.ts"
import * as Engine from "../../../src/engine/Engine.ts"
import * as NodePieceHasher from "../../../src/hash/provider/node/NodePieceHasher.ts"
import * as CreateTorrent from "../../../src/metainfo/CreateTorrent.ts"
import * as Metainfo from "../../../src/metainfo/Metainfo.ts"
import * as NodeEngine from "../../../src/node/NodeEngine.ts"
import { ResumeStore } from "../../../src/resume/ResumeStore.ts"
import * as FileSystemStorage from "../../../src/storage/provider/node/FileSystemStorage.ts"
import type { NodeFileSystem } from "../../../src/storage/provider/node/NodeFile.ts"
import { nodeFileSystem } from "../../../src/storage/provider/node/NodeFile.ts"
import { Storage } from "../../../src/storage/Storage.ts"
import * as MapSupplier from "../../supply/MapSupplier.ts"

const mode = process.argv[2]
const shape = process.argv[4] ?? "shared"
const pieceLength = 1_024
const byte = 7
/**
 * The files of three torrents. The first comes before all measurements, so that what the program itself takes is not
 * counted, and the second shows what a torrent takes beside its files.
 */
const counts = { warm: 500, small: 2_200, big: Number(process.argv[3]) }
const names = ["warm", "small", "big"] as const

/** The folder of a file. */
const folderOf = (file: number): string =>
  shape === "alone" ? `directory-${file}` : `directory-${file % 100}${shape === "portable" ? "?" : ""}`

/** So that a piece has the second half of one file and the first half of the next. */
const lengthOf = (file: number): number => (file === 0 ? pieceLength / 2 : pieceLength)

/** Spaces of the heap that code is compiled to. It grows whenever something is called more often. */
const isCode = (space: string): boolean => /code|trusted|read_only/.test(space)

const used = (): number => {
  globalThis.gc!()
  globalThis.gc!()
  let sum = process.memoryUsage().arrayBuffers
  for (const space of V8.getHeapSpaceStatistics()) if (!isCode(space.space_name)) sum += space.space_used_size
  return sum
}

const directory = NFS.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-memory-"))
if (mode === "seed") {
  for (let folder = 0; folder < (shape === "alone" ? counts.big : 100); folder++) {
    for (const name of names) NFS.mkdirSync(Path.join(directory, name, folderOf(folder)), { recursive: true })
  }
}

/** A disk with files that are full of one byte. Those of the torrents have the number at the end of their name. */
const playedDisk = (): NodeFileSystem => {
  const begins = { warm: 0, small: counts.warm, big: counts.warm + counts.small }
  const lengths = new Float64Array(begins.big + counts.big).fill(-1)
  if (mode === "seed") {
    for (const name of names)
      for (let file = 0; file < counts[name]; file++) lengths[begins[name] + file] = lengthOf(file)
  }
  const fileIn = (path: string): number => {
    const found = /\/(warm|small|big)\/[^/]*\/some-file-name-(\d+)$/.exec(path)
    return found === null ? -1 : begins[found[1] as "big"] + Number(found[2])
  }
  const folder = NFS.statSync(directory, { bigint: true })
  const statsOf = (file: number): NFS.BigIntStats =>
    Object.assign(Object.create(folder), {
      isFile: () => true,
      isDirectory: () => false,
      ino: BigInt(file + 1_000),
      size: BigInt(lengths[file]!),
      blocks: 8n,
      nlink: 1n,
      mtimeNs: 1_800_000_000_123_456_789n,
      birthtimeNs: 1_700_000_000_123_456_789n + BigInt(file)
    })
  const missing = Object.assign(new Error("missing"), { code: "ENOENT" })
  const first = 1_000_000
  return {
    ...nodeFileSystem,
    lstatExact: (path, done) => {
      const file = fileIn(path)
      if (file < 0) return nodeFileSystem.lstatExact(path, done)
      if (lengths[file]! < 0) return done(missing, folder)
      done(null, statsOf(file))
    },
    fstatExact: (fd, done) => (fd < first ? nodeFileSystem.fstatExact(fd, done) : done(null, statsOf(fd - first))),
    lookNow: (path, follows) => {
      const file = fileIn(path)
      if (file < 0) return nodeFileSystem.lookNow(path, follows)
      return lengths[file]! < 0 ? undefined : statsOf(file)
    },
    fstatNow: (fd) => (fd < first ? nodeFileSystem.fstatNow(fd) : statsOf(fd - first)),
    open: (path, flags, done) => {
      const file = fileIn(path)
      if (file < 0) return nodeFileSystem.open(path, flags, done)
      if ((flags & NFS.constants.O_CREAT) !== 0) lengths[file] = 0
      if (lengths[file]! < 0) return done(missing, -1)
      done(null, first + file)
    },
    close: (fd, done) => (fd < first ? nodeFileSystem.close(fd, done) : done(null)),
    read: (_, bytes, begin, length, __, done) => {
      bytes.fill(byte, begin, begin + length)
      done(null, length)
    },
    write: (fd, _, __, length, position, done) => {
      lengths[fd - first] = Math.max(lengths[fd - first]!, position + length)
      done(null, length)
    },
    fdatasync: (_, done) => done(null),
    fsync: (fd, done) => (fd < first ? nodeFileSystem.fsync(fd, done) : done(null)),
    // Copies that a crash has left are looked for beside each file.
    readdir: (path, done) => (path.includes("directory-") ? done(null, []) : nodeFileSystem.readdir(path, done))
  }
}

const sha1 = async (length: number): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest("SHA-1", new Uint8Array(length).fill(byte)))

const torrentFile = async (name: string, fileCount: number): Promise<Uint8Array> => {
  const files = Array.from({ length: fileCount }, (_, file) => ({
    path: [folderOf(file), `some-file-name-${file}`],
    length: lengthOf(file)
  }))
  const [digest, last] = [await sha1(pieceLength), await sha1(pieceLength / 2)]
  const digests = new Uint8Array(fileCount * 20)
  for (let piece = 0; piece < fileCount; piece++) digests.set(piece < fileCount - 1 ? digest : last, piece * 20)
  return CreateTorrent.encode({ name, files, pieceLength, digests })
}

const block = new Uint8Array(pieceLength).fill(byte)
const piecesOf = (fileCount: number) => new Map(Array.from({ length: fileCount / 2 }, (_, index) => [2 * index, block]))
const suppliers = new Map(Object.values(counts).map((count) => [count, MapSupplier.make(piecesOf(count))]))

/** Supplies every other piece of each torrent. */
const supplier: SupplierSource = {
  supply: (context) => suppliers.get(context.assembly.geometry.pieceCount)!.supply(context)
}

/** Adds a torrent, and waits until it is in the state that is measured. */
const add = Effect.fnUntraced(function* (bytes: Uint8Array) {
  const metainfo = yield* Metainfo.fromBytes(bytes)
  const torrent = yield* (yield* Engine.Engine).add(metainfo, { seed: true })
  const { fileCount } = metainfo.layout
  const wanted = mode === "half" ? fileCount / 2 : mode === "seed" ? fileCount : 0
  for (;;) {
    const { state, storedPieces } = yield* torrent.status
    const isBegun = mode === "seed" ? state._tag === "Complete" : state._tag === "Downloading"
    if (isBegun && storedPieces === wanted) break
    yield* Effect.sleep(20)
  }
  // For the last batch of resume data.
  yield* Effect.sleep(100)
  return torrent
})

const torrentFiles = await Promise.all(names.map((name) => torrentFile(name, counts[name])))

const measure = Effect.gen(function* () {
  const kept: Array<unknown> = []
  const taken: Array<number> = []
  for (const bytes of torrentFiles) {
    const before = used()
    kept.push(yield* add(bytes))
    taken.push(used() - before)
  }
  return { perFile: (taken[2]! - taken[1]!) / (counts.big - counts.small), kept }
})

/** Resume data that takes no memory. */
const forgetful = ResumeStore.of({
  open: () =>
    Effect.succeed({
      load: Effect.undefined,
      save: () => Effect.void,
      append: () => Effect.void,
      remove: Effect.void
    })
})

const layer = Engine.layer({ bufferBytes: 1 << 16 }).pipe(
  Layer.provide(
    Layer.mergeAll(
      Layer.effect(Storage, FileSystemStorage.make({ directory }, playedDisk())),
      Layer.succeed(ResumeStore, forgetful),
      NodeEngine.layerNetwork({ dht: false })
    ).pipe(Layer.provideMerge(NodePieceHasher.layer))
  ),
  Layer.provideMerge(NodePieceHasher.layer),
  Layer.provide(Layer.succeed(SupplierSources, mode === "half" ? [supplier] : []))
)

const { perFile } = await Effect.runPromise(Effect.scoped(measure).pipe(Effect.provide(layer)))
console.log(perFile)
NFS.rmSync(directory, { recursive: true })
