/**
 * Torrents and disks drawn as text, one character a byte, so that a test shows what lies where.
 *
 * A torrent is `"aaaa aabb bb"`: runs of a letter are files (`t/a`, `t/b`), and spaces separate the pieces. The right
 * bytes of a capital letter are zeros; those of a small letter never are. A dot is padding. A disk has one character
 * for each of those bytes: `r` the right byte, `x` a wrong one, `0` a zero, `_` a hole, `-` nothing. A file of `-`
 * alone is missing.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../../src/base/Bytes.ts"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import type { FileRecord, ResumeData } from "../../src/resume/ResumeStore.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import type { FileFacts } from "../../src/storage/Storage.ts"
import { drawn } from "../resume/ResumeStore.suite.ts"
import { contentOf, piecesOf, sliceOf } from "../storage/layouts.ts"

/** Bytes in a piece of a drawn torrent. */
export const pieceLength = 4

/** A torrent, and the bytes of all its files. */
export interface Known {
  readonly metainfo: Metainfo.Metainfo
  readonly layout: FileLayout.FileLayout
  readonly content: Uint8Array
  readonly digestOf: (piece: PieceIndex) => Uint8Array
}

/** The torrent of this layout and content, with what these tests need of it. */
export const knownOf = Effect.fnUntraced(function* (layout: FileLayout.FileLayout, content: Uint8Array) {
  const hasher = yield* PieceHasher
  const digests = yield* Effect.forEach(piecesOf(layout), (piece) => hasher.sha1(sliceOf(layout, content, piece)))
  const infoHash = new Uint8Array(20).fill(1) as InfoHash
  const metainfo = { name: "t", layout, pieceDigests: Bytes.concat(digests), infoHash } as Metainfo.Metainfo
  const known: Known = { metainfo, layout, content, digestOf: (piece) => Metainfo.pieceDigest(metainfo, piece) }
  return known
})

/** The torrent of a drawing. */
export const torrent = (drawing: string) => {
  const letters = drawing.replaceAll(" ", "")
  const runs = letters.match(/([a-z])\1*|\.+/gi) ?? []
  const files: Array<FileLayout.FileEntry> = []
  for (const run of runs) {
    const name = run[0]!.toLowerCase()
    const last = files.at(-1)
    if (last?.path[1] === name) files[files.length - 1] = { ...last, length: last.length + run.length }
    else files.push({ path: ["t", name], length: run.length, padding: name === "." })
  }
  const layout = FileLayout.make({ pieceLength, files })
  const content = contentOf(layout)
  for (const [offset, letter] of [...letters].entries()) if (letter < "a") content[offset] = 0
  return knownOf(layout, content)
}

/** A byte that is neither right nor zero. */
export const wrong = (right: number): number => (right % 255) + 1

export const pathOf = (layout: FileLayout.FileLayout, file: number): string => layout.files[file]!.path.join("/")

/** Puts files on a medium as they are drawn. */
export const put = (medium: MemoryStorage.MemoryMedium["Service"], known: Known, drawing: string): void => {
  const marks = drawing.replaceAll(" ", "")
  for (const file of FileLayout.realFiles(known.layout)) {
    const { length, offset } = known.layout.files[file]!
    const there = marks.slice(offset, offset + length).replaceAll("-", "")
    const bytes = Uint8Array.from(there, (mark, index) => {
      const right = known.content[offset + index]!
      return mark === "r" ? right : mark === "x" ? wrong(right) : 0
    })
    if (there.length > 0) medium.put(pathOf(known.layout, file), there.startsWith("_") ? there.length : bytes)
  }
}

/** Opens a torrent on its own medium. */
export const open = Effect.fnUntraced(function* (
  known: Known,
  drawing?: string,
  options?: MemoryStorage.MemoryStorageOptions
) {
  const { medium, storage } = yield* MemoryStorage.make(options)
  if (drawing !== undefined) put(medium, known, drawing)
  const opened = yield* storage.open({ infoHash: known.metainfo.infoHash, layout: known.layout })
  /** What lies at the paths of all files, by their index. */
  const look = Effect.map(opened.look(FileLayout.realFiles(known.layout)), (seen) => {
    const facts = new Array<FileFacts | undefined>(known.layout.files.length).fill(undefined)
    for (const one of seen) if (one !== undefined) facts[one.file] = one
    return facts
  })
  return { medium, storage: opened, look }
})

/** What resume data would remember of a file. */
export const recordOf = ({ identity, length, mtimeNs }: FileFacts, isWriting = false): FileRecord => ({
  isWriting,
  isStale: false,
  length,
  mtimeNs,
  identity
})

/**
 * Resume data in which every stored piece is flushed and the machine was not restarted, unless options say otherwise.
 */
export const resumeOf = (
  stored: string,
  files: ReadonlyArray<FileFacts | undefined>,
  more: { readonly flushed?: string; readonly writing?: ReadonlyArray<number>; readonly isSameBoot?: boolean } = {}
): ResumeData => ({
  stored: drawn(stored),
  flushed: drawn(more.flushed ?? stored),
  files: new Map(
    files.flatMap((facts) =>
      facts ? [[facts.file, recordOf(facts, more.writing?.includes(facts.file))] as const] : []
    )
  ),
  isSameBoot: more.isSameBoot ?? true
})
