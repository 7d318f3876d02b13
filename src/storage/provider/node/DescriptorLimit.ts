/** How many files and connections the system lets this process open at a time. */
import * as NFS from "node:fs"

/**
 * The limit in the text of `/proc/self/limits`, which Node has raised as far as it may; `undefined` if it is not there.
 *
 *     Max open files            1024                 524288               files
 */
export const parse = (limits: string): number | undefined => {
  const found = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1]
  if (found === undefined) return undefined
  return found === "unlimited" ? Number.POSITIVE_INFINITY : Number(found)
}

/** The limit of this process; `undefined` on systems other than Linux. Reads a file of some hundred bytes. */
export const ofProcess = (): number | undefined => {
  try {
    return parse(NFS.readFileSync("/proc/self/limits", "latin1"))
  } catch {
    return undefined
  }
}
