/**
 * Imports the session of another client: its torrents, where they are, and what it says of them. Reads the other client's
 * files and changes none. Files of torrents stay where they are. What that client says of pieces is only a hint, so a
 * torrent that is complete there seeds at once, and each piece is verified before it is first uploaded.
 *
 * May be run again: a torrent that is in the session already stays as it is. The other client should not run at the same
 * time, because two clients would write to the same files.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "../../base/Bytes.ts"
import { InfoHash } from "../../base/InfoHash.ts"
import * as Session from "../Session.ts"
import * as FilePlaces from "./FilePlaces.ts"
import * as Foreign from "./ForeignTorrent.ts"
import * as QBittorrentSession from "./QBittorrentSession.ts"
import * as TransmissionSession from "./TransmissionSession.ts"

/** The schema of a client whose session can be imported. */
export const Client = Schema.Literals(["qbittorrent", "transmission"])

/** A client whose session can be imported. */
export type Client = typeof Client.Type

/** The schema of what became of a torrent. */
export const Outcome = Schema.TaggedUnion({
  /** It is in the session now. */
  Added: { infoHash: InfoHash },
  /** It was in the session before, and stays as it was. */
  AlreadyThere: {},
  /** It could not be read or added. `why` is a sentence. */
  Failed: { why: Schema.String }
})

/** What became of a torrent. */
export type Outcome = typeof Outcome.Type

/** The schema of a torrent of the other client. */
export const ImportedTorrent = Schema.Struct({
  /** The path of the file that was read, below the folder. */
  file: Schema.String,
  /** Its name, as a stranger wrote it; absent if it could not be read. */
  name: Schema.optional(Schema.String),
  outcome: Outcome,
  /** What was not taken over, and what a user should know, as sentences. Paths in them are as strangers wrote them. */
  notes: Schema.Array(Schema.String)
})

/** A torrent of the other client. */
export type ImportedTorrent = typeof ImportedTorrent.Type

/** The schema of what was imported. */
export const Report = Schema.Struct({
  client: Client,
  /** The folder in which the torrents of the other client were found. */
  folder: Schema.String,
  torrents: Schema.Array(ImportedTorrent)
})

/** What was imported. */
export type Report = typeof Report.Type

/** The folder is no session of that client, or cannot be read. Nothing was imported. `why` is the end of a sentence. */
export class ImportError extends Schema.TaggedError<ImportError>()("piecewise/ImportError", {
  folder: Schema.String,
  why: Schema.String
}) {
  override get message() {
    return `${this.folder} ${this.why}`
  }
}

/** What is read of a torrent: the file that names it, and how to read the rest. */
interface Candidate {
  readonly file: string
  readonly read: Effect.Effect<Foreign.ForeignTorrent, Foreign.ForeignError, FileSystem.FileSystem>
}

/**
 * Imports the session of a client. `folder` is that of its session: `BT_backup` of qBittorrent or a folder that has it,
 * or Transmission's configuration folder, which has `resume` and `torrents`. Torrents are added one after the other, in
 * the order that the other client has them in if that is known.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { mkdtemp, rm, writeFile } from "node:fs/promises"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 * import { NodeFileSystem } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { Bencode } from "piecewise"
 * import { SessionImport } from "piecewise/session"
 * import { NodeSession } from "piecewise/session/node"
 *
 * // As qBittorrent writes it for a magnet link that is paused.
 * const folder = await mkdtemp(join(tmpdir(), "piecewise-"))
 * const hash = new Uint8Array(20).fill(7)
 * const resume = Bencode.encode({ "info-hash": hash, name: "A film", paused: 1, save_path: "/srv/films" })
 * await writeFile(join(folder, "0707070707070707070707070707070707070707.fastresume"), resume)
 *
 * const program = SessionImport.run("qbittorrent", folder)
 * const session = NodeSession.layer({ directory: join(folder, "downloads"), dht: false })
 * const { torrents } = await Effect.runPromise(Effect.provide(program, [session, NodeFileSystem.layer]))
 * assert.deepEqual(torrents.map(({ name, outcome }) => [name, outcome._tag]), [["A film", "Added"]])
 * await rm(folder, { recursive: true })
 * ```
 */
export const run = Effect.fn("SessionImport.run")(function* (client: Client, folder: string) {
  const { candidates, found } = yield* client === "qbittorrent" ? ofQBittorrent(folder) : ofTransmission(folder)
  const torrents: Array<ImportedTorrent> = []
  for (const candidate of candidates) torrents.push(yield* take(candidate))
  const report: Report = { client, folder: found, torrents }
  return report
})

/** Takes one torrent over. */
const take = Effect.fnUntraced(function* ({
  file,
  read
}: Candidate): Effect.fn.Return<ImportedTorrent, never, FileSystem.FileSystem | Session.Session> {
  const result = yield* Effect.result(read)
  if (Result.isFailure(result)) return { file, outcome: { _tag: "Failed", why: result.failure.why }, notes: [] }
  const torrent = result.success
  const { files, imported, isPaused, labels, name, options, source, structure } = torrent
  const completedAtMillis = structure && Foreign.completedAt(structure, files, imported)
  const places = yield* FilePlaces.find(torrent)
  const session = yield* Session.Session
  const adding = session.add(source, {
    ...options,
    folder: places.folder,
    labels,
    isPaused,
    files,
    imported: { ...imported, completedAtMillis, renamed: places.renamed }
  })
  const outcome = yield* Effect.match(adding, {
    onSuccess: ({ infoHash }): Outcome => ({ _tag: "Added", infoHash }),
    onFailure: (error): Outcome =>
      error._tag === "piecewise/AlreadyInSession" ? { _tag: "AlreadyThere" } : { _tag: "Failed", why: error.message }
  })
  const notes = outcome._tag === "Added" ? [...torrent.notes, ...places.notes] : []
  return { file, name, outcome, notes }
})

const whyOf = (error: PlatformError): string => {
  const { _tag } = error.reason
  return _tag === "NotFound" ? "does not exist." : _tag === "PermissionDenied" ? "may not be read." : "cannot be read."
}

/** Reads a file of limited length; `undefined` if there is none. */
const readFile = Effect.fnUntraced(function* (path: string, name: string) {
  const fs = yield* FileSystem.FileSystem
  const cannot = (error: PlatformError) => new Foreign.ForeignError({ why: `${name} ${whyOf(error)}` })
  const facts = yield* Effect.result(fs.stat(path))
  if (Result.isFailure(facts)) {
    if (facts.failure.reason._tag === "NotFound") return undefined
    return yield* cannot(facts.failure)
  }
  if (facts.success.type !== "File") return yield* new Foreign.ForeignError({ why: `${name} is no file.` })
  if (Number(facts.success.size) > Foreign.maxBytes)
    return yield* new Foreign.ForeignError({ why: `${name} is longer than ${Foreign.maxBytes} bytes.` })
  return yield* Effect.mapError(fs.readFile(path), cannot)
})

const missing = (name: string) => new Foreign.ForeignError({ why: `${name} does not exist.` })

/** The names in a folder that end so, in their order; `undefined` if there is no such folder. */
const namesIn = Effect.fnUntraced(function* (folder: string, ending: string) {
  const fs = yield* FileSystem.FileSystem
  const names = yield* Effect.result(fs.readDirectory(folder))
  if (Result.isSuccess(names)) {
    return names.success.flatMap((name) => (name.endsWith(ending) ? [name.slice(0, -ending.length)] : [])).sort()
  }
  if (names.failure.reason._tag === "NotFound") return undefined
  return yield* new ImportError({ folder, why: whyOf(names.failure) })
})

/** Folders in which `BT_backup` may be, below the one that was given. */
const backups = ["", "/BT_backup", "/data/BT_backup", "/qBittorrent/data/BT_backup"]

const ofQBittorrent = Effect.fnUntraced(function* (folder: string) {
  const ending = ".fastresume"
  for (const below of backups) {
    const found = `${folder}${below}`
    const names = (yield* namesIn(found, ending)) ?? []
    if (names.length === 0) continue
    const queue = yield* Effect.orElseSucceed(readFile(`${found}/queue`, "queue"), () => undefined)
    const places = new Map(
      QBittorrentSession.queueOf(Bytes.toText(queue ?? new Uint8Array())).map((id, place) => [id, place])
    )
    const placeOf = (name: string) => places.get(name.toLowerCase()) ?? places.size
    const inOrder = names.toSorted((one, other) => placeOf(one) - placeOf(other))
    return { found, candidates: inOrder.map((name) => qBittorrentTorrent(found, name, ending)) }
  }
  return yield* new ImportError({ folder, why: "has no .fastresume files, nor a folder BT_backup that has some." })
})

const qBittorrentTorrent = (folder: string, name: string, ending: string): Candidate => ({
  file: `${name}${ending}`,
  read: Effect.gen(function* () {
    const file = `${name}${ending}`
    const resume = yield* readFile(`${folder}/${file}`, file)
    if (resume === undefined) return yield* missing(file)
    const torrent = yield* readFile(`${folder}/${name}.torrent`, `${name}.torrent`)
    return yield* Effect.fromResult(QBittorrentSession.decode({ resume, torrent }))
  })
})

const ofTransmission = Effect.fnUntraced(function* (folder: string) {
  const names = yield* namesIn(`${folder}/resume`, ".resume")
  if (names === undefined) return yield* new ImportError({ folder, why: "has no folder resume." })
  return { found: folder, candidates: names.map((name) => transmissionTorrent(folder, name)) }
})

const transmissionTorrent = (folder: string, name: string): Candidate => ({
  file: `resume/${name}.resume`,
  read: Effect.gen(function* () {
    const file = `resume/${name}.resume`
    const resume = yield* readFile(`${folder}/${file}`, file)
    if (resume === undefined) return yield* missing(file)
    const torrent = yield* readFile(`${folder}/torrents/${name}.torrent`, `torrents/${name}.torrent`)
    if (torrent !== undefined) {
      return yield* Effect.fromResult(TransmissionSession.decode({ resume, source: { torrent } }))
    }
    const link = yield* readFile(`${folder}/torrents/${name}.magnet`, `torrents/${name}.magnet`)
    if (link === undefined) return yield* missing(`torrents/${name}.torrent`)
    return yield* Effect.fromResult(TransmissionSession.decode({ resume, source: { magnet: Bytes.toText(link) } }))
  })
})
