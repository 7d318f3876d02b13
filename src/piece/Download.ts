/**
 * What the sessions of one torrent share while they fetch it: the state of the pieces, their buffers, who is asked for
 * which block, and the queue of completed pieces.
 *
 * Blocks of pieces under way come first, then a new piece, in the order of `PieceOrder.ts`; when nothing is left to start,
 * the blocks that are still out are asked for a second and a third time, and the slower answers are cancelled (end game,
 * BEP 3).
 *
 * Plain functions with one owner, the torrent's fibers between two `yield*`; only borrowing and returning a buffer are
 * effects. Verdicts on a completed piece are `PieceVerifier.ts`'s matter, bytes and frames `peer/PeerProtocol.ts`'s.
 *
 * Hot path: a block costs 0.4 to 0.7 us of book-keeping, from its request to its place in a complete piece of 1 MiB and
 * with its share of the loan, and 1.2 to 1.5 us in pieces of 64 KiB, with one seed or with fifty
 * (`test/bench/Pieces.bench.ts`, two shared x64 cores, Node 24).
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import * as BufferPool from "./BufferPool.ts"
import * as PieceBuffer from "./PieceBuffer.ts"
import * as PieceOrder from "./PieceOrder.ts"
import * as PiecePicker from "./PiecePicker.ts"
import * as PiecePriority from "./PiecePriority.ts"
import * as PieceTable from "./PieceTable.ts"
import * as RequestPipeline from "./RequestPipeline.ts"
import * as Resting from "./Resting.ts"
import * as Standing from "./Standing.ts"

/** Requests for one block that may be out at once in the end game; more only waste what peers send. */
export const maxRequestsPerBlock = 3

/** A peer that blocks are requested from. */
export interface Source {
  /** The small number of its address (`swarm/PeerBook.ts`). */
  readonly key: number
  /** The pieces it has. */
  readonly has: Bitfield.Bitfield
  readonly pipeline: RequestPipeline.RequestPipeline
  /** Pieces it refused to send although it has them; not asked for again for a while, or until it unchokes anew. */
  readonly refused: Resting.Resting
  /** What is held against its address (`standingOf`). */
  readonly standing: Standing.Standing
  /** Whether it serves nothing for now (BEP 3), but for what it allows. */
  peerChoking: boolean
  /** Pieces that it serves although it chokes us (BEP 6). */
  readonly allowedFast: Set<PieceIndex>
  /** The piece it was last asked for: it goes on with that one, so that few peers share a piece. */
  current: PieceBuffer.PieceBuffer | undefined
  /** It said at once that it has every piece, and is not counted in the picker's availability. */
  isSeed: boolean
  /** The picker's version when a search for a new piece found none. */
  searchedVersion: number
  /** Tells the peer that a block is not wanted any more. */
  readonly cancel: (piece: PieceIndex, begin: number, length: number) => void
  /** Something it can be asked for may have come up. */
  readonly wake: () => void
}

/** The shared state. */
export interface Download {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly table: PieceTable.PieceTable
  readonly picker: PiecePicker.PiecePicker
  /** In what order pieces are started. */
  readonly order: PieceOrder.PieceOrder
  readonly pool: BufferPool.BufferPool
  /** Completed pieces for the verifier: as deep as there are buffers, so an offer always succeeds. */
  readonly completed: Queue.Queue<PieceBuffer.PieceBuffer>
  readonly sources: Set<Source>
  /** Sources with room for requests and nothing to request. */
  readonly hungry: Set<Source>
  /** Pieces that failed their digest from several peers, and when they may be tried again (milliseconds). */
  readonly delayed: Map<PieceIndex, number>
  /**
   * Missing pieces that rest with everybody who has them, as their copies were damaged: no candidates, so that they hold up
   * neither the search for others nor the end game.
   */
  readonly withheld: Set<PieceIndex>
  /** What is held against addresses, by key. */
  readonly standings: Map<number, Standing.Standing>
  /**
   * Pieces that are to come from one peer alone, because a copy from several was bad; for each, how often which source,
   * by its key, was trusted with it and did not send it.
   */
  readonly singled: Map<PieceIndex, Map<number, number>>
  /** No new piece is started while the storage takes no writes. */
  isPaused: boolean
  /** How fast payload arrives. */
  readonly rate: RateMeter.RateMeter
  /** Payload bytes that arrived, in time or not. */
  downloadedBytes: number
  /** Of them, those of no use. */
  wastedBytes: number
}

/** An empty download, until the scope closes. `stored` are the pieces that are there already. */
export const make = Effect.fnUntraced(function* (options: {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly stored: Bitfield.Bitfield
  readonly random: Prng.Prng
  readonly maxActivePieces?: number | undefined
}) {
  const pool: BufferPool.BufferPool = yield* BufferPool.make(options.geometry, {
    maxActivePieces: options.maxActivePieces,
    onGrow: () => feed(self),
    isStuck: () => self.isPaused
  })
  const completed = yield* Effect.acquireRelease(Queue.bounded<PieceBuffer.PieceBuffer>(pool.capacity), Queue.shutdown)
  const self: Download = {
    geometry: options.geometry,
    table: PieceTable.make(options.geometry),
    picker: PiecePicker.make(options.geometry.pieceCount, options.random),
    order: PieceOrder.make(),
    pool,
    completed,
    sources: new Set(),
    hungry: new Set(),
    delayed: new Map(),
    withheld: new Set(),
    standings: new Map(),
    singled: new Map(),
    isPaused: false,
    rate: RateMeter.make({ now: yield* Monotonic.now }),
    downloadedBytes: 0,
    wastedBytes: 0
  }
  for (const piece of Bitfield.indices(options.stored)) {
    PieceTable.restore(self.table, piece as PieceIndex)
    PiecePicker.remove(self.picker, piece as PieceIndex)
  }
  return self
})

/** Stored pieces are gone from the medium, or wrong there: they are fetched again, if they are wanted. */
export const loseStored = (self: Download, pieces: ReadonlyArray<PieceIndex>): void => {
  for (const piece of pieces) {
    PieceTable.lose(self.table, piece)
    PiecePicker.insert(self.picker, piece)
  }
  feed(self)
}

/** Pieces that were lost are stored again, without being fetched. */
export const regainStored = (self: Download, pieces: ReadonlyArray<PieceIndex>): void => {
  for (const piece of pieces) {
    PieceTable.restore(self.table, piece)
    PiecePicker.remove(self.picker, piece)
  }
}

/** Wakes the sources that had nothing to request. */
export const feed = (self: Download): void => {
  if (self.hungry.size === 0) return
  const waiting = [...self.hungry]
  self.hungry.clear()
  for (const source of waiting) source.wake()
}

/**
 * Says how much each piece is wanted. One that is under way and not wanted any more goes on, as most of it may be here; it
 * is not started again. Peers that had nothing to request are woken; whether peers are of interest may have changed.
 */
export const setPriorities = (self: Download, priorities: ReadonlyArray<PiecePriority.PiecePriority>): void => {
  PieceTable.setWanted(self.table, PiecePriority.wanted(priorities))
  for (const [piece, priority] of priorities.entries()) {
    PiecePicker.setPriority(self.picker, piece as PieceIndex, priority)
  }
  feed(self)
}

/** Whether the peer has anything that is wanted and not stored yet. */
export const isInteresting = (self: Download, has: Bitfield.Bitfield): boolean => {
  if (PieceTable.isFinished(self.table)) return false
  if (Bitfield.isFull(has)) return true
  const { stored, wanted } = self.table
  for (let at = 0; at < stored.bytes.length; at++) {
    if ((has.bytes[at]! & wanted.bytes[at]! & ~stored.bytes[at]!) !== 0) return true
  }
  return false
}

/** Whether the peer is not asked for the piece for a while, although it has it. */
const isResting = (source: Source, piece: PieceIndex): boolean =>
  source.refused.resting.has(piece) || source.standing.damaged.resting.has(piece)

/**
 * Whether the piece is to come from one peer alone, and another that could start it now failed to send it less often than
 * this one. Else a peer that stalls could take the piece again each time it is dropped, and keep it from all others.
 */
const isLeftToOthers = (self: Download, source: Source, piece: PieceIndex): boolean => {
  const failures = self.singled.get(piece)
  const own = failures?.get(source.key)
  if (failures === undefined || own === undefined) return false
  for (const other of self.sources) {
    if (other.peerChoking || other.pipeline.isSnubbed || isResting(other, piece)) continue
    if (Bitfield.has(other.has, piece) && (failures.get(other.key) ?? 0) < own) return true
  }
  return false
}

/** A piece that is to come from one peer may still go to another: the one has sent nothing and is asked for nothing. */
const mayTakeOver = (self: Download, source: Source, buffer: PieceBuffer.PieceBuffer): boolean =>
  buffer.freeBlocks === buffer.blockCount && !isLeftToOthers(self, source, buffer.piece)

/**
 * Whether the peer may be asked for blocks of a piece under way: it has it, serves us, and nobody else is to send it
 * alone.
 */
export const mayAsk = (self: Download, source: Source, buffer: PieceBuffer.PieceBuffer): boolean =>
  Bitfield.has(source.has, buffer.piece) &&
  (!source.peerChoking || source.allowedFast.has(buffer.piece)) &&
  (buffer.soleSource === undefined || buffer.soleSource === source.key || mayTakeOver(self, source, buffer)) &&
  !isResting(source, buffer.piece)

/**
 * Notes a request for the next block of a piece under way, and gives the piece; the block is the one after the last
 * request. `undefined` where no such piece has a free block that the peer could send.
 */
export const nextBlock = (self: Download, source: Source, now: number): RequestPipeline.Request | undefined => {
  let buffer = source.current
  if (buffer === undefined || !buffer.isOpen || buffer.freeBlocks === 0 || !mayAsk(self, source, buffer)) {
    buffer = undefined
    for (const candidate of self.pool.partial) {
      if (!mayAsk(self, source, candidate)) continue
      buffer = candidate
      break
    }
    if (buffer === undefined) return undefined
    source.current = buffer
    if (buffer.soleSource !== undefined) buffer.soleSource = source.key
  }
  return RequestPipeline.send(source.pipeline, buffer, PieceBuffer.nextFree(buffer)!, now)
}

/** The pieces that the peer is not to start: those that rest with it, and those that are left to others. */
const exceptions = (self: Download, source: Source): ReadonlySet<PieceIndex> => {
  const { refused, standing } = source
  if (self.singled.size === 0 && standing.damaged.resting.size === 0) return refused.resting
  const pieces = new Set([...refused.resting, ...standing.damaged.resting])
  for (const piece of self.singled.keys()) if (isLeftToOthers(self, source, piece)) pieces.add(piece)
  return pieces
}

const allowedPiece = (self: Download, source: Source): PieceIndex | undefined => {
  for (const piece of source.allowedFast) {
    const isStartable = PiecePicker.isCandidate(self.picker, piece) && !isLeftToOthers(self, source, piece)
    if (isStartable && Bitfield.has(source.has, piece) && !isResting(source, piece)) return piece
  }
  return undefined
}

/** Whether blocks are out to the peer, or came from it for a piece that is not verified yet. */
const isOnTrial = (self: Download, source: Source): boolean => {
  if (source.pipeline.requests.size > 0) return true
  for (const { buffer } of self.pool.loans.values()) {
    const state = PieceTable.stateOf(self.table, buffer.piece)
    if ((state === "active" || state === "complete") && buffer.contributors.includes(source.key)) return true
  }
  return false
}

/** The piece that the peer should start, once a buffer is borrowed for it; `undefined` where it can start none. */
export const nextPiece = (self: Download, source: Source): PieceIndex | undefined => {
  if (self.isPaused || source.searchedVersion === self.picker.version || !BufferPool.mayLend(self.pool))
    return undefined
  // After a damaged piece the verdict on the next one is waited for.
  if (source.standing.damagedInARow > 0 && isOnTrial(self, source)) return undefined
  // A peer that lets requests time out gets no piece of its own to hold up.
  if (source.pipeline.isSnubbed && self.table.counts.active > 0) return undefined
  if (source.peerChoking) return allowedPiece(self, source)
  const begun = self.geometry.pieceCount - self.table.counts.missing
  const except = exceptions(self, source)
  const piece = PieceOrder.pick(self.order, self.picker, source.has, except, begun)
  // What is left to others may come back to it although no piece became a candidate meanwhile.
  if (piece === undefined && self.singled.size === 0) source.searchedVersion = self.picker.version
  return piece
}

/**
 * Borrows a buffer for a missing piece, which is active from then on; gives the buffer it has where somebody else was
 * faster, and `undefined` where none is free: the source is hungry then. The loan ends with `BufferPool.close`: what was
 * requested for it is then cancelled and the piece, unless it is verified, missing.
 */
export const begin = Effect.fnUntraced(function* (self: Download, source: Source, piece: PieceIndex) {
  // Before the loan, as a buffer that comes free while we find none must not be missed.
  self.hungry.add(source)
  const buffer = yield* BufferPool.lendNow(self.pool, piece, {
    isWanted: () => {
      // Nobody was faster, and nobody has skipped it meanwhile.
      const isCandidate = PiecePicker.isCandidate(self.picker, piece)
      // There may be another piece for it.
      if (!isCandidate) source.wake()
      return isCandidate
    },
    onOpen: (buffer) => {
      PieceTable.start(self.table, piece)
      PiecePicker.remove(self.picker, piece)
      if (self.singled.has(piece)) buffer.soleSource = source.key
      source.current = buffer
      self.hungry.delete(source)
      // With the last piece to start the end game begins, in which the others may be of use.
      if (self.picker.count === 0) feed(self)
    },
    onClose: (buffer) => end(self, buffer)
  })
  if (buffer !== undefined) self.hungry.delete(source)
  return buffer
}, Effect.uninterruptible)

/** Forgets all requests for a piece whose loan ends; unless it is verified it can be started anew. */
const end = (self: Download, buffer: PieceBuffer.PieceBuffer): void => {
  // A source that kept the buffer would keep its memory, which the budget may have given away.
  for (const source of self.sources) if (source.current === buffer) source.current = undefined
  if (buffer.requests.some((count) => count > 0)) {
    for (const source of self.sources) {
      for (const block of RequestPipeline.releasePiece(source.pipeline, buffer)) {
        source.cancel(buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
      }
    }
  }
  const state = PieceTable.stateOf(self.table, buffer.piece)
  if (state === "active" || state === "complete") {
    PieceTable.reset(self.table, buffer.piece)
    if (buffer.soleSource !== undefined) noteFailure(self, buffer.piece, buffer.soleSource)
    restart(self, buffer.piece)
  }
  feed(self)
}

/** From now on the piece is to come from one peer alone. */
export const single = (self: Download, piece: PieceIndex): void => {
  if (!self.singled.has(piece)) self.singled.set(piece, new Map())
}

const noteFailure = (self: Download, piece: PieceIndex, key: number): void => {
  const failures = self.singled.get(piece)
  failures?.set(key, (failures.get(key) ?? 0) + 1)
}

/** Makes a missing piece a candidate, unless it has to wait. */
const restart = (self: Download, piece: PieceIndex): void => {
  if (self.delayed.has(piece) || self.withheld.has(piece)) return
  if (PieceTable.stateOf(self.table, piece) === "missing") PiecePicker.insert(self.picker, piece)
}

/** What is held against the address of a peer; nothing yet, if nothing is known. */
export const standingOf = (self: Download, key: number): Standing.Standing => {
  const known = self.standings.get(key)
  if (known !== undefined) return known
  const standing = Standing.make()
  self.standings.set(key, standing)
  return standing
}

/** Whether a connected peer beside `key` has the piece, and its copy was not damaged when it was last seen. */
export const hasOtherSource = (self: Download, piece: PieceIndex, key: number): boolean => {
  for (const source of self.sources) {
    if (source.key === key || !Bitfield.has(source.has, piece)) continue
    if (!Standing.hasDamaged(source.standing, piece)) return true
  }
  return false
}

/**
 * The pieces that are wanted and not there, of which a damaged copy came, and of which no connected peer has another: they
 * come when one of their sources is mended, or a peer with a right copy is found.
 */
export const damagedPieces = (self: Download): ReadonlyArray<PieceIndex> => {
  const pieces = new Set<PieceIndex>()
  for (const { damaged } of self.standings.values()) {
    for (const piece of damaged.rests.keys()) {
      if (!Bitfield.has(self.table.wanted, piece) || hasOtherSource(self, piece, PieceBuffer.nobody)) continue
      pieces.add(piece)
    }
  }
  return [...pieces].sort((one, other) => one - other)
}

/** The peer sent a damaged copy of a piece that is about to be thrown away. */
export const damage = (self: Download, piece: PieceIndex, key: number, now: number): void => {
  Standing.damage(standingOf(self, key), piece, now)
  if (!maySupply(self, piece)) self.withheld.add(piece)
}

/**
 * The peers that are shown to lie by a right copy of `piece` from others: each sent a damaged one all by itself, and never
 * a right piece. A peer with a rotten piece among right ones is none.
 */
export const exposed = (
  self: Download,
  piece: PieceIndex,
  contributors: ReadonlySet<number>
): ReadonlyArray<number> => {
  const keys: Array<number> = []
  for (const [key, standing] of self.standings) {
    if (!standing.isProven && Standing.hasDamaged(standing, piece) && !contributors.has(key)) keys.push(key)
  }
  return keys
}

/** A right copy of a piece came from these peers: nobody's copy of it counts as damaged any more. */
export const redeem = (self: Download, piece: PieceIndex, keys: ReadonlySet<number>): void => {
  self.withheld.delete(piece)
  for (const { damaged } of self.standings.values()) Resting.forget(damaged, piece)
  for (const source of self.sources) if (keys.has(source.key) && Standing.redeem(source.standing)) source.wake()
}

/** Whether a connected peer has the piece, and it does not rest with that peer as damaged. */
const maySupply = (self: Download, piece: PieceIndex): boolean => {
  for (const { has, standing } of self.sources) {
    if (Bitfield.has(has, piece) && !standing.damaged.resting.has(piece)) return true
  }
  return false
}

/** Takes pieces that rest with everybody who has them from the candidates, and gives back those that do not any more. */
const reviseWithheld = (self: Download): boolean => {
  const waiting = new Set<PieceIndex>()
  for (const { damaged } of self.standings.values()) {
    for (const piece of damaged.resting) if (!maySupply(self, piece)) waiting.add(piece)
  }
  let isFreed = false
  for (const piece of self.withheld) {
    if (waiting.has(piece)) continue
    self.withheld.delete(piece)
    restart(self, piece)
    isFreed = true
  }
  for (const piece of waiting) {
    if (self.withheld.has(piece) || PieceTable.stateOf(self.table, piece) !== "missing") continue
    self.withheld.add(piece)
    PiecePicker.remove(self.picker, piece)
  }
  return isFreed
}

/** Ends the waits of pieces and peers that are over. To be called once a second. */
export const tick = (self: Download, now: number): void => {
  let isFreed = false
  for (const [piece, until] of self.delayed) {
    if (now < until) continue
    self.delayed.delete(piece)
    restart(self, piece)
    isFreed = true
  }
  const connected = new Set<Standing.Standing>()
  for (const source of self.sources) {
    connected.add(source.standing)
    const isRefusalOver = Resting.wake(source.refused, now)
    if (!Standing.wake(source.standing, now) && !isRefusalOver) continue
    source.searchedVersion = never
    source.wake()
    isFreed = true
  }
  for (const [key, standing] of self.standings) {
    if (connected.has(standing)) continue
    Standing.wake(standing, now)
    if (Standing.isClean(standing)) self.standings.delete(key)
  }
  if (reviseWithheld(self)) isFreed = true
  if (isFreed) feed(self)
}

/**
 * In the end game, notes one more request for a block that is out to others already, the longest waiting first;
 * `undefined` before the end game, or where the peer can help with none.
 */
export const nextDuplicate = (self: Download, source: Source, now: number): RequestPipeline.Request | undefined => {
  // Delayed and withheld pieces are no candidates: they must not hold up those that are under way.
  if (self.picker.count > 0 || source.pipeline.isSnubbed) return undefined
  for (const { buffer } of self.pool.loans.values()) {
    if (!buffer.isOpen || buffer.soleSource !== undefined || PieceBuffer.isComplete(buffer)) continue
    if (!mayAsk(self, source, buffer)) continue
    for (let block = 0; block < buffer.blockCount; block++) {
      if (buffer.requests[block]! >= maxRequestsPerBlock || Bitfield.has(buffer.received, block)) continue
      if (RequestPipeline.get(source.pipeline, buffer.piece, block) === undefined) {
        return RequestPipeline.send(source.pipeline, buffer, block, now)
      }
    }
  }
  return undefined
}

/**
 * All bytes of a requested block are in its buffer. Releases the request, cancels those that others hold for the block,
 * and hands the piece on when it was the last one. `false` for a duplicate.
 */
export const received = (self: Download, source: Source, request: RequestPipeline.Request, now: number): boolean => {
  const { block, buffer } = request
  const isNew = PieceBuffer.finish(buffer, block, source.key, now)
  RequestPipeline.arrive(source.pipeline, buffer.piece, block, now)
  if (!isNew) return false
  if (buffer.requests[block]! > 0) {
    for (const other of self.sources) {
      if (RequestPipeline.release(other.pipeline, buffer.piece, block) === undefined) continue
      other.cancel(buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
    }
  }
  if (PieceBuffer.isComplete(buffer)) {
    PieceTable.complete(self.table, buffer.piece)
    Queue.offerUnsafe(self.completed, buffer)
  }
  return true
}

/** A peer joins with the pieces it had so far (none, as a rule). */
export const join = (self: Download, source: Source): void => {
  self.sources.add(source)
  if (!source.isSeed)
    for (const piece of Bitfield.indices(source.has)) PiecePicker.gain(self.picker, piece as PieceIndex)
}

/** The peer says that it has `piece`. */
export const gain = (self: Download, source: Source, piece: PieceIndex): void => {
  if (!Bitfield.add(source.has, piece)) return
  source.searchedVersion = never
  PiecePicker.gain(self.picker, piece)
  if (self.withheld.size > 0) reviseWithheld(self)
}

/**
 * The peer says that it does not have `piece` any more: what it was asked for of it is free for others. `true` where the
 * piece was to come from it alone, and is to be abandoned.
 */
export const lose = (self: Download, source: Source, piece: PieceIndex): boolean => {
  if (!Bitfield.has(source.has, piece)) return false
  if (source.isSeed) {
    source.isSeed = false
    for (const had of Bitfield.indices(source.has)) PiecePicker.gain(self.picker, had as PieceIndex)
  }
  Bitfield.remove(source.has, piece)
  PiecePicker.lose(self.picker, piece)
  // Also where it is not under way: it may have been left to this peer.
  feed(self)
  const buffer = self.pool.loans.get(piece)?.buffer
  if (buffer === undefined || !buffer.isOpen) return false
  for (const block of RequestPipeline.releasePiece(source.pipeline, buffer)) {
    source.cancel(piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
  }
  return buffer.soleSource === source.key
}

/** The peer says at once which pieces it has (bitfield, have all); it had none before. */
export const gainAll = (self: Download, source: Source, has: Bitfield.Bitfield): void => {
  source.searchedVersion = never
  source.isSeed = Bitfield.isFull(has)
  Bitfield.replace(source.has, has)
  if (!source.isSeed) for (const piece of Bitfield.indices(has)) PiecePicker.gain(self.picker, piece as PieceIndex)
  if (self.withheld.size > 0) reviseWithheld(self)
}

/** Value of `searchedVersion` for a peer that should be searched for: versions start at 0. */
export const never = -1

/**
 * The peer is gone. Its requests are free for others, and pieces that were to come from it alone are dropped, as
 * another peer must not add to them. Harmless for a peer that has left.
 */
export const leave = Effect.fnUntraced(function* (self: Download, source: Source) {
  if (!self.sources.delete(source)) return
  self.hungry.delete(source)
  RequestPipeline.releaseAll(source.pipeline)
  if (!source.isSeed)
    for (const piece of Bitfield.indices(source.has)) PiecePicker.lose(self.picker, piece as PieceIndex)
  yield* abandon(self, source)
  feed(self)
}, Effect.uninterruptible)

/** Drops the incomplete pieces that were to come from this peer alone. */
export const abandon = Effect.fnUntraced(function* (self: Download, source: Source) {
  for (const { buffer } of [...self.pool.loans.values()]) {
    if (buffer.soleSource === source.key && !PieceBuffer.isComplete(buffer)) {
      // From here on no late block can complete it.
      PieceBuffer.close(buffer)
      yield* BufferPool.close(self.pool, buffer.piece)
    }
  }
}, Effect.uninterruptible)
