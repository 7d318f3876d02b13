/**
 * How a torrent's pieces lie over its files (BEP 3, padding files of BEP 47). The one place that computes spans.
 *
 * The paths here are safe: `metainfo/SafePath.ts` made every component a plain name, distinct from its siblings.
 */
import type { PieceGeometry } from "../base/PieceGeometry.ts"

/** One file of a torrent. */
export interface LayoutFile {
  /** Safe components below the download folder, the torrent's name first; at least one. */
  readonly path: ReadonlyArray<string>
  /** Offset of the file's first byte in the torrent. */
  readonly offset: number
  /** Bytes in the file; 0 takes no part in any piece. */
  readonly length: number
  /** Padding (BEP 47): zeros that belong to pieces but to no file on disk; written nowhere, read as zeros. */
  readonly padding: boolean
}

/** All files of a torrent, in the order of their offsets, without gaps. */
export interface FileLayout {
  readonly geometry: PieceGeometry
  readonly files: ReadonlyArray<LayoutFile>
}

/** A part of a byte range that lies in one file. */
export interface FileSpan {
  /** Index in `layout.files`. */
  readonly file: number
  /** Offset of the part's first byte in the file. */
  readonly fileOffset: number
  /** Offset of the part's first byte in the range that was asked for. */
  readonly begin: number
  /** Bytes in the part, at least 1. */
  readonly length: number
}
