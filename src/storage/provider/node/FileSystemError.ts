/**
 * What an error number of the operating system means for a stored torrent. Pure, so that every number can be tested
 * without a disk that fails on purpose.
 *
 * Names and meanings are those of POSIX.1-2017, volume "System Interfaces", section 2.3.
 */
import { DiskFull, NotStored, type StorageReason, StorageRefused, StorageUnavailable } from "../../Storage.ts"

/** An error as `node:fs` reports it. */
export interface SystemError {
  /** The number's name, as `ENOSPC`. */
  readonly code?: string | undefined
  readonly message: string
}

const linkInTheWay = "a symbolic link is in the way of a file"

/** Why a folder is refused, as the end of a sentence. */
export const linkLeadsOut = "a symbolic link leads out of the download folder"

/** Whether it refuses a symbolic link that reading could follow. */
export const isLink = (reason: StorageReason): boolean =>
  reason._tag === "StorageRefused" && (reason.why === linkInTheWay || reason.why === linkLeadsOut)

/** Numbers that last until a person changes something, and the message for that person. */
const refusals: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only",
  ENOTDIR: "a file is in the way of a folder",
  EEXIST: "a file is in the way of a folder",
  EISDIR: "a folder is in the way of a file",
  ELOOP: linkInTheWay,
  // FreeBSD's answer to O_NOFOLLOW; others answer ELOOP.
  EMLINK: linkInTheWay,
  EILSEQ: "this file system cannot hold the name",
  ENAMETOOLONG: "the name is too long for this file system",
  EXDEV: "its folders lie on different file systems",
  // Freed space does not help: FAT32 ends at 4 GiB, and a process may have a limit on file sizes.
  EFBIG: "the file is larger than this file system or the process allows"
}

/** Numbers that may pass by themselves. */
const outages: Readonly<Record<string, string>> = {
  EIO: "the disk reported an input/output error",
  EMFILE: "too many files are open in this process",
  ENFILE: "too many files are open on this machine",
  EBUSY: "the file is busy",
  ENODEV: "the disk is gone",
  ENXIO: "the disk is gone",
  ESTALE: "the network disk has lost the file",
  ETIMEDOUT: "the network disk does not answer"
}

/**
 * The reason behind an error that `node:fs` reported for `path` (as the user would name it).
 *
 * For a read, ENOENT means that nothing is stored; for a write, that a folder vanished.
 */
export const reasonOf = (error: SystemError, path: string, access: "read" | "write"): StorageReason => {
  const code = error.code ?? ""
  if (code === "ENOSPC" || code === "EDQUOT") return new DiskFull({ path })
  if (code === "ENOENT") {
    return access === "read" ? new NotStored({ path }) : new StorageUnavailable({ path, why: "its folder vanished" })
  }
  if (Object.hasOwn(refusals, code)) return new StorageRefused({ path, why: refusals[code]! })
  return new StorageUnavailable({ path, why: Object.hasOwn(outages, code) ? outages[code]! : code || error.message })
}

/** Whether an open failed for want of descriptors, so that closing a file may help. */
export const isExhausted = (error: SystemError): boolean => error.code === "EMFILE" || error.code === "ENFILE"

/**
 * Whether a name was refused for the characters in it: FAT and NTFS have no `:` or `?` (EINVAL), others refuse a name
 * that is not in their encoding (EILSEQ).
 */
export const isUnnameable = (error: SystemError): boolean => error.code === "EINVAL" || error.code === "EILSEQ"
