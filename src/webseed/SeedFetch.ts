/**
 * Which request fetches the bytes of a torrent from a web seed: the file or the piece that they are in, and where its
 * body begins in the torrent. Pure.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as SeedUrl from "./SeedUrl.ts"

/** The torrent, and how the seed is asked. */
export interface Asked {
  readonly seed: SeedUrl.SeedUrl
  readonly layout: FileLayout.FileLayout
  readonly infoHash: InfoHash
  /** Whether the seed serves ranges of a file. Otherwise each file is fetched from its first byte. */
  readonly servesRanges: boolean
}

/** A request to a web seed. Offsets count from the first byte of the torrent. */
export interface SeedFetch {
  readonly url: URL
  /** The header `Range`; `undefined` if the body is to be whole. */
  readonly range: { readonly first: number; readonly last: number } | undefined
  /** Where the body begins in the torrent, and where it ends. */
  readonly begin: number
  readonly end: number
  /** Where the file begins in the torrent, and its bytes; of the piece if the seed serves pieces. */
  readonly source: { readonly begin: number; readonly length: number }
}

/** What is at an offset of the torrent: bytes of a file that the seed has, or zeros that nobody has to send. */
export type Found = { readonly _tag: "Fetch"; readonly fetch: SeedFetch } | Zeros

/** Padding (BEP 47), from the offset `begin` to `end`. */
export interface Zeros {
  readonly _tag: "Zeros"
  readonly begin: number
  readonly end: number
}

/** The file that has the byte at `offset`. */
const fileAt = (layout: FileLayout.FileLayout, offset: number): number => FileLayout.spans(layout, offset, 1)[0]!.file

/**
 * The request for the bytes from `offset` on, up to `until` or the end of the file or piece, whichever is first.
 */
export const at = (asked: Asked, offset: number, until: number): Found => {
  const { layout, seed } = asked
  if (seed.kind === "pieces") return { _tag: "Fetch", fetch: pieceAt(asked, offset) }
  const file = fileAt(layout, offset)
  const begin = FileLayout.offsetOf(layout, file)
  const length = FileLayout.lengthOf(layout, file)
  if (FileLayout.isPadding(layout, file)) return { _tag: "Zeros", begin, end: begin + length }
  const url = SeedUrl.ofFile(seed.url, layout, file)
  const source = { begin, length }
  if (!asked.servesRanges) {
    return { _tag: "Fetch", fetch: { url, range: undefined, begin, end: begin + length, source } }
  }
  const end = Math.min(until, begin + length)
  const range = { first: offset - begin, last: end - begin - 1 }
  return { _tag: "Fetch", fetch: { url, range, begin: offset, end, source } }
}

const pieceAt = ({ infoHash, layout: { geometry }, seed }: Asked, offset: number): SeedFetch => {
  const piece = Math.floor(offset / geometry.pieceLength) as PieceIndex
  const begin = PieceGeometry.pieceOffset(geometry, piece)
  const length = PieceGeometry.pieceSize(geometry, piece)
  const url = SeedUrl.ofPiece(seed.url, infoHash, piece, offset - begin, length - 1)
  return { url, range: undefined, begin: offset, end: begin + length, source: { begin, length } }
}

/** The file that a request is for; 0 if the seed serves pieces. */
export const fileOf = ({ layout, seed }: Asked, fetch: SeedFetch): number =>
  seed.kind === "pieces" ? 0 : fileAt(layout, fetch.begin)

/** The files that no seed of files can send, because their paths cannot be in a URL. Looks at every file. */
export const unreachable = (layout: FileLayout.FileLayout): ReadonlySet<number> => {
  const files = new Set<number>()
  for (const file of FileLayout.indices(layout)) {
    if (!FileLayout.isPadding(layout, file) && !SeedUrl.hasUrl(layout, file)) files.add(file)
  }
  return files
}

/** The pieces of the torrent that have no byte of these files. */
export const piecesWithout = (layout: FileLayout.FileLayout, files: ReadonlySet<number>): Bitfield.Bitfield => {
  const pieces = Bitfield.full(layout.geometry.pieceCount)
  for (const file of files) {
    const { end, first } = FileLayout.filePieces(layout, file)
    for (let piece = first; piece < end; piece++) Bitfield.remove(pieces, piece)
  }
  return pieces
}
