/**
 * Which files of a torrent have more than one name (`SafePath.Names`), and which files and folders some file system may
 * confuse: they are rivals for a name. Pure; `storage/provider/node/FileNames.ts` and the io-daemon ask the disk.
 */
import type * as FileLayout from "./FileLayout.ts"
import * as SafePath from "./SafePath.ts"

type Components = ReadonlyArray<string>

/** A file, or a folder that holds files, with all the names it may have. */
export interface Claimant {
  /** Index in `layout.files`; `undefined` for a folder. */
  readonly index: number | undefined
  /** In the order in which they are tried. */
  readonly names: ReadonlyArray<Components>
}

/** All names of a file, in the order in which they are tried. */
export const namesOf = ({ original, path, portable }: SafePath.Names): ReadonlyArray<Components> =>
  [path, portable, original].filter((name) => name !== undefined)

const none: ReadonlyMap<number, ReadonlyArray<Claimant>> = new Map()

/**
 * The files that have more than one name or a rival, each with the claimants of its name in the order in which they
 * choose: folders, the file whose name is portable, those that have another portable name. Rivals share one list. Empty
 * for most torrents.
 */
export const groupsOf = (layout: FileLayout.FileLayout): ReadonlyMap<number, ReadonlyArray<Claimant>> => {
  if (layout.rare.size === 0 && layout.portable === undefined) return none
  const onDisk = [...layout.files.entries()].filter(([, { padding }]) => !padding)
  const groups = new Map<number, ReadonlyArray<Claimant>>()
  const byKey = new Map<string, Array<Claimant>>()
  const keyOf = memoKey()
  for (const [, { path, portable }] of onDisk) if (portable !== undefined) byKey.set(keyOf(path), [])
  if (byKey.size > 0) {
    const seen = new Set<string>()
    for (const [, { path }] of onDisk) {
      for (let depth = path.length - 1; depth > 0; depth--) {
        const folder = path.slice(0, depth)
        const joined = folder.join("/")
        if (seen.has(joined)) break
        seen.add(joined)
        byKey.get(keyOf(folder))?.push({ index: undefined, names: [folder] })
      }
    }
    for (const hasPortable of [false, true]) {
      for (const [index, file] of onDisk) {
        if ((file.portable !== undefined) !== hasPortable) continue
        const group = byKey.get(keyOf(file.path))
        if (group === undefined) continue
        group.push({ index, names: namesOf(file) })
        groups.set(index, group)
      }
    }
  }
  for (const [index, file] of onDisk) {
    if (file.original !== undefined && !groups.has(index)) groups.set(index, [{ index, names: namesOf(file) }])
  }
  return groups
}

/** The same text for paths that some file system may confuse. Most files share their folder's part of it. */
const memoKey = () => {
  const known = new Map<string, string>()
  const keyOf = (path: Components): string => {
    if (path.length === 0) return ""
    const parent = path.slice(0, -1)
    const joined = parent.join("/")
    const prefix = known.get(joined) ?? keyOf(parent)
    known.set(joined, prefix)
    return `${prefix}/${SafePath.alike(path.at(-1)!)}`
  }
  return keyOf
}
