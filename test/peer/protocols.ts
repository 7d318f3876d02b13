/**
 * Connections without a network: an assembly, protocols that join it, and peers that say what a test wants. What a
 * protocol says is read from its outbox as messages.
 */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import type { Offer } from "../../src/peer/Offer.ts"
import * as PeerPieces from "../../src/peer/PeerPieces.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as WireMessage from "../../src/testing/WireMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import * as Uploads from "./uploads.ts"

export const block = PieceGeometry.blockLength

/** Four pieces of four blocks; the last block is 100 bytes short. */
export const geometry = PieceGeometry.make({ totalLength: 16 * block - 100, pieceLength: 4 * block })

/** The right bytes of a block. */
export const bytesOf = (piece: number, index: number): Uint8Array => {
  const size = PieceGeometry.pieceSize(geometry, piece as PieceIndex)
  const bytes = new Uint8Array(PieceGeometry.blockSize(size, index))
  KnownTorrent.fill(bytes, piece * geometry.pieceLength + index * block, 1)
  return bytes
}

/** An assembly of `geometry`, or of `options.geometry`, with these pieces stored. */
export const makeAssembly = (
  options: {
    readonly geometry?: PieceGeometry.PieceGeometry | undefined
    readonly stored?: ReadonlyArray<number> | undefined
    readonly maxActivePieces?: number | undefined
  } = {}
) => {
  const stored = Bitfield.make((options.geometry ?? geometry).pieceCount)
  for (const piece of options.stored ?? []) Bitfield.add(stored, piece)
  return Assembly.make({
    geometry: options.geometry ?? geometry,
    stored,
    random: Prng.make(1),
    maxActivePieces: options.maxActivePieces
  }).pipe(Effect.provide(BufferBudget.layer()))
}

/** Takes what the protocol says from its outbox, as messages. */
export const heard = (protocol: PeerProtocol.PeerProtocol): ReadonlyArray<WireMessage.WireMessage> => {
  const messages: Array<WireMessage.WireMessage> = []
  FrameDecoder.push(
    FrameDecoder.make(WireMessage.sink((message) => messages.push(message))),
    FrameEncoder.take(protocol.outbox)
  )
  return messages
}

/** A test in a scope of its own. */
export const test = (name: string, body: () => Generator<Effect.Effect<unknown, unknown, Scope.Scope>, void, never>) =>
  it.effect(name, () => Effect.gen(body))

export const tags = (messages: ReadonlyArray<WireMessage.WireMessage>) => messages.map((message) => message._tag)

/** The requested blocks, as `piece:block`. */
export const asked = (messages: ReadonlyArray<WireMessage.WireMessage>): ReadonlyArray<string> =>
  messages.flatMap((message) => (message._tag === "Request" ? [`${message.index}:${message.begin / block}`] : []))

/** The right answer to a request, or the block itself. */
export const piece = (index: number, at: number, bytes = bytesOf(index, at)): WireMessage.WireMessage => ({
  _tag: "Piece",
  index,
  begin: at * block,
  block: bytes
})

/** A super-seed that has offered nothing. */
export const offersNothing: Offer = {
  isOffered: () => false,
  gained: () => {},
  gainedEverything: () => {},
  sent: () => {}
}

/**
 * A protocol that joined an assembly, and how often it asked to be woken, to serve, and to have uploads chosen anew.
 */
export const connect = (
  assembly: Assembly.Assembly,
  key: number,
  options: {
    readonly isFast?: boolean | undefined
    readonly now?: number | undefined
    readonly upload?: Uploads.TestUpload | undefined
    readonly limits?: PeerProtocol.Options["limits"]
    readonly offer?: Offer | undefined
    readonly allowedFast?: ReadonlyArray<number> | undefined
    readonly extensions?: PeerProtocol.ExtensionOptions | undefined
  } = {}
) => {
  const woken = { times: 0, served: 0, chosen: 0, onServe: () => {} }
  const protocol = PeerProtocol.make({
    assembly,
    upload: options.upload ?? Uploads.make(assembly.geometry),
    limits: options.limits,
    offer: options.offer,
    allowedFast: options.allowedFast as ReadonlyArray<PieceIndex> | undefined,
    extensions: options.extensions,
    id: idOf(key),
    isFast: options.isFast ?? true,
    wake: () => {
      woken.times++
    },
    serve: () => {
      woken.served++
      woken.onServe()
    },
    interestChanged: () => {
      woken.chosen++
    },
    now: options.now ?? 0
  })
  return Object.assign(protocol, { woken })
}

/** The peer sends these messages, at `now`. */
export const say = (
  protocol: PeerProtocol.PeerProtocol,
  messages: ReadonlyArray<WireMessage.WireMessage>,
  now = protocol.now
): void => PeerProtocol.receive(protocol, WireMessage.encodeAll(messages), now)

/** What a session does once a batch: fills the pipeline, borrowing buffers for new pieces. */
export const refill = Effect.fnUntraced(function* (protocol: PeerProtocol.PeerProtocol, now = protocol.now) {
  Requests.refill(protocol.assembly, protocol, now)
  if (protocol.pipeline.requests.size === 0) PeerPieces.updateInterest(protocol)
})

/** A seed that has unchoked us and gets as many requests as its pipeline holds; returns these in order. */
export const unchoked = Effect.fnUntraced(function* (
  assembly: Assembly.Assembly,
  key: number,
  options: Pick<NonNullable<Parameters<typeof connect>[2]>, "isFast" | "limits" | "now"> = {}
) {
  const protocol = connect(assembly, key, options)
  const all: WireMessage.WireMessage =
    options.isFast === false
      ? { _tag: "Bitfield", bits: Bitfield.full(assembly.geometry.pieceCount).bytes }
      : { _tag: "HaveAll" }
  say(protocol, [all, { _tag: "Unchoke" }])
  yield* refill(protocol)
  return protocol
})

/** How `run` ended: the tag of what it threw and the reason, or `undefined`. */
export const failureOf = (run: () => void): { readonly _tag: string; readonly why: string } | undefined => {
  try {
    run()
    return undefined
  } catch (error) {
    const { _tag, why } = error as { readonly _tag: string; readonly why: string }
    return { _tag, why }
  }
}

/** Requests that are out, as the pieces count them; equal to what the pipelines hold when nothing leaks. */
export const requestsCounted = (assembly: Assembly.Assembly): number => {
  let count = 0
  for (const { buffer } of assembly.pool.loans.values()) for (const out of buffer.requests) count += out
  return count
}

/** Blocks that some peer claims to be writing into. */
export const writersClaimed = (assembly: Assembly.Assembly): number => {
  let count = 0
  for (const { buffer } of assembly.pool.loans.values()) {
    for (const writer of buffer.writers) if (writer !== PieceBuffer.nobody) count++
  }
  return count
}

/** Everything an assembly knows that the bytes of a connection can change, to be compared. */
export const stateOf = (protocol: PeerProtocol.PeerProtocol) => {
  const { assembly } = protocol
  return {
    has: protocol.has,
    flags: [protocol.amInterested, protocol.peerChoking, protocol.peerInterested, protocol.hasReportedPieces],
    counts: [
      protocol.patience.unaskedBlocks,
      protocol.patience.wrongRequests,
      protocol.uploads.waiting,
      protocol.uploads.refused,
      protocol.patience.rejects,
      protocol.downloadedBytes
    ],
    refused: [...protocol.refused.resting],
    cancelled: [...protocol.cancelled.blocks],
    outbox: protocol.outbox.buffer.slice(0, protocol.outbox.length),
    requests: [...protocol.pipeline.requests.keys()],
    wasted: assembly.wastedBytes,
    table: { ...assembly.table.counts },
    buffers: Array.from(assembly.pool.loans.values(), ({ buffer }) => ({
      piece: buffer.piece,
      bytes: Array.from({ length: buffer.blockCount }, (_, at) =>
        Bitfield.has(buffer.received, at) ? PieceBuffer.blockBytes(buffer, at).slice() : undefined
      ),
      requests: buffer.requests.slice(),
      contributors: buffer.contributors.slice(),
      freeBlocks: buffer.freeBlocks
    }))
  }
}
