/**
 * What is done at once with a claimed file that is open, as is the rule during a download: a flush, a look, and a write
 * if nobody else writes or moves the file, each in plain calls. `TorrentFile.ts` does the same in all other cases.
 *
 * A function that returns `false` has done nothing. Otherwise it calls `done` once, later, with what is left to run.
 */
import type * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import * as Turn from "../../../base/Turn.ts"
import type { StorageReason } from "../../Storage.ts"
import type * as FileHandles from "./FileHandles.ts"
import * as HeldFile from "./HeldFile.ts"
import * as NodeFile from "./NodeFile.ts"
import * as TorrentFile from "./TorrentFile.ts"

type Done<A> = (outcome: Effect.Effect<A, StorageReason>) => void

/** Ends the use of a slot. Returns what is left to run: the closing of its file, if it is due, and the outcome. */
const ended = <A>(
  { medium }: TorrentFile.TorrentFile,
  slot: FileHandles.Slot,
  outcome: Effect.Effect<A, StorageReason>
): Effect.Effect<A, StorageReason> => {
  const closing = medium.handles.end(slot)
  return closing === undefined ? outcome : Effect.andThen(closing, outcome)
}

/** Writes a part. */
export const write = (self: TorrentFile.TorrentFile, part: NodeFile.FilePart, done: Done<void>): boolean => {
  const { held, medium } = self
  const slot = TorrentFile.openWriting(self)
  if (slot === undefined || HeldFile.needsLook(held) || medium.isClosed() || !Turn.takeNow(self.turn)) return false
  if (!medium.handles.begin(slot)) {
    Turn.end(self.turn)
    return false
  }
  NodeFile.writePart(medium.fs, slot.fd!, part, NodeFile.deviceOf(held.file!.identity), (error) => {
    const outcome = ended(self, slot, TorrentFile.noteWrite(self, part, error))
    Turn.end(self.turn)
    done(outcome)
  })
  return true
}

/** Brings what was written to the disk, and goes on with what the file looks like then. */
export const sync = <A>(
  self: TorrentFile.TorrentFile,
  andThen: (stats: NFS.BigIntStats) => Effect.Effect<A, StorageReason>,
  done: Done<A>
): boolean => {
  const { held, medium } = self
  const slot = TorrentFile.openWriting(self)
  if (slot === undefined || !self.isUnsynced || self.closeFailure !== undefined) return false
  if (medium.isClosed() || !medium.handles.begin(slot)) return false
  const file = held.file!
  self.isUnsynced = false
  medium.fs.fdatasync(slot.fd!, (error) => {
    if (error) {
      self.isUnsynced = true
      return done(ended(self, slot, Effect.fail(TorrentFile.failed(self, "write")(error))))
    }
    const stats = HeldFile.lookNow(held, file)
    const finish = (stats: NFS.BigIntStats) => {
      self.isSynced = true
      return andThen(stats)
    }
    done(
      ended(self, slot, stats === undefined ? Effect.flatMap(TorrentFile.lookHeld(self, file), finish) : finish(stats))
    )
  })
  return true
}

/** What it looks like; `undefined` if it is not open, not on a disk of this machine, or not what it was. */
export const look = (self: TorrentFile.TorrentFile): NFS.BigIntStats | undefined => {
  const { held } = self
  return HeldFile.isIntact(held) && TorrentFile.openWriting(self) !== undefined
    ? HeldFile.lookNow(held, held.file!)
    : undefined
}
