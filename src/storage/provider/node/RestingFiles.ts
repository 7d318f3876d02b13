/**
 * What is remembered of the files of a torrent that are not in use, in some 40 bytes each: hundreds of thousands may be
 * claimed at once. What comes out is what was put in.
 */
import * as Path from "node:path"
import * as Column from "../../../base/Column.ts"
import type * as FileLayout from "../../../metainfo/FileLayout.ts"
import * as PathTable from "../../../metainfo/PathTable.ts"
import * as FileIdentities from "../../FileIdentities.ts"
import type { Resting } from "./TorrentFile.ts"

/** Files by their index in `layout.files`. Made by `make`, changed only here. */
export interface RestingFiles {
  readonly layout: Pick<FileLayout.FileLayout, "fileCount" | "paths">
  readonly marks: Column.Column
  /** Of files that were claimed; made for the first of them. */
  held: HeldFiles | undefined
}

/** Which files were claimed. */
interface HeldFiles {
  readonly identities: FileIdentities.FileIdentities
  readonly ends: Column.Column
  readonly unchecked: Column.Column
  /** The number of the folder of each file from 1 on; 0 if its path is in `paths`. */
  readonly folders: Column.Column
  /** True paths of folders. */
  readonly known: Array<string>
  readonly numbers: Map<string, number>
  /** The true paths of files that have not the name that the torrent gives them. */
  readonly paths: Map<number, string>
}

const claimed = 1
const unsynced = 2
const synced = 4
const isHeld = 8
const local = 16
const followed = 32

/** Makes it with every file as it is before its first use. */
export const make = (layout: RestingFiles["layout"]): RestingFiles => ({
  layout,
  marks: Column.bytes(layout.fileCount),
  held: undefined
})

const makeHeld = (fileCount: number): HeldFiles => ({
  identities: FileIdentities.make(fileCount),
  ends: Column.lengths(fileCount),
  unchecked: Column.counts(fileCount),
  folders: Column.counts(fileCount),
  known: [],
  numbers: new Map(),
  paths: new Map()
})

const numberOf = ({ known, numbers }: HeldFiles, folder: string): number => {
  const found = numbers.get(folder)
  if (found !== undefined) return found
  const number = known.push(folder)
  numbers.set(folder, number)
  return number
}

/** Remembers a file. */
export const put = (self: RestingFiles, file: number, { held, isClaimed, isSynced, isUnsynced }: Resting): void => {
  let marks = (isClaimed ? claimed : 0) | (isUnsynced ? unsynced : 0) | (isSynced ? synced : 0)
  if (held !== undefined) {
    marks |= isHeld | (held.file.isLocal ? local : 0) | (held.file.follows ? followed : 0)
    self.held ??= makeHeld(self.layout.fileCount)
    const { path } = held.file
    const hasItsName = Path.basename(path) === PathTable.nameAt(self.layout.paths, file)
    self.held.folders[file] = hasItsName ? numberOf(self.held, Path.dirname(path)) : 0
    if (!hasItsName) self.held.paths.set(file, path)
    FileIdentities.set(self.held.identities, file, held.file.identity)
    self.held.ends[file] = held.end
    self.held.unchecked[file] = held.unchecked
  }
  self.marks[file] = marks
}

/** Forgets a file, and returns what was remembered of it. */
export const take = (self: RestingFiles, file: number): Resting => {
  const marks = self.marks[file]!
  const resting: Resting = {
    held: (marks & isHeld) === 0 ? undefined : takeHeld(self, self.held!, file, marks),
    isClaimed: (marks & claimed) !== 0,
    isUnsynced: (marks & unsynced) !== 0,
    isSynced: (marks & synced) !== 0
  }
  self.marks[file] = 0
  return resting
}

const takeHeld = ({ layout }: RestingFiles, held: HeldFiles, file: number, marks: number): Resting["held"] => {
  const folder = held.folders[file]!
  const path =
    folder === 0 ? held.paths.get(file)! : Path.join(held.known[folder - 1]!, PathTable.nameAt(layout.paths, file))
  held.paths.delete(file)
  const identity = FileIdentities.get(held.identities, file)!
  FileIdentities.remove(held.identities, file)
  return {
    file: { path, identity, isLocal: (marks & local) !== 0, follows: (marks & followed) !== 0 },
    end: held.ends[file]!,
    unchecked: held.unchecked[file]!
  }
}

/** Whether a file that rests is claimed. */
export const isClaimed = ({ marks }: RestingFiles, file: number): boolean => (marks[file]! & claimed) !== 0

/** Ends the claim of a file that rests; what was written to it can still be synced. */
export const unclaim = (self: RestingFiles, file: number): void => {
  if (!isClaimed(self, file)) return
  const { held, ...rest } = take(self, file)
  put(self, file, { ...rest, isClaimed: false, held: rest.isUnsynced ? held : undefined })
}
