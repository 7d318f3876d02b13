/**
 * Where a torrent's content lies on disk: in the folder it was downloaded to, or as a file or folder that was renamed.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import type * as FileLayout from "../metainfo/FileLayout.ts"
import type * as Metainfo from "../metainfo/Metainfo.ts"

/** Where the files of a torrent lie. */
export interface ContentPlace {
  readonly directory: string
  /** The torrent's layout; its first component is another one where the file or folder was renamed. */
  readonly layout: FileLayout.FileLayout
}

/** How many files are looked at to tell which of two places is meant. */
const probes = 1_000

/**
 * The folder that the torrent was downloaded to, or its own file or folder: whichever has more of the files, and the
 * former when in doubt, as `download -o` names it. Rejects where `given` does not exist.
 */
export const find = async ({ layout, name }: Metainfo.Metainfo, given: string): Promise<ContentPlace> => {
  // The storage follows no links below its folder, but the user may name one.
  const path = await FileSystem.realpath(given)
  const within: ContentPlace = { directory: path, layout }
  const itself: ContentPlace = { directory: Path.dirname(path), layout: rename(layout, Path.basename(path)) }
  if (Path.basename(path) === "") return within
  const isFolder = (await FileSystem.stat(path)).isDirectory()
  const isSingle = layout.files.length === 1 && layout.files[0]!.path.length === 1
  if (isSingle || !isFolder) return isFolder ? within : itself
  const [outer, inner] = await Promise.all([countFiles(within), countFiles(itself)])
  if (inner === outer && inner === 0) return Path.basename(path) === name ? itself : within
  return inner > outer ? itself : within
}

const rename = (layout: FileLayout.FileLayout, name: string): FileLayout.FileLayout => ({
  ...layout,
  files: layout.files.map((file) => ({ ...file, path: [name, ...file.path.slice(1)] }))
})

const pathOf = ({ directory, layout }: ContentPlace, file: number): string =>
  Path.join(directory, ...layout.files[file]!.path)

/** Bytes in a file of the torrent; `undefined` where there is none. */
export const lengthOf = (place: ContentPlace, file: number): Promise<number | undefined> =>
  FileSystem.lstat(pathOf(place, file)).then(
    (stats) => (stats.isFile() ? stats.size : undefined),
    () => undefined
  )

/** The files that come to disk. */
export const filesOf = ({ layout }: ContentPlace): ReadonlyArray<number> =>
  [...layout.files.keys()].filter((file) => !layout.files[file]!.padding)

const countFiles = async (place: ContentPlace): Promise<number> => {
  let found = 0
  for (const file of filesOf(place).slice(0, probes)) if ((await lengthOf(place, file)) !== undefined) found++
  return found
}
