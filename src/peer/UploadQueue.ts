/**
 * The requests of one peer that are not answered yet, the oldest first (BEP 3, BEP 6).
 *
 * A request is waiting, then taken to be read from storage, then finished. Until then a cancel or our choke can
 * withdraw it; its block is not sent even if it is being read. Requests are taken in runs of neighbouring blocks, so
 * that one read of the storage serves several.
 *
 * Leaves to the caller to check that a request names bytes of a piece that we have, to send a reject (BEP 6) for what
 * `request` refuses, `cancel` finds and `choke` returns, and to disconnect a peer that is flooding.
 *
 * Hot path: a request costs 90 to 110 ns from its arrival to its end (`test/bench/Uploads.bench.ts`, two shared x64
 * cores, Node 24).
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"

/**
 * Requests of a peer that are kept, which we announce as `reqq` (BEP 10). Fewer starve fast peers that are far away:
 * 500 blocks are 8 MiB, or 80 MiB/s at a delay of 100 ms. libtorrent sends at most as many.
 */
export const defaultMaxRequests = 500

/** Bytes in a run: a read of 256 KiB costs hardly more than one of 16 KiB, and is sent before the next is needed. */
export const defaultMaxRunLength = 262_144

/** A request of the peer. */
export interface BlockRequest {
  readonly piece: PieceIndex
  /** Offset of the first byte in the piece. */
  readonly begin: number
  /** Bytes requested. */
  readonly length: number
  state: "waiting" | "taken" | "gone"
  previous: BlockRequest
  next: BlockRequest
}

/** The requests of one peer. Change it only through this module. */
export interface UploadQueue {
  readonly pieceLength: number
  readonly maxRequests: number
  /** Pieces that may be requested while we choke the peer (BEP 6). */
  readonly allowedFast: ReadonlySet<PieceIndex>
  /** The requests that wait or are taken, by the offset of their first byte in the torrent. */
  readonly requests: Map<number, BlockRequest>
  /** The sentinel of the ring of waiting requests: before the oldest and after the newest. */
  readonly ends: BlockRequest
  /** How many requests wait. */
  waiting: number
  isChoking: boolean
  /** Requests refused since one was accepted from the unchoked peer. */
  refused: number
}

/** Makes an empty queue for a peer that we choke, in a torrent of pieces of `pieceLength` bytes. */
export const make = (options: {
  readonly pieceLength: number
  readonly maxRequests?: number | undefined
  readonly allowedFast?: ReadonlySet<PieceIndex> | undefined
}): UploadQueue => ({
  pieceLength: options.pieceLength,
  maxRequests: options.maxRequests ?? defaultMaxRequests,
  allowedFast: options.allowedFast ?? new Set(),
  requests: new Map(),
  ends: makeEnds(),
  waiting: 0,
  isChoking: true,
  refused: 0
})

const makeEnds = (): BlockRequest => {
  const ends = { piece: -1 as PieceIndex, begin: 0, length: 0, state: "gone" } as BlockRequest
  ends.previous = ends
  ends.next = ends
  return ends
}

const offsetOf = (self: UploadQueue, piece: PieceIndex, begin: number): number => piece * self.pieceLength + begin

const unlink = (request: BlockRequest): void => {
  request.previous.next = request.next
  request.next.previous = request.previous
  request.previous = request
  request.next = request
}

/**
 * Adds a request. `queued`: it will be answered. `duplicate`: it is queued already and will be answered once.
 * `refused`: we choke the peer, or it has more requests out than it may; to be rejected if the peer speaks BEP 6.
 */
export const request = (
  self: UploadQueue,
  piece: PieceIndex,
  begin: number,
  length: number
): "queued" | "duplicate" | "refused" => {
  const offset = offsetOf(self, piece, begin)
  const known = self.requests.get(offset)
  if (known !== undefined && known.length === length) return "duplicate"
  const isAllowed = !self.isChoking || self.allowedFast.has(piece)
  // No client sends two requests with the same beginning and different lengths: the first is kept.
  if (known !== undefined || !isAllowed || self.requests.size >= self.maxRequests) {
    self.refused++
    return "refused"
  }
  if (!self.isChoking) self.refused = 0
  const { ends } = self
  const added: BlockRequest = { piece, begin, length, state: "waiting", previous: ends.previous, next: ends }
  ends.previous.next = added
  ends.previous = added
  self.requests.set(offset, added)
  self.waiting++
  return "queued"
}

/**
 * Whether the peer goes on sending requests that are all refused. As many as it may have out can cross with our choke,
 * once; twice as many in a row are no accident.
 */
export const isFlooding = (self: UploadQueue): boolean => self.refused > 2 * self.maxRequests

/**
 * The peer does not want a block any more. Returns `false` if the request is not queued, because it was answered or
 * never made; otherwise it is to be rejected under BEP 6, so that each request has an answer.
 */
export const cancel = (self: UploadQueue, piece: PieceIndex, begin: number, length: number): boolean => {
  const offset = offsetOf(self, piece, begin)
  const found = self.requests.get(offset)
  if (found === undefined || found.length !== length) return false
  withdraw(self, found, offset)
  return true
}

const withdraw = (self: UploadQueue, found: BlockRequest, offset: number): void => {
  self.requests.delete(offset)
  if (found.state === "waiting") {
    unlink(found)
    self.waiting--
  }
  found.state = "gone"
}

/** Accepts requests from now on. */
export const unchoke = (self: UploadQueue): void => {
  self.isChoking = false
  self.refused = 0
}

/**
 * Refuses requests from now on, and withdraws those that are queued, except for pieces of the allowed fast set. Returns
 * what was withdrawn: each is to be rejected if the peer speaks BEP 6. Without BEP 6 a choke withdraws them by itself
 * (BEP 3).
 */
export const choke = (self: UploadQueue): ReadonlyArray<BlockRequest> => {
  self.isChoking = true
  const withdrawn: Array<BlockRequest> = []
  for (const [offset, found] of self.requests) {
    if (self.allowedFast.has(found.piece)) continue
    withdraw(self, found, offset)
    withdrawn.push(found)
  }
  return withdrawn
}

/** The oldest request that waits, with which the next run begins; one of length 0 if none waits. */
export const next = (self: UploadQueue): Pick<BlockRequest, "piece" | "begin" | "length"> => self.ends.next

/**
 * Takes the oldest request and those that continue where it ends, in the same piece, up to `maxLength` bytes but at
 * least one request. They lie one after the other, so one read from the `begin` of the first serves all. Empty if none
 * waits.
 */
export const take = (self: UploadQueue, maxLength = defaultMaxRunLength): ReadonlyArray<BlockRequest> => {
  const run: Array<BlockRequest> = []
  let current = self.ends.next
  if (current === self.ends) return run
  const { piece } = current
  let length = 0
  for (;;) {
    const following: BlockRequest = current.next
    unlink(current)
    current.state = "taken"
    run.push(current)
    length += current.length
    const end = current.begin + current.length
    // Peers request in order, so the next in line is usually the neighbour.
    const neighbour =
      following.piece === piece && following.begin === end ? following : self.requests.get(offsetOf(self, piece, end))
    if (neighbour?.piece !== piece || neighbour.state !== "waiting" || length + neighbour.length > maxLength) break
    current = neighbour
  }
  self.waiting -= run.length
  return run
}

/** Finishes a taken request that was read. Returns whether to send its block: `false` if it was withdrawn meanwhile. */
export const finish = (self: UploadQueue, taken: BlockRequest): boolean => {
  if (taken.state !== "taken") return false
  taken.state = "gone"
  self.requests.delete(offsetOf(self, taken.piece, taken.begin))
  return true
}
