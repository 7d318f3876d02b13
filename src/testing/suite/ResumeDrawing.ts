/** Resume data as text, for tests that compare it. */
import * as Effect from "effect/Effect"
import * as Bitfield from "../../base/Bitfield.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import type { PieceIndex } from "../../base/PieceGeometry.ts"
import { type FileRecord, ResumeStore } from "../../resume/ResumeStore.ts"

/** A bitfield drawn as text: `"* *."` has pieces 0 and 2 of four. */
export const drawn = (text: string): Bitfield.Bitfield => {
  const self = Bitfield.make(text.length)
  for (let index = 0; index < text.length; index++) if (text[index] === "*") Bitfield.add(self, index)
  return self
}

/** The text of a bitfield. */
export const draw = (self: Bitfield.Bitfield): string =>
  Array.from({ length: self.length }, (_, index) => (Bitfield.has(self, index) ? "*" : ".")).join("")

/** An info hash of equal bytes. */
export const hashOf = (byte: number) => new Uint8Array(20).fill(byte) as InfoHash

/** Pieces by their numbers. */
export const pieces = (...indices: ReadonlyArray<number>) => indices as ReadonlyArray<PieceIndex>

/** Files in the layouts of the torrents here. */
export const fileCount = 4

/** What is remembered of a file that is not being written; `identity` tells one from another. */
export const record = (identity: string, more: Partial<FileRecord> = {}): FileRecord => ({
  isWriting: false,
  isStale: false,
  length: 16_384,
  mtimeNs: 1_700_000_000_000_000_001n,
  identity,
  ...more
})

/** No file is known. */
export const noFiles: ReadonlyMap<number, FileRecord> = new Map()

/** Files as text, in the order of their indices: `"2: 1:77, 16384 bytes of 1700000000000000001, being written"`. */
export const drawFiles = (files: ReadonlyMap<number, FileRecord>): ReadonlyArray<string> =>
  [...files]
    .sort(([first], [second]) => first - second)
    .map(
      ([index, { identity, isStale, isWriting, length, mtimeNs }]) =>
        `${index}: ${identity}, ${length} bytes of ${mtimeNs}${isWriting ? ", being written" : ""}${isStale ? ", stale" : ""}`
    )

/** Opens the resume data of a torrent. */
export const openStore = (infoHash: InfoHash, pieceCount: number) =>
  Effect.flatMap(ResumeStore, (store) => store.open({ infoHash, pieceCount, fileCount }))

/** What a torrent's resume data says when it is opened again, drawn. */
export const reload = (infoHash: InfoHash, pieceCount: number) =>
  Effect.gen(function* () {
    const resume = yield* openStore(infoHash, pieceCount)
    const data = yield* resume.load
    if (data === undefined) return undefined
    const { files, flushed, isSameBoot, stored } = data
    return { stored: draw(stored), flushed: draw(flushed), files: drawFiles(files), isSameBoot }
  }).pipe(Effect.scoped)

/** The same of a torrent without known files, on a machine that was not restarted. */
export const said = (stored: string, flushed: string) => ({
  stored,
  flushed,
  files: [] as ReadonlyArray<string>,
  isSameBoot: true
})
