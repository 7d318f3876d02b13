/**
 * Makes folders with all above them. Node's own `recursive` option asks for ever where the system says that a folder
 * cannot be found whose parent is there, as it does below /proc.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/**
 * Makes the folder `path` and those above it that are missing. Gives the topmost one made, `undefined` where all were
 * there; rejects with the system's error.
 */
export const make = async (path: string): Promise<string | undefined> => {
  const folder = Path.resolve(path)
  const isMissing = await makeOne(folder).catch((error: unknown) => {
    if (codeOf(error) !== "ENOENT" || folder === Path.dirname(folder)) throw error
    return undefined
  })
  if (isMissing !== undefined) return isMissing ? folder : undefined
  const top = await make(Path.dirname(folder))
  return (await makeOne(folder)) ? (top ?? folder) : top
}

/** Whether the folder was missing, and so has been made. */
const makeOne = async (folder: string): Promise<boolean> => {
  try {
    await FileSystem.mkdir(folder)
    return true
  } catch (error) {
    if (codeOf(error) === "EEXIST" && (await FileSystem.stat(folder)).isDirectory()) return false
    throw error
  }
}
