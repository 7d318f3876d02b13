/**
 * Turns a raw connection into a known peer: encryption, one handshake each way (BEP 3), the peer's identity and its
 * torrent. Nothing else in the engine sends or decodes a handshake, whatever the connection is for.
 *
 * For a connection that we opened, we know the torrent, so the introduction is one step. A peer that connected to us
 * names its torrent first: `accepted` reads that, and the torrent that it asks for calls `answer`, or closes the
 * connection without a reply.
 *
 * Leaves to others how many connections there may be (`Places.ts`), which peers are welcome (`swarm/`), and
 * what is exchanged after the handshake (`peer/`).
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { Connection, ConnectionError } from "../network/Transport.ts"
import * as Handshake from "../wire/Handshake.ts"
import type { WireError } from "../wire/WireError.ts"
import type { Way } from "./Encryption.ts"
import * as Encryption from "./Encryption.ts"
import { NotIntroduced } from "./NotIntroduced.ts"
import * as Preamble from "./Preamble.ts"

/** How long encryption and handshake may take together after the connection has opened. */
export const timeout = "10 seconds"

/** Our identity for the peers of one torrent. */
export interface Ourselves {
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  /** The extensions that we support beyond BEP 3. */
  readonly features: Handshake.Features
}

/** A peer that connected to us and named its torrent. We have sent it nothing yet. */
export interface Caller {
  /** Delivers the bytes that follow the handshake. */
  readonly connection: Connection
  readonly handshake: Handshake.Handshake
}

/** A peer with which the handshake is complete. */
export interface Introduced {
  /** Delivers the bytes that follow the handshake. Those that were read with the handshake come first. */
  readonly connection: Connection
  readonly infoHash: InfoHash
  /** The peer's id, 20 bytes. */
  readonly peerId: Uint8Array
  /** The extensions that both sides support beyond BEP 3. */
  readonly features: Handshake.Features
  /** Whether the peer opened the connection. */
  readonly isIncoming: boolean
}

/** The other end of the connection is this client. */
export class SelfConnection extends Data.TaggedError("SelfConnection")<{}> {
  readonly why = "it is this client itself"
  override get message() {
    return this.why
  }
}

/** Why a connection did not become a known peer. */
export type IntroductionError = ConnectionError | WireError | NotIntroduced | SelfConnection

/** Introduces us on a connection that we opened for a torrent, which begins in one of the ways that there are. */
export const dialled = Effect.fnUntraced(function* (
  connection: Connection,
  ourselves: Ourselves,
  way: Way = "plain"
): Effect.fn.Return<Introduced, IntroductionError, Scope.Scope> {
  const { infoHash } = ourselves
  const encryption = yield* Encryption.current
  const peer = yield* readHandshake(
    yield* encryption.dialled(connection, { infoHash, way, handshake: Handshake.encode(ourselves) })
  )
  if (!Bytes.equals(peer.handshake.infoHash, ourselves.infoHash)) {
    return yield* new NotIntroduced({ reason: "other torrent" })
  }
  if (isOurselves(peer, ourselves)) return yield* new SelfConnection()
  return introduced(peer, ourselves, false)
}, inTime)

/** Reads which torrent a peer that connected to us asks for. */
export const accepted = Effect.fnUntraced(function* (
  connection: Connection
): Effect.fn.Return<Caller, IntroductionError, Scope.Scope> {
  return yield* readHandshake(yield* (yield* Encryption.current).accepted(connection))
}, inTime)

/** Introduces us to a peer that asked for our torrent. */
export const answer = Effect.fnUntraced(function* (
  caller: Caller,
  ourselves: Ourselves
): Effect.fn.Return<Introduced, IntroductionError> {
  caller.connection.writeUnsafe(Handshake.encode(ourselves))
  if (!isOurselves(caller, ourselves)) return introduced(caller, ourselves, true)
  // The dialling end is this client too, and learns that from our handshake. So we let it close the connection.
  caller.connection.receiveUnsafe(() => true)
  return yield* inTime(Preamble.gone(caller.connection))
})

const isOurselves = ({ handshake }: Caller, { peerId }: Ourselves): boolean => Bytes.equals(handshake.peerId, peerId)

const introduced = ({ connection, handshake }: Caller, ourselves: Ourselves, isIncoming: boolean): Introduced => ({
  connection,
  infoHash: handshake.infoHash,
  peerId: handshake.peerId,
  features: Handshake.common(ourselves.features, handshake.features),
  isIncoming
})

function inTime<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | NotIntroduced, R> {
  return Effect.timeoutOrElse(effect, {
    duration: timeout,
    orElse: () => Effect.fail(new NotIntroduced({ reason: "late" }))
  })
}

/** Reads the peer's handshake. */
const readHandshake = Effect.fnUntraced(function* (connection: Connection) {
  const decoder = Handshake.makeDecoder()
  const { connection: behind, value } = yield* Preamble.read(connection, (view) => {
    const taken = Handshake.push(decoder, view)
    const handshake = Handshake.result(decoder)
    return handshake && { value: handshake, rest: view.slice(taken) }
  })
  const peer: Caller = { connection: behind, handshake: value }
  return peer
})
