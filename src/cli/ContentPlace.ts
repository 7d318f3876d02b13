/**
 * Finds a torrent's content on disk: in the folder it was downloaded to, or as a file or folder that may be renamed.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type * as Metainfo from "../metainfo/Metainfo.ts"
import type * as SafePath from "../metainfo/SafePath.ts"
import * as DownloadFolder from "../storage/provider/node/DownloadFolder.ts"
import * as FileNames from "../storage/provider/node/FileNames.ts"
import * as FileSystemError from "../storage/provider/node/FileSystemError.ts"
import * as NodeFile from "../storage/provider/node/NodeFile.ts"
import { StorageError } from "../storage/Storage.ts"

/** The place of a torrent's files. */
export interface ContentPlace {
  readonly directory: string
  /** The torrent's layout. If its file or folder was renamed, the first path component is the new name. */
  readonly layout: FileLayout.FileLayout
  /** Whether symbolic links are followed. */
  readonly followLinks: boolean
  /** The size of a file in bytes; `undefined` if it does not exist. */
  readonly lengthOf: (file: number) => Promise<number | undefined>
}

/** How many files are looked up at most to decide between two places. */
const maxLookups = 1_000

/**
 * Decides whether `given` is the folder that the torrent was downloaded to, or the torrent's own file or folder:
 * whichever contains more of its files, and the former in doubt, as for `download -o`. Rejects if `given` does not
 * exist.
 */
export const find = async (
  { layout, name }: Metainfo.Metainfo,
  given: string,
  options: { readonly followLinks: boolean }
): Promise<ContentPlace> => {
  // The storage follows no links inside its folder, but the path that the user gave may be a link.
  const path = await FileSystem.realpath(given)
  const within = make(path, layout, options)
  if (Path.basename(path) === "") return within
  const itself = make(Path.dirname(path), rename(layout, Path.basename(path)), options)
  const isFolder = (await FileSystem.stat(path)).isDirectory()
  const isSingle = layout.fileCount === 1 && FileLayout.pathOf(layout, 0).length === 1
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
      const { path } = await Effect.runPromise(
        Effect.mapError(FileNames.resolve(names, file, "read"), ({ reason }) => reason)
      )
      const stats = await (followLinks ? FileSystem.stat : FileSystem.lstat)(Path.join(directory, ...path)).catch(
        () => undefined
      )
      return stats?.isFile() === true ? stats.size : undefined
    }
  }
}

const rename = (layout: FileLayout.FileLayout, name: string): FileLayout.FileLayout =>
  FileLayout.make({
    files: layout.files.map((file) => ({ ...file, ...renameIn(file, name) })),
    pieceLength: layout.geometry.pieceLength
  })

const renameIn = ({ original, path, portable }: SafePath.Names, name: string): SafePath.Names => {
  const renamed = (components: ReadonlyArray<string> | undefined) => components && [name, ...components.slice(1)]
  return { path: renamed(path)!, portable: renamed(portable), original: renamed(original) }
}

/** The files that exist on disk: all except padding. */
export const filesOf = ({ layout }: ContentPlace): ReadonlyArray<number> => FileLayout.realFiles(layout)

const countFiles = async (place: ContentPlace): Promise<number> => {
  let found = 0
  for (const file of filesOf(place).slice(0, maxLookups)) if ((await place.lengthOf(file)) !== undefined) found++
  return found
}

/** Describes an error in reading the content. For a symbolic link it adds how to follow it. */
export const whyUnreadable = (error: { readonly message: string }): string =>
  error instanceof StorageError && FileSystemError.isLink(error.reason)
    ? `${error.message}; use --follow-links to read what it points to`
    : error.message
