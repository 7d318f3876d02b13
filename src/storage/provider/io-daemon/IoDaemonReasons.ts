/**
 * What the io-daemon's refusals mean: to the callers of storage, and to the storage, which has to continue after one.
 */

import * as IoDaemonClient from "../../../io-daemon/IoDaemonClient.ts"
import { type IoDaemonError, IoDaemonRefused } from "../../../io-daemon/IoDaemonClient.ts"
import type * as IoDaemonProtocol from "../../../io-daemon/IoDaemonProtocol.ts"
import {
  DigestMismatch,
  DiskFull,
  FileChanged,
  FileExists,
  NotStored,
  type StorageReason,
  StorageRefused,
  StorageUnavailable,
  WriterConflict
} from "../../Storage.ts"

/** Whether the daemon has forgotten the set, or what was reserved and claimed of it. */
export const isForgotten = (error: IoDaemonError): error is IoDaemonRefused =>
  error._tag === "piecewise/IoDaemonRefused" && forgotten.has(error.refusal.kind)

const forgotten: ReadonlySet<string> = new Set(["unknown_set", "not_reserved", "not_claimed"])

/** Whether another program writes to the files. */
export const isTakenOver = (error: IoDaemonError): error is IoDaemonRefused =>
  error._tag === "piecewise/IoDaemonRefused" && error.refusal.kind === "writer_conflict"

/** Whether it leaves open what became of the file. */
export const isUncertain = (error: IoDaemonRefused): boolean =>
  IoDaemonClient.isTransient(error) || error.refusal.kind === "unavailable"

/** A refusal in a line of an answer, in the form of a refused request. */
export const refusedBy = (refusal: IoDaemonProtocol.Refusal): IoDaemonRefused =>
  new IoDaemonRefused({ status: 409, refusal })

/** The refusal for a file that was deleted. */
export const deleted = (path: string): IoDaemonProtocol.Refusal => ({
  kind: "file_changed",
  message: `${path} was deleted`,
  path,
  why: "was deleted"
})

/** Why writes fail to a file that could not be claimed again. */
export const changedBy = (refused: IoDaemonRefused, path: string): IoDaemonRefused =>
  refused.refusal.kind === "file_changed"
    ? refused
    : refusedBy({ kind: "file_changed", message: `${path} was changed`, path, why: "was changed" })

/** Whether the id is registered with another list of files. */
export const isConflict = (error: IoDaemonError): error is IoDaemonRefused =>
  error._tag === "piecewise/IoDaemonRefused" && error.refusal.kind === "set_conflict"

/** Whether only one file is to blame, so that the others can still be used. */
export const isOfFile = (error: IoDaemonError): error is IoDaemonRefused =>
  error._tag === "piecewise/IoDaemonRefused" && error.refusal.path !== undefined

/** What an error of the daemon means to the callers of storage. */
export const reasonOf = (error: IoDaemonError, directory: string): StorageReason => {
  if (error._tag === "piecewise/IoDaemonUnavailable")
    return new StorageUnavailable({ path: directory, why: error.message })
  const { holder = "somebody else", kind, message, path: file, why = message } = error.refusal
  // The root itself has no components.
  const path = file === undefined || file === "" ? directory : `${directory}/${file}`
  switch (kind) {
    case "disk_full":
      return new DiskFull({ path })
    case "digest_mismatch":
      return new DigestMismatch({ path })
    case "not_stored":
      return new NotStored({ path })
    case "file_exists":
      return new FileExists({ path })
    case "file_changed":
      return new FileChanged({ path, why })
    case "writer_conflict":
      return new WriterConflict({ path, holder })
    case "busy":
    case "timeout":
    case "root_gone":
    case "unavailable":
    case "unknown":
      return new StorageUnavailable({ path, why })
    default:
      return new StorageRefused({ path, why })
  }
}
