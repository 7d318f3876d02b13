/**
 * The room on the disks of this machine.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as SystemErrors from "../cli/SystemErrors.ts"

/** The disk of a folder could not be looked at. `why` is the end of a sentence. */
export class SpaceUnknown extends Data.TaggedError("SpaceUnknown")<{ readonly folder: string; readonly why: string }> {
  override get message() {
    return `${this.folder}: ${this.why}`
  }
}

/** The room on a disk, in bytes. */
export interface Space {
  /** What this process may still write. */
  readonly freeBytes: number
  readonly totalBytes: number
}

const look = async (folder: string): Promise<Space> => {
  try {
    const { bavail, blocks, bsize } = await FileSystem.statfs(folder)
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
  } catch (error) {
    const above = Path.dirname(folder)
    if (SystemErrors.codeOf(error) !== "ENOENT" || above === folder) throw error
    return look(above)
  }
}

/** The room on the disk of a folder, or of the nearest one above it that exists. */
export const of = (folder: string): Effect.Effect<Space, SpaceUnknown> =>
  Effect.tryPromise({
    try: () => look(Path.resolve(folder)),
    catch: (cause) => new SpaceUnknown({ folder, why: SystemErrors.why(cause) })
  })
