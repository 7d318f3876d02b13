/** A real folder for a test, and calls to the disk that are counted and can be made to fail. */

import * as NFS from "node:fs"
import * as OS from "node:os"
import * as Path from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import * as LockNames from "../../src/storage/provider/node/locks/LockNames.ts"
import { type NodeFileSystem, nodeFileSystem } from "../../src/storage/provider/node/NodeFile.ts"
import { Storage } from "../../src/storage/Storage.ts"
import { MediumFiles } from "../../src/testing/suite/MediumFiles.ts"

/** A fresh download folder (`root`) beside a place that must stay untouched (`outside`); removed with the layer. */
export class Disk extends Context.Service<
  Disk,
  { readonly root: string; readonly outside: string; readonly calls: DiskCalls }
>()("piecewise/test/storage/Disk") {}

export type Operation = keyof NodeFileSystem

type Failing = (operation: Operation, args: ReadonlyArray<unknown>) => string | undefined

/** Calls to the disk. */
export interface DiskCalls {
  readonly fs: NodeFileSystem
  readonly count: (operation: Operation) => number
  /** Calls of every kind. */
  readonly total: () => number
  /** Descriptors that are open now, and the most that ever were at once. */
  readonly openNow: () => number
  readonly openMost: () => number
  /** Fails calls for which it returns the name of an error number. */
  failWhen: Failing
  /** The type that `statfs` reports for every file system. */
  fileSystem: bigint | undefined
  /** The free bytes that `statfs` reports. */
  freeBytes: number | undefined
  /** Bytes that a write accepts at most, as with a full pipe or a signal. */
  shortWrites: number | undefined
  /** Runs before a call is made. */
  before: ((operation: Operation, args: ReadonlyArray<unknown>) => void) | undefined
  /** Runs when a call is done; `true` holds its result back until `release`. */
  hold: ((operation: Operation, release: () => void) => boolean) | undefined
}

const systemError = (code: string) => Object.assign(new Error(`${code}: injected`), { code })

/** Calls to the real disk, counted. */
export const makeCalls = (): DiskCalls => {
  const counts = new Map<Operation, number>()
  const fds = new Set<number>()
  let most = 0
  const watch = (operation: Operation) => {
    const real = nodeFileSystem[operation] as (...args: ReadonlyArray<unknown>) => void
    return (...args: ReadonlyArray<unknown>) => {
      counts.set(operation, (counts.get(operation) ?? 0) + 1)
      calls.before?.(operation, args)
      const done = args.at(-1) as (error: unknown, value?: unknown) => void
      const code = calls.failWhen(operation, args)
      if (code !== undefined && operation !== "close") return void setImmediate(done, systemError(code))
      const rest = args.slice(0, -1)
      if (operation === "write" && calls.shortWrites !== undefined) {
        rest[3] = Math.min(rest[3] as number, calls.shortWrites)
      }
      real(...rest, (error: unknown, value?: unknown) => {
        if (operation === "open" && !error) most = Math.max(most, fds.add(value as number).size)
        if (operation === "statfs" && !error && calls.fileSystem !== undefined) {
          Object.assign(value as NFS.BigIntStatsFs, { type: calls.fileSystem })
        }
        if (operation === "statfs" && !error && calls.freeBytes !== undefined) {
          Object.assign(value as NFS.BigIntStatsFs, { bavail: BigInt(calls.freeBytes), bsize: 1n })
        }
        if (operation === "close") fds.delete(args[0] as number)
        const release = () => done(code === undefined ? error : systemError(code), value)
        if (!calls.hold?.(operation, release)) release()
      })
    }
  }
  const fs = Object.fromEntries(Object.keys(nodeFileSystem).map((name) => [name, watch(name as Operation)]))
  const calls: DiskCalls = {
    fs: {
      ...(fs as unknown as NodeFileSystem),
      lookNow: (path, follows) => {
        counts.set("lookNow", (counts.get("lookNow") ?? 0) + 1)
        return nodeFileSystem.lookNow(path, follows)
      },
      fstatNow: (fd) => {
        counts.set("fstatNow", (counts.get("fstatNow") ?? 0) + 1)
        return nodeFileSystem.fstatNow(fd)
      },
      openFolderNow: (path) => {
        counts.set("open", (counts.get("open") ?? 0) + 1)
        calls.before?.("open", [path])
        if (calls.failWhen("open", [path]) !== undefined) return undefined
        const fd = nodeFileSystem.openFolderNow(path)
        if (fd !== undefined) most = Math.max(most, fds.add(fd).size)
        return fd
      },
      closeNow: (fd) => {
        counts.set("close", (counts.get("close") ?? 0) + 1)
        fds.delete(fd)
        const code = calls.failWhen("close", [fd])
        const error = nodeFileSystem.closeNow(fd)
        return code === undefined ? error : systemError(code)
      }
    },
    count: (operation) => counts.get(operation) ?? 0,
    total: () => [...counts.values()].reduce((sum, count) => sum + count, 0),
    openNow: () => fds.size,
    openMost: () => most,
    failWhen: () => undefined,
    fileSystem: undefined,
    freeBytes: undefined,
    shortWrites: undefined,
    before: undefined,
    hold: undefined
  }
  return calls
}

/** A fresh temporary folder until the scope closes. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => NFS.mkdtempSync(Path.join(OS.tmpdir(), "piecewise-storage-"))),
  (path) => Effect.sync(() => NFS.rmSync(path, { recursive: true, force: true }))
)

const disk = Layer.effect(
  Disk,
  Effect.map(temporaryFolder, (top) => {
    const outside = Path.join(top, "outside")
    NFS.mkdirSync(outside)
    return Disk.of({ root: Path.join(top, "root"), outside, calls: makeCalls() })
  })
)

/** A storage on a fresh disk. */
export const layer = (options: { readonly maxOpenFiles?: number } = {}): Layer.Layer<Storage | Disk> =>
  Layer.effect(
    Storage,
    Effect.flatMap(Disk, ({ calls, root }) => FileSystemStorage.make({ directory: root, ...options }, calls.fs))
  ).pipe(Layer.provideMerge(disk), Layer.provide(NodePieceHasher.layer))

/** What the io-daemon leaves in a folder that is one of its roots. */
export const rootMarker = ".piecewise/io-daemon"

/** The names in a folder, without that of a folder which holds the marker of a root alone. */
export const namesIn = (folder: string): ReadonlyArray<string> => {
  const own = Path.dirname(rootMarker)
  const isMarker = (name: string) =>
    name === own && NFS.readdirSync(Path.join(folder, own)).join() === Path.basename(rootMarker)
  return NFS.readdirSync(folder).filter((name) => !isMarker(name))
}

/**
 * Every regular file below a folder, by its path with `/`; nothing if there is no folder. The marker of a root, and
 * locks, which exist while a process writes, are no files of torrents.
 */
export const listFiles = (folder: string): ReadonlyMap<string, Uint8Array> => {
  if (!NFS.existsSync(folder)) return new Map()
  const locks = Path.join(folder, ...LockNames.folder)
  const entries = NFS.readdirSync(folder, { recursive: true, withFileTypes: true })
  return new Map(
    entries
      .filter((entry) => !entry.isDirectory() && entry.parentPath !== locks)
      .filter((entry) => !Path.join(entry.parentPath, entry.name).endsWith(`/${rootMarker}`))
      .map((entry) => {
        const path = Path.join(entry.parentPath, entry.name)
        return [Path.relative(folder, path).split(Path.sep).join("/"), new Uint8Array(NFS.readFileSync(path))]
      })
  )
}

/** A download folder from a user's side, for the suite of media. */
export const filesIn = (root: string): MediumFiles["Service"] => {
  const at = (path: string) => Path.join(root, path)
  const clear = (path: string) => NFS.rmSync(at(path), { recursive: true, force: true })
  const put = (path: string, content: Uint8Array | number) => {
    clear(path)
    NFS.mkdirSync(Path.dirname(at(path)), { recursive: true })
    NFS.writeFileSync(at(path), typeof content === "number" ? "" : content)
    if (typeof content === "number") NFS.truncateSync(at(path), content)
  }
  /** A change within one tick of the file system's clock would not change the time. */
  const later = (path: string) => {
    const { atime, mtimeMs } = NFS.statSync(at(path))
    NFS.utimesSync(at(path), atime, mtimeMs / 1_000 + 2)
  }
  return {
    list: Effect.sync(() => listFiles(root)),
    put: (path, content) => Effect.sync(() => put(path, content)),
    block: (path) =>
      Effect.sync(() => {
        clear(path)
        NFS.mkdirSync(at(path), { recursive: true })
      }),
    modify: (path, offset, bytes) =>
      Effect.sync(() => {
        const fd = NFS.openSync(at(path), "r+")
        NFS.writeSync(fd, bytes, 0, bytes.length, offset)
        NFS.closeSync(fd)
        later(path)
      }),
    touch: (path) => Effect.sync(() => later(path)),
    cut: (path, length) => Effect.sync(() => NFS.truncateSync(at(path), length)),
    replace: (path) =>
      Effect.sync(() => {
        const bytes = NFS.readFileSync(at(path))
        // Not deleted first, or the new one could get its inode.
        NFS.writeFileSync(at(`${path}.new`), bytes)
        NFS.renameSync(at(`${path}.new`), at(path))
      }),
    link: (from, to) =>
      Effect.sync(() => {
        clear(to)
        NFS.linkSync(at(from), at(to))
      }),
    remove: (path) => Effect.sync(() => NFS.rmSync(at(path)))
  }
}

/** The download folder of `Disk` from a user's side. */
export const files = Layer.effect(
  MediumFiles,
  Effect.map(Disk, ({ root }) => MediumFiles.of(filesIn(root)))
)
