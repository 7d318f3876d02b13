/**
 * What a user knows of the torrents of a service that is killed: what it has confirmed, and what it was asked for when it
 * was killed. Plain code.
 */
import type * as Bitfield from "../../../src/base/Bitfield.ts"
import * as Prng from "../../../src/base/Prng.ts"
import { elsewhere, foreignIn, pathOf, type Torrent } from "./torrents.ts"

/** What a service has of a torrent. */
export interface Has {
  readonly isPaused: boolean
  readonly labels: ReadonlyArray<string>
  /** Its download folder; `undefined` for that of the service. */
  readonly folder: string | undefined
  readonly uploadLimit: number | undefined
  /** The path of each file, as in `FileProgress`. */
  readonly paths: ReadonlyArray<string>
}

/** What the service is asked to do with a torrent. */
export type Operation =
  | {
      readonly _tag: "Add"
      readonly from: "file" | "magnet"
      readonly isPaused: boolean
      readonly labels: ReadonlyArray<string>
      readonly folder: string | undefined
    }
  | { readonly _tag: "Remove"; readonly data: boolean }
  | { readonly _tag: "Pause" | "Resume" | "Recheck" | "Look" }
  | { readonly _tag: "Rename"; readonly file: number; readonly path: string }
  | { readonly _tag: "Move"; readonly folder: string | undefined }
  | { readonly _tag: "Label"; readonly labels: ReadonlyArray<string> }
  | { readonly _tag: "Limit"; readonly uploadLimit: number | undefined }

/** What is known of a torrent. */
export interface Known {
  /** What is confirmed; `undefined` if it is not in the service. */
  has: Has | undefined
  /** What was asked for and is not confirmed. A file operation stays here until the torrent is opened. */
  pending: ReadonlyArray<Operation>
  /** Whether its metadata is known to be there. */
  hasMetadata: boolean
  /** The pieces that were reported as stored. */
  stored: Bitfield.Bitfield | undefined
  /** Whether it was complete, and nothing was asked of it since. */
  isIdle: boolean
  /** The last operations and starts, for messages. */
  readonly history: Array<string>
}

/** Nothing is known of a torrent that is not there. */
export const absent = (history: Array<string> = []): Known => ({
  history,
  has: undefined,
  pending: [],
  hasMetadata: false,
  stored: undefined,
  isIdle: false
})

/** Notes something for messages. */
export const note = ({ history }: Known, text: string): void => {
  if (history.push(text) > 20) history.shift()
}

/** What an operation makes of a torrent if nothing is in the way. */
const unhindered = (torrent: Torrent, has: Has | undefined, operation: Operation): Has | undefined => {
  if (operation._tag === "Add") {
    const { folder, isPaused, labels } = operation
    const paths = torrent.files.map((_, file) => pathOf(torrent, file).join("/"))
    return { isPaused, labels, folder, uploadLimit: undefined, paths }
  }
  if (has === undefined) return undefined
  switch (operation._tag) {
    case "Remove":
      return undefined
    case "Pause":
      return { ...has, isPaused: true }
    case "Resume":
      return { ...has, isPaused: false }
    case "Rename":
      return { ...has, paths: has.paths.with(operation.file, operation.path) }
    case "Move":
      return { ...has, folder: operation.folder }
    case "Label":
      return { ...has, labels: operation.labels }
    case "Limit":
      return { ...has, uploadLimit: operation.uploadLimit }
    default:
      return has
  }
}

/** Whether a file of somebody else's is in the way of an operation, so that it must be refused. */
export const isHindered = (torrent: Torrent, has: Has | undefined, operation: Operation): boolean => {
  const then = unhindered(torrent, has, operation)
  return then !== undefined && foreignIn(torrent, then.folder).some((path) => then.paths.includes(path))
}

/** What an operation makes of a torrent. */
export const after = (torrent: Torrent, has: Has | undefined, operation: Operation): Has | undefined =>
  isHindered(torrent, has, operation) ? has : unhindered(torrent, has, operation)

/** What a service may have of a torrent: each operation that is pending was done or was not. */
export const possible = (torrent: Torrent, { has, pending }: Known): ReadonlyArray<Has | undefined> => {
  const found = [has]
  for (const operation of pending) found.push(...found.map((one) => after(torrent, one, operation)))
  return found
}

/** Notes that an operation was confirmed. */
export const confirm = (self: Known, torrent: Torrent, operation: Operation): void => {
  self.pending = self.pending.filter((other) => other !== operation)
  self.has = after(torrent, self.has, operation)
  if (operation._tag === "Add") self.hasMetadata = operation.from === "file"
  if (operation._tag === "Remove") Object.assign(self, absent(self.history))
}

/** Operations that change where files are. A kill leaves them to the next time that the torrent is opened. */
export const isOfFiles = ({ _tag }: Operation): boolean => _tag === "Rename" || _tag === "Move"

const labelSets = [[], ["films"], ["new", "films"], ['it\'s "a" label']] as const

/** Chooses what is done with a torrent. `folders` are those that it may be in. */
export const draw = (
  random: Prng.Prng,
  torrent: Torrent,
  { hasMetadata, has, isIdle, pending }: Known,
  folders: ReadonlyArray<string | undefined>,
  favourite: Operation["_tag"] | undefined
): Operation => {
  const pick = <A>(items: ReadonlyArray<A>): A => items[Prng.integer(random, items.length)]!
  const folder = pick(folders)
  const labels = pick(labelSets)
  const file = pick([0, 0, 1, 2, 3])
  const name = pathOf(torrent, file)
  const number = Prng.integer(random, 100)
  if (has === undefined) {
    const from = number < 30 ? "magnet" : "file"
    const added: Operation = { _tag: "Add", from, isPaused: number % 10 === 0, labels, folder }
    // It would be there, and fail as soon as it is opened.
    return isHindered(torrent, has, added) ? { ...added, folder: undefined } : added
  }
  // Who removes a torrent without its data does not want what a kill has left half done.
  if (pending.length > 0) return number < 90 ? { _tag: "Resume" } : { _tag: "Remove", data: true }
  const rename = (): Operation => {
    const other = pick([
      name,
      [torrent.name, `other ${name.at(-1)}`],
      [torrent.name, "in", "a", "folder", name.at(-1)!]
    ])
    const path = pick([other, other, other, [`${torrent.name} ${name.at(-1)}`]]).join("/")
    // Now and then where a file of somebody else's is.
    const foreign = foreignIn(torrent, elsewhere)[file === 2 ? 1 : 0] ?? foreignIn(torrent, folder)[0]!
    return { _tag: "Rename", file, path: number % 5 === 0 ? foreign : path }
  }
  const move = (): Operation => {
    const moved: Operation = { _tag: "Move", folder }
    // Without metadata nothing is in the way yet: it would fail once that is known.
    return !hasMetadata && isHindered(torrent, has, moved) ? { _tag: "Pause" } : moved
  }
  const made: { readonly [Tag in Operation["_tag"]]?: () => Operation } = {
    Remove: () => ({ _tag: "Remove", data: number % 4 > 0 }),
    Pause: () => ({ _tag: "Pause" }),
    Resume: () => ({ _tag: "Resume" }),
    Label: () => ({ _tag: "Label", labels }),
    Limit: () => ({ _tag: "Limit", uploadLimit: number < 50 ? undefined : 1_000 * number }),
    Move: move,
    ...(hasMetadata && {
      Rename: rename,
      Recheck: () => ({ _tag: "Recheck" }),
      Look: () => ({ _tag: "Look" })
    })
  }
  const chosen = favourite !== undefined && number % 3 === 0 ? made[favourite] : undefined
  if (chosen !== undefined) return chosen()
  // So that some are complete, but most are under way.
  if (number < (isIdle ? 35 : 3)) return made.Remove!()
  if (has.isPaused && number < 60) return { _tag: "Resume" }
  const tags = ["Pause", "Resume", "Label", "Limit", "Move", "Rename", "Recheck", "Look", "Look"] as const
  return (made[pick(tags)] ?? made.Label!)()
}
