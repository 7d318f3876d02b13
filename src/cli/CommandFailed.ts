/**
 * Why a command did not do what was asked.
 */
import * as Data from "effect/Data"
import * as SystemErrors from "./SystemErrors.ts"

/** The command failed. `why` is one sentence for the user; it names the file or the option. */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** A failed call of `node:fs` on the file that the user knows as `path`. */
export const ofFile = (path: string, cause: unknown): CommandFailed =>
  new CommandFailed({ why: `${path}: ${SystemErrors.why(cause)}` })
