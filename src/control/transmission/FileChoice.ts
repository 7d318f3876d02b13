/**
 * Which files of a torrent are wanted, as a client of the Transmission RPC says it: lists of the places of files in the
 * list of files. An empty list means all files. Pure.
 */
import type { PiecePriority } from "../../assembly/PiecePriority.ts"
import * as RpcRefused from "./RpcRefused.ts"

/** What a client says about files. */
export interface Asked {
  readonly "files-wanted"?: ReadonlyArray<number> | undefined
  readonly "files-unwanted"?: ReadonlyArray<number> | undefined
  readonly "priority-high"?: ReadonlyArray<number> | undefined
  readonly "priority-normal"?: ReadonlyArray<number> | undefined
  readonly "priority-low"?: ReadonlyArray<number> | undefined
}

/** A file in the list of files, and how much it is wanted so far. */
export interface Known {
  /** Its index in `metainfo.layout.files`. */
  readonly index: number
  readonly priority: PiecePriority
}

/** Whether anything is said about files. */
export const isAsked = (asked: Asked): boolean =>
  [
    asked["files-wanted"],
    asked["files-unwanted"],
    asked["priority-high"],
    asked["priority-normal"],
    asked["priority-low"]
  ].some((places) => places !== undefined)

const skip = (): PiecePriority => "skip"
const want = (priority: PiecePriority): PiecePriority => (priority === "skip" ? "normal" : priority)
/** The priority of a file that is not wanted is not kept. */
const set =
  (to: PiecePriority) =>
  (priority: PiecePriority): PiecePriority =>
    priority === "skip" ? "skip" : to

/**
 * How much each file of `metainfo.layout.files` is wanted after that. First it is decided which files are wanted, then
 * how much. Refuses a place that no file has, and a low priority, which does not exist here.
 */
export const apply = (
  files: ReadonlyArray<Known>,
  asked: Asked
): ReadonlyArray<PiecePriority> | RpcRefused.RpcRefused => {
  if (asked["priority-low"] !== undefined) {
    return RpcRefused.because("a file cannot have a low priority here: it is wanted or not, and normal or high")
  }
  const changes: ReadonlyArray<readonly [ReadonlyArray<number> | undefined, (now: PiecePriority) => PiecePriority]> = [
    [asked["files-unwanted"], skip],
    [asked["files-wanted"], want],
    [asked["priority-normal"], set("normal")],
    [asked["priority-high"], set("high")]
  ]
  const priorities = files.map(({ priority }) => priority)
  for (const [places, change] of changes) {
    if (places === undefined) continue
    for (const place of places.length === 0 ? priorities.keys() : places) {
      const now = priorities[place]
      if (now === undefined) return RpcRefused.because(`there is no file ${place}: the torrent has ${files.length}`)
      priorities[place] = change(now)
    }
  }
  // Padding has no place in the list of files.
  const all = new Array<PiecePriority>((files.at(-1)?.index ?? -1) + 1).fill("normal")
  for (const [place, { index }] of files.entries()) all[index] = priorities[place]!
  return all
}
