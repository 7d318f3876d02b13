/**
 * How a torrent's pieces map to its files (BEP 3, padding files of BEP 47). The only module that computes spans.
 *
 * The paths here are safe: `metainfo/SafePath.ts` made every component a plain name, distinct from its siblings. A
 * storage decides which of a file's names it uses (`storage/provider/node/FileNames.ts`). Called once a piece, never
 * once a block: a binary search for the first file, then one step a file.
 */
import * as Bitfield from "../base/Bitfield.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as PathTable from "./PathTable.ts"
import type * as SafePath from "./SafePath.ts"

export type { PathTable } from "./PathTable.ts"
export type { Names } from "./SafePath.ts"

/** One file of a torrent. */
export interface LayoutFile {
  /** Safe components below the download folder, the torrent's name first; at least one. */
  readonly path: ReadonlyArray<string>
  /** The path if the file system cannot hold `path`, or confuses it with another file's; see `SafePath.Names`. */
  readonly portable?: ReadonlyArray<string> | undefined
  /** The path in the torrent. An existing file is found there, but none is created; see `SafePath.Names`. */
  readonly original?: ReadonlyArray<string> | undefined
  /** Offset of the file's first byte in the torrent. */
  readonly offset: number
  /** Bytes in the file; a file of 0 bytes is in no piece. */
  readonly length: number
  /**
   * Has no file on disk: never written or created, read as zeros. Set for padding and for symbolic links (both BEP 47);
   * several such files may share a path.
   */
  readonly padding: boolean
  /**
   * The target of a symbolic link: components below the torrent's root, which they cannot leave. For users only;
   * nothing creates or follows a link, so a cyclic or dangling one does no harm.
   */
  readonly symlink?: ReadonlyArray<string> | undefined
}

/**
 * All files of a torrent, in the order of their offsets, without gaps. Made by `make`. Takes some 20 bytes a file and
 * its name; the functions below answer for one file without making an object of it.
 */
export interface FileLayout {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly fileCount: number
  /**
   * Every file. Made when it is asked for, and kept only as long as somebody uses it, because a torrent may have
   * hundreds of thousands.
   */
  readonly files: ReadonlyArray<LayoutFile>
  /** The offset of each file, and behind them the length of the torrent. */
  readonly offsets: Float64Array
  /** `LayoutFile.path` of each file. */
  readonly paths: PathTable.PathTable
  /** Which files are `LayoutFile.padding`. */
  readonly padding: Bitfield.Bitfield
  /** `LayoutFile.portable` of the files that have it; `undefined` if none has. */
  readonly portable: PortablePaths | undefined
  /** What few files have. */
  readonly rare: ReadonlyMap<number, RareParts>
}

/** What few files have. */
export type RareParts = Pick<LayoutFile, "original" | "symlink">

/** Paths of some files. Their names often differ all together, because a folder above them has another name. */
export interface PortablePaths {
  /** The row of each file in `paths`, plus 1; 0 for a file without such a path. */
  readonly rows: Uint32Array
  readonly paths: PathTable.PathTable
}

const portablePaths = (paths: ReadonlyArray<ReadonlyArray<string> | undefined>): PortablePaths | undefined => {
  const found: Array<ReadonlyArray<string>> = []
  const rows = Uint32Array.from(paths, (path) => (path === undefined ? 0 : found.push(path)))
  return found.length === 0 ? undefined : { rows, paths: PathTable.make(found) }
}

/** A part of a byte range that lies in one file. */
export interface FileSpan {
  /** Index in `layout.files`. */
  readonly file: number
  /** Offset of the part's first byte in the file. */
  readonly fileOffset: number
  /** Offset of the part's first byte in the requested range. */
  readonly begin: number
  /** Bytes in the part, at least 1. */
  readonly length: number
}

/** The pieces `first ..< end`; none if both are equal. */
export interface PieceRange {
  readonly first: number
  readonly end: number
}

/** A file as `make` takes it; see `LayoutFile`. */
export interface FileEntry extends SafePath.Names {
  readonly length: number
  readonly padding?: boolean | undefined
  readonly symlink?: ReadonlyArray<string> | undefined
}

class Layout implements FileLayout {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly offsets: Float64Array
  readonly paths: PathTable.PathTable
  readonly padding: Bitfield.Bitfield
  readonly portable: PortablePaths | undefined
  readonly rare: ReadonlyMap<number, RareParts>
  #files: WeakRef<ReadonlyArray<LayoutFile>> | undefined

  constructor(parts: Pick<FileLayout, "geometry" | "offsets" | "paths" | "padding" | "portable" | "rare">) {
    this.geometry = parts.geometry
    this.offsets = parts.offsets
    this.paths = parts.paths
    this.padding = parts.padding
    this.portable = parts.portable
    this.rare = parts.rare
  }

  get fileCount() {
    return this.paths.size
  }

  get files() {
    const kept = this.#files?.deref()
    if (kept !== undefined) return kept
    const files = Array.from(indices(this), (file) => fileAt(this, file))
    this.#files = new WeakRef(files)
    return files
  }
}

/**
 * Puts `files` one after the other. Lengths are whole numbers of at least 0 with a sum from 1 to 2^53 - 1, and the
 * piece length is at least 1; anything else is a defect of the caller and throws a `RangeError`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { FileLayout, PieceGeometry } from "piecewise"
 *
 * const layout = FileLayout.make({
 *   files: [
 *     { path: ["album", "one.flac"], length: 40_000 },
 *     { path: ["album", "two.flac"], length: 10_000 }
 *   ],
 *   pieceLength: 32_768
 * })
 * const second = PieceGeometry.pieceIndexUnsafe(layout.geometry, 1)
 * assert.deepEqual(FileLayout.pieceSpans(layout, second), [
 *   { file: 0, fileOffset: 32_768, begin: 0, length: 7_232 },
 *   { file: 1, fileOffset: 0, begin: 7_232, length: 10_000 }
 * ])
 * ```
 */
export const make = (options: {
  readonly files: ReadonlyArray<FileEntry>
  readonly pieceLength: number
}): FileLayout => {
  const { files, pieceLength } = options
  const offsets = new Float64Array(files.length + 1)
  const padding = Bitfield.make(files.length)
  const rare = new Map<number, RareParts>()
  let offset = 0
  for (const [index, file] of files.entries()) {
    const { length, original, path, symlink } = file
    if (!Number.isSafeInteger(length) || length < 0) throw new RangeError(`file length ${length}`)
    if (path.length === 0) throw new RangeError("file without a path")
    if (file.padding === true) Bitfield.add(padding, index)
    if (original !== undefined || symlink !== undefined)
      rare.set(index, rareParts({ original: original?.slice(), symlink }))
    offset += length
    offsets[index + 1] = offset
  }
  if (offset < 1 || !Number.isSafeInteger(offset)) throw new RangeError(`total length ${offset}`)
  if (!Number.isSafeInteger(pieceLength) || pieceLength < 1) throw new RangeError(`piece length ${pieceLength}`)
  const geometry = PieceGeometry.make({ totalLength: offset, pieceLength })
  const paths = PathTable.make(files.map(({ path }) => path))
  const portable = portablePaths(files.map(({ portable }) => portable))
  return new Layout({ geometry, offsets, paths, padding, portable, rare })
}

/** Without the parts that are not there. */
const rareParts = ({ original, symlink }: RareParts): RareParts => ({
  ...(original !== undefined && { original }),
  ...(symlink !== undefined && { symlink })
})

/** The indices of all files, padding included. */
export function* indices({ fileCount }: Pick<FileLayout, "fileCount">): Generator<number, void> {
  for (let file = 0; file < fileCount; file++) yield file
}

/** The indices of all files except padding: those that are on the medium. */
export const realFiles = (self: FileLayout): Array<number> => {
  const files: Array<number> = []
  for (let file = 0; file < self.fileCount; file++) if (!isPadding(self, file)) files.push(file)
  return files
}

/** `LayoutFile.offset` of a file. */
export const offsetOf = (self: Pick<FileLayout, "offsets">, file: number): number => self.offsets[file]!

/** `LayoutFile.length` of a file. */
export const lengthOf = ({ offsets }: Pick<FileLayout, "offsets">, file: number): number =>
  offsets[file + 1]! - offsets[file]!

/** `LayoutFile.padding` of a file. */
export const isPadding = (self: Pick<FileLayout, "padding">, file: number): boolean => Bitfield.has(self.padding, file)

/** `LayoutFile.path` of a file, in a new array. */
export const pathOf = (self: Pick<FileLayout, "paths">, file: number): ReadonlyArray<string> =>
  PathTable.at(self.paths, file)

/**
 * The index of the file with this `LayoutFile.path`, padding excluded; `undefined` if there is none. Takes time in
 * proportion to the number of files.
 */
export const find = (self: Pick<FileLayout, "paths" | "padding">, path: ReadonlyArray<string>): number | undefined =>
  PathTable.find(self.paths, path, (file) => !isPadding(self, file))

/** Whether a file has a `LayoutFile.portable`. */
export const hasPortable = ({ portable }: Pick<FileLayout, "portable">, file: number): boolean =>
  portable !== undefined && portable.rows[file] !== 0

/** `LayoutFile.portable` of a file, in a new array. */
export const portableOf = (
  { portable }: Pick<FileLayout, "portable">,
  file: number
): ReadonlyArray<string> | undefined => {
  const row = portable?.rows[file] ?? 0
  return row === 0 ? undefined : PathTable.at(portable!.paths, row - 1)
}

/** The names of a file; see `SafePath.Names`. */
export const namesOf = (self: Pick<FileLayout, "paths" | "portable" | "rare">, file: number): SafePath.Names => ({
  path: pathOf(self, file),
  portable: portableOf(self, file),
  original: self.rare.get(file)?.original
})

/** All about one file. */
export const fileAt = (self: Omit<FileLayout, "files">, file: number): LayoutFile => ({
  path: pathOf(self, file),
  offset: offsetOf(self, file),
  length: lengthOf(self, file),
  padding: isPadding(self, file),
  ...(hasPortable(self, file) && { portable: portableOf(self, file) }),
  ...self.rare.get(file)
})

/** The same layout with other paths for some files, which get no further names. */
export const withPaths = (self: FileLayout, moved: ReadonlyMap<number, ReadonlyArray<string>>): FileLayout => {
  if (moved.size === 0) return self
  const rare = new Map(self.rare)
  for (const file of moved.keys()) rare.set(file, rareParts({ symlink: rare.get(file)?.symlink }))
  const paths = PathTable.make(Array.from(indices(self), (file) => moved.get(file) ?? pathOf(self, file)))
  const portable = portablePaths(
    Array.from(indices(self), (file) => (moved.has(file) ? undefined : portableOf(self, file)))
  )
  return new Layout({ ...self, geometry: self.geometry, paths, portable, rare })
}

/**
 * The file that holds the byte at `offset` of the torrent (`0 ..< totalLength`). Files without bytes share their offset
 * with the file after them, so the last file that starts at or before `offset` is the one that holds it.
 */
const search = ({ fileCount, offsets }: Pick<FileLayout, "fileCount" | "offsets">, offset: number): number => {
  let low = 0
  let high = fileCount - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if (offsets[middle]! <= offset) low = middle
    else high = middle - 1
  }
  return low
}

/**
 * The parts of `length` bytes from `begin` in the torrent, in order: they cover the range exactly once. Includes
 * padding, but no files without bytes. Throws a `RangeError` if the range leaves the torrent.
 */
export const spans = (self: FileLayout, begin: number, length: number): ReadonlyArray<FileSpan> => {
  if (!(begin >= 0 && length >= 0 && begin + length <= self.geometry.totalLength)) {
    throw new RangeError(`${length} bytes from ${begin} of ${self.geometry.totalLength}`)
  }
  const found: Array<FileSpan> = []
  if (length === 0) return found
  const end = begin + length
  let offset = begin
  for (let file = search(self, begin); offset < end; file++) {
    const fileEnd = self.offsets[file + 1]!
    const fileOffset = offset - offsetOf(self, file)
    if (fileEnd === offset) continue
    const part = Math.min(fileEnd, end) - offset
    found.push({ file, fileOffset, begin: offset - begin, length: part })
    offset += part
  }
  return found
}

/** The parts of a range that are in files on the medium; see `spans`. */
export const realSpans = (self: FileLayout, begin: number, length: number): ReadonlyArray<FileSpan> =>
  spans(self, begin, length).filter(({ file }) => !isPadding(self, file))

/** The parts of a whole piece; see `spans`. */
export const pieceSpans = (self: FileLayout, piece: PieceGeometry.PieceIndex): ReadonlyArray<FileSpan> =>
  spans(self, PieceGeometry.pieceOffset(self.geometry, piece), PieceGeometry.pieceSize(self.geometry, piece))

/** Whether all bytes of the piece lie in this file. */
export const liesIn = ({ geometry, offsets }: FileLayout, piece: PieceGeometry.PieceIndex, file: number): boolean => {
  const begin = PieceGeometry.pieceOffset(geometry, piece)
  return offsets[file]! <= begin && begin + PieceGeometry.pieceSize(geometry, piece) <= offsets[file + 1]!
}

/** The pieces that hold a byte of `layout.files[file]`; none for a file without bytes. */
export const filePieces = ({ geometry, offsets }: FileLayout, file: number): PieceRange => {
  const { pieceLength } = geometry
  const offset = offsets[file]!
  const end = offsets[file + 1]!
  const first = Math.floor(offset / pieceLength)
  return { first, end: end === offset ? first : Math.floor((end - 1) / pieceLength) + 1 }
}
