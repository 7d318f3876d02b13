/**
 * Which devices are disks or memory of this machine, and say truly how many blocks a file takes.
 *
 * On these a look at a file costs no wait for a network, and a file that takes no blocks is one hole. Elsewhere such a
 * file may as well be small or compressed.
 */
import type * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import type { NodeFileSystem } from "./NodeFile.ts"
import * as NodeFile from "./NodeFile.ts"

/** Whether a file is on such a device; `path` leads to it, or to anything on the same device. */
export type LocalDevices = (stats: NFS.BigIntStats, path: string) => Effect.Effect<boolean>

// As in linux/magic.h: ext2 to 4, btrfs, XFS, tmpfs, F2FS, bcachefs, JFS, overlayfs, which passes on what is below it.
const localTypes: ReadonlySet<bigint> = new Set([
  0xef53n,
  0x9123683en,
  0x58465342n,
  0x01021994n,
  0xf2f52010n,
  0xca451a4en,
  0x3153464an,
  0x794c7630n
])

/** Whether this is the type of a file system that keeps its files on such a device. */
export const isLocalType = (type: bigint): boolean => localTypes.has(type)

/** Asks about each device once. A device that cannot be asked is not local. */
export const make = (fs: NodeFileSystem): LocalDevices => {
  let known: Map<bigint, boolean> | undefined
  const ask = (dev: bigint, path: string) =>
    NodeFile.call<NFS.BigIntStatsFs>((done) => fs.statfs(path, done)).pipe(
      Effect.map(({ type }) => isLocalType(type)),
      Effect.orElseSucceed(() => false),
      Effect.tap((isLocal) =>
        Effect.sync(() => {
          known ??= new Map()
          known.set(dev, isLocal)
        })
      )
    )
  return ({ dev }, path) =>
    Effect.suspend(() => {
      const remembered = known?.get(dev)
      return remembered === undefined ? ask(dev, path) : Effect.succeed(remembered)
    })
}
