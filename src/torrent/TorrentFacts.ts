/**
 * What follows from each fact that the parts of a running torrent report: an event, a message to its peers, or a step of its
 * life. Plain functions; the parts report to them, and they never wait.
 */
import * as Assembly from "../assembly/Assembly.ts"
import type * as Facts from "../assembly/Facts.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import type { PieceSwarm } from "../swarm/PieceSwarm.ts"
import type * as TorrentFiles from "./TorrentFiles.ts"
import * as TorrentLife from "./TorrentLife.ts"

/** What facts of one run change. */
export interface TorrentFacts {
  readonly life: TorrentLife.TorrentLife
  readonly assembly: Assembly.Assembly
  readonly swarm: PieceSwarm
  /** Stored pieces that a later run knows of too. Peers and readers of events hear of no others. */
  readonly kept: Bitfield.Bitfield
  /** Whether the run ends: what its parts still report then changes nothing any more. */
  isOver: boolean
}

/** Begins with the pieces that the check before the run has found. */
export const make = (options: Pick<TorrentFacts, "life" | "assembly" | "swarm">): TorrentFacts => ({
  ...options,
  kept: Bitfield.copy(options.assembly.table.stored),
  isOver: false
})

/** Whether every wanted piece is stored, and a later run knows of it. */
export const isStored = ({ assembly, kept }: TorrentFacts): boolean =>
  PieceTable.isFinished(assembly.table) && kept.count === assembly.table.counts.stored

/** Pieces were stored, lost or verified, or others are wanted now. */
export const onMoved = (self: TorrentFacts): void => {
  if (!self.isOver) TorrentLife.note(self.life, { _tag: "Moved", isStored: isStored(self) })
}

/** A fact of the assembly. */
export const onPiece = (self: TorrentFacts, fact: Facts.Fact): void => {
  const { life, swarm } = self
  if (self.isOver) return
  switch (fact._tag) {
    case "Passed":
      return swarm.prove(fact.contributors)
    case "Guilty":
      return ban(self, fact.supplier, `it sent wrong bytes for piece ${fact.piece}`)
    case "Damaged":
      return TorrentLife.tell(life, {
        _tag: "PieceDamaged",
        piece: fact.piece,
        address: swarm.addressOf(fact.supplier)
      })
    case "Rejected": {
      life.rejectedPieces++
      const contributors = [...fact.contributors].flatMap((id) => swarm.addressOf(id) ?? [])
      return TorrentLife.tell(life, { _tag: "PieceRejected", piece: fact.piece, contributors })
    }
    case "Failed":
      return TorrentLife.note(life, { ...fact, _tag: "WriteFailed" })
    case "Recovered":
      return TorrentLife.note(life, { _tag: "Recovered", work: "write" })
    // It is announced once a later run would know of it (`onKept`).
    case "Stored":
  }
}

/** A peer is banned by its address; another supplier is told to leave. */
const ban = ({ assembly, swarm }: TorrentFacts, id: SupplierId, why: string): void => {
  swarm.ban(id, why)
  for (const supplier of assembly.suppliers) if (supplier.id === id) supplier.expel?.(why)
}

/** A fact of the files. */
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
      return TorrentLife.tell(life, fact)
    case "PiecesLost":
      TorrentLife.tell(life, fact)
      if (self.isOver) return
      swarm.retract(fact.pieces)
      swarm.reconsider()
      return onMoved(self)
  }
}

/** A kill at this instant would not lose the piece any more. */
export const onKept = (self: TorrentFacts, piece: PieceIndex): void => {
  // A piece that is appended while its files are waited for, or that was lost since.
  if (self.isOver || !Bitfield.has(self.assembly.table.stored, piece)) return
  Bitfield.add(self.kept, piece)
  self.swarm.announce(piece)
  TorrentLife.tell(self.life, { _tag: "PieceStored", piece, storedPieces: self.kept.count })
  onMoved(self)
}

/** Stored pieces are gone from the medium, or wrong there. */
export const onDropped = (self: TorrentFacts, pieces: ReadonlyArray<PieceIndex>): void => {
  for (const piece of pieces) Bitfield.remove(self.kept, piece)
  if (!self.isOver) Assembly.loseStored(self.assembly, pieces)
}

/** Pieces that were lost are right again on the medium. */
export const onRegained = (self: TorrentFacts, pieces: ReadonlyArray<PieceIndex>): void => {
  if (pieces.length === 0) return
  Assembly.regainStored(self.assembly, pieces)
  for (const piece of pieces) {
    Bitfield.add(self.kept, piece)
    onRecovered(self, piece)
  }
  onMoved(self)
}

/** Others are wanted now. `lacksFiles` says whether files are missing that no piece is written to. */
export const onSelected = (self: TorrentFacts, lacksFiles: boolean): void => {
  if (self.isOver) return
  if (lacksFiles) TorrentLife.note(self.life, { _tag: "FilesLacking" })
  self.swarm.reconsider()
  onMoved(self)
}

/** A stored piece cannot be read for a peer; `isLost` unless that may pass. */
export const onUnreadable = (self: TorrentFacts, piece: PieceIndex, error: StorageError, isLost: boolean): void => {
  TorrentLife.tell(self.life, { _tag: "ReadFailed", piece, error })
  if (isLost && !self.isOver) self.swarm.retract([piece])
}

/** A stored piece that could not be read can be read again. */
export const onRecovered = (self: TorrentFacts, piece: PieceIndex): void => {
  // It was dropped meanwhile, and is fetched again.
  if (!Bitfield.has(self.assembly.table.stored, piece)) return
  TorrentLife.tell(self.life, { _tag: "ReadRecovered", piece })
  self.swarm.announce(piece)
}

/** Resume data could not be read or written. */
export const onResumeFailure = ({ life }: Pick<TorrentFacts, "life">, error: { readonly message: string }): void =>
  TorrentLife.tell(life, { _tag: "ResumeFailed", why: error.message })
