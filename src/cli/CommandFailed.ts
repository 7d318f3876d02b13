/**
 * The error that ends a command with exit code 1.
 */
import * as Data from "effect/Data"
import * as SystemErrors from "./SystemErrors.ts"

/** The command failed. `why` is one sentence for the user that names the file or option. */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** Wraps a failed `node:fs` call on the file that the user knows as `path`. */
export const ofFile = (path: string, cause: unknown): CommandFailed =>
  new CommandFailed({ why: `${path}: ${SystemErrors.why(cause)}` })
