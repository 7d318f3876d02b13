/**
 * How a torrent's pieces map to its files (BEP 3, padding files of BEP 47). The only module that computes spans.
 *
 * The paths here are safe: `metainfo/SafePath.ts` made every component a plain name, distinct from its siblings. A
 * storage decides which of a file's names it uses (`storage/provider/node/FileNames.ts`). Called once a piece, never
 * once a block: a binary search for the first file, then one step a file.
 */
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type * as SafePath from "./SafePath.ts"

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

/** All files of a torrent, in the order of their offsets, without gaps. */
export interface FileLayout {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly files: ReadonlyArray<LayoutFile>
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

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * Puts `files` one after the other. Lengths are whole numbers of at least 0 with a sum from 1 to 2^53 - 1, and the
 * piece length is at least 1; anything else is a defect of the caller and throws a `RangeError`.
 */
export const make = (options: {
  readonly files: ReadonlyArray<FileEntry>
  readonly pieceLength: number
}): FileLayout => {
  const files: Array<LayoutFile> = []
  const known = new Map<string, string>()
  let offset = 0
  for (const { length, original, padding = false, path, portable, symlink } of options.files) {
    if (!Number.isSafeInteger(length) || length < 0) throw new RangeError(`file length ${length}`)
    if (path.length === 0) throw new RangeError("file without a path")
    const file: Mutable<LayoutFile> = { path: compact(path, known), offset, length, padding }
    if (portable !== undefined) file.portable = compact(portable, known)
    if (original !== undefined) file.original = compact(original, known)
    if (symlink !== undefined) file.symlink = symlink
    files.push(file)
    offset += length
  }
  if (offset < 1 || !Number.isSafeInteger(offset)) throw new RangeError(`total length ${offset}`)
  if (!Number.isSafeInteger(options.pieceLength) || options.pieceLength < 1) {
    throw new RangeError(`piece length ${options.pieceLength}`)
  }
  return { geometry: PieceGeometry.make({ totalLength: offset, pieceLength: options.pieceLength }), files }
}

/**
 * A copy without spare room, which takes the names of folders from `known`: a torrent may have hundreds of thousands of
 * files in a few folders.
 */
const compact = (path: ReadonlyArray<string>, known: Map<string, string>): ReadonlyArray<string> => {
  const copy = path.slice()
  for (let index = 0; index < copy.length - 1; index++) {
    const name = known.get(copy[index]!)
    if (name === undefined) known.set(copy[index]!, copy[index]!)
    else copy[index] = name
  }
  return copy
}

/**
 * The file that holds the byte at `offset` of the torrent (`0 ..< totalLength`). Files without bytes share their offset
 * with the file after them, so the last file that starts at or before `offset` is the one that holds it.
 */
const search = (files: ReadonlyArray<LayoutFile>, offset: number): number => {
  let low = 0
  let high = files.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if (files[middle]!.offset <= offset) low = middle
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
  for (let index = search(self.files, begin); offset < end; index++) {
    const file = self.files[index]!
    if (file.length === 0) continue
    const fileOffset = offset - file.offset
    const part = Math.min(file.length - fileOffset, end - offset)
    found.push({ file: index, fileOffset, begin: offset - begin, length: part })
    offset += part
  }
  return found
}

/** The parts of a whole piece; see `spans`. */
export const pieceSpans = (self: FileLayout, piece: PieceGeometry.PieceIndex): ReadonlyArray<FileSpan> =>
  spans(self, PieceGeometry.pieceOffset(self.geometry, piece), PieceGeometry.pieceSize(self.geometry, piece))

/** The pieces that hold a byte of `layout.files[file]`; none for a file without bytes. */
export const filePieces = (self: FileLayout, file: number): PieceRange => {
  const { length, offset } = self.files[file]!
  const { pieceLength } = self.geometry
  const first = Math.floor(offset / pieceLength)
  return { first, end: length === 0 ? first : Math.floor((offset + length - 1) / pieceLength) + 1 }
}
