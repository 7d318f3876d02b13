/**
 * Checks a torrent's files before it fetches anything. Waits if all of them are gone, finds out which pieces are stored
 * and whose each file is, and fails if a file of somebody else's is in the way. Writes nothing.
 */
import * as Effect from "effect/Effect"
import type * as BufferBudget from "../assembly/BufferBudget.ts"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import * as Bitfield from "../base/Bitfield.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { ResumeData } from "../resume/ResumeStore.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as Adoption from "./Adoption.ts"
import * as KnownFiles from "./KnownFiles.ts"
import * as Recheck from "./Recheck.ts"
import type { Selection } from "./Selection.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"

/** How often to look whether files that are gone are back. */
export const lookEvery = "5 seconds"

/** How many paths a `FilesMissing` event names. */
const maxPaths = 10

/** What is checked, and how. */
export interface Options {
  readonly metainfo: Metainfo
  readonly storage: TorrentStorage
  /** As in `Recheck.Options`. */
  readonly budget?: BufferBudget.Ledger | undefined
  readonly resume: ResumeData | undefined
  /** As in `Recheck.Options`. */
  readonly hint?: Bitfield.Bitfield | undefined
  /** Moves the wanted files to their places, and returns which files those are. */
  readonly prepare: Effect.Effect<Selection["wanted"], StorageError>
  /** Whether files of somebody else's may be overwritten. */
  readonly overwrites: boolean
  /** Whether to fetch everything again if all files are gone, instead of waiting for them. */
  readonly startsOver: boolean
  /** Whether nothing will be written. Then only wanted files that are too long are in the way. */
  readonly isReadOnly: boolean
  /** Whether the torrent ran before and its files went away. Then it also waits for a medium that cannot be read. */
  readonly isRestart: boolean
  /** Whether every piece that is on the medium is digested, whatever resume data says; default false. */
  readonly distrusts?: boolean | undefined
  readonly report: (event: Extract<TorrentEvent, { _tag: "Checking" | "FilesMissing" }>) => void
}

/** The result of a check. */
export interface Checked {
  /** What `prepare` returned. */
  readonly prepared: Selection["wanted"]
  /** By the index of the file; `undefined` if it does not exist, and for padding. */
  readonly facts: ReadonlyArray<FileFacts | undefined>
  readonly found: Recheck.Found
  readonly standings: ReadonlyMap<number, Adoption.Standing>
}

/** Checks. Fails with `ContentExists`, or with `StorageError` if the medium cannot be read. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { budget, isReadOnly, metainfo, overwrites, prepare, report, storage } = options
  const { layout } = metainfo
  const real = FileLayout.realFiles(layout)
  const isAway = (error: StorageError) => options.isRestart && error.reason._tag === "StorageUnavailable"
  const look = Effect.gen(function* () {
    const brought = yield* Effect.result(prepare)
    if (brought._tag === "Failure" && !isAway(brought.failure)) return yield* brought.failure
    const facts = byIndex(layout, yield* Effect.catchIf(storage.look(real), isAway, () => Effect.succeed([])))
    if (brought._tag === "Success") return { prepared: brought.success, facts }
    // If one of the files can be seen, the medium is not away, and something else is wrong with it.
    if (facts.some((one) => one !== undefined)) return yield* brought.failure
    return { prepared: undefined, facts }
  })
  let { hint, resume } = options
  let { facts, prepared } = yield* look
  if (options.startsOver && missing(layout, { hint, resume }, facts).length > 0) resume = hint = undefined
  /** If a medium goes away, all its files do, including those of which no piece was stored yet. */
  const written = options.isRestart && resume !== undefined ? [...resume.files.keys()] : []
  /** Files of a read-only torrent count as missing if none of them exists. */
  const gone = (): ReadonlyArray<number> => {
    const isEmpty = isReadOnly && real.every((file) => facts[file] === undefined)
    if (isEmpty) return real
    const lost = missing(layout, { hint, resume }, facts)
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
  const { distrusts } = options
  const found = yield* Recheck.run({ metainfo, storage, budget, resume, hint, facts, distrusts, onProgress })
  const checked = { layout, storage, resume, hint, facts, found }
  const standings = yield* Adoption.run(checked)
  const meant = wanted(layout, prepared)
  // Nothing will be written, so only files that are too long are in the way.
  if (isReadOnly) Bitfield.clear(meant.pieces)
  const conflict = overwrites ? undefined : Adoption.conflict(checked, standings, meant)
  if (conflict !== undefined) return yield* conflict
  const result: Checked = { prepared, facts, found, standings: overwrites ? takeOver(standings) : standings }
  return result
})

const byIndex = (layout: FileLayout.FileLayout, seen: ReadonlyArray<FileFacts | undefined>) => {
  const facts = new Array<FileFacts | undefined>(layout.fileCount).fill(undefined)
  for (const one of seen) if (one !== undefined) facts[one.file] = one
  return facts
}

/**
 * The files with stored bytes, if all of them are gone; else none. Also none if nothing is remembered as stored, and
 * nothing is hinted at.
 */
const missing = (
  layout: FileLayout.FileLayout,
  { hint, resume }: Pick<Options, "hint" | "resume">,
  facts: ReadonlyArray<FileFacts | undefined>
): ReadonlyArray<number> => {
  const sets = [resume?.stored, hint].filter((pieces) => pieces !== undefined && pieces.count > 0)
  const files = FileLayout.realFiles(layout).filter((file) =>
    sets.some((pieces) => KnownFiles.piecesIn({ layout }, file, pieces!).length > 0)
  )
  return files.some((file) => facts[file] !== undefined) ? [] : files
}

const wanted = (layout: FileLayout.FileLayout, files: Selection["wanted"]) => ({
  files: new Set(PiecePriority.wantedFiles(layout, files)),
  pieces:
    files.length === 0
      ? Bitfield.full(layout.geometry.pieceCount)
      : PiecePriority.wanted(PiecePriority.ofFiles(layout, files))
})

const takeOver = (standings: ReadonlyMap<number, Adoption.Standing>): ReadonlyMap<number, Adoption.Standing> =>
  new Map(Array.from(standings, ([file, standing]) => [file, standing === "undecided" ? "foreign" : standing]))
