/**
 * A torrent as another client keeps it, in the words of this session, and what reading it from that client's files has
 * in common for all clients. Everything in it was written by somebody else. Pure.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as PiecePriority from "../../assembly/PiecePriority.ts"
import * as Bitfield from "../../base/Bitfield.ts"
import * as Bytes from "../../base/Bytes.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import * as FileLayout from "../../metainfo/FileLayout.ts"
import * as Magnet from "../../metainfo/Magnet.ts"
import * as Metainfo from "../../metainfo/Metainfo.ts"
import * as Imported from "../Imported.ts"
import * as Saved from "../SavedTorrent.ts"
import * as SessionInput from "../SessionInput.ts"

/** The most bytes of a file that another client keeps of a torrent. One of 2,000,000 pieces is a few megabytes. */
export const maxBytes = 67_108_864

/** What another client keeps of a torrent cannot be used. `why` is a sentence. */
export class ForeignError extends Data.TaggedError("ForeignError")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** A torrent of another client. */
export interface ForeignTorrent {
  readonly source: { readonly metainfo: Uint8Array } | { readonly magnet: string }
  /** What the metainfo says; `undefined` for a magnet link. */
  readonly structure: Metainfo.Structure | undefined
  readonly name: string
  /** Folders in which its files may be, the likeliest first. */
  readonly folders: ReadonlyArray<string>
  /** What the other client may append to the name of a file that is not complete. */
  readonly suffix: string
  readonly labels: ReadonlyArray<string>
  readonly isPaused: boolean
  /** By the index of the file; `undefined` if all are wanted. */
  readonly files: ReadonlyArray<"skip" | "normal" | "high"> | undefined
  readonly options: Pick<Saved.SavedOptions, "goal" | "limits" | "order" | "superSeed">
  readonly imported: Imported.Imported
  /** What was not taken over, as sentences. */
  readonly notes: ReadonlyArray<string>
}

/** Reads a bencoded dictionary of another client. */
export const dictionary = (bytes: Uint8Array, what: string): Result.Result<Bencode.Decoded & Root, ForeignError> => {
  const fail = (why: string) => Result.fail(new ForeignError({ why }))
  if (bytes.length > maxBytes) return fail(`${what} is longer than ${maxBytes} bytes.`)
  const decoded = Bencode.decode(bytes, { maxBytes, maxTokens: 3_000_000, trailing: "ignore" })
  if (Result.isFailure(decoded)) return fail(`${what} is damaged: ${decoded.failure.message}`)
  const { value } = decoded.success
  if (!Bencode.isDictionary(value)) return fail(`${what} is not a dictionary.`)
  return Result.succeed({ ...decoded.success, root: value })
}

/** The dictionary that was read. */
export interface Root {
  readonly root: Bencode.Dictionary
}

/** The texts in a list, with an empty one for what is none; no texts if there is no such list. */
export const texts = (value: Bencode.Value | undefined): ReadonlyArray<string> =>
  Bencode.isList(value) ? value.map((item) => (Bencode.isBytes(item) ? Bytes.toText(item) : "")) : []

/** The integers in a list, with 0 for what is none; `undefined` if there is no such list. */
export const integers = (value: Bencode.Value | undefined): ReadonlyArray<number> | undefined =>
  Bencode.isList(value) ? value.map((item) => (typeof item === "number" ? item : 0)) : undefined

/** A count that is not negative; `undefined` for anything else. */
export const natural = (value: number | undefined): number | undefined =>
  value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined

/**
 * A time in seconds as milliseconds; `undefined` if it is 0, as other clients write for never, or later than any date.
 */
export const millis = (seconds: number | undefined): number | undefined => {
  const time = natural(seconds)
  if (time === undefined || time === 0) return undefined
  const millis = time * 1_000
  return millis <= Imported.maxMillis ? millis : undefined
}

/** Numbers of another client, in which what is missing counts as 0. */
export const statistics = (numbers: {
  readonly downloaded: number | undefined
  readonly uploaded: number | undefined
  readonly seedingSeconds: number | undefined
}): Saved.Statistics => ({
  downloadedBytes: natural(numbers.downloaded) ?? Saved.noStatistics.downloadedBytes,
  uploadedBytes: natural(numbers.uploaded) ?? Saved.noStatistics.uploadedBytes,
  seedingMillis: millis(numbers.seedingSeconds) ?? Saved.noStatistics.seedingMillis
})

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

/** Names as labels: of a category within another one, `films/new` becomes `films: new`. */
export const labelsOf = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const labels = names
    .map((name) => name.toWellFormed().replace(control, " ").replaceAll("/", ": ").trim())
    .filter((name) => name !== "")
    .map((name) => [...name].slice(0, SessionInput.maxLabelLength / 2).join(""))
  return [...new Set(labels)].slice(0, SessionInput.maxLabels)
}

/** Whether a path is absolute, on any platform. */
export const isAbsolute = (path: string): boolean => /^([/\\]|[a-z]:)/i.test(path)

/** The components of a path that another client wrote; `undefined` if it is absolute. */
const componentsOf = (path: string): ReadonlyArray<string> | undefined =>
  isAbsolute(path) ? undefined : path.split(path.includes("/") ? "/" : "\\").filter((part) => part !== "")

/** The files whose paths differ from those in the metainfo. `paths` has one for each file, in their order. */
export const renamedOf = (
  layout: FileLayout.FileLayout,
  paths: ReadonlyArray<string>
): Result.Result<ReadonlyArray<Saved.RenamedFile>, ForeignError> => {
  const renamed: Array<Saved.RenamedFile> = []
  for (const file of FileLayout.realFiles(layout)) {
    const text = paths[file]
    if (text === undefined || text === "") continue
    const path = componentsOf(text)
    if (path === undefined) {
      return Result.fail(new ForeignError({ why: `A file was moved out of its folder, to ${text}.` }))
    }
    const { original, path: own, portable } = FileLayout.fileAt(layout, file)
    const isSame = [own, original, portable].some((name) => name?.join("/") === path.join("/"))
    const [first, ...rest] = path
    if (!isSame && first !== undefined) renamed.push({ file, path: [first, ...rest] })
  }
  return Result.succeed(renamed)
}

/** A hint from a set of pieces. */
export const hintOf = (pieceCount: number, has: (piece: number) => boolean): Uint8Array => {
  const hint = Bitfield.make(pieceCount)
  for (let piece = 0; piece < pieceCount; piece++) if (has(piece)) Bitfield.add(hint, piece)
  return hint.bytes
}

/**
 * When a torrent was complete: as its client says or, if that says nothing of one of which it has every wanted piece, when
 * it was added. So nobody takes it for one that has just been downloaded.
 */
export const completedAt = (
  { layout }: Metainfo.Structure,
  files: ForeignTorrent["files"],
  { addedAtMillis, completedAtMillis, hintedPieces }: Imported.Imported
): number | undefined => {
  if (completedAtMillis !== undefined || hintedPieces === undefined) return completedAtMillis
  const wanted = PiecePriority.wanted(PiecePriority.ofFiles(layout, files ?? []))
  const hint = Bitfield.fitted(hintedPieces, layout.geometry.pieceCount)
  return Bitfield.isSubset(wanted, hint) ? addedAtMillis : undefined
}

/** Reads a torrent file. */
export const structureOf = (bytes: Uint8Array): Result.Result<Metainfo.Structure, ForeignError> =>
  Result.mapError(
    Metainfo.decode(bytes),
    ({ why }) => new ForeignError({ why: `The torrent file cannot be used: ${why}.` })
  )

/** A magnet link for a torrent whose metadata is not known. */
export const linkOf = (known: {
  readonly hash: Uint8Array
  readonly name: string | undefined
  readonly trackers: ReadonlyArray<string>
}): string =>
  Magnet.format({
    infoHash: known.hash.slice() as InfoHash,
    infoHashV2: undefined,
    name: known.name || undefined,
    trackers: known.trackers.filter((url) => url !== "").slice(0, Magnet.maxEntries),
    webSeeds: [],
    exactSources: [],
    acceptableSources: [],
    peers: [],
    select: undefined
  })
