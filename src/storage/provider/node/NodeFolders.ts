/**
 * Makes folders with their parents, and finds out on which device they are or would be. Node's own `recursive` option
 * never returns if the system says that a folder with an existing parent cannot be found, as it does below /proc.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/**
 * Makes the folder `path` and its missing parents. Returns the topmost one it made, or `undefined` if all existed;
 * rejects with the system's error.
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

/** The device of the folder `path`, or of its nearest ancestor that exists: where `make` would make it. */
export const deviceOf = async (path: string): Promise<number> => {
  const folder = Path.resolve(path)
  try {
    return (await FileSystem.stat(folder)).dev
  } catch (error) {
    if (codeOf(error) !== "ENOENT" || folder === Path.dirname(folder)) throw error
    return deviceOf(Path.dirname(folder))
  }
}

/** Whether the folder was missing, and so was made. */
const makeOne = async (folder: string): Promise<boolean> => {
  try {
    await FileSystem.mkdir(folder)
    return true
  } catch (error) {
    if (codeOf(error) === "EEXIST" && (await FileSystem.stat(folder)).isDirectory()) return false
    throw error
  }
}
