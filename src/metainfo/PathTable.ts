/**
 * The paths of many files in little memory: all names are in one text, and each folder is there once. A torrent may
 * have hundreds of thousands of files, whose paths as arrays of strings would take several times as much.
 */

/**
 * Paths by their row, from 0. The folders have the rows behind the paths. Made by `make`, changed nowhere.
 */
export interface PathTable {
  /** How many paths there are. */
  readonly size: number
  /** The last components of all rows, one after the other. */
  readonly names: string
  /** Where the name of each row ends in `names`. The name of the next row begins there. */
  readonly ends: Uint32Array
  /** The row of the folder of each row, or `topmost`. */
  readonly parents: Uint32Array
}

/** The parent of a row whose path has one component. */
const topmost = 0xffff_ffff

/** Makes a table of these paths, in their order. Each has at least one component. */
export const make = (paths: ReadonlyArray<ReadonlyArray<string>>): PathTable => {
  const size = paths.length
  const parents: Array<number> = new Array(size)
  const names: Array<string> = new Array(size)
  /** The rows of the folders in each folder, by name. */
  const inside = new Map<number, Map<string, number>>()
  for (let row = 0; row < size; row++) {
    const path = paths[row]!
    let parent = topmost
    for (let depth = 0; depth < path.length - 1; depth++) {
      const name = path[depth]!
      const siblings = inside.get(parent) ?? new Map<string, number>()
      inside.set(parent, siblings)
      let folder = siblings.get(name)
      if (folder === undefined) {
        folder = names.length
        siblings.set(name, folder)
        names.push(name)
        parents.push(parent)
      }
      parent = folder
    }
    parents[row] = parent
    names[row] = path[path.length - 1]!
  }
  const ends = new Uint32Array(names.length)
  let end = 0
  for (let row = 0; row < names.length; row++) ends[row] = end += names[row]!.length
  return { size, names: names.join(""), ends, parents: Uint32Array.from(parents) }
}

/** The last component of the path in a row. */
export const nameAt = ({ ends, names }: PathTable, row: number): string =>
  names.slice(row === 0 ? 0 : ends[row - 1]!, ends[row]!)

/** The components of the path in a row, in a new array. */
export const at = (self: PathTable, row: number): Array<string> => {
  let depth = 1
  for (let above = self.parents[row]!; above !== topmost; above = self.parents[above]!) depth++
  const path = new Array<string>(depth)
  for (let current = row; depth > 0; current = self.parents[current]!) path[--depth] = nameAt(self, current)
  return path
}

/** The first row with this path, of those that `isMeant`; `undefined` if there is none. Looks at every row. */
export const find = (
  self: PathTable,
  path: ReadonlyArray<string>,
  isMeant: (row: number) => boolean
): number | undefined => {
  const { ends, names, parents, size } = self
  const isAt = (row: number): boolean => {
    let current = row
    for (let depth = path.length - 1; depth >= 0; depth--, current = parents[current]!) {
      if (current === topmost) return false
      const start = current === 0 ? 0 : ends[current - 1]!
      const name = path[depth]!
      if (ends[current]! - start !== name.length || !names.startsWith(name, start)) return false
    }
    return current === topmost
  }
  for (let row = 0; row < size; row++) if (isAt(row) && isMeant(row)) return row
  return undefined
}
