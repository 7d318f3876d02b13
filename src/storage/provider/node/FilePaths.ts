/** The paths of a torrent's files on a disk: the names that the torrent gives them, unless they were renamed. */
import * as Bitfield from "../../../base/Bitfield.ts"
import * as Column from "../../../base/Column.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import type * as NodeWriterLocks from "./locks/NodeWriterLocks.ts"

/** What the paths follow from. */
export interface FilePaths {
  readonly layout: FileLayout.FileLayout
  readonly renamed: ReadonlyMap<number, ReadonlyArray<string>>
}

/** Components of a file in its place, as users know it. */
export const pathOf = ({ layout, renamed }: FilePaths, index: number): ReadonlyArray<string> =>
  renamed.get(index) ?? FileLayout.pathOf(layout, index)

/** All components at which a file may be in its place on this disk, those of `pathOf` first. */
export const pathsOf = ({ layout, renamed }: FilePaths, index: number): ReadonlyArray<ReadonlyArray<string>> => {
  const own = renamed.get(index)
  if (own !== undefined) return [own]
  const portable = FileLayout.portableOf(layout, index)
  const path = FileLayout.pathOf(layout, index)
  return portable === undefined ? [path] : [path, portable]
}

/** How many paths `pathsOf` has. */
export const pathCount = ({ layout, renamed }: FilePaths, index: number): number =>
  renamed.has(index) || !FileLayout.hasPortable(layout, index) ? 1 : 2

/** All `pathsOf` these files, as they are now, in little memory. */
export const allPathsOf = (self: FilePaths, files: ReadonlyArray<number>): NodeWriterLocks.Paths => {
  const { layout } = self
  const rows = Column.counts(files.reduce((sum, file) => sum + pathCount(self, file), 0))
  const isPortable = Bitfield.make(rows.length)
  let renamed: Map<number, ReadonlyArray<string>> | undefined
  let row = 0
  for (const file of files) {
    const own = self.renamed.get(file)
    if (own !== undefined) {
      renamed ??= new Map()
      renamed.set(file, own)
    }
    const count = pathCount(self, file)
    for (let name = 0; name < count; name++, row++) {
      rows[row] = file
      if (name > 0) Bitfield.add(isPortable, row)
    }
  }
  return {
    length: rows.length,
    at: (row) => {
      const file = rows[row]!
      if (Bitfield.has(isPortable, row)) return FileLayout.portableOf(layout, file)!
      return renamed?.get(file) ?? FileLayout.pathOf(layout, file)
    }
  }
}
