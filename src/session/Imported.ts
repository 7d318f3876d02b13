/**
 * What another client knows of a torrent, when a session takes it over: which pieces it says it has stored, where files
 * are, and what it has done. Pure.
 */
import * as Schema from "effect/Schema"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import * as Bitfield from "../base/Bitfield.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as FileRenaming from "./FileRenaming.ts"
import { RenamedFile, Statistics } from "./SavedTorrent.ts"

/** The latest time that a `Date` can have, in milliseconds since 1970. */
export const maxMillis = 8_640_000_000_000_000

const Time = Schema.Natural.check(Schema.isLessThanOrEqualTo(maxMillis))

/** The schema of what another client knows of a torrent. */
export const Imported = Schema.Struct({
  /** As `TorrentOptions.hintedPieces`. Kept until every hinted piece was verified. Has no effect for a magnet link. */
  hintedPieces: Schema.optional(Schema.Uint8Array),
  /** Files that have other paths than the metainfo says. Nothing is moved. Has no effect for a magnet link. */
  renamed: Schema.optional(Schema.Array(RenamedFile)),
  /** When it was added there, in milliseconds since 1970. */
  addedAtMillis: Schema.optional(Time),
  /** When it was complete there for the first time. Then no `Completed` is reported for it. */
  completedAtMillis: Schema.optional(Time),
  /** What it has done there. Counts for its seeding goal. */
  statistics: Schema.optional(Statistics)
})

/** What another client knows of a torrent. */
export type Imported = typeof Imported.Type

/** Bytes of the wanted pieces that are hinted at. */
export const hintedBytes = (
  { layout }: Metainfo,
  hint: Uint8Array,
  files: ReadonlyArray<PiecePriority.PiecePriority>
): number => {
  const { geometry } = layout
  const priorities = PiecePriority.ofFiles(layout, files)
  let bytes = 0
  for (const piece of Bitfield.indices(Bitfield.fitted(hint, geometry.pieceCount)))
    if (priorities[piece] !== "skip")
      bytes += PieceGeometry.pieceSize(geometry, PieceGeometry.pieceIndexUnsafe(geometry, piece))
  return bytes
}

/** Why files cannot have their paths, as a sentence; `undefined` if they can. */
export const refusal = ({ layout }: Metainfo, renamed: ReadonlyArray<RenamedFile>): string | undefined => {
  const paths = new Map(renamed.map(({ file, path }) => [file, path]))
  if (paths.size < renamed.length) return "A file has two paths."
  const real = new Set(FileLayout.realFiles(layout))
  if (renamed.some(({ file }) => !real.has(file))) return "There is no such file."
  return FileRenaming.fault(FileLayout.withPaths(layout, paths), renamed)
}
