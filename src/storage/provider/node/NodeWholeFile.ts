/**
 * Replaces a small file whole: whoever opens its name finds the old file or the new one, each complete, also after a
 * crash. The bytes are written to a new file beside it, which is flushed and then renamed.
 *
 * The name of the new file says which file it is for, and is random otherwise. A process id would not do: containers
 * that share a folder may have the same one.
 */
import * as Crypto from "node:crypto"
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"

/** How the names of new files for a path begin. As long for every path, because names may have 255 bytes. */
export const temporaryStart = (path: string): string =>
  `.piecewise-new-${Crypto.hash("sha1", Path.basename(path)).slice(0, 16)}-`

const remove = (path: string): Promise<void> => FileSystem.rm(path, { force: true }).catch(() => {})

/** Replaces or makes the file at `path`. Rejects with the system's error, and then leaves the old file alone. */
export const replace = async (path: string, bytes: string | Uint8Array): Promise<void> => {
  const temporary = Path.join(Path.dirname(path), temporaryStart(path) + Crypto.randomBytes(8).toString("hex"))
  try {
    await FileSystem.writeFile(temporary, bytes, { flag: "wx", flush: true })
    await FileSystem.rename(temporary, path)
  } catch (cause) {
    await remove(temporary)
    throw cause
  }
}

/**
 * Removes what calls of `replace` for `path` left that were killed. Nobody may replace that file meanwhile. Rejects if
 * the folder cannot be read.
 */
export const removeLeftovers = async (path: string): Promise<void> => {
  const [folder, start] = [Path.dirname(path), temporaryStart(path)]
  const names = await FileSystem.readdir(folder)
  await Promise.all(names.filter((name) => name.startsWith(start)).map((name) => remove(Path.join(folder, name))))
}
