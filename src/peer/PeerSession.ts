/**
 * One connection to a peer, whoever began it, from the handshake to its end: the Effect shell around `PeerProtocol`.
 *
 * Bytes come in through the connection's sink and go straight to the protocol; after each batch the sink refills the
 * request pipeline and flushes what there is to say in one write. The fiber wakes once a piece, to borrow a buffer, and
 * where there is something to wait for: waking it for every batch cost a tenth of a second a GiB. Timers belong to the
 * swarm's one ticker. Ending the fiber releases everything.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Assembly from "../assembly/Assembly.ts"
import * as Requests from "../assembly/Requests.ts"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import type { Connection, ConnectionError } from "../transport/Transport.ts"
import * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import * as Handshake from "../wire/Handshake.ts"
import { WireError } from "../wire/WireError.ts"
import type { TorrentExtensions } from "./PeerExtensions.ts"
import * as PeerExtensions from "./PeerExtensions.ts"
import { PeerDropped } from "./PeerPatience.ts"
import * as PeerProtocol from "./PeerProtocol.ts"
import type * as Upload from "./Upload.ts"
import * as UploadSession from "./UploadSession.ts"

/** How long a peer may take for the 68 bytes of its handshake. */
export const handshakeTimeout = "10 seconds"

/** The other end of the connection is this very client. */
export class SelfConnection extends Data.TaggedError("SelfConnection")<{}> {
  readonly why = "it is this client itself"
  override get message() {
    return this.why
  }
}

/** What ends a session. `why` is the end of a sentence. */
export type SessionError = ConnectionError | WireError | PeerDropped | SelfConnection

/** A session whose handshake is done. */
export interface PeerSession {
  readonly protocol: PeerProtocol.PeerProtocol
  /** What the peer calls itself, 20 bytes. */
  readonly peerId: Uint8Array
  /** The peer, as we see it. */
  readonly remote: PeerAddress
  /** Whether the peer began the connection. */
  readonly isIncoming: boolean
  /** Ends the session; nothing more is read from the peer. */
  readonly failUnsafe: (error: SessionError) => void
}

/** What a session is made of. */
export interface Options {
  readonly connection: Connection
  readonly assembly: Assembly.Assembly
  readonly upload: Upload.Upload
  readonly limits?: PeerProtocol.Options["limits"]
  /** Where the peer is told of one piece at a time. */
  readonly offer?: PeerProtocol.Offer | undefined
  /** Pieces that the peer may have although we choke it (BEP 6). */
  readonly allowedFast?: PeerProtocol.Options["allowedFast"]
  /** What peers are told and asked beside the pieces (BEP 10); absent: nothing. */
  readonly extensions?: TorrentExtensions | undefined
  /** The number of the peer's address. */
  readonly id: SupplierId
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  /** Whether the peer began the connection. */
  readonly isIncoming: boolean
  /** Called once, when the handshake is done; what it returns ends the session. */
  readonly onOpen: (session: PeerSession) => SessionError | undefined
  /** The peer's interest has changed; called in the middle of what others do. */
  readonly onInterest: () => void
}

/** Whether what was thrown ends a session; anything else is a bug of ours. */
export const isSessionError = (error: unknown): error is SessionError =>
  error instanceof WireError || error instanceof PeerDropped || error instanceof SelfConnection

/** Throws where the other end is of no use: another torrent, or ourselves. */
export const checkHandshake = (
  theirs: Handshake.Handshake,
  ours: { readonly infoHash: InfoHash; readonly peerId: PeerId }
): void => {
  if (!Bytes.equals(theirs.infoHash, ours.infoHash)) throw new PeerDropped({ why: "it serves another torrent" })
  if (Bytes.equals(theirs.peerId, ours.peerId)) throw new SelfConnection()
}

/** Fails where `opened` does not complete in time, and goes on for ever where it does. */
export const shakeHands = (opened: Effect.Effect<unknown>): Effect.Effect<never, PeerDropped> =>
  opened.pipe(
    Effect.timeoutOrElse({
      duration: handshakeTimeout,
      orElse: () => Effect.fail(new PeerDropped({ why: "no handshake within 10 seconds" }))
    }),
    Effect.andThen(Effect.never)
  )

/** Opening a latch runs its fiber at once, which must not happen in the middle of what somebody else does. */
const openSoon = (latch: Latch.Latch) => {
  let isOpening = false
  return (): void => {
    if (isOpening) return
    isOpening = true
    queueMicrotask(() => {
      isOpening = false
      Latch.openUnsafe(latch)
    })
  }
}

/**
 * Runs a session on an open connection until the peer goes away (success) or the session fails. When it ends, its
 * requests are free for others.
 */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { connection, assembly, extensions, upload } = options
  const { remote } = connection
  const ourFeatures: Handshake.Features = {
    ...Handshake.noFeatures,
    fast: true,
    extensionProtocol: extensions !== undefined
  }
  const clock = yield* Clock.Clock
  const failed = yield* Deferred.make<never, SessionError>()
  const opened = yield* Deferred.make<PeerProtocol.PeerProtocol>()
  const awake = Latch.makeUnsafe(false)
  const requested = Latch.makeUnsafe(false)
  const handshake = Handshake.makeDecoder()
  let protocol: PeerProtocol.PeerProtocol | undefined
  // A connection may deliver after its session has ended, until its scope closes: nothing must join the assembly then.
  let isOver = false

  const wakeSoon = openSoon(awake)

  const failUnsafe = (error: SessionError): void => {
    isOver = true
    if (protocol !== undefined) FrameDecoder.stop(protocol.decoder)
    Deferred.doneUnsafe(failed, Effect.fail(error))
  }

  /** Begins the protocol where the peer's handshake is right. */
  const open = (theirs: Handshake.Handshake, now: number): PeerProtocol.PeerProtocol => {
    checkHandshake(theirs, options)
    const common = Handshake.common(ourFeatures, theirs.features)
    const opening = PeerProtocol.make({
      assembly,
      upload,
      limits: options.limits,
      offer: options.offer,
      allowedFast: options.allowedFast,
      id: options.id,
      isFast: common.fast,
      extensions: extensions && common.extensionProtocol ? { torrent: extensions, remote } : undefined,
      wake: wakeSoon,
      serve: openSoon(requested),
      interestChanged: options.onInterest,
      now
    })
    protocol = opening
    const refusal = options.onOpen({
      protocol: opening,
      peerId: theirs.peerId,
      remote,
      isIncoming: options.isIncoming,
      failUnsafe
    })
    if (refusal !== undefined) throw refusal
    Deferred.doneUnsafe(opened, Effect.succeed(opening))
    return opening
  }

  const receive = (view: Uint8Array): void => {
    const now = Monotonic.nowUnsafe(clock)
    if (protocol !== undefined) return PeerProtocol.receive(protocol, view, now)
    const taken = Handshake.push(handshake, view)
    const theirs = Handshake.result(handshake)
    if (theirs === undefined) return
    // Who dialled must see our handshake to know it dialled itself; it then hangs up, or the handshake takes too long.
    if (options.isIncoming && Bytes.equals(theirs.peerId, options.peerId)) {
      isOver = true
      return
    }
    PeerProtocol.receive(open(theirs, now), view.subarray(taken), now)
  }

  const sink = (view: Uint8Array): boolean => {
    if (isOver) return true
    try {
      receive(view)
      // Before this returns: the pipeline is full again before any piece these bytes completed is hashed.
      if (protocol !== undefined && !takeTurn(protocol)) Latch.openUnsafe(awake)
    } catch (error) {
      if (!isSessionError(error)) throw error
      failUnsafe(error)
    }
    return true
  }

  /** Sends what there is to say; `false` when the connection wants a pause afterwards. */
  const flush = (protocol: PeerProtocol.PeerProtocol, now: number): boolean => {
    if (protocol.pipeline.requests.size === 0) PeerProtocol.updateInterest(protocol)
    if (FrameEncoder.isEmpty(protocol.outbox)) return true
    protocol.lastSent = now
    const isRoomy = connection.writeUnsafe(FrameEncoder.take(protocol.outbox))
    if (!isRoomy) {
      protocol.patience.blockedSince = now
      RequestPipeline.rest(protocol.pipeline)
    }
    if (protocol.extensions !== undefined) {
      PeerExtensions.giveMetadata(protocol.extensions)
      if (!FrameEncoder.isEmpty(protocol.outbox)) wakeSoon()
    }
    return isRoomy
  }

  /** Refills the pipeline and sends, as far as that needs no fiber; else `false`, and the fiber does the rest. */
  const takeTurn = (protocol: PeerProtocol.PeerProtocol): boolean => {
    if (protocol.patience.blockedSince !== undefined) return true
    const now = Monotonic.nowUnsafe(clock)
    return Requests.refill(assembly, protocol, now) === undefined && flush(protocol, now)
  }

  /** What a turn cannot do without a fiber: borrow a buffer for a new piece, and wait for room to write. */
  const talk = Effect.gen(function* () {
    while (true) {
      yield* awake.await
      Latch.closeUnsafe(awake)
      if (protocol === undefined) continue
      if (protocol.patience.blockedSince === undefined) {
        let piece = Requests.refill(assembly, protocol, Monotonic.nowUnsafe(clock))
        while (piece !== undefined && (yield* Requests.begin(assembly, protocol, piece)) !== undefined) {
          piece = Requests.refill(assembly, protocol, Monotonic.nowUnsafe(clock))
        }
        if (flush(protocol, Monotonic.nowUnsafe(clock))) continue
      }
      yield* connection.drained
      protocol.patience.blockedSince = undefined
      Latch.openUnsafe(awake)
    }
  })

  const serve = Effect.flatMap(Deferred.await(opened), (protocol) => UploadSession.run(connection, protocol, requested))

  return yield* Effect.suspend(() => {
    connection.writeUnsafe(
      Handshake.encode({ features: ourFeatures, infoHash: options.infoHash, peerId: options.peerId })
    )
    connection.receiveUnsafe(sink)
    return Effect.raceAllFirst([
      connection.closed,
      Deferred.await(failed),
      shakeHands(Deferred.await(opened)),
      talk,
      serve
    ])
  }).pipe(
    Effect.ensuring(
      Effect.suspend(() => {
        isOver = true
        return protocol === undefined ? Effect.void : PeerProtocol.close(protocol)
      })
    )
  )
})
