/**
 * Implements `piecewise add`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { PiecePriority } from "../../assembly/PiecePriority.ts"
import * as MetadataLimit from "../../base/MetadataLimit.ts"
import { TorrentExists } from "../../control/api/ApiErrors.ts"
import * as ApiOptions from "../../control/api/ApiOptions.ts"
import { type NewTorrent, type TorrentItem, TorrentSource } from "../../control/api/TorrentModel.ts"
import * as Arguments from "../Arguments.ts"
import * as Failure from "../CommandFailed.ts"
import { CommandFailed } from "../CommandFailed.ts"
import type { Output } from "../Output.ts"
import * as RateOption from "../RateOption.ts"
import * as SeedOptions from "../SeedOptions.ts"
import * as TorrentInput from "../TorrentInput.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"
import * as TextOptions from "./TextOptions.ts"
import * as TorrentWords from "./TorrentWords.ts"

/** A torrent to add, and what the user calls it. */
interface Named {
  readonly word: string
  readonly source: TorrentSource
}

/** The operand that stands for standard input. */
const standardInput = "-"

/** Adds torrents, one after the other. One that is there already is no failure, and stays as it is. */
export const run = (args: Arguments.Arguments, output: Output) => add(args, output, process.stdin)

/** `run`, with another standard input. */
export const add = Effect.fnUntraced(function* (
  args: Arguments.Arguments,
  output: Output,
  input: AsyncIterable<Uint8Array>
) {
  const options = yield* readOptions(args)
  const globs = Arguments.all(args, "select")
  const sources: Array<Named> = []
  for (const word of args.operands) sources.push(...(yield* read(word, input)))
  const long = sources.find(({ source }) => !isSource(source))
  if (long !== undefined) return yield* new CommandFailed({ why: `${long.word.slice(0, 100)}...: this is too long` })
  const torrents: Array<Named & { readonly files: ReadonlyArray<PiecePriority> | undefined }> = []
  for (const named of sources) torrents.push({ ...named, files: yield* filesOf(named, globs) })
  const asJson = Arguments.has(args, "json")
  const print = ({ isNew, torrent }: { readonly isNew: boolean; readonly torrent: TorrentItem }): void => {
    if (asJson) return ServiceLines.print(output, { _tag: "Added", isNew, torrent })
    const note = isNew ? "" : ": was there already, and stays as it is"
    output.print([`${TorrentWords.shortHash(torrent)}  ${TorrentWords.nameOf(torrent)}${note}`])
  }
  yield* ServiceConnection.use(args, (client) =>
    Effect.forEach(
      torrents,
      ({ files, source, word }) =>
        client.torrents.add({ payload: { ...options, source, files } }).pipe(
          Effect.map((torrent) => ({ torrent, isNew: true })),
          Effect.catchIf(
            (error) => error instanceof TorrentExists,
            ({ infoHash }) =>
              Effect.map(client.torrents.get({ params: { infoHash } }), ({ torrent }) => ({ torrent, isNew: false }))
          ),
          Effect.mapError((error) => withWord(word, error)),
          Effect.map(print)
        ),
      { discard: true }
    )
  )
})

const isSource = Schema.is(TorrentSource)

/** Puts the word before an error that is about the torrent, and not about the service. */
const withWord = <E extends { readonly message: string }>(word: string, error: E): E | CommandFailed =>
  "_tag" in error && (error._tag === "piecewise/SourceRefused" || error._tag === "piecewise/SourceUnavailable")
    ? new CommandFailed({ why: `${word}: ${error.message}` })
    : error

const readOptions = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const goal = yield* SeedOptions.read(args)
  const options: Omit<NewTorrent, "source"> = {
    folder: yield* TextOptions.read(args, "output", ApiOptions.Folder),
    labels: yield* TextOptions.readAll(args, "label", ApiOptions.LabelName),
    isPaused: Arguments.has(args, "paused"),
    place: Arguments.has(args, "first") ? "first" : "last",
    options: {
      goal: goal && {
        ratio: goal.ratio,
        time: goal.time === undefined ? undefined : Duration.fromInputUnsafe(goal.time)
      },
      order: Arguments.has(args, "sequential") ? "sequential" : undefined,
      limits: {
        downloadBytesPerSecond: yield* RateOption.read(args, "limit-down"),
        uploadBytesPerSecond: yield* RateOption.read(args, "limit-up")
      }
    }
  }
  return options
})

/** Returns the torrents that an operand means: one, or those of standard input. */
const read = (word: string, input: AsyncIterable<Uint8Array>): Effect.Effect<ReadonlyArray<Named>, CommandFailed> => {
  if (word === standardInput) return readStandardInput(input)
  if (TorrentInput.isMagnet(word)) return Effect.succeed([{ word, source: { _tag: "Magnet", link: word.trim() } }])
  if (TorrentInput.isUrl(word)) return Effect.succeed([{ word, source: { _tag: "Url", url: word } }])
  return Effect.map(TorrentInput.readFile(word), (bytes) => [{ word, source: { _tag: "Metainfo", bytes } }])
}

const inputName = "standard input"

/** A torrent file is a dictionary (BEP 3), so this is its first byte. No link and no URL begins with it. */
const dictionary = 0x64

const readStandardInput = Effect.fnUntraced(function* (input: AsyncIterable<Uint8Array>) {
  const bytes = yield* Effect.tryPromise({
    try: () => readAll(input, MetadataLimit.defaultMaxBytes),
    catch: (cause) => Failure.ofFile(inputName, cause)
  })
  if (bytes[0] === dictionary) return [{ word: inputName, source: { _tag: "Metainfo", bytes } }] as const
  const lines = new TextDecoder().decode(bytes).split("\n")
  const words = lines.map((line) => line.trim()).filter((line) => line !== "")
  const wrong = words.find((word) => !TorrentInput.isMagnet(word) && !TorrentInput.isUrl(word))
  if (wrong !== undefined || words.length === 0) {
    return yield* new CommandFailed({
      why: `${inputName}: there is neither a torrent file nor lines of URLs and magnet links`
    })
  }
  return words.map(
    (word): Named => ({
      word,
      source: TorrentInput.isMagnet(word) ? { _tag: "Magnet", link: word } : { _tag: "Url", url: word }
    })
  )
})

const readAll = async (input: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  let length = 0
  for await (const chunk of input) {
    chunks.push(chunk)
    length += chunk.length
    if (length > maxBytes) throw new Error(MetadataLimit.whyTooLong(maxBytes))
  }
  return Buffer.concat(chunks)
}

/** Returns how much each file of a torrent is wanted; `undefined` if all are. Needs its files, so a torrent file. */
const filesOf = ({ source, word }: Named, globs: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    if (globs.length === 0) return undefined
    if (source._tag !== "Metainfo") {
      return yield* new CommandFailed({
        why: `${word}: --select needs a torrent file, because it compares the names in it`
      })
    }
    // What reads metainfo is loaded only if it is needed: otherwise the service reads it.
    const [FileSelection, Metainfo, NodePieceHasher] = yield* Effect.promise(() =>
      Promise.all([
        import("../FileSelection.ts"),
        import("../../metainfo/Metainfo.ts"),
        import("../../hash/provider/node/NodePieceHasher.ts")
      ])
    )
    const metainfo = yield* Metainfo.fromBytes(source.bytes, { platform: TorrentInput.platform }).pipe(
      Effect.mapError(({ why }) => new CommandFailed({ why: `${word}: ${why}` })),
      Effect.provide(NodePieceHasher.layer)
    )
    return yield* FileSelection.ofGlobs(metainfo, globs)
  })
