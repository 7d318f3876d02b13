/**
 * What error numbers of the operating system mean, as ends of sentences (POSIX.1-2017, section 2.3). Loads nothing, so that
 * the program can tell of a failed write before anything else is there.
 */

const sentences: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EDQUOT: "the disk quota is used up",
  EEXIST: "a file is in the way",
  EFBIG: "the file would be too large",
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

/** The code of what a call of Node failed with; empty where it has none. */
export const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""

/** What a failed call of `node:fs` means. */
export const why = (cause: unknown): string =>
  sentences[codeOf(cause)] ?? (cause instanceof Error ? cause.message : String(cause))
