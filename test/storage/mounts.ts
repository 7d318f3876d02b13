/** Real file systems of their own for tests, with a size: a full or vanished file system cannot be imitated. */
import * as ChildProcess from "node:child_process"
import * as NFS from "node:fs"
import * as OS from "node:os"
import * as Path from "node:path"
import * as Effect from "effect/Effect"

/** What can be mounted. `failing` is ext4 on a device that holds only half of what it promises, until `grow`. */
export type Kind = "ext4" | "btrfs" | "tmpfs" | "failing"

/** A mounted file system. */
export interface Mount {
  readonly path: string
  /** Removes it, even while its files are open. */
  readonly detach: () => void
  /** Mounts it again; a tmpfs is empty then. */
  readonly attach: () => void
  /** Makes the device of a `failing` one as large as promised. */
  readonly grow: () => void
}

const user = process.getuid?.() ?? 0

const run = (...words: readonly [string, ...ReadonlyArray<string>]): void => {
  const [command, ...args] = user === 0 ? words : (["sudo", "-n", ...words] as const)
  ChildProcess.execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] })
}

/** Why nothing can be mounted here; `undefined` if it can. */
export const whyNot = ((): string | undefined => {
  const folder = NFS.mkdtempSync(Path.join(OS.tmpdir(), "piecewise-mount-"))
  try {
    run("mount", "-t", "tmpfs", "none", folder)
    run("umount", folder)
    run("mkfs.btrfs", "--version")
    run("mkfs.ext4", "-V")
    return undefined
  } catch (error) {
    return (error as Error).message.split("\n")[0]!
  } finally {
    NFS.rmdirSync(folder)
  }
})()

const { CI } = process.env

/**
 * Whether tests that mount are left out. Never if all of them must run: then a machine that cannot mount is a failure.
 */
export const isLeftOut = whyNot !== undefined && CI !== "true"

const options = (kind: Kind, megabytes: number): ReadonlyArray<string> =>
  kind === "tmpfs" ? ["-t", "tmpfs", "-o", `size=${megabytes}m`, "none"] : ["-o", "loop"]

/** Mounts a fresh file system. The caller calls `unmount`. */
export const mount = (kind: Kind, megabytes: number): Mount & { readonly unmount: () => void } => {
  const top = NFS.mkdtempSync(Path.join(OS.tmpdir(), "piecewise-mount-"))
  const path = Path.join(top, "mounted")
  const backing = Path.join(top, "backing")
  NFS.mkdirSync(path)
  NFS.mkdirSync(backing)
  if (kind === "failing") run("mount", "-t", "tmpfs", "-o", `size=${megabytes / 2}m`, "none", backing)
  const image = Path.join(backing, "image")
  if (kind !== "tmpfs") {
    NFS.writeFileSync(image, "")
    NFS.truncateSync(image, megabytes << 20)
    if (kind === "btrfs") run("mkfs.btrfs", "-q", image)
    // A journal that cannot be written would end the whole file system.
    else run("mkfs.ext4", "-q", "-m", "0", ...(kind === "failing" ? ["-O", "^has_journal"] : []), image)
  }
  const attach = () => {
    run("mount", ...options(kind, megabytes), ...(kind === "tmpfs" ? [] : [image]), path)
    if (user !== 0) run("chown", `${user}`, path)
  }
  const detach = () => run("umount", "-l", path)
  attach()
  return {
    path,
    attach,
    detach,
    grow: () => run("mount", "-o", `remount,size=${2 * megabytes}m`, backing),
    unmount: () => {
      for (const place of [path, ...(kind === "failing" ? [backing] : [])]) {
        try {
          run("umount", "-l", place)
        } catch {
          // A test removed it.
        }
      }
      NFS.rmSync(top, { recursive: true })
    }
  }
}

/** A file system until the scope closes. */
export const mounted = (kind: Kind, megabytes: number) =>
  Effect.acquireRelease(
    Effect.sync(() => mount(kind, megabytes)),
    ({ unmount }) => Effect.sync(unmount)
  )
