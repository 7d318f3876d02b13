/**
 * The configuration file of a service: what it does of its own accord, and no client of its API can change.
 *
 * - `completionHooks`: commands that are run when a torrent is complete (`CompletionHooks.ts`).
 * - `watchFolders`: folders whose torrent files and magnet links are added (`WatchFolder.ts`).
 *
 * The file has commands, so whoever can write to it can run programs as the user of the service. It is refused if other
 * users than that one and root may write to it, or may replace it in its folder.
 */
import type * as NFS from "node:fs"
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as CompletionHooks from "../session/CompletionHooks.ts"
import * as SessionInput from "../session/SessionInput.ts"
import type * as WatchFolder from "../session/WatchFolder.ts"
import * as NodeBoundedFile from "../storage/provider/node/NodeBoundedFile.ts"

/** The most bytes of the file. */
const maxBytes = 1_048_576

/** The longest time limit of a hook: a day, in seconds. */
const maxSeconds = 86_400

/** The system takes no NUL in a path or an argument. */
const Text = Schema.String.check(
  Schema.makeFilter((text: string) => !text.includes("\0"), { expected: "text without a NUL character" })
)

const FolderText = Text.check(Schema.isMinLength(1))

/** A program by its absolute path, or by a name that is looked for in `PATH`. */
const Command = FolderText.check(
  Schema.makeFilter((text: string) => Path.isAbsolute(text) || Path.basename(text) === text, {
    expected: "an absolute path, or a name that is looked for in PATH"
  })
)

const Labels = Schema.Array(SessionInput.LabelName).check(Schema.isMaxLength(SessionInput.maxLabels))

/** The schema of a command for torrents that are complete. */
export const Hook = Schema.Struct({
  command: Command,
  /** Its arguments, as they are. There is no shell. */
  args: Schema.optionalKey(Schema.Array(Text)),
  /** How long it may take, at most a day; default 10 minutes. */
  timeLimitSeconds: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxSeconds }))),
  /** Only for torrents that have one of these labels. */
  labels: Schema.optionalKey(Labels)
})

/** The schema of a folder that is watched. */
export const Watched = Schema.Struct({
  /** Its path; a relative one is below the folder of the configuration file. */
  folder: FolderText,
  /** The labels of its torrents. */
  labels: Schema.optionalKey(Labels),
  /** Whether its torrents are added paused; default false. */
  paused: Schema.optionalKey(Schema.Boolean),
  /** The folder that its torrents are stored in; a relative one is below that of the service. */
  downloadFolder: Schema.optionalKey(SessionInput.Folder)
})

/** The schema of the file. */
export const File = Schema.Struct({
  completionHooks: Schema.optionalKey(Schema.Array(Hook)),
  watchFolders: Schema.optionalKey(Schema.Array(Watched))
})

/** What a service does of its own accord. */
export interface ServiceConfig {
  readonly completionHooks: ReadonlyArray<CompletionHooks.Hook>
  /** With absolute paths. */
  readonly watchFolders: ReadonlyArray<WatchFolder.Options>
}

/** The configuration of a service without a file. */
export const none: ServiceConfig = { completionHooks: [], watchFolders: [] }

/** The file cannot be used. `why` is the end of a sentence, and says where in the file. */
export class ServiceConfigError extends Data.TaggedError("ServiceConfigError")<{
  readonly path: string
  readonly why: string
}> {
  override get message() {
    return `the configuration ${this.path} cannot be used: ${this.why}`
  }
}

/** A reason not to use the file, as the end of a sentence. */
class Refused extends Error {}

const decode = Schema.decodeUnknownEffect(File, { onExcessProperty: "error" })

/** Where a value is in the file, such as `watchFolders[0].labels`. */
const placeOf = (path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>): string =>
  path
    .map((part) => (typeof part === "object" ? part.key : part))
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .replace(/^\./, "")

/** For the types that Effect names without one. */
const articles: Readonly<Record<string, string>> = {
  array: "an ",
  boolean: "a ",
  number: "a ",
  object: "an ",
  string: "a "
}

const toStandard = SchemaIssue.makeFormatterStandardSchemaV1()

/** Says in a few words what is wrong where. */
const describe = ({ issue }: Schema.SchemaError): string => {
  const { message, path = [] } = toStandard(issue).issues[0]!
  const place = placeOf(path)
  if (message === "Missing key") return `${place} is missing`
  if (message === "Expected no excess property") return `${place} is not known`
  const what = message.replace(/^Expected /, "").replace(" | undefined", "")
  return `${place === "" ? "it" : place} must be ${articles[what] ?? ""}${what}`
}

const writableByOthers = 0o022
const sticky = 0o1000

/** Throws if others may change what is there. Windows has no such permissions. */
const checkOwner = (what: string, { mode, uid }: NFS.Stats): void => {
  const user = process.getuid?.()
  if (user === undefined) return
  if (uid !== user && uid !== 0) throw new Refused(`${what} belongs to another user`)
  if ((mode & writableByOthers) === 0 || (mode & sticky) !== 0) return
  throw new Refused(`other users may write to ${what}, and it has commands: run chmod go-w on that`)
}

const readText = async (path: string): Promise<string> => {
  const bytes = await NodeBoundedFile.read(path, maxBytes, (stats) => checkOwner("it", stats))
  const folder = Path.dirname(await FileSystem.realpath(path))
  checkOwner(`its folder, ${folder}`, await FileSystem.stat(folder))
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    throw new Refused("it is not UTF-8")
  }
}

const sentences: Readonly<Record<string, string>> = {
  EACCES: "permission was denied",
  EISDIR: "it is a folder",
  ELOOP: "its links lead in a circle",
  ENOENT: "there is no such file",
  ENOTDIR: "a part of its path is not a folder"
}

const whyOf = (cause: unknown): string => {
  const { code = "", message } = cause as NodeJS.ErrnoException
  return sentences[code] ?? message
}

/** Where a path leads, as far as it exists. */
const resolved = async (path: string): Promise<string> => {
  try {
    return await FileSystem.realpath(path)
  } catch {
    const parent = Path.dirname(path)
    return parent === path ? path : Path.join(await resolved(parent), Path.basename(path))
  }
}

const isWithin = (folder: string, parent: string): boolean => {
  const relative = Path.relative(parent, folder)
  return relative === "" || !(relative === ".." || relative.startsWith(`..${Path.sep}`) || Path.isAbsolute(relative))
}

/**
 * Rejects if a watched folder is at or below a folder in which torrents are stored. A torrent from a stranger could have
 * a file there that is a torrent file, which would be added and renamed.
 */
const checkFolders = async (watched: ReadonlyArray<typeof Watched.Type>, directory: string, base: string) => {
  const stores = await Promise.all(
    ["", ...watched.flatMap(({ downloadFolder = [] }) => downloadFolder)].map((folder) =>
      resolved(Path.resolve(directory, folder))
    )
  )
  for (const [index, { folder }] of watched.entries()) {
    const place = await resolved(Path.resolve(base, folder))
    const store = stores.find((store) => isWithin(place, store))
    if (store === undefined) continue
    throw new Refused(`watchFolders[${index}].folder is within ${store}, where torrents are stored: use one elsewhere`)
  }
}

/** Reads the configuration of a service that stores torrents in `directory`. */
export const read = Effect.fnUntraced(function* (
  path: string,
  directory: string
): Effect.fn.Return<ServiceConfig, ServiceConfigError> {
  const refuse = (why: string) => new ServiceConfigError({ path, why })
  const text = yield* Effect.tryPromise({ try: () => readText(path), catch: (cause) => refuse(whyOf(cause)) })
  const value = yield* Effect.try({
    try: (): unknown => JSON.parse(text),
    catch: (cause) => refuse(`it is not JSON: ${(cause as SyntaxError).message}`)
  })
  const { completionHooks = [], watchFolders = [] } = yield* Effect.mapError(decode(value), (error) =>
    refuse(describe(error))
  )
  const base = Path.dirname(Path.resolve(path))
  yield* Effect.tryPromise({
    try: () => checkFolders(watchFolders, directory, base),
    catch: (cause) => refuse(whyOf(cause))
  })
  return {
    completionHooks: completionHooks.map(({ timeLimitSeconds, ...hook }) => ({
      ...hook,
      timeLimit: timeLimitSeconds === undefined ? undefined : Duration.seconds(timeLimitSeconds)
    })),
    watchFolders: watchFolders.map(({ downloadFolder, folder, labels, paused }) => ({
      folder: Path.resolve(base, folder),
      add: { labels, isPaused: paused, folder: downloadFolder }
    }))
  }
})
