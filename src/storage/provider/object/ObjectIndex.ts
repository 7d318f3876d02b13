/**
 * Which pieces and files of one torrent an object store holds. A file exists if its marker does: an empty object whose
 * key has the identity of the file. Facts of a file follow from the pieces that are there, and their versions.
 *
 * Called per piece, and per block for the facts of its files, so a file's facts are kept up to date piece by piece.
 */
import * as InfoHash from "../../../base/InfoHash.ts"
import type { PieceIndex } from "../../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import type { FileFacts } from "../../Storage.ts"

/** An object as a store lists it. */
export interface Listed {
  readonly key: string
  /** Differs each time the object is written, such as an ETag; default: unknown. */
  readonly version?: string | undefined
}

/** What is known of one torrent. Changed only here. */
export interface ObjectIndex {
  readonly layout: FileLayout.FileLayout
  readonly hex: string
  /** Pieces that are stored, with their versions. */
  readonly pieces: Map<number, string>
  /** Files that exist, with their identities. */
  readonly files: Map<number, string>
  /** By file, once it has a stored piece. */
  readonly held: Map<number, Held>
}

/** The stored pieces of one file. */
interface Held {
  count: number
  /** Its last stored piece. */
  last: number
  /** A digest of all its pieces and their versions, in any order: two words. */
  high: number
  low: number
}

/** An index of nothing. */
export const make = (infoHash: InfoHash.InfoHash, layout: FileLayout.FileLayout): ObjectIndex => ({
  layout,
  hex: InfoHash.toHex(infoHash),
  pieces: new Map(),
  files: new Map(),
  held: new Map()
})

/** The prefix of all keys of a torrent. */
export const prefix = ({ hex }: ObjectIndex): string => `${hex}/`

/** The key of a piece. */
export const pieceKey = ({ hex }: ObjectIndex, piece: number): string => `${hex}/piece/${piece}`

/** The key of the marker of a file. */
export const fileKey = ({ hex }: ObjectIndex, file: number, identity: string): string =>
  `${hex}/file/${file}-${identity}`

const pieceOf = /^piece\/(\d+)$/
const markerOf = /^file\/(\d+)-([0-9a-f]{1,16})$/

/** Reads a listing into an empty index. What other programs put there is ignored. */
export const read = (self: ObjectIndex, listed: Iterable<Listed>): void => {
  const { geometry } = self.layout
  for (const { key, version = "" } of listed) {
    const name = key.slice(prefix(self).length)
    const piece = pieceOf.exec(name)?.[1]
    if (piece !== undefined && PieceGeometry.isPieceIndex(geometry, Number(piece)))
      setPiece(self, Number(piece), version)
    const marker = markerOf.exec(name)
    if (marker !== null && Number(marker[1]) < self.layout.fileCount) self.files.set(Number(marker[1]), marker[2]!)
  }
}

/** The files that hold a byte of a piece. */
export const filesOf = ({ layout }: ObjectIndex, piece: number): ReadonlyArray<number> => {
  const files = FileLayout.pieceSpans(layout, piece as PieceIndex).map(({ file }) => file)
  return files.filter((file) => !FileLayout.isPadding(layout, file))
}

/** 32 bits of a piece and its version, for each `seed` others: FNV-1a. */
const hashOf = (piece: number, version: string, seed: number): number => {
  let hash = Math.imul(0x811c9dc5 ^ seed, 0x01000193)
  for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((piece >>> shift) & 0xff), 0x01000193)
  for (let index = 0; index < version.length; index++) hash = Math.imul(hash ^ version.charCodeAt(index), 0x01000193)
  return hash ^ (hash >>> 15)
}

const mix = (held: Held, piece: number, version: string): void => {
  held.high ^= hashOf(piece, version, 1)
  held.low ^= hashOf(piece, version, 2)
}

/** Notes that a piece is stored. */
export const setPiece = (self: ObjectIndex, piece: number, version: string): void => {
  const before = self.pieces.get(piece)
  if (before === version) return
  self.pieces.set(piece, version)
  for (const file of filesOf(self, piece)) {
    const held = self.held.get(file) ?? { count: 0, last: -1, high: 0, low: 0 }
    self.held.set(file, held)
    if (before === undefined) held.count++
    else mix(held, piece, before)
    held.last = Math.max(held.last, piece)
    mix(held, piece, version)
  }
}

/** Notes that a piece is not stored. */
export const removePiece = (self: ObjectIndex, piece: number): void => {
  const version = self.pieces.get(piece)
  if (version === undefined) return
  self.pieces.delete(piece)
  for (const file of filesOf(self, piece)) {
    const held = self.held.get(file)!
    mix(held, piece, version)
    if (--held.count === 0) self.held.delete(file)
    else if (held.last === piece) {
      const { first } = FileLayout.filePieces(self.layout, file)
      do held.last--
      while (held.last > first && !self.pieces.has(held.last))
    }
  }
}

/** The facts of a file; `undefined` if it does not exist. */
export const factsOf = (self: ObjectIndex, file: number): FileFacts | undefined => {
  const identity = self.files.get(file)
  if (identity === undefined) return undefined
  const { layout } = self
  const held = self.held.get(file)
  const end = held === undefined ? 0 : (held.last + 1) * layout.geometry.pieceLength - FileLayout.offsetOf(layout, file)
  const mtime = held === undefined ? 0n : (BigInt(held.high >>> 1) << 32n) | BigInt(held.low >>> 0)
  return {
    file,
    kind: "file",
    length: Math.min(end, FileLayout.lengthOf(layout, file)),
    mtimeNs: mtime,
    identity: `object:${file}:${identity}`,
    isHole: held === undefined,
    isAside: false,
    otherNames: 0
  }
}
