/**
 * The requests of one peer that are not answered yet, oldest first (BEP 3, BEP 6).
 *
 * A request is waiting, then taken to be read from storage, then finished. It can be withdrawn at any time before that,
 * by a cancel or by our choke; a block that was being read then is not sent. Requests are taken in runs of neighbouring
 * blocks, so that one read of the storage serves several.
 *
 * That a request names bytes of a piece that we have is the caller's matter, and so are the frames: it sends a reject
 * (BEP 6) for what `request` turns away, `cancel` finds and `choke` gives back, and disconnects a peer that is flooding.
 *
 * Hot path: a request costs 90 to 110 ns from its coming to its end (`test/bench/Uploads.bench.ts`, two shared x64
 * cores, Node 24).
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"

/**
 * Requests of a peer that are kept, to be told as `reqq` (BEP 10). Fewer starve fast peers far away: 500 blocks are 8 MiB,
 * 80 MiB/s at a delay of 100 ms. libtorrent sends as many at most.
 */
export const defaultMaxRequests = 500

/** Bytes in a run: one read of 256 KiB costs hardly more than one of 16 KiB, and is sent before the next is needed. */
export const defaultMaxRunLength = 262_144

/** A request of the peer. */
export interface BlockRequest {
  readonly piece: PieceIndex
  /** Offset of the first byte in the piece. */
  readonly begin: number
  /** Bytes asked for. */
  readonly length: number
  state: "waiting" | "taken" | "gone"
  previous: BlockRequest
  next: BlockRequest
}

/** The requests of one peer. Change it only through this module. */
export interface UploadQueue {
  readonly pieceLength: number
  readonly maxRequests: number
  /** Pieces that may be asked for while we choke the peer (BEP 6). */
  readonly allowedFast: ReadonlySet<PieceIndex>
  /** Those waiting and taken, by the offset of their first byte in the torrent. */
  readonly requests: Map<number, BlockRequest>
  /** Before the oldest and after the newest of those that wait. */
  readonly ends: BlockRequest
  /** How many wait. */
  waiting: number
  isChoking: boolean
  /** Requests turned away since one was accepted from the unchoked peer. */
  refused: number
}

/** An empty queue of a peer that we choke, for a torrent with pieces of `pieceLength` bytes. */
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
 * A request came in. `queued`: it will be answered. `duplicate`: it is queued already and will be answered once.
 * `refused`: we choke the peer, or it has more requests out than it may; to be rejected where the peer speaks BEP 6.
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
  // Two requests that begin alike and end differently are no client's habit: the first is kept.
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
 * Whether the peer goes on asking without getting anything. As many requests as it may have out cross with a choke of
 * ours, once; twice as many in a row are no accident.
 */
export const isFlooding = (self: UploadQueue): boolean => self.refused > 2 * self.maxRequests

/**
 * The peer does not want a block any more; under BEP 6 the request is rejected then, so that each has an answer. `false`
 * where it is not queued: answered already, or never asked for.
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

/** We unchoke the peer. */
export const unchoke = (self: UploadQueue): void => {
  self.isChoking = false
  self.refused = 0
}

/**
 * We choke the peer: its requests are withdrawn, those for pieces of the allowed fast set excepted. Gives what was
 * withdrawn, each to be rejected where the peer speaks BEP 6; where it does not, it knows (BEP 3).
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

/**
 * The oldest of the requests that wait, with which the next run begins: its length is what must be allowed to go out
 * before `take`. Where none waits, one of length 0.
 */
export const next = (self: UploadQueue): Pick<BlockRequest, "piece" | "begin" | "length"> => self.ends.next

/**
 * Takes the oldest request and those that go on where it ends, in the same piece, up to `maxLength` bytes but at least
 * one request. They lie one after the other, so one read from the first's `begin` serves all. Empty where none waits.
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
    // Peers ask in order, so that the next in line is the neighbour as a rule.
    const neighbour =
      following.piece === piece && following.begin === end ? following : self.requests.get(offsetOf(self, piece, end))
    if (neighbour?.piece !== piece || neighbour.state !== "waiting" || length + neighbour.length > maxLength) break
    current = neighbour
  }
  self.waiting -= run.length
  return run
}

/** A taken request is read. Tells whether it is to be sent: `false` where it was withdrawn meanwhile. */
export const finish = (self: UploadQueue, taken: BlockRequest): boolean => {
  if (taken.state !== "taken") return false
  taken.state = "gone"
  self.requests.delete(offsetOf(self, taken.piece, taken.begin))
  return true
}
