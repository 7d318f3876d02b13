/**
 * Where a torrent's content lies on disk: in the folder it was downloaded to, or as a file or folder that was renamed.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import type * as FileLayout from "../metainfo/FileLayout.ts"
import type * as Metainfo from "../metainfo/Metainfo.ts"
import type * as SafePath from "../metainfo/SafePath.ts"
import * as DownloadFolder from "../storage/provider/node/DownloadFolder.ts"
import * as FileNames from "../storage/provider/node/FileNames.ts"
import * as FileSystemError from "../storage/provider/node/FileSystemError.ts"
import * as NodeFile from "../storage/provider/node/NodeFile.ts"
import { StorageError } from "../storage/Storage.ts"

/** Where the files of a torrent lie. */
export interface ContentPlace {
  readonly directory: string
  /** The torrent's layout; its first component is another one where the file or folder was renamed. */
  readonly layout: FileLayout.FileLayout
  /** Whether symbolic links are read as what they lead to. */
  readonly followLinks: boolean
  /** Bytes in a file of the torrent; `undefined` where there is none. */
  readonly lengthOf: (file: number) => Promise<number | undefined>
}

/** How many files are looked at to tell which of two places is meant. */
const probes = 1_000

/**
 * The folder that the torrent was downloaded to, or its own file or folder: whichever has more of the files, and the
 * former when in doubt, as `download -o` names it. Rejects where `given` does not exist.
 */
export const find = async (
  { layout, name }: Metainfo.Metainfo,
  given: string,
  options: { readonly followLinks: boolean }
): Promise<ContentPlace> => {
  // The storage follows no links below its folder, but the user may name one.
  const path = await FileSystem.realpath(given)
  const within = make(path, layout, options)
  if (Path.basename(path) === "") return within
  const itself = make(Path.dirname(path), rename(layout, Path.basename(path)), options)
  const isFolder = (await FileSystem.stat(path)).isDirectory()
  const isSingle = layout.files.length === 1 && layout.files[0]!.path.length === 1
  if (isSingle || !isFolder) return isFolder ? within : itself
  const [outer, inner] = await Promise.all([countFiles(within), countFiles(itself)])
  if (inner === outer && inner === 0) return Path.basename(path) === name ? itself : within
  return inner > outer ? itself : within
}

const make = (
  directory: string,
  layout: FileLayout.FileLayout,
  { followLinks }: { readonly followLinks: boolean }
): ContentPlace => {
  const fs = NodeFile.nodeFileSystem
  const folder = DownloadFolder.make(fs, directory, { followLinks })
  const names = FileNames.make({ fs, folder, layout })
  return {
    directory,
    layout,
    followLinks,
    lengthOf: async (file) => {
      const { path } = await Effect.runPromise(Effect.mapError(names.resolve(file, "read"), ({ reason }) => reason))
      const stats = await (followLinks ? FileSystem.stat : FileSystem.lstat)(Path.join(directory, ...path)).catch(
        () => undefined
      )
      return stats?.isFile() === true ? stats.size : undefined
    }
  }
}

const rename = (layout: FileLayout.FileLayout, name: string): FileLayout.FileLayout => ({
  ...layout,
  files: layout.files.map((file) => ({ ...file, ...renameIn(file, name) }))
})

const renameIn = ({ original, path, portable }: SafePath.Names, name: string): SafePath.Names => {
  const renamed = (components: ReadonlyArray<string> | undefined) => components && [name, ...components.slice(1)]
  return { path: renamed(path)!, portable: renamed(portable), original: renamed(original) }
}

/** The files that come to disk. */
export const filesOf = ({ layout }: ContentPlace): ReadonlyArray<number> =>
  [...layout.files.keys()].filter((file) => !layout.files[file]!.padding)

const countFiles = async (place: ContentPlace): Promise<number> => {
  let found = 0
  for (const file of filesOf(place).slice(0, probes)) if ((await place.lengthOf(file)) !== undefined) found++
  return found
}

/** What an error in reading the content says to a user: for a link, how it can be followed. */
export const whyUnreadable = (error: { readonly message: string }): string =>
  error instanceof StorageError && FileSystemError.isLink(error.reason)
    ? `${error.message}; --follow-links reads what it leads to`
    : error.message
