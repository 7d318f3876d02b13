/**
 * One conversation of a scripted peer, without its waiting: messages from the other side are noted and counted, its own
 * are encoded. Plain state that one conversation's fibers and its sink touch synchronously between suspensions, so it
 * needs no lock.
 *
 * When something is sent, and how long that takes, is decided in `ScriptedPeer.ts`, and how a request is answered in
 * `ScriptedAnswer.ts`.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"
import type { Sink } from "../network/Transport.ts"
import * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import * as Handshake from "../wire/Handshake.ts"
import { WireError } from "../wire/WireError.ts"
import type { PeerBehaviour } from "./PeerBehaviour.ts"
import * as ScriptedMetadata from "./ScriptedMetadata.ts"

/** What a scripted peer is made of. */
export interface Options {
  readonly infoHash: InfoHash
  readonly geometry: PieceGeometry.PieceGeometry
  /** The right bytes of a piece. They are only read; the last two requested pieces are kept. */
  readonly content: (piece: PieceGeometry.PieceIndex) => Uint8Array
  /** The info dict, to send to peers that have only a magnet link. Default: it speaks no extension protocol (BEP 10). */
  readonly info?: Uint8Array | undefined
  /** Default: an honest seed. */
  readonly behaviour?: PeerBehaviour | undefined
  /** 20 bytes. Default: one that follows from the behaviour's seed. */
  readonly peerId?: Uint8Array | undefined
}

/** What happened so far, over all connections of a peer; may be read at any time. */
export interface Counters {
  /** Connections that were opened, and those that still are. */
  connections: number
  openConnections: number
  /** Handshakes received that named our torrent. */
  handshakes: number
  /** Messages received. `requests` includes those that could not be answered. */
  interested: number
  requests: number
  cancels: number
  haves: number
  keepAlives: number
  /** Requests for what is no block of the torrent, or of a piece that we do not have. An honest peer makes none. */
  badRequests: number
  /** Requests received while we choked. */
  chokedRequests: number
  /** Most requests that waited at one time on one connection. */
  longestQueue: number
  /** Piece messages sent, their payload, and how many of them were wrong in any way. */
  blocks: number
  blockBytes: number
  wrongBlocks: number
  /** Rejects sent (BEP 6). */
  rejects: number
  /** Requests for pieces of the info dict (BEP 9). */
  metadataRequests: number
  /** Blocks received, as answers to a flood. */
  blocksReceived: number
  /** How the other side broke the protocol, as `WireError.why`; the first hundred. */
  readonly complaints: Array<string>
}

/** All counters at zero. */
export const makeCounters = (): Counters => ({
  connections: 0,
  openConnections: 0,
  handshakes: 0,
  interested: 0,
  requests: 0,
  cancels: 0,
  haves: 0,
  keepAlives: 0,
  badRequests: 0,
  chokedRequests: 0,
  longestQueue: 0,
  blocks: 0,
  blockBytes: 0,
  wrongBlocks: 0,
  rejects: 0,
  metadataRequests: 0,
  blocksReceived: 0,
  complaints: []
})

/** A request that waits for its answer. */
export interface Request {
  readonly piece: PieceGeometry.PieceIndex
  readonly begin: number
  readonly length: number
  /** When it arrived, in milliseconds. */
  readonly arrived: number
}

/** The state of a conversation. */
export interface Session {
  readonly options: Options
  readonly behaviour: PeerBehaviour
  readonly counters: Counters
  readonly random: Prng.Prng
  /** Milliseconds. */
  readonly nowUnsafe: () => number
  /** Called when there may be something to do: a handshake, interest, a request, a frame to send, or the end. */
  readonly onNews: () => void
  /** Frames to send. */
  readonly out: FrameEncoder.FrameEncoder
  /** The pieces it announces. */
  readonly has: Bitfield.Bitfield
  /** Requests in the order of their arrival, at most `queueLimit` and what one chunk holds. */
  readonly queue: Array<Request>
  /** The right bytes of a piece; those of the last two are kept. */
  readonly contentOf: Options["content"]
  /** What it says about the info dict; `undefined` if it speaks no extension protocol. */
  readonly metadata: ScriptedMetadata.ScriptedMetadata | undefined
  handshake: Handshake.Handshake | undefined
  /** Whether both sides speak BEP 6. */
  fast: boolean
  interested: boolean
  choking: boolean
  /** The sink returned `false`, because too many requests wait. */
  paused: boolean
  /** No message is accepted any more, and the conversation ends. */
  ended: boolean
  /** Requests answered. */
  answered: number
}

/** Requests that may wait; then reading stops. Engines keep a few hundred under way. */
export const queueLimit = 2_048

/** Pieces whose content is kept: an engine asks one peer for the blocks of one piece, now and then of two. */
const keptContents = 2

/** Keeps what `content` returned last. */
const keepContents = (content: Options["content"]): Options["content"] => {
  const kept = new Map<number, Uint8Array>()
  return (piece) => {
    const known = kept.get(piece)
    if (known !== undefined) return known
    const made = content(piece)
    if (kept.size === keptContents) kept.delete(kept.keys().next().value!)
    kept.set(piece, made)
    return made
  }
}

/** A conversation that has not begun, the `number`-th of its peer. */
export const make = (
  options: Options,
  counters: Counters,
  environment: Pick<Session, "nowUnsafe" | "onNews"> & { readonly number: number }
): Session => {
  const behaviour = options.behaviour ?? {}
  return {
    options,
    behaviour,
    counters,
    random: Prng.fork(behaviour.seed ?? 1, environment.number),
    nowUnsafe: environment.nowUnsafe,
    onNews: environment.onNews,
    out: FrameEncoder.make(),
    has: typeof behaviour.announces === "object" ? Bitfield.make(options.geometry.pieceCount) : piecesOf(options),
    queue: [],
    contentOf: keepContents(options.content),
    metadata: options.info && ScriptedMetadata.make(options.info, behaviour.metadata),
    handshake: undefined,
    fast: false,
    interested: false,
    choking: true,
    paused: false,
    ended: false,
    answered: 0
  }
}

/** The pieces a peer has, or will have once it has announced all. */
export const piecesOf = ({ behaviour, geometry }: Options): Bitfield.Bitfield => {
  const pieces = behaviour?.pieces ?? "all"
  if (pieces === "all") return Bitfield.full(geometry.pieceCount)
  const has = Bitfield.make(geometry.pieceCount)
  for (const piece of pieces) if (PieceGeometry.isPieceIndex(geometry, piece)) Bitfield.add(has, piece)
  return has
}

// Messages from the other side.

/** The sink of a conversation. It ends the conversation, with a complaint, if the other side breaks the protocol. */
export const sink = (session: Session): Sink => {
  const handshake = Handshake.makeDecoder()
  const frames = FrameDecoder.make(frameSink(session))
  return (view) => {
    if (session.ended) return true
    try {
      let rest = view
      if (session.handshake === undefined) {
        rest = view.subarray(Handshake.push(handshake, view))
        session.handshake = Handshake.result(handshake)
        if (session.handshake !== undefined) meet(session, session.handshake)
      }
      if (rest.length > 0 && !session.ended) FrameDecoder.push(frames, rest)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      complain(session, error.why)
    }
    session.paused = session.queue.length >= queueLimit
    return !session.paused
  }
}

const complain = (session: Session, why: string): void => {
  if (session.counters.complaints.length < 100) session.counters.complaints.push(why)
  session.ended = true
  session.onNews()
}

const meet = (session: Session, theirs: Handshake.Handshake): void => {
  if (theirs.infoHash.some((byte, index) => byte !== session.options.infoHash[index])) {
    complain(session, "a handshake for another torrent")
    return
  }
  session.counters.handshakes++
  session.fast = session.behaviour.silent === undefined && features(session).fast && theirs.features.fast
  session.onNews()
}

const frameSink = (session: Session): FrameDecoder.FrameSink => {
  const { counters } = session
  return {
    ...FrameDecoder.ignoreAll,
    interested: () => {
      counters.interested++
      session.interested = true
      session.onNews()
    },
    notInterested: () => {
      session.interested = false
    },
    have: () => {
      counters.haves++
    },
    keepAlive: () => {
      counters.keepAlives++
    },
    pieceEnd: () => {
      counters.blocksReceived++
    },
    extended: (id, payload) => {
      const { behaviour, metadata, out } = session
      if (metadata === undefined || behaviour.silent !== undefined) return
      if (!ScriptedMetadata.receive(metadata, id, payload, behaviour.metadata, out)) return
      counters.metadataRequests++
      session.onNews()
    },
    request: (index, begin, length) => take(session, index, begin, length),
    cancel: (index, begin, length) => {
      counters.cancels++
      const at = session.queue.findIndex((one) => one.piece === index && one.begin === begin && one.length === length)
      if (at < 0) return
      session.queue.splice(at, 1)
      refuse(session, index, begin, length)
    }
  }
}

const take = (session: Session, index: number, begin: number, length: number): void => {
  const { counters, options, queue } = session
  counters.requests++
  const { geometry } = options
  const isBlock =
    PieceGeometry.isPieceIndex(geometry, index) &&
    length > 0 &&
    length <= FrameDecoder.defaults.maxBlockLength &&
    begin + length <= PieceGeometry.pieceSize(geometry, index)
  if (!isBlock || !Bitfield.has(session.has, index)) {
    counters.badRequests++
    refuse(session, index, begin, length)
  } else if (session.choking) {
    counters.chokedRequests++
    refuse(session, index, begin, length)
  } else {
    queue.push({ piece: index, begin, length, arrived: session.nowUnsafe() })
    counters.longestQueue = Math.max(counters.longestQueue, queue.length)
    session.onNews()
  }
}

/**
 * BEP 6: every request gets its block or a reject. Without BEP 6 a request that is not answered is simply forgotten.
 */
const refuse = (session: Session, index: number, begin: number, length: number): void => {
  if (!session.fast) return
  session.counters.rejects++
  FrameEncoder.reject(session.out, index, begin, length)
  session.onNews()
}

// Messages to the other side.

const features = ({ behaviour, metadata }: Session): Handshake.Features => ({
  ...Handshake.noFeatures,
  fast: true,
  extensionProtocol: metadata !== undefined,
  ...behaviour.features
})

/** The handshake, as the behaviour demands. */
export const handshake = (session: Session): Uint8Array => {
  const { behaviour, options } = session
  const infoHash = options.infoHash.slice() as InfoHash
  if (behaviour.wrongInfoHash) infoHash[19]! ^= 1
  const peerId = options.peerId ?? peerIdOf(behaviour.seed ?? 1)
  return Handshake.encode({ features: features(session), infoHash, peerId })
}

/** A peer id of the usual form (BEP 20), which differs by the seed. */
const peerIdOf = (seed: number): Uint8Array =>
  new TextEncoder().encode(`-SP0100-${(seed >>> 0).toString(36).padStart(12, "0")}`)

/** Offers the info dict, if both sides speak the extension protocol (BEP 10). */
export const offerMetadata = (session: Session): void => {
  const { handshake, metadata, out } = session
  if (metadata === undefined || !features(session).extensionProtocol) return
  if (handshake?.features.extensionProtocol) ScriptedMetadata.offer(metadata, out)
}

/** Announces what the peer has, the first message after the handshake (BEP 3, BEP 6). */
export const announce = (session: Session): void => {
  const { behaviour, fast, has, out } = session
  switch (behaviour.announces ?? "properly") {
    case "not at all":
      break
    case "bitfield":
      FrameEncoder.bitfield(out, has.bytes)
      break
    case "short bitfield":
      FrameEncoder.bitfield(out, has.bytes.subarray(1))
      break
    case "long bitfield":
      FrameEncoder.bitfield(out, Uint8Array.from([...has.bytes, 0]))
      break
    case "spare bit":
      FrameEncoder.bitfield(out, withSpareBit(has))
      break
    case "twice":
      FrameEncoder.bitfield(out, has.bytes)
      FrameEncoder.bitfield(out, has.bytes)
      break
    case "have out of range":
      FrameEncoder.bitfield(out, has.bytes)
      FrameEncoder.have(out, has.length)
      break
    default:
      if (fast && Bitfield.isFull(has)) FrameEncoder.haveAll(out)
      else if (fast && has.count === 0) FrameEncoder.haveNone(out)
      // Without BEP 6, a peer without pieces sends nothing (BEP 3).
      else if (has.count > 0) FrameEncoder.bitfield(out, has.bytes)
  }
}

/** A torrent whose pieces fill their last byte has no spare bit; then a byte too many breaks the same rule. */
const withSpareBit = (has: Bitfield.Bitfield): Uint8Array => {
  const bits = Uint8Array.from(has.length % 8 === 0 ? [...has.bytes, 0] : has.bytes)
  bits[bits.length - 1]! |= 1
  return bits
}

/** Gains a piece and announces it. */
export const gain = (session: Session, piece: number): void => {
  Bitfield.add(session.has, piece)
  FrameEncoder.have(session.out, piece)
}

/** Requests the first block of `count` pieces, again from the first piece if there are fewer. */
export const flood = (session: Session, count: number): void => {
  const { geometry } = session.options
  for (let turn = 0; turn < count; turn++) {
    const piece = PieceGeometry.pieceIndexUnsafe(geometry, turn % geometry.pieceCount)
    FrameEncoder.request(session.out, piece, 0, PieceGeometry.blockSize(PieceGeometry.pieceSize(geometry, piece), 0))
  }
}

/** Chokes: the requests that wait are released. */
export const choke = (session: Session): void => {
  session.choking = true
  FrameEncoder.choke(session.out)
  for (const { begin, length, piece } of session.queue.splice(0)) refuse(session, piece, begin, length)
}

/** Unchokes: requests are accepted from now on. */
export const unchoke = (session: Session): void => {
  session.choking = false
  FrameEncoder.unchoke(session.out)
}
