/**
 * File systems that ignore case: the calls to a real one with every name below a folder folded, and, if the machine has
 * what it needs, NTFS itself, mounted by ntfs-3g with `ignore_case`.
 */
import { execFileSync } from "node:child_process"
import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import { type NodeFileSystem, nodeFileSystem } from "../../src/storage/provider/node/NodeFile.ts"
import { temporaryFolder } from "./disk.ts"

/** What a name is folded to. */
export const fold = (name: string): string => name.normalize("NFC").toLowerCase().normalize("NFC")

/** Calls that find a name below `root` in any case and any normal form, and make none that `refused` matches. */
export const foldingFileSystem = (root: string, refused = /[:?]|[. ]$/): NodeFileSystem => {
  const place = (path: string) => {
    const below = Path.relative(root, path)
    return below === "" || below.startsWith("..") ? path : Path.join(root, ...below.split(Path.sep).map(fold))
  }
  const isRefused = (path: string) => refused.test(Path.basename(path))
  const failed = (code: string) => Object.assign(new Error(`${code}: refused`), { code })
  const { clone, link, lookNow, lstatExact, mkdir, open, readdir, realpath, rename, rmdir, statExact, unlink } =
    nodeFileSystem
  return {
    ...nodeFileSystem,
    open: (path, flags, done) =>
      (flags & NFS.constants.O_CREAT) !== 0 && isRefused(path)
        ? done(failed("EINVAL"), -1)
        : open(place(path), flags, done),
    mkdir: (path, done) => (isRefused(path) ? done(failed("EINVAL")) : mkdir(place(path), done)),
    lookNow: (path, follows) => lookNow(place(path), follows),
    statExact: (path, done) => statExact(place(path), done),
    lstatExact: (path, done) => lstatExact(place(path), done),
    readdir: (path, done) => readdir(place(path), done),
    realpath: (path, done) => realpath(place(path), done),
    link: (from, to, done) => link(place(from), place(to), done),
    clone: (from, to, done) => clone(place(from), place(to), done),
    rename: (from, to, done) => rename(place(from), place(to), done),
    rmdir: (path, done) => rmdir(place(path), done),
    unlink: (path, done) => unlink(place(path), done)
  }
}

const run = (command: string, ...args: ReadonlyArray<string>) => execFileSync(command, args, { stdio: "pipe" })

/** Whether NTFS can be mounted here. */
export const hasNtfs = (() => {
  try {
    run("sh", "-c", "command -v lowntfs-3g && command -v mkfs.ntfs && test -w /dev/fuse")
    return process.getuid?.() === 0
  } catch {
    return false
  }
})()

/** The folder of a fresh NTFS that treats names as Windows does, until the scope closes. */
export const ntfs = Effect.flatMap(temporaryFolder, (top) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const image = Path.join(top, "image")
      const folder = Path.join(top, "ntfs")
      NFS.mkdirSync(folder)
      NFS.writeFileSync(image, "")
      NFS.truncateSync(image, 16 << 20)
      run("mkfs.ntfs", "-F", "-Q", "-q", image)
      run("lowntfs-3g", "-o", "ignore_case,windows_names,loop", image, folder)
      return folder
    }),
    (folder) => Effect.sync(() => run("umount", folder))
  )
)
