/**
 * User-facing texts for the operating system's error codes (POSIX.1-2017, section 2.3), as ends of sentences. Imports
 * nothing, so that a failed write can be reported before anything else is loaded.
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

/** The code of a Node error; empty if it has none. */
export const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""

/** Describes the error of a failed `node:fs` call. */
export const why = (cause: unknown): string =>
  sentences[codeOf(cause)] ?? (cause instanceof Error ? cause.message : String(cause))
