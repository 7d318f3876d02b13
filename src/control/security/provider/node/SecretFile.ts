/**
 * Small files that only their owner can read, such as a token. They are made and replaced whole: whoever opens the name
 * finds the old text or the new one, never a part, and a new one was never readable by others.
 */
import * as Crypto from "node:crypto"
import * as NFS from "node:fs"
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"

/** The bytes of the longest file that is read. */
const maxBytes = 4_096

const ownerOnly = 0o600
const permissionsOfOthers = 0o077

/** A file that is there, and must not be used. The message is the end of a sentence. */
export class Unsafe extends Error {}

/** What a file has, and which version of it that was. */
export interface Content {
  readonly text: string
  readonly version: string
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

const versionOf = ({ ctimeNs, ino, size }: NFS.BigIntStats): string => `${ino}-${ctimeNs}-${size}`

/** Why a file must not be used, if so. */
const whyUnsafe = (stats: NFS.BigIntStats): string | undefined => {
  if (!stats.isFile()) return "it is not a regular file"
  if (stats.size > maxBytes) return `it is longer than ${maxBytes} bytes`
  // Windows has neither.
  const user = process.getuid?.()
  if (user === undefined) return undefined
  if (stats.uid !== BigInt(user)) return "it belongs to another user"
  const isOpen = (Number(stats.mode) & permissionsOfOthers) !== 0
  return isOpen
    ? "other users may read or change it: run chmod 600 on it, or remove it if somebody may have"
    : undefined
}

/** The version of the file at `path`, as far as it can be told without reading; `undefined` if there is none. */
export const version = async (path: string): Promise<string | undefined> => {
  try {
    return versionOf(await FileSystem.lstat(path, { bigint: true }))
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  }
}

// A link is not followed, and a FIFO does not make the process wait. Windows has neither flag.
const flags = NFS.constants.O_RDONLY | (NFS.constants.O_NOFOLLOW ?? 0) | (NFS.constants.O_NONBLOCK ?? 0)

/**
 * Reads the file at `path`; `undefined` if there is none. Rejects with `Unsafe` for a link, a file that is not ours, and
 * one that others can read, or with the system's error.
 */
export const read = async (path: string): Promise<Content | undefined> => {
  let file: FileSystem.FileHandle
  try {
    file = await FileSystem.open(path, flags)
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    throw codeOf(error) === "ELOOP" ? new Unsafe("it is a symbolic link") : error
  }
  try {
    const stats = await file.stat({ bigint: true })
    const why = whyUnsafe(stats)
    if (why !== undefined) throw new Unsafe(why)
    return { text: await file.readFile("utf8"), version: versionOf(stats) }
  } finally {
    await file.close()
  }
}

/** Writes a new file beside `path`, and hands it to `place`. Nothing of it is left. */
const placed = async (path: string, text: string, place: (temporary: string) => Promise<void>): Promise<void> => {
  const folder = Path.dirname(path)
  await FileSystem.mkdir(folder, { recursive: true, mode: 0o700 })
  const temporary = Path.join(folder, `.${Path.basename(path)}-new-${Crypto.randomBytes(8).toString("hex")}`)
  try {
    await FileSystem.writeFile(temporary, text, { flag: "wx", mode: ownerOnly, flush: true })
    await place(temporary)
  } finally {
    await FileSystem.rm(temporary, { force: true })
  }
}

/** Makes the file at `path`, and says whether it did: `false` if there is something already, which stays as it is. */
export const create = async (path: string, text: string): Promise<boolean> => {
  let isMade = true
  await placed(path, text, (temporary) =>
    // A link fails if the name is taken, however many processes try at once. Renaming would replace what is there.
    FileSystem.link(temporary, path).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error
      isMade = false
    })
  )
  return isMade
}

/** Makes or replaces the file at `path`. */
export const replace = (path: string, text: string): Promise<void> =>
  placed(path, text, (temporary) => FileSystem.rename(temporary, path))

/** Removes the file at `path`, if there is one. */
export const remove = (path: string): Promise<void> => FileSystem.rm(path, { force: true })
