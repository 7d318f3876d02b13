/**
 * Checks what a program hands to a session before anything is done with it, by the schemas of what is saved: a type of
 * TypeScript keeps no NaN, no goal of 0 and no folder with `..` away, and what is saved once has to be read for years.
 * Pure. Keys that no schema has are dropped.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { PiecePriority } from "../assembly/PiecePriority.ts"
import { SeedingGoal } from "../torrent/SeedingGoal.ts"
import { Imported } from "./Imported.ts"
import * as Saved from "./SavedTorrent.ts"
import * as TrackerHosts from "./TrackerHosts.ts"

/** A value that the session was given cannot be used. Nothing was changed. */
export class OptionRefused extends Schema.TaggedError<OptionRefused>()("piecewise/OptionRefused", {
  /** Which value, as a path: `goal.ratio`. */
  option: Schema.String,
  /** What is wrong with it, or what it should be, in one line. It does not have the value. */
  why: Schema.String
}) {
  override get message() {
    return `${this.option} cannot be used: ${this.why}`
  }
}

/** The most characters of a label. */
export const maxLabelLength = 128

/** The most labels of one torrent. */
export const maxLabels = 100

/** The most characters of a folder: 4,096 bytes is Linux' limit of a whole path. */
export const maxFolderLength = 4_096

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

const isText = Schema.makeFilter((text: string) => !control.test(text) && text.isWellFormed(), {
  expected: "text without control characters"
})

const hasNo = (part: string) =>
  Schema.makeFilter((text: string) => !text.includes(part), { expected: `text without ${part}` })

const climbs = (folder: string): boolean => folder.split(/[/\\]/).includes("..")

/** The schema of the name of a label: 1 to 128 characters, none of them a control character or `/`. */
export const LabelName = Schema.String.check(
  Schema.isMinLength(1),
  Schema.isMaxLength(maxLabelLength),
  isText,
  hasNo("/")
)

/**
 * The schema of a folder for downloads. One that is relative is below the download folder of the storage; no component
 * is `..`, so that it stays there.
 */
export const Folder = Schema.String.check(
  Schema.isMinLength(1),
  Schema.isMaxLength(maxFolderLength),
  isText,
  Schema.makeFilter((folder: string) => !climbs(folder), { expected: "a folder without .. in its path" })
)

const LabelNames = Schema.Array(LabelName).check(Schema.isMaxLength(maxLabels))
const Priorities = Schema.Array(PiecePriority)

/** What is saved of a time in whole milliseconds is an integer. */
const isSavable = (time: Duration.Duration): boolean => {
  const millis = Duration.toMillis(time)
  return millis <= Number.MAX_SAFE_INTEGER || millis === Number.POSITIVE_INFINITY
}

/** The schema of a seeding goal: a ratio above 0, and a time of 0 to less than 285,000 years, or for ever. */
export const Goal = Schema.Struct({
  ratio: SeedingGoal.fields.ratio,
  time: Schema.optional(
    Schema.Duration.check(
      Schema.makeFilter((time: Duration.Duration) => !Duration.isNegative(time), { expected: "no negative time" }),
      Schema.makeFilter(isSavable, { expected: "less than 285,000 years" })
    )
  )
})

const { folder: _, ...saved } = Saved.SavedOptions.fields
const changeable = { ...saved, goal: Schema.optional(Goal) }

/** The schema of the options of a torrent that can change. */
export const ChangeableOptions = Schema.Struct(changeable)

/** The schema of how a torrent is added, except for what it is made from. */
export const AddOptions = Schema.Struct({
  ...changeable,
  folder: Schema.optional(Folder),
  labels: Schema.optional(LabelNames),
  isPaused: Schema.optional(Schema.Boolean),
  files: Schema.optional(Priorities),
  place: Schema.optional(Schema.Literals(["first", "last"])),
  imported: Schema.optional(Imported)
})

/** The schema of a label that is set. */
export const Label = Schema.Struct({
  name: LabelName,
  folder: Schema.optional(Folder),
  goal: Schema.optional(Goal)
})

/** The schema of the goal of a host. */
export const TrackerGoal = Schema.Struct({ host: Schema.String, goal: Goal })

const formatted = SchemaIssue.makeFormatterStandardSchemaV1()

const refusalOf = (name: string, { issue }: Schema.SchemaError): OptionRefused => {
  const [first] = formatted(issue).issues
  const path = [name, ...(first?.path ?? [])].map(String).filter((part) => part !== "")
  return new OptionRefused({ option: path.join("."), why: first?.message ?? "it has another form" })
}

/** Makes a check. `name` is what the value is called, in front of the path within it. */
const checkOf = <A, I>(schema: Schema.Codec<A, I>, name: string) => {
  const decode = Schema.decodeUnknownEffect(Schema.toType(schema))
  return (value: unknown): Effect.Effect<A, OptionRefused> =>
    Effect.mapError(decode(value), (error) => refusalOf(name, error))
}

/** Checks how a torrent is added. */
export const addOptions = checkOf(AddOptions, "")

/** Checks options of a torrent that change. */
export const options = checkOf(ChangeableOptions, "")

/** Checks how much each file is wanted. */
export const priorities = checkOf(Priorities, "files")

/** Checks the names of the labels of a torrent. */
export const labels = checkOf(LabelNames, "labels")

/** Checks a folder. */
export const folder = checkOf(Schema.UndefinedOr(Folder), "folder")

/** Checks a label. */
export const label = checkOf(Label, "label")

const isTrackerGoal = checkOf(TrackerGoal, "tracker goal")

/** Checks the goal of a host, and brings the host into the form that is compared. */
export const trackerGoal = Effect.fnUntraced(function* (
  given: unknown
): Effect.fn.Return<Saved.TrackerGoal, OptionRefused> {
  const { goal, host } = yield* isTrackerGoal(given)
  const parsed = TrackerHosts.parse(host)
  if (parsed !== undefined) return { goal, host: parsed }
  return yield* new OptionRefused({
    option: "host",
    why: "Expected the name or the IP address of a host, without a port"
  })
})

/** Checks the limits of a session. */
export const limits = checkOf(Saved.SessionLimits, "limits")
