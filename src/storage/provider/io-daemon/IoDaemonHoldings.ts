/**
 * What one opening holds of its files: those it has reserved, those it may write, and why it may no longer write
 * others. Plain state, kept here because a restarted daemon has forgotten it.
 */
import type { IoDaemonRefused } from "../../../io-daemon/IoDaemonClient.ts"

/** A file that may be written, as it is known again after a restart of the daemon. */
export interface ClaimedFile {
  readonly identity: string
  /** The file is at least this long. */
  length: number
}

/** Files are known by their indices. Made by `make`, changed only here. */
export interface IoDaemonHoldings {
  readonly reserved: Set<number>
  readonly claims: Map<number, ClaimedFile>
  /** Why files are not claimed any more that were. */
  readonly ended: Map<number, IoDaemonRefused>
  /** Names the program that took the files over, until some are reserved again. */
  takenOver: IoDaemonRefused | undefined
}

/** Holds nothing. */
export const make = (): IoDaemonHoldings => ({
  reserved: new Set(),
  claims: new Map(),
  ended: new Map(),
  takenOver: undefined
})

/** Notes that files were reserved. */
export const reserve = (self: IoDaemonHoldings, files: ReadonlyArray<number>): void => {
  self.takenOver = undefined
  for (const file of files) self.reserved.add(file)
}

/** Gives files up. Returns those that were reserved. */
export const release = (self: IoDaemonHoldings, files: ReadonlyArray<number>): ReadonlyArray<number> => {
  const held = files.filter((file) => self.reserved.has(file))
  for (const file of held) {
    self.reserved.delete(file)
    self.claims.delete(file)
    self.ended.delete(file)
  }
  return held
}

/** Notes that another program took all files over. */
export const loseAll = (self: IoDaemonHoldings, takenOver: IoDaemonRefused): void => {
  self.takenOver = takenOver
  self.reserved.clear()
  self.claims.clear()
  self.ended.clear()
}

/** Notes that a file was claimed. */
export const claim = (self: IoDaemonHoldings, file: number, claimed: ClaimedFile): void => {
  self.claims.set(file, claimed)
  self.ended.delete(file)
}

/** Notes that a file cannot be written any more, if it could be. */
export const endClaim = (self: IoDaemonHoldings, file: number, why: IoDaemonRefused): void => {
  if (self.claims.delete(file)) self.ended.set(file, why)
}

/** Notes that a file was written as far as `end`. */
export const noteWritten = (self: IoDaemonHoldings, file: number, end: number): void => {
  const claimed = self.claims.get(file)
  if (claimed !== undefined) claimed.length = Math.max(claimed.length, end)
}

/** Why a file that was claimed cannot be written; `undefined` if nothing is known against it. */
export const lossOf = (self: IoDaemonHoldings, file: number): IoDaemonRefused | undefined =>
  self.takenOver ?? self.ended.get(file)
