/**
 * Decides what follows from copies of pieces that did not match their digest: who is suspected, which pieces have to
 * come from one supplier alone, which pieces wait, and how each address stands.
 *
 * Knows suppliers and piece states only as arguments. Returns pieces that may be started again, and the assembly makes
 * them candidates. Whoever reads the assembly's facts decides whom to ban.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as Resting from "../supply/Resting.ts"
import * as Standing from "../supply/Standing.ts"
import * as Supplier from "../supply/Supplier.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as Blame from "./Blame.ts"

/**
 * A piece that failed from a second supplier waits this long before it is tried again, and twice as long for each
 * further one (milliseconds). With the same supplier it rests longer (`Resting.ts`).
 */
export const firstDelay = 2_000

/** The longest wait of a piece that always fails, because no supplier has a right copy (milliseconds). */
export const maxDelay = 300_000

/** What is held against pieces and suppliers. Changed only through this module. */
export interface Distrust {
  readonly blame: Blame.Blame
  /** What is held against addresses. */
  readonly standings: Map<SupplierId, Standing.Standing>
  /**
   * Pieces that have to come from one supplier alone, because a copy from several was wrong. For each, how often each
   * supplier was trusted with it and did not send it.
   */
  readonly soleSourcePieces: Map<PieceIndex, Map<SupplierId, number>>
  /** Pieces that failed their digest from several suppliers, and when they may be tried again (milliseconds). */
  readonly delayed: Map<PieceIndex, number>
  /**
   * Missing pieces that rest with every supplier that has them, because their copies were damaged. They are no
   * candidates, so that they delay neither the search for other pieces nor the end game.
   */
  readonly withheld: Set<PieceIndex>
}

/** Makes a record that holds nothing against anybody. */
export const make = (): Distrust => ({
  blame: Blame.make(),
  standings: new Map(),
  soleSourcePieces: new Map(),
  delayed: new Map(),
  withheld: new Set()
})

/** Returns what is held against the address of a supplier. Makes an empty record if there is none. */
export const standingOf = (self: Distrust, id: SupplierId): Standing.Standing => {
  const known = self.standings.get(id)
  if (known !== undefined) return known
  const standing = Standing.make()
  self.standings.set(id, standing)
  return standing
}

/** Whether a missing piece has to wait before it is started again. */
export const isHeldBack = (self: Distrust, piece: PieceIndex): boolean =>
  self.delayed.has(piece) || self.withheld.has(piece)

/** Makes the piece come from one supplier alone from now on. */
export const requireSoleSource = (self: Distrust, piece: PieceIndex): void => {
  if (!self.soleSourcePieces.has(piece)) self.soleSourcePieces.set(piece, new Map())
}

/** Notes that the supplier that was trusted with a piece alone did not send it. */
export const noteUnsent = (self: Distrust, piece: PieceIndex, id: SupplierId): void => {
  const unsent = self.soleSourcePieces.get(piece)
  unsent?.set(id, (unsent.get(id) ?? 0) + 1)
}

/**
 * Whether the piece has to come from one supplier alone, and another one that could start it now has failed to send it
 * less often than this one. Without this rule, a supplier that stalls could start the piece again each time it is
 * dropped, and keep it from all others.
 */
export const isLeftToOthers = (
  self: Distrust,
  suppliers: Iterable<Supplier.Supplier>,
  supplier: Supplier.Supplier,
  piece: PieceIndex
): boolean => {
  const unsent = self.soleSourcePieces.get(piece)
  const own = unsent?.get(supplier.id)
  if (unsent === undefined || own === undefined) return false
  for (const other of suppliers) {
    if (other.peerChoking || other.pipeline.isSnubbed || Supplier.isResting(other, piece)) continue
    if (Bitfield.has(other.has, piece) && (unsent.get(other.id) ?? 0) < own) return true
  }
  return false
}

/** Whether a supplier that is not in `except` has the piece, and its last copy was not damaged. */
export const hasOtherSource = (
  suppliers: Iterable<Supplier.Supplier>,
  piece: PieceIndex,
  except: ReadonlySet<SupplierId>
): boolean => {
  for (const supplier of suppliers) {
    if (except.has(supplier.id) || !Bitfield.has(supplier.has, piece)) continue
    if (!Standing.hasDamaged(supplier.standing, piece)) return true
  }
  return false
}

const nobody: ReadonlySet<SupplierId> = new Set()

/**
 * The pieces of `wanted` of which a damaged copy was received and no connected supplier has a better one. They can be
 * stored once one of their suppliers repairs its copy, or a supplier with a right copy joins.
 */
export const damagedPieces = (
  self: Distrust,
  suppliers: Iterable<Supplier.Supplier>,
  wanted: Bitfield.Bitfield
): ReadonlyArray<PieceIndex> => {
  const pieces = new Set<PieceIndex>()
  for (const { damaged } of self.standings.values()) {
    for (const piece of damaged.rests.keys()) {
      if (Bitfield.has(wanted, piece) && !hasOtherSource(suppliers, piece, nobody)) pieces.add(piece)
    }
  }
  return [...pieces].sort((one, other) => one - other)
}

/** Whether a supplier has the piece, and has not sent a damaged copy that it still rests for. */
const isSupplied = (suppliers: Iterable<Supplier.Supplier>, piece: PieceIndex): boolean => {
  for (const { has, standing } of suppliers) {
    if (Bitfield.has(has, piece) && !standing.damaged.resting.has(piece)) return true
  }
  return false
}

/** Notes that the supplier, all by itself, sent a damaged copy of a piece. */
export const damage = (
  self: Distrust,
  suppliers: Iterable<Supplier.Supplier>,
  piece: PieceIndex,
  id: SupplierId,
  now: number
): void => {
  Standing.damage(standingOf(self, id), piece, now)
  if (!isSupplied(suppliers, piece)) self.withheld.add(piece)
}

/**
 * Notes that a copy of a piece failed. If one supplier sent it alone, that supplier is to blame. If several did,
 * `sha1s` are the digests of their blocks in order, and the piece has to come from one supplier next.
 */
export const fail = (
  self: Distrust,
  suppliers: Iterable<Supplier.Supplier>,
  buffer: PieceBuffer.PieceBuffer,
  copy: { readonly sole: SupplierId } | { readonly sha1s: ReadonlyMap<number, Uint8Array> },
  now: number
): void => {
  const { piece } = buffer
  // A copy that was already damaged from the same supplier adds no delay, because its rests are long enough.
  const isNews = !("sole" in copy && Standing.hasDamaged(standingOf(self, copy.sole), piece))
  if (isNews) Blame.fail(self.blame, piece)
  if ("sole" in copy) damage(self, suppliers, piece, copy.sole, now)
  else {
    Blame.suspect(
      self.blame,
      piece,
      Array.from(copy.sha1s, ([block, sha1]) => ({ supplier: PieceBuffer.contributorOf(buffer, block), block, sha1 }))
    )
    requireSoleSource(self, piece)
  }
  const failures = Blame.failuresOf(self.blame, piece)
  if (isNews && failures > 1) self.delayed.set(piece, now + Math.min(maxDelay, firstDelay * 2 ** (failures - 2)))
}

/**
 * The suppliers that a right copy of `piece` from others exposes as liars: each has sent a damaged copy all by itself,
 * and never a right piece. A supplier with one rotten piece among right ones is not a liar.
 */
const exposed = (
  self: Distrust,
  piece: PieceIndex,
  contributors: ReadonlySet<SupplierId>
): ReadonlyArray<SupplierId> => {
  const ids: Array<SupplierId> = []
  for (const [id, standing] of self.standings) {
    if (!standing.isProven && Standing.hasDamaged(standing, piece) && !contributors.has(id)) ids.push(id)
  }
  return ids
}

/**
 * Notes that a copy of a piece passed, with the digests of its suspected blocks. No copy of it counts as damaged any
 * more. Returns the suppliers that sent wrong bytes for it before and that are not needed.
 */
export const pass = (
  self: Distrust,
  suppliers: ReadonlySet<Supplier.Supplier>,
  piece: PieceIndex,
  contributors: ReadonlySet<SupplierId>,
  sha1s: ReadonlyMap<number, Uint8Array>
): ReadonlyArray<SupplierId> => {
  const guilty = new Set([...Blame.clear(self.blame, piece, sha1s), ...exposed(self, piece, contributors)])
  self.soleSourcePieces.delete(piece)
  self.withheld.delete(piece)
  for (const { damaged } of self.standings.values()) Resting.forget(damaged, piece)
  for (const supplier of suppliers) {
    if (contributors.has(supplier.id) && Standing.redeem(supplier.standing)) supplier.wake()
  }
  // A supplier that repaired its copy and sent the right one alone is kept if nobody else has the piece.
  return [...guilty].filter((id) => !contributors.has(id) || hasOtherSource(suppliers, piece, guilty))
}

/** Ends the waits of pieces that are over, and returns these pieces. */
export const endDelays = (self: Distrust, now: number): ReadonlyArray<PieceIndex> => {
  const freed: Array<PieceIndex> = []
  for (const [piece, until] of self.delayed) if (now >= until) freed.push(piece)
  for (const piece of freed) self.delayed.delete(piece)
  return freed
}

/** Ends rests that are over of addresses that are not connected, and forgets addresses that nothing is held against. */
export const endRests = (self: Distrust, suppliers: Iterable<Supplier.Supplier>, now: number): void => {
  const connected = new Set<SupplierId>()
  for (const { id } of suppliers) connected.add(id)
  for (const [id, standing] of self.standings) {
    if (connected.has(id)) continue
    Standing.wake(standing, now)
    if (Standing.isClean(standing)) self.standings.delete(id)
  }
}

/** A supplier has got a piece. Returns whether the piece was withheld and is not any more. */
export const supply = (self: Distrust, { standing }: Supplier.Supplier, piece: PieceIndex): boolean =>
  !standing.damaged.resting.has(piece) && self.withheld.delete(piece)

/**
 * Withholds missing pieces that rest with every supplier that has them. Returns the pieces that are newly withheld, and
 * those that are not withheld any more.
 */
export const withhold = (
  self: Distrust,
  suppliers: Iterable<Supplier.Supplier>,
  isMissing: (piece: PieceIndex) => boolean
): { readonly held: ReadonlyArray<PieceIndex>; readonly freed: ReadonlyArray<PieceIndex> } => {
  const waiting = new Set<PieceIndex>()
  for (const { damaged } of self.standings.values()) {
    for (const piece of damaged.resting) if (!isSupplied(suppliers, piece)) waiting.add(piece)
  }
  const freed = [...self.withheld].filter((piece) => !waiting.has(piece))
  for (const piece of freed) self.withheld.delete(piece)
  const held = [...waiting].filter((piece) => !self.withheld.has(piece) && isMissing(piece))
  for (const piece of held) self.withheld.add(piece)
  return { held, freed }
}
