/**
 * One writer a file: what all processes agree on that write torrents to one folder, so that no two of them write the
 * same files. Pure; `NodeWriterLocks.ts` takes the locks.
 *
 * The locks of a download folder lie in `folder` below it. A process that holds one there has a beacon: a socket
 * `<id>.sock` that it listens on. Each lock is an entry beside it, a regular file `<key>.<id>`, whose key is made of
 * the topmost name that is written to. A beacon that does not answer belongs to a process that has ended, so its
 * entries count for nothing: the kernel releases the locks. An id names one beacon in one folder and is never used
 * again.
 *
 * The names and `fold` are written twice: here and in `native-host/io-daemon/src/disk/locks/names.rs`. The golden
 * values in both tests are the same.
 */
import * as Data from "effect/Data"

/** Another torrent or process writes one of the files. Nothing was touched. */
export class WriterHeld extends Data.TaggedError("WriterHeld")<{
  /** What is being written, as the user would name it: the file, or the topmost name that two processes share. */
  readonly path: string
  /** What the holder says about itself, for people. */
  readonly holder: string
  /**
   * The lock's entry, if the holder ran on another machine, or in a container that looks like one. Whether it still
   * runs cannot be known from here.
   */
  readonly entry?: string | undefined
}> {
  override get message() {
    const held = `${this.path} is being written by ${this.holder}`
    if (this.entry === undefined) return held
    return `${held}, on another machine. If that process has ended, delete ${this.entry}`
  }
}

/** Components of the folder of locks, below a download folder. */
export const folder: readonly [string, string] = [".piecewise", "locks"]

/** What ends the name of a beacon, and of one that does not listen yet. */
export const beaconEnd = ".sock"
export const newBeaconEnd = ".new"

/** Hexadecimal digits of a key, of a mark of the machine or its start, and of the random part of an id. */
const keyDigits = 32
const markDigits = 12
const randomDigits = 16

/** Said before what is hashed to a mark, because a machine's id should not be published. */
const markPrefix = "piecewise lock "

/** The mark of what is not known. Equals nothing. */
export const unknownMark = "0".repeat(markDigits)

/** Which machine a process runs on, and since which start of it. */
export interface Marks {
  readonly machine: string
  readonly boot: string
}

/** Makes marks of the ids that the system reports; an empty text counts as unknown. */
export const marksOf = (machine: string, boot: string, sha256: (text: string) => string): Marks => {
  const mark = (text: string) => (text === "" ? unknownMark : sha256(markPrefix + text).slice(0, markDigits))
  return { machine: mark(machine), boot: mark(boot) }
}

/** Makes an id; `random` has at least 16 hexadecimal digits. */
export const idOf = (marks: Marks, random: string): string =>
  `${marks.machine}-${marks.boot}-${random.slice(0, randomDigits)}`

/** Whether a beacon with this id may run on another machine, so that its silence here means nothing. */
export const isForeign = (id: string, own: Marks): boolean => {
  const [machine, boot] = id.split("-")
  const isSameKernel = boot === own.boot && boot !== unknownMark
  // The same machine, started again: whatever ran before has ended.
  const isSameMachine = machine === own.machine && machine !== unknownMark
  return !isSameKernel && !isSameMachine
}

/** The key of the topmost name that is written to. */
export const keyOf = (name: string, sha256: (text: string) => string): string => sha256(fold(name)).slice(0, keyDigits)

/** What a name in a folder of locks means. */
export type LockName =
  | { readonly _tag: "Entry"; readonly key: string; readonly id: string }
  | { readonly _tag: "Beacon"; readonly id: string }
  | { readonly _tag: "NewBeacon"; readonly id: string }

const id = `[0-9a-f]{${markDigits}}-[0-9a-f]{${markDigits}}-[0-9a-f]{${randomDigits}}`
const entryName = new RegExp(`^([0-9a-f]{${keyDigits}})\\.(${id})$`)
const beaconName = new RegExp(`^(${id})(\\${beaconEnd}|\\${newBeaconEnd})$`)

/** Parses a name; `undefined` for what is no part of any lock. */
export const parse = (name: string): LockName | undefined => {
  const entry = entryName.exec(name)
  if (entry !== null) return { _tag: "Entry", key: entry[1]!, id: entry[2]! }
  const beacon = beaconName.exec(name)
  if (beacon === null) return undefined
  return { _tag: beacon[2] === beaconEnd ? "Beacon" : "NewBeacon", id: beacon[1]! }
}

/** What is at the place of an entry's id; cheaper than `parse`. */
export const idOfEntry = (name: string): string => name.slice(keyDigits + 1)

/** The key of an entry with this id; `undefined` for other names. */
export const keyOfEntry = (name: string, id: string): string | undefined =>
  name.endsWith(id) && name.length === keyDigits + 1 + id.length ? name.slice(0, keyDigits) : undefined

// Characters without width. HFS+ and ext4's casefold ignore them.
const ignorable = /\p{Default_Ignorable_Code_Point}/gu
// Windows and its file systems leave them out at the end of a name. Begins only where a run begins. Otherwise a name
// with a long run inside costs quadratic time.
const blankEnds = /(?<![. ])[. ]+(?=\/|$)/g
const plainAscii = /^[\u0020-\u007e]*$/

/**
 * A name, or a path with `/`, with everything left out that some file system does not tell apart: case, composition,
 * characters without width, dots and blanks at the end. Names that fold alike may be one file.
 *
 * Upper case comes first, so that letters whose upper case has several letters meet their spelling (`ß`, `ss`).
 */
export const fold = (name: string): string => {
  const letters = plainAscii.test(name)
    ? name.toLowerCase()
    : name.toWellFormed().normalize("NFD").replace(ignorable, "").toUpperCase().toLowerCase().normalize("NFD")
  return letters.replace(blankEnds, "")
}
