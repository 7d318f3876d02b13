/**
 * Finds out whether the disks have room for what steps of the checkout write.
 */
import { readdir, stat, statfs } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Command from "./command.ts"

/** The room that a step needs, in MiB. */
export interface Needs {
  /** What it adds to a folder of the checkout. */
  readonly adds?: { readonly to: string; readonly mebibytes: number }
  /** The most that it has in the temporary folder at a time. */
  readonly temporary?: number
}

const mebibyte = 1 << 20

/** The bytes that the files of a folder take on the disk; 0 if there is no folder. */
const sizeOf = async (folder: string): Promise<number> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  // A file that was removed meanwhile takes nothing.
  const sizes = entries.map((entry) => stat(path.join(entry.parentPath, entry.name)).catch(() => ({ blocks: 0 })))
  return (await Promise.all(sizes)).reduce((sum, { blocks }) => sum + 512 * blocks, 0)
}

/**
 * A sentence for each disk that has less room than the steps need if they run one after the other. What is in the
 * folders of the checkout already is not needed again.
 */
export const shortages = async (steps: ReadonlyArray<Needs>): Promise<ReadonlyArray<string>> => {
  const disks = new Map<number, { readonly folder: string; needed: number }>()
  const need = async (folder: string, bytes: number) => {
    const { dev } = await stat(folder)
    const disk = disks.get(dev) ?? { folder, needed: 0 }
    disk.needed += bytes
    disks.set(dev, disk)
  }
  const added = Map.groupBy(
    steps.flatMap(({ adds }) => adds ?? []),
    ({ to }) => to
  )
  for (const [folder, additions] of added) {
    const whole = additions.reduce((sum, { mebibytes }) => sum + mebibytes * mebibyte, 0)
    await need(Command.root, Math.max(0, whole - (await sizeOf(path.join(Command.root, folder)))))
  }
  await need(tmpdir(), mebibyte * Math.max(0, ...steps.map(({ temporary = 0 }) => temporary)))

  const found: Array<string> = []
  for (const { folder, needed } of disks.values()) {
    const { bavail, bsize } = await statfs(folder)
    if (bavail * bsize >= needed) continue
    const [free, wanted] = [bavail * bsize, needed].map((bytes) => Math.ceil(bytes / mebibyte))
    found.push(`${free} MiB are free on the disk of ${folder}, and ${wanted} MiB are needed`)
  }
  return found
}
