/**
 * Every kind of message that a peer may repeat without end, to measure what a byte of each costs us. The peer has
 * nothing of interest unless its greeting says so, and after each message the session takes its turn, as if each came
 * in a segment of its own.
 */
import * as Effect from "effect/Effect"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Bencode from "../../src/bencode/Bencode.ts"
import * as PeerPieces from "../../src/peer/PeerPieces.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { connect, makeAssembly } from "./protocols.ts"

type Write = (encoder: FrameEncoder.FrameEncoder, turn: number, pieceCount: number) => void

/** A kind of message. */
export interface Kind {
  readonly name: string
  /** What the peer says first. */
  readonly greeting: Write
  readonly write: Write
}

const extended = (encoder: FrameEncoder.FrameEncoder, id: number, payload: Uint8Array) =>
  FrameEncoder.extended(encoder, id, payload)

const u32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)

/** The id under which we take `lt_donthave`. */
const dontHave: Write = (encoder) => extended(encoder, 3, u32(7))

const nothing: Write = (encoder) => {
  FrameEncoder.haveNone(encoder)
  FrameEncoder.unchoke(encoder)
}

/** A peer with one piece that we have too. */
const stored: Write = (encoder) => {
  nothing(encoder, 0, 0)
  FrameEncoder.have(encoder, 2)
}

const everything: Write = (encoder) => FrameEncoder.haveAll(encoder)

/** A peer that has lost a piece of all that it had. */
const nearlyEverything: Write = (encoder) => {
  FrameEncoder.haveAll(encoder)
  dontHave(encoder, 0, 0)
}

const handshake = (fields: Record<string, unknown>) => Bencode.encode(fields as Parameters<typeof Bencode.encode>[0])
const shortHandshake = handshake({ m: { ut_pex: 1 }, yourip: Uint8Array.of(203, 0, 113, 7) })
const longHandshake = handshake({ m: Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`x${at}`, 1])) })
const pex = handshake({ added: new Uint8Array(600).fill(77), "added.f": new Uint8Array(100) })

/** Bits of which every second one is set. */
const halfOf = (pieceCount: number): Uint8Array => {
  const bits = Bitfield.make(pieceCount)
  for (let index = 0; index < pieceCount; index += 2) Bitfield.add(bits, index)
  return bits.bytes
}

export const kinds: ReadonlyArray<Kind> = [
  { name: "keep-alive", greeting: stored, write: (encoder) => FrameEncoder.keepAlive(encoder) },
  {
    name: "choke, unchoke",
    greeting: stored,
    write: (encoder, turn) => (turn % 2 === 0 ? FrameEncoder.choke(encoder) : FrameEncoder.unchoke(encoder))
  },
  {
    name: "interested, not interested",
    greeting: stored,
    write: (encoder, turn) => (turn % 2 === 0 ? FrameEncoder.interested(encoder) : FrameEncoder.notInterested(encoder))
  },
  { name: "have, repeated", greeting: nothing, write: (encoder) => FrameEncoder.have(encoder, 2) },
  {
    name: "have of stored pieces",
    greeting: nothing,
    write: (encoder, turn, pieceCount) => FrameEncoder.have(encoder, (2 * turn) % pieceCount)
  },
  {
    name: "have of missing pieces",
    greeting: (encoder) => FrameEncoder.haveNone(encoder),
    write: (encoder, turn, pieceCount) => FrameEncoder.have(encoder, (2 * turn + 1) % pieceCount)
  },
  { name: "have all, repeated", greeting: everything, write: (encoder) => FrameEncoder.haveAll(encoder) },
  {
    name: "don't have, have all",
    greeting: nearlyEverything,
    write: (encoder, turn) => (turn % 2 === 0 ? FrameEncoder.haveAll(encoder) : dontHave(encoder, 0, 0))
  },
  {
    name: "don't have, have of a missing piece",
    greeting: nearlyEverything,
    write: (encoder, turn) => (turn % 2 === 0 ? FrameEncoder.have(encoder, 7) : dontHave(encoder, 0, 0))
  },
  {
    name: "don't have, have of the only piece",
    greeting: nothing,
    write: (encoder, turn) => (turn % 2 === 0 ? FrameEncoder.have(encoder, 7) : dontHave(encoder, 0, 0))
  },
  {
    name: "bitfield, repeated",
    greeting: (encoder, _, pieceCount) => FrameEncoder.bitfield(encoder, halfOf(pieceCount)),
    write: (encoder, _, pieceCount) => FrameEncoder.bitfield(encoder, halfOf(pieceCount))
  },
  {
    name: "bitfield, full and repeated",
    greeting: everything,
    write: (encoder, _, pieceCount) => FrameEncoder.bitfield(encoder, Bitfield.full(pieceCount).bytes)
  },
  { name: "cancel", greeting: stored, write: (encoder) => FrameEncoder.cancel(encoder, 1, 0, 16_384) },
  { name: "port", greeting: stored, write: (encoder) => FrameEncoder.port(encoder, 6_881) },
  { name: "suggest", greeting: stored, write: (encoder) => FrameEncoder.suggest(encoder, 1) },
  {
    name: "allowed fast",
    greeting: stored,
    write: (encoder, turn, pieceCount) => FrameEncoder.allowedFast(encoder, turn % pieceCount)
  },
  { name: "extension handshake", greeting: stored, write: (encoder) => extended(encoder, 0, shortHandshake) },
  {
    name: "extension handshake of 1,000 names",
    greeting: stored,
    write: (encoder) => extended(encoder, 0, longHandshake)
  },
  { name: "peer exchange", greeting: stored, write: (encoder) => extended(encoder, 2, pex) },
  {
    name: "upload only",
    greeting: stored,
    write: (encoder, turn) => extended(encoder, 4, Uint8Array.of(turn % 2))
  }
]

/**
 * Returns a function that has the peer send about `bytes` bytes of the kind, and returns the nanoseconds that a byte of
 * them took: the best of `runs`. Every second piece of the torrent is stored, the even ones.
 */
export const cost = Effect.fnUntraced(function* (kind: Kind, pieceCount: number, bytes: number, runs: number) {
  const protocol = connect(
    yield* makeAssembly({
      geometry: PieceGeometry.make({ totalLength: pieceCount * 16_384, pieceLength: 16_384 }),
      stored: Array.from({ length: Math.ceil(pieceCount / 2) }, (_, at) => 2 * at)
    }),
    1,
    {
      extensions: {
        remote: { host: "203.0.113.9", port: 1 },
        torrent: {
          info: new Uint8Array(10),
          isPrivate: false,
          prefersEncryption: true,
          isUploadOnly: () => false,
          port: () => undefined,
          contacts: () => [],
          contactsVersion: () => 0,
          portChanged: () => {},
          seenAs: () => {},
          found: () => {}
        }
      }
    }
  )
  const encoder = FrameEncoder.make()
  kind.greeting(encoder, 0, pieceCount)
  PeerProtocol.receive(protocol, FrameEncoder.take(encoder), 1)
  FrameEncoder.clear(protocol.outbox)
  let turn = 0
  let best = Number.POSITIVE_INFINITY
  for (let run = 0; run < runs; run++) {
    const messages: Array<Uint8Array> = []
    for (let length = 0; length < bytes || messages.length % 2 === 1; ) {
      kind.write(encoder, turn++, pieceCount)
      const message = FrameEncoder.take(encoder).slice()
      messages.push(message)
      length += message.length
    }
    const sent = messages.reduce((sum, message) => sum + message.length, 0)
    const start = performance.now()
    for (const message of messages) {
      PeerProtocol.receive(protocol, message, 2)
      Requests.refill(protocol.assembly, protocol, 2)
      if (protocol.pipeline.requests.size === 0) PeerPieces.updateInterest(protocol)
      FrameEncoder.clear(protocol.outbox)
    }
    best = Math.min(best, ((performance.now() - start) * 1e6) / sent)
  }
  return best
})
