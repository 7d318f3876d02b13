/**
 * Finds the candidate that a peer should start, among those that it has, for `PiecePicker.ts`.
 *
 * In a large torrent, the rarest candidates may be pieces that a peer lacks, hundreds of thousands of them. So that it
 * does not pass over them at each search, what a search has found out about a peer is kept: the availability below
 * which all of its candidates are listed. Others that become more available change nothing in that. A piece that
 * becomes less available, or a candidate, is noted once for all peers, and a search reads what was noted since the last
 * one for this peer. So each section of the candidates is looked at once for a peer, and its lists are short: if the
 * peer has more than `maxListed` pieces of a section, they are not listed, because a search from a random place in the
 * section soon finds one of them.
 *
 * Nothing is kept before a search needs it, which is never so in a small torrent.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"

/** The candidates of one priority, rarest first. */
export interface Candidates {
  /** Pieces by availability; only the first `count` entries are valid. Empty until there is a candidate. */
  order: Int32Array
  /** The end of each availability's section in `order`. */
  readonly sectionEnds: Array<number>
  count: number
}

/** What is searched. */
export interface Searched {
  readonly normal: Candidates
  readonly high: Candidates
  /** The index of each piece in the `order` of its priority; negative for a piece that is no candidate. */
  readonly positions: Int32Array
  /** How many peers have each piece, without peers that have every piece. */
  readonly availability: Uint16Array
  /** The priority of each piece, as a number. */
  readonly priorities: Uint8Array
  readonly random: Prng.Prng
  /** What was found out about peers. Present once there was a need for it. */
  memory: Memory | undefined
}

/** The value of high priority in `priorities`. */
export const highCode = 2

/** So many candidates are looked at before anything is kept about a peer: nearly always, it has one of them. */
const maxWalked = 32

/** So many candidates, in all or of one availability, are looked at each time: that takes some microseconds. */
const maxWalkedAll = 1_024

/** The most pieces of a peer that are listed from one section: some 20 kB for each peer that lacks rare pieces. */
export const maxListed = 2_048

/** How many of the latest changes are kept; a power of 2. A peer that missed more than these searches from the start. */
const changesKept = 4_096

/** What is known about the candidates of one priority that a peer has. */
interface Known {
  /** All its candidates that are less available than this are listed. */
  below: number
  /** Its pieces, by an availability that may be out of date, and some that are no candidates any more. */
  readonly lists: Array<Array<PieceIndex> | undefined>
  /** No list of a lower availability has a piece. */
  lowest: number
  /** How many pieces are listed. */
  listed: number
  /** All its candidates of a lower index are in `passed`, and some that are no candidates any more. */
  start: number
  readonly passed: Array<PieceIndex>
}

interface Findings {
  readonly normal: Known
  readonly high: Known
  /** How many changes were read. */
  read: number
}

interface Memory {
  /** By what the peer has, which identifies it. */
  readonly findings: Map<Bitfield.Bitfield, Findings>
  /** The last pieces that became less available or candidates. */
  readonly changes: Int32Array
  /** How many there were in all. */
  changeCount: number
}

type Except = ReadonlySet<PieceIndex>

const unknown = (): Known => ({ below: 0, lists: [], lowest: 0, listed: 0, start: 0, passed: [] })

const reset = (known: Known): void => {
  known.below = 0
  known.lists.length = 0
  known.lowest = 0
  known.listed = 0
  known.start = 0
  known.passed.length = 0
}

/** Notes that a piece became less available, or a candidate. */
export const noteChange = ({ memory }: Searched, piece: PieceIndex): void => {
  if (memory !== undefined) memory.changes[memory.changeCount++ & (changesKept - 1)] = piece
}

/** Notes that `has` has one more piece now, which is counted in its availability. */
export const noteGained = (self: Searched, has: Bitfield.Bitfield, piece: PieceIndex): void => {
  const findings = self.memory?.findings.get(has)
  if (findings !== undefined) consider(self, findings, has, piece)
}

/** Forgets what was found out about all peers: there is no candidate left. */
export const clear = (self: Searched): void => {
  self.memory = undefined
}

/** Forgets what was found out about a peer: it left, or many of its pieces were replaced. */
export const forget = ({ memory }: Searched, has: Bitfield.Bitfield): void => void memory?.findings.delete(has)

const isHigh = (self: Searched, piece: PieceIndex): boolean => self.priorities[piece] === highCode

const isCandidateOf = (self: Searched, candidates: Candidates, piece: PieceIndex): boolean =>
  self.positions[piece]! >= 0 && isHigh(self, piece) === (candidates === self.high)

/** Lists a piece if it would be missed otherwise. */
const consider = (self: Searched, findings: Findings, has: Bitfield.Bitfield, piece: PieceIndex): void => {
  if (self.positions[piece]! < 0 || !Bitfield.has(has, piece)) return
  const known = isHigh(self, piece) ? findings.high : findings.normal
  list(known, piece, self.availability[piece]!)
  if (piece < known.start) known.passed.push(piece)
  // A piece that changes again and again is listed each time.
  if (known.listed > 2 * maxListed || known.passed.length > 2 * maxListed) reset(known)
}

const list = (known: Known, piece: PieceIndex, level: number): void => {
  if (level >= known.below) return
  const pieces = known.lists[level]
  if (pieces === undefined) known.lists[level] = [piece]
  else pieces.push(piece)
  known.listed++
  if (level < known.lowest) known.lowest = level
}

const findingsOf = (self: Searched, has: Bitfield.Bitfield): Findings => {
  self.memory ??= { findings: new Map(), changes: new Int32Array(changesKept), changeCount: 0 }
  const { changeCount, changes, findings } = self.memory
  let found = findings.get(has)
  if (found === undefined) {
    found = { normal: unknown(), high: unknown(), read: changeCount }
    findings.set(has, found)
  } else if (changeCount - found.read > changesKept) {
    reset(found.normal)
    reset(found.high)
  } else {
    for (let at = found.read; at < changeCount; at++) {
      consider(self, found, has, changes[at & (changesKept - 1)]! as PieceIndex)
    }
  }
  found.read = changeCount
  return found
}

/** Returns the first candidate of the peer in `order`, from `begin` up to `end`. */
const walk = (
  { order }: Candidates,
  begin: number,
  end: number,
  has: Bitfield.Bitfield,
  except: Except
): PieceIndex | undefined => {
  for (let position = begin; position < end; position++) {
    const piece = order[position]! as PieceIndex
    if (Bitfield.has(has, piece) && !except.has(piece)) return piece
  }
  return undefined
}

/** Returns a random one of the rarest candidates that `has` has, of those that are not in `except`. */
export const rarest = (
  self: Searched,
  candidates: Candidates,
  has: Bitfield.Bitfield,
  except: Except
): PieceIndex | undefined => {
  const { count } = candidates
  const isSmall = count <= maxWalkedAll
  const near = walk(candidates, 0, isSmall ? count : maxWalked, has, except)
  if (near !== undefined || isSmall) return near
  const findings = findingsOf(self, has)
  const known = candidates === self.high ? findings.high : findings.normal
  if (known.below === 0 && has.count <= maxListed) listAll(self, candidates, known, has)
  const listed = fromLists(self, candidates, known, has, except)
  if (listed !== undefined) return listed
  while (known.below < candidates.sectionEnds.length) {
    const piece = fromSection(self, candidates, known, has, except)
    if (piece !== undefined) return piece
  }
  return undefined
}

/** Returns the first candidate of the peer after a random place, if it has one near. */
export const random = (
  self: Searched,
  candidates: Candidates,
  has: Bitfield.Bitfield,
  except: Except
): PieceIndex | undefined => {
  const start = Prng.integer(self.random, candidates.count)
  return walk(candidates, start, Math.min(candidates.count, start + maxWalkedAll), has, except)
}

/** Lists all candidates of a peer that has few pieces. */
const listAll = (self: Searched, candidates: Candidates, known: Known, has: Bitfield.Bitfield): void => {
  known.below = Number.POSITIVE_INFINITY
  for (let index = Bitfield.next(has, 0); index >= 0; index = Bitfield.next(has, index + 1)) {
    const piece = index as PieceIndex
    if (isCandidateOf(self, candidates, piece)) list(known, piece, self.availability[piece]!)
  }
}

/** Returns one of the rarest listed pieces. */
const fromLists = (
  self: Searched,
  candidates: Candidates,
  known: Known,
  has: Bitfield.Bitfield,
  except: Except
): PieceIndex | undefined => {
  let isPassing = true
  for (let level = known.lowest; level < known.lists.length; level++) {
    const pieces = known.lists[level] ?? []
    let at = Prng.integer(self.random, pieces.length)
    // From the random place to the end, and then from the beginning.
    for (let isSecond = false; ; at = 0, isSecond = true) {
      while (at < pieces.length) {
        const piece = pieces[at]!
        if (isListedAt(self, candidates, has, piece, level)) {
          if (!except.has(piece)) return piece
          at++
        } else {
          unlist(known, pieces, at)
          const current = self.availability[piece]!
          if (current > level && isListedAt(self, candidates, has, piece, current)) list(known, piece, current)
        }
      }
      if (isSecond) break
    }
    // Pieces in `except` stay listed.
    if (pieces.length > 0) isPassing = false
    if (isPassing) known.lowest = level + 1
  }
  return undefined
}

const isListedAt = (
  self: Searched,
  candidates: Candidates,
  has: Bitfield.Bitfield,
  piece: PieceIndex,
  level: number
): boolean => self.availability[piece] === level && isCandidateOf(self, candidates, piece) && Bitfield.has(has, piece)

const unlist = (known: Known, pieces: Array<PieceIndex>, at: number): void => {
  const last = pieces.pop()!
  if (at < pieces.length) pieces[at] = last
  known.listed--
}

/** Returns a piece of the first section that is not listed. Lists the section if the peer has few pieces of it. */
const fromSection = (
  self: Searched,
  candidates: Candidates,
  known: Known,
  has: Bitfield.Bitfield,
  except: Except
): PieceIndex | undefined => {
  const { sectionEnds } = candidates
  const level = known.below
  const begin = level === 0 ? 0 : sectionEnds[level - 1]!
  const end = sectionEnds[level]!
  if (end - begin > maxWalkedAll) {
    const start = begin + Prng.integer(self.random, end - begin)
    // Enough to find one, most likely, if the peer has too many to list.
    const near = Math.ceil((8 * (end - begin)) / maxListed)
    const piece = walk(candidates, start, Math.min(end, start + near), has, except)
    if (piece !== undefined) return piece
  }
  const pieces: Array<PieceIndex> = []
  // More may be in `except`.
  const most = maxListed + except.size
  if (has.count < end - begin) gatherByPiece(self, candidates, begin, end, has, most, pieces)
  else gatherByPosition(candidates, begin, end, has, most, pieces)
  if (pieces.length > most) {
    Prng.shuffle(self.random, pieces)
    return pieces.find((piece) => !except.has(piece))
  }
  known.below = level + 1
  for (const piece of pieces) list(known, piece, level)
  return fromLists(self, candidates, known, has, except)
}

/** Gathers the pieces of a section that the peer has, until there are more than `most`. */
const gatherByPosition = (
  { order }: Candidates,
  begin: number,
  end: number,
  has: Bitfield.Bitfield,
  most: number,
  pieces: Array<PieceIndex>
): void => {
  for (let position = begin; position < end && pieces.length <= most; position++) {
    const piece = order[position]! as PieceIndex
    if (Bitfield.has(has, piece)) pieces.push(piece)
  }
}

/** The same for a peer that has fewer pieces than the section. */
const gatherByPiece = (
  self: Searched,
  candidates: Candidates,
  begin: number,
  end: number,
  has: Bitfield.Bitfield,
  most: number,
  pieces: Array<PieceIndex>
): void => {
  for (let index = Bitfield.next(has, 0); index >= 0 && pieces.length <= most; index = Bitfield.next(has, index + 1)) {
    const piece = index as PieceIndex
    const position = self.positions[piece]!
    if (position >= begin && position < end && isCandidateOf(self, candidates, piece)) pieces.push(piece)
  }
}

/** Returns the candidate of the lowest index that `has` has, of those that are not in `except`. */
export const lowest = (
  self: Searched,
  candidates: Candidates,
  has: Bitfield.Bitfield,
  except: Except
): PieceIndex | undefined => {
  const findings = findingsOf(self, has)
  const known = candidates === self.high ? findings.high : findings.normal
  const { passed } = known
  let first: PieceIndex | undefined
  for (let at = 0; at < passed.length; ) {
    const piece = passed[at]!
    if (!isCandidateOf(self, candidates, piece) || !Bitfield.has(has, piece)) {
      const last = passed.pop()!
      if (at < passed.length) passed[at] = last
      continue
    }
    if (!except.has(piece) && (first === undefined || piece < first)) first = piece
    at++
  }
  if (first !== undefined) return first
  for (let index = Bitfield.next(has, known.start); index >= 0; index = Bitfield.next(has, index + 1)) {
    const piece = index as PieceIndex
    known.start = index
    if (!isCandidateOf(self, candidates, piece)) continue
    if (!except.has(piece)) return piece
    passed.push(piece)
  }
  known.start = has.length
  return undefined
}
