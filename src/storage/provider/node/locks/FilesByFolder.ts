/**
 * The files that a writer acquired at once, by the folder they are in, in little memory: there may be hundreds of
 * thousands. A file is known by its index.
 */

/** The files of one `acquire` by folder. */
export interface FilesByFolder {
  /** The files, those of one folder after those of another. */
  readonly order: Uint32Array
  /** Where those of a folder begin and end in `order`, by its folded true path. */
  readonly ranges: ReadonlyMap<string, { readonly begin: number; readonly end: number }>
}

/** Sorts files by the folder of each, which `keyOf` names. */
export const make = <Folder>(folders: ReadonlyArray<Folder>, keyOf: (folder: Folder) => string): FilesByFolder => {
  const keys = new Map<Folder, string>()
  const files = new Map<string, Array<number>>()
  folders.forEach((folder, index) => {
    const key = keys.get(folder) ?? keyOf(folder)
    keys.set(folder, key)
    const known = files.get(key)
    if (known === undefined) files.set(key, [index])
    else known.push(index)
  })
  const order = new Uint32Array(folders.length)
  const ranges = new Map<string, { readonly begin: number; readonly end: number }>()
  let begin = 0
  for (const [key, indices] of files) {
    order.set(indices, begin)
    ranges.set(key, { begin, end: begin + indices.length })
    begin += indices.length
  }
  return { order, ranges }
}

/** The files of one folder. */
export const inFolder = ({ order, ranges }: FilesByFolder, folder: string): Uint32Array => {
  const range = ranges.get(folder)
  return order.subarray(range?.begin ?? 0, range?.end ?? 0)
}
