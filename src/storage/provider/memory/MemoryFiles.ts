/**
 * A disk in memory: files by path, with what a file system knows of each (length, times, identity, holes, other names).
 *
 * Folders exist while something is in them. A path is its components joined with `/`. Times are a counter, so that
 * every change shows, even two in a row. With `remembersFlushed`, which costs a second copy of everything, the power
 * can be cut: each file then has what its last successful flush found, and a file without one is gone.
 */

/** The bytes `begin ..< end` of a file. */
interface Range {
  readonly begin: number
  readonly end: number
}

/** What a power cut leaves of a file. */
interface Durable {
  content: Uint8Array
  length: number
  ranges: ReadonlyArray<Range>
}

/** A file, under one path or several. Changed only by the functions here. */
export interface MemoryFile {
  /** Differs from that of every other file of the disk, including deleted ones. */
  readonly identity: string
  /** `false` for a folder, a link or a pipe, which is neither read nor written. */
  readonly isRegular: boolean
  /** At least `length` bytes, with zeros in the holes. */
  content: Uint8Array
  length: number
  mtimeNs: bigint
  /** The ranges that take room: ascending, and no two of them touch. */
  ranges: ReadonlyArray<Range>
  /** How many paths lead to it. */
  names: number
  /** `undefined` before the first flush. */
  durable: Durable | undefined
  /** Written since the last flush, whether that succeeded or not. */
  unflushed: Array<Range>
}

/** The disk. */
export interface MemoryFiles {
  readonly remembersFlushed: boolean
  readonly files: Map<string, MemoryFile>
  /** How many paths lie below each folder. */
  readonly folders: Map<string, number>
  /** Bytes that were written and not removed, without holes. */
  usedBytes: number
  clock: bigint
  made: number
}

/** An empty disk. */
export const make = (options: { readonly remembersFlushed: boolean }): MemoryFiles => ({
  remembersFlushed: options.remembersFlushed,
  files: new Map(),
  folders: new Map(),
  usedBytes: 0,
  // Some day in 2023: a plain counter from 0 would hide a mistake in its unit.
  clock: 1_700_000_000_000_000_000n,
  made: 0
})

const tick = (self: MemoryFiles): bigint => {
  self.clock += 1_000_001n
  return self.clock
}

const sizeOf = (ranges: ReadonlyArray<Range>): number => ranges.reduce((sum, { begin, end }) => sum + end - begin, 0)

const withRange = (ranges: ReadonlyArray<Range>, added: Range): ReadonlyArray<Range> => {
  let { begin, end } = added
  const before: Array<Range> = []
  const after: Array<Range> = []
  for (const range of ranges) {
    if (range.end < begin) before.push(range)
    else if (range.begin > end) after.push(range)
    else {
      begin = Math.min(begin, range.begin)
      end = Math.max(end, range.end)
    }
  }
  return [...before, { begin, end }, ...after]
}

const withoutRange = (ranges: ReadonlyArray<Range>, removed: Range): ReadonlyArray<Range> =>
  ranges.flatMap(({ begin, end }) =>
    [
      { begin, end: Math.min(end, removed.begin) },
      { begin: Math.max(begin, removed.end), end }
    ].filter((rest) => rest.begin < rest.end)
  )

const parentsOf = (path: string): ReadonlyArray<string> => {
  const components = path.split("/")
  return components.slice(1).map((_, index) => components.slice(0, index + 1).join("/"))
}

const enter = (self: MemoryFiles, path: string, file: MemoryFile): void => {
  self.files.set(path, file)
  file.names++
  for (const folder of parentsOf(path)) self.folders.set(folder, (self.folders.get(folder) ?? 0) + 1)
}

/** Whether something lies at a path: a file, or a folder with something in it. */
export const exists = (self: MemoryFiles, path: string): boolean => self.files.has(path) || self.folders.has(path)

/** What is in the way of a file at `path`, as the end of a sentence. */
export const obstacle = (self: MemoryFiles, path: string): string | undefined => {
  if (self.folders.has(path)) return "a folder is in the way of a file"
  if (self.files.get(path)?.isRegular === false) return "it is not a regular file"
  return parentsOf(path).some((folder) => self.files.has(folder)) ? "a file is in the way of a folder" : undefined
}

/** Makes an empty file at a free path. */
export const create = (self: MemoryFiles, path: string, isRegular = true): MemoryFile => {
  const file: MemoryFile = {
    identity: `memory:${++self.made}`,
    isRegular,
    content: new Uint8Array(0),
    length: 0,
    mtimeNs: tick(self),
    ranges: [],
    names: 0,
    durable: undefined,
    unflushed: []
  }
  enter(self, path, file)
  return file
}

/** Adds a name to a file, at a free path. */
export const link = (self: MemoryFiles, file: MemoryFile, path: string): void => enter(self, path, file)

/** Removes a name of a file; its bytes go with its last name. */
export const unlink = (self: MemoryFiles, path: string): void => {
  const file = self.files.get(path)
  if (file === undefined) return
  self.files.delete(path)
  for (const folder of parentsOf(path)) {
    const left = self.folders.get(folder)! - 1
    if (left === 0) self.folders.delete(folder)
    else self.folders.set(folder, left)
  }
  if (--file.names === 0) self.usedBytes -= sizeOf(file.ranges)
}

/** Moves a file to a free path. */
export const move = (self: MemoryFiles, from: string, to: string): void => {
  link(self, self.files.get(from)!, to)
  unlink(self, from)
}

const setRanges = (self: MemoryFiles, file: MemoryFile, ranges: ReadonlyArray<Range>): void => {
  if (file.names > 0) self.usedBytes += sizeOf(ranges) - sizeOf(file.ranges)
  file.ranges = ranges
}

const reach = (content: Uint8Array, length: number): Uint8Array => {
  if (length <= content.length) return content
  const grown = new Uint8Array(Math.max(length, 2 * content.length))
  grown.set(content)
  return grown
}

/** Bytes that a write would add to those in use. */
export const growth = (file: MemoryFile, offset: number, length: number): number =>
  sizeOf(withRange(file.ranges, { begin: offset, end: offset + length })) - sizeOf(file.ranges)

/** Writes bytes, beyond the end too. */
export const write = (self: MemoryFiles, file: MemoryFile, offset: number, bytes: Uint8Array): void => {
  const range = { begin: offset, end: offset + bytes.length }
  file.content = reach(file.content, range.end)
  file.content.set(bytes, offset)
  file.length = Math.max(file.length, range.end)
  file.mtimeNs = tick(self)
  setRanges(self, file, withRange(file.ranges, range))
  if (self.remembersFlushed) file.unflushed.push(range)
}

/** Cuts a file, or extends it by a hole. */
export const setLength = (self: MemoryFiles, file: MemoryFile, length: number): void => {
  file.content = reach(file.content, length)
  file.content.fill(0, length)
  file.length = length
  file.mtimeNs = tick(self)
  setRanges(self, file, withoutRange(file.ranges, { begin: length, end: Number.POSITIVE_INFINITY }))
  if (file.durable !== undefined) file.durable.length = Math.min(file.durable.length, length)
}

/** Makes a part of a file a hole, and cuts the file if that is its end. */
export const punch = (self: MemoryFiles, file: MemoryFile, offset: number, length: number): void => {
  if (offset + length >= file.length) return setLength(self, file, Math.min(offset, file.length))
  file.content.fill(0, offset, offset + length)
  file.mtimeNs = tick(self)
  setRanges(self, file, withoutRange(file.ranges, { begin: offset, end: offset + length }))
}

/** Notes that a file was changed, without changing its bytes. */
export const touch = (self: MemoryFiles, file: MemoryFile): void => {
  file.mtimeNs = tick(self)
}

/** Replaces the file at a path by another one with the same bytes and times; its other names keep the old one. */
export const breakOff = (self: MemoryFiles, path: string): MemoryFile => {
  const shared = self.files.get(path)!
  unlink(self, path)
  const own = create(self, path)
  own.content = shared.content.slice()
  own.length = shared.length
  own.mtimeNs = shared.mtimeNs
  setRanges(self, own, shared.ranges)
  own.unflushed = [{ begin: 0, end: own.length }]
  flush(self, own)
  return own
}

/** A copy of a file's bytes in a range; `undefined` if the file ends before. */
export const read = (file: MemoryFile, offset: number, length: number): Uint8Array | undefined =>
  offset + length <= file.length ? file.content.slice(offset, offset + length) : undefined

/** Bytes of a file that take room. */
export const allocated = (file: MemoryFile): number => sizeOf(file.ranges)

/**
 * Makes what was written survive a power cut. A flush that fails forgets that there were writes, as Linux does: a later
 * flush succeeds without them.
 */
export const flush = (self: MemoryFiles, file: MemoryFile, isGood = true): void => {
  if (!self.remembersFlushed) return
  const durable = file.durable ?? { content: new Uint8Array(0), length: 0, ranges: [] }
  file.durable = durable
  if (isGood) {
    durable.content = reach(durable.content, file.length)
    for (const { begin, end } of file.unflushed) durable.content.set(file.content.subarray(begin, end), begin)
    durable.length = file.length
    durable.ranges = file.ranges
  }
  file.unflushed = []
}

/** Flushes what a user did, at once. */
export const settle = (self: MemoryFiles, file: MemoryFile, begin: number, end: number): void => {
  const later = file.unflushed
  file.unflushed = [{ begin, end: Math.min(end, file.length) }]
  flush(self, file)
  file.unflushed = later
}

/**
 * Reduces every file to what was flushed; the times of the rest stay, because a file system may keep times and lose
 * bytes.
 */
export const cutPower = (self: MemoryFiles): void => {
  for (const [path, file] of [...self.files]) {
    const durable = file.durable
    if (!file.isRegular) continue
    if (durable === undefined) {
      unlink(self, path)
      continue
    }
    file.content = durable.content.slice(0, durable.length)
    file.length = durable.length
    file.unflushed = []
    setRanges(self, file, withoutRange(durable.ranges, { begin: durable.length, end: Number.POSITIVE_INFINITY }))
  }
}
