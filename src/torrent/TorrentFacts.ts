/**
 * Decides what follows from each fact that the parts of a running torrent report: an event, a message to its peers, or
 * a step of its life. Plain functions that never wait.
 */
import * as Assembly from "../assembly/Assembly.ts"
import type * as Facts from "../assembly/Facts.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import type * as TorrentFiles from "./TorrentFiles.ts"
import * as TorrentLife from "./TorrentLife.ts"
import * as Watch from "./Watch.ts"

/** What the facts of one run change. */
export interface TorrentFacts {
  readonly life: TorrentLife.TorrentLife
  readonly assembly: Assembly.Assembly
  readonly swarm: PieceSwarm.PieceSwarm
  /** Stored pieces that resume data contains as well. Only these are announced to peers and reported as events. */
  readonly kept: Bitfield.Bitfield
  /** Stored pieces that do not count until they are verified. */
  readonly suspects: Bitfield.Bitfield
  /** Whether the run ends. Later facts of its parts have no effect on peers and pieces. */
  isOver: boolean
}

/** Makes it with the pieces that the check before the run has found. */
export const make = (options: Pick<TorrentFacts, "life" | "assembly" | "swarm" | "suspects">): TorrentFacts => ({
  ...options,
  kept: Bitfield.copy(options.assembly.table.stored),
  isOver: false
})

/** Whether every wanted piece is stored, and resume data contains it. */
export const isStored = ({ assembly, kept }: TorrentFacts): boolean =>
  PieceTable.isFinished(assembly.table) && kept.count === assembly.table.counts.stored

/** Handles that pieces were stored, lost or verified, or that others are wanted now. */
export const onMoved = (self: TorrentFacts): void => {
  if (!self.isOver) TorrentLife.note(self.life, { _tag: "Moved", isStored: isStored(self) })
}

/** Handles a fact of the assembly. */
export const onPiece = (self: TorrentFacts, fact: Facts.Fact): void => {
  const { life, swarm } = self
  if (self.isOver) return
  switch (fact._tag) {
    case "Passed":
      return PieceSwarm.prove(swarm, fact.contributors)
    case "Guilty":
      return ban(self, fact.supplier, `it sent wrong bytes for piece ${fact.piece}`)
    case "Damaged":
      return TorrentLife.report(life, {
        _tag: "PieceDamaged",
        piece: fact.piece,
        address: PieceSwarm.addressOf(swarm, fact.supplier)
      })
    case "Rejected": {
      life.rejectedPieces++
      const contributors = [...fact.contributors].flatMap((id) => PieceSwarm.addressOf(swarm, id) ?? [])
      return TorrentLife.report(life, { _tag: "PieceRejected", piece: fact.piece, contributors })
    }
    case "Failed":
      return TorrentLife.note(life, { ...fact, _tag: "WriteFailed" })
    case "Recovered":
      return TorrentLife.note(life, { _tag: "Recovered", work: "write" })
    // It is announced once resume data contains it (`onKept`).
    case "Stored":
  }
}

/** Bans a peer by its address, and expels any other supplier. */
const ban = ({ assembly, swarm }: TorrentFacts, id: SupplierId, why: string): void => {
  PieceSwarm.ban(swarm, id, why)
  for (const supplier of assembly.suppliers) if (supplier.id === id) supplier.expel?.(why)
}

/** Handles a fact of the files. */
export const onFiles = (self: TorrentFacts, fact: TorrentFiles.Fact): void => {
  const { life, swarm } = self
  switch (fact._tag) {
    case "FlushFailed":
    case "Foreign":
      return TorrentLife.note(life, fact)
    case "FlushRecovered":
      return TorrentLife.note(life, { _tag: "Recovered", work: "flush" })
    case "AllGone":
      if (self.isOver) return
      life.last = fact.last
      return TorrentLife.note(life, { _tag: "AllGone" })
    case "Verified":
      return onMoved(self)
    case "FilesChanged":
      return TorrentLife.report(life, fact)
    case "PiecesLost":
      TorrentLife.report(life, fact)
      if (self.isOver) return
      PieceSwarm.retract(swarm, fact.pieces)
      PieceSwarm.reconsider(swarm)
      return onMoved(self)
  }
}

/** How many pieces are stored, verified, and in resume data. */
const countOf = ({ kept, suspects }: TorrentFacts): number => kept.count - Bitfield.countOfBoth(kept, suspects)

/** Handles that resume data contains a stored piece, so that a kill would not lose it any more. */
export const onKept = (self: TorrentFacts, piece: PieceIndex): void => {
  // Its files are gone, or it was lost while it was appended.
  if (self.isOver || !Bitfield.has(self.assembly.table.stored, piece)) return
  Bitfield.add(self.kept, piece)
  PieceSwarm.announce(self.swarm, piece)
  TorrentLife.report(self.life, { _tag: "PieceStored", piece, storedPieces: countOf(self) })
  onMoved(self)
}

/** Handles that stored pieces are gone from the medium, or wrong there. */
export const onDropped = (self: TorrentFacts, pieces: ReadonlyArray<PieceIndex>): void => {
  for (const piece of pieces) Bitfield.remove(self.kept, piece)
  Watch.wake(self.life.watch)
  if (!self.isOver) Assembly.loseStored(self.assembly, pieces)
}

/** Handles that lost pieces are right again on the medium. */
export const onRegained = (self: TorrentFacts, pieces: ReadonlyArray<PieceIndex>): void => {
  if (pieces.length === 0) return
  Assembly.regainStored(self.assembly, pieces)
  for (const piece of pieces) {
    Bitfield.add(self.kept, piece)
    onRecovered(self, piece)
  }
  onMoved(self)
}

/** Handles a change of the wanted files. `lacksFiles` says whether files are missing that no piece is written to. */
export const onSelected = (self: TorrentFacts, lacksFiles: boolean): void => {
  if (self.isOver) return
  Watch.wake(self.life.watch)
  if (lacksFiles) TorrentLife.note(self.life, { _tag: "FilesLacking" })
  PieceSwarm.reconsider(self.swarm)
  onMoved(self)
}

/** Handles that a stored piece could not be read for a peer. `isLost` is false if the failure may pass. */
export const onUnreadable = (self: TorrentFacts, piece: PieceIndex, error: StorageError, isLost: boolean): void => {
  TorrentLife.report(self.life, { _tag: "ReadFailed", piece, error })
  if (isLost && !self.isOver) PieceSwarm.retract(self.swarm, [piece])
}

/** Handles that a stored piece can be read again. */
export const onRecovered = (self: TorrentFacts, piece: PieceIndex): void => {
  // It was dropped meanwhile, and is fetched again.
  if (!Bitfield.has(self.assembly.table.stored, piece)) return
  TorrentLife.report(self.life, { _tag: "ReadRecovered", piece })
  PieceSwarm.announce(self.swarm, piece)
}

/** Handles that resume data could not be read or written. */
export const onResumeFailure = ({ life }: Pick<TorrentFacts, "life">, error: { readonly message: string }): void =>
  TorrentLife.report(life, { _tag: "ResumeFailed", why: error.message })
