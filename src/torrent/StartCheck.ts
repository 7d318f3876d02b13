/**
 * What a torrent does before it fetches anything: it looks at its files, waits where all of them are gone, finds out which
 * pieces are stored and whose each file is, and fails where a file of somebody else's is in the way. Writes nothing.
 */
import * as Effect from "effect/Effect"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { ResumeData } from "../resume/ResumeStore.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as Adoption from "./Adoption.ts"
import * as KnownFiles from "./KnownFiles.ts"
import * as Recheck from "./Recheck.ts"
import type { Selection } from "./Selection.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"

/** How often it is looked whether files that are gone are back. */
export const lookEvery = "5 seconds"

/** Paths in an event. */
const maxPaths = 10

/** How a torrent starts. */
export interface Options {
  readonly metainfo: Metainfo
  readonly storage: TorrentStorage
  readonly resume: ResumeData | undefined
  /** Gives the wanted files their places, whose bytes may lie elsewhere, and says which files those are. */
  readonly prepare: Effect.Effect<Selection["files"], StorageError>
  /** Files of somebody else's may be overwritten. */
  readonly overwrites: boolean
  /** Everything is fetched again if all files are gone. */
  readonly startsOver: boolean
  /** Nothing will be written: of files of somebody else's only those that are too long are in the way. */
  readonly isReadOnly: boolean
  /** It ran before, and its files were gone: a medium that is away is waited for as well. */
  readonly isRestart: boolean
  readonly report: (event: Extract<TorrentEvent, { _tag: "Checking" | "FilesMissing" }>) => void
}

/** What was found. */
export interface Checked {
  /** What `prepare` said. */
  readonly prepared: Selection["files"]
  /** By the index of the file; `undefined` where nothing lies, and for padding. */
  readonly facts: ReadonlyArray<FileFacts | undefined>
  readonly found: Recheck.Found
  readonly standings: ReadonlyMap<number, Adoption.Standing>
}

/** Checks. Fails with `ContentExists`, or where the medium cannot be read. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { isReadOnly, metainfo, overwrites, prepare, report, storage } = options
  const { layout } = metainfo
  const real = KnownFiles.realFiles(layout)
  const isAway = (error: StorageError) => options.isRestart && error.reason._tag === "StorageUnavailable"
  const look = Effect.gen(function* () {
    const brought = yield* Effect.result(prepare)
    if (brought._tag === "Failure" && !isAway(brought.failure)) return yield* Effect.fail(brought.failure)
    const facts = byIndex(layout, yield* Effect.catchIf(storage.look(real), isAway, () => Effect.succeed([])))
    if (brought._tag === "Success") return { prepared: brought.success, facts }
    // A medium of which a file can be seen is not away: something else is wrong with it.
    if (facts.some((one) => one !== undefined)) return yield* Effect.fail(brought.failure)
    return { prepared: undefined, facts }
  })
  let resume = options.resume
  let { facts, prepared } = yield* look
  if (options.startsOver && missing(layout, resume, facts).length > 0) resume = undefined
  /** When a medium goes, all files on it go, also those of which no piece counted as stored yet. */
  const written = options.isRestart && resume !== undefined ? [...resume.files.keys()] : []
  /** Files of a torrent that only uploads are missing as well if none is there. */
  const gone = (): ReadonlyArray<number> => {
    const isEmpty = isReadOnly && real.every((file) => facts[file] === undefined)
    if (isEmpty) return real
    const lost = missing(layout, resume, facts)
    if (lost.length > 0 || real.some((file) => facts[file] !== undefined)) return lost
    return written.length > 0 || prepared !== undefined ? written : real
  }
  for (let isNews = true; prepared === undefined || gone().length > 0; isNews = false) {
    const paths = gone().map((file) => KnownFiles.pathOf({ layout }, file))
    if (isNews) report({ _tag: "FilesMissing", paths: paths.slice(0, maxPaths), missingFiles: paths.length })
    yield* Effect.sleep(lookEvery)
    const next = yield* look
    facts = next.facts
    prepared = next.prepared
  }
  const onProgress = (checkedPieces: number, totalPieces: number) =>
    report({ _tag: "Checking", checkedPieces, totalPieces })
  const found = yield* Recheck.run({ metainfo, storage, resume, facts, onProgress })
  const checked = { layout, storage, resume, facts, found }
  const standings = yield* Adoption.run(checked)
  const meant = wanted(layout, prepared)
  // Nothing is written then, so only files that are too long are in the way.
  if (isReadOnly) Bitfield.clear(meant.pieces)
  const conflict = overwrites ? undefined : Adoption.conflict(checked, standings, meant)
  if (conflict !== undefined) return yield* conflict
  const result: Checked = { prepared, facts, found, standings: overwrites ? takeOver(standings) : standings }
  return result
})

const byIndex = (layout: FileLayout.FileLayout, seen: ReadonlyArray<FileFacts | undefined>) => {
  const facts = new Array<FileFacts | undefined>(layout.files.length).fill(undefined)
  for (const one of seen) if (one !== undefined) facts[one.file] = one
  return facts
}

/** The files with stored bytes, where all of them are gone; none where one is there, or nothing is known to be stored. */
const missing = (
  layout: FileLayout.FileLayout,
  resume: ResumeData | undefined,
  facts: ReadonlyArray<FileFacts | undefined>
): ReadonlyArray<number> => {
  if (resume === undefined || resume.stored.count === 0) return []
  const files = KnownFiles.realFiles(layout).filter(
    (file) => KnownFiles.piecesIn({ layout }, file, resume.stored).length > 0
  )
  return files.some((file) => facts[file] !== undefined) ? [] : files
}

const wanted = (layout: FileLayout.FileLayout, files: Selection["files"]) => ({
  files: new Set(PiecePriority.wantedFiles(layout, files)),
  pieces:
    files.length === 0
      ? Bitfield.full(layout.geometry.pieceCount)
      : PiecePriority.wanted(PiecePriority.ofFiles(layout, files))
})

const takeOver = (standings: ReadonlyMap<number, Adoption.Standing>): ReadonlyMap<number, Adoption.Standing> =>
  new Map(Array.from(standings, ([file, standing]) => [file, standing === "undecided" ? "foreign" : standing]))
