/**
 * Why a command did not do what was asked.
 */
import * as Data from "effect/Data"

/** The command failed. `why` is one sentence for the user; it names the file or the option. */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** What error numbers of the operating system mean, as ends of sentences (POSIX.1-2017, section 2.3). */
const sentences: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EDQUOT: "the disk quota is used up",
  EEXIST: "a file is in the way",
  EIO: "the disk reports an error",
  EISDIR: "it is a folder",
  ELOOP: "too many symbolic links",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
  ENOENT: "no such file or folder",
  ENOSPC: "the disk is full",
  ENOTDIR: "a file is in the way of a folder",
  EPERM: "permission denied",
  EROFS: "the disk is read-only"
}

/** A failed call of `node:fs` on the file that the user knows as `path`. */
export const ofFile = (path: string, cause: unknown): CommandFailed => {
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""
  const why = sentences[code] ?? (cause instanceof Error ? cause.message : String(cause))
  return new CommandFailed({ why: `${path}: ${why}` })
}
