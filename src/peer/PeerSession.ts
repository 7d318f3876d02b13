/**
 * One session with a peer that was introduced, until it ends: the Effect shell around `PeerProtocol`.
 *
 * Bytes come in through the connection's sink and go straight to the protocol. After each chunk the sink refills the
 * request pipeline, if it is low, and sends the outbox in one write. So does a task after somebody woke the session.
 * Its fibers wait for room to write, serve what the peer requests (`UploadSession.ts`), and wait for the end, which
 * releases everything. The swarm's one ticker keeps the timers.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Scheduler from "effect/Scheduler"
import type * as Assembly from "../assembly/Assembly.ts"
import * as Requests from "../assembly/Requests.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Introduced } from "../connect/Introduction.ts"
import type { ConnectionError } from "../network/Transport.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import * as Handshake from "../wire/Handshake.ts"
import { WireError } from "../wire/WireError.ts"
import * as DhtContact from "./DhtContact.ts"
import { NotAdmitted } from "./NotAdmitted.ts"
import type { Offer } from "./Offer.ts"
import type { TorrentExtensions } from "./PeerExtensions.ts"
import * as PeerExtensions from "./PeerExtensions.ts"
import { PeerDropped } from "./PeerPatience.ts"
import * as PeerPieces from "./PeerPieces.ts"
import * as PeerProtocol from "./PeerProtocol.ts"
import type * as Upload from "./Upload.ts"
import * as UploadSession from "./UploadSession.ts"

/** What we support beyond BEP 3 when we exchange pieces. */
export const features: Handshake.Features = { ...Handshake.noFeatures, fast: true, extensionProtocol: true }

/** What a session fails with. `why` is the end of a sentence. */
export type SessionError = ConnectionError | WireError | PeerDropped | NotAdmitted

/** A session that has begun. */
export interface PeerSession {
  readonly protocol: PeerProtocol.PeerProtocol
  /** What the peer calls itself, 20 bytes. */
  readonly peerId: Uint8Array
  /** The peer's address, as we see it. */
  readonly remote: PeerAddress
  /** Whether the peer opened the connection. */
  readonly isIncoming: boolean
  /** Whether the connection is encrypted. */
  readonly isEncrypted: boolean
  /** Whether its handshake was, even if what follows is not. */
  readonly canEncrypt: boolean
  /** Whether the peer prefers encrypted connections: as it says, or else if its handshake was encrypted. */
  readonly prefersEncryption: () => boolean
  /** When the session began, in milliseconds. */
  readonly openedAt: number
  /** The name and version that the peer gives itself (BEP 10 `v`), once it has. */
  readonly client: () => string | undefined
  /** Ends the session; nothing more is read from the peer. */
  readonly failUnsafe: (error: SessionError) => void
}

/** What a session is made of. */
export interface Options {
  readonly introduced: Introduced
  readonly assembly: Assembly.Assembly
  readonly upload: Upload.Upload
  readonly limits?: PeerProtocol.Options["limits"]
  /** Present if the peer is offered a few pieces at a time (BEP 16). */
  readonly offer?: Offer | undefined
  /** Pieces that the peer may request although we choke it (BEP 6). */
  readonly allowedFast?: PeerProtocol.Options["allowedFast"]
  /** What the extension protocol needs (BEP 10); absent: it is not spoken. */
  readonly extensions?: TorrentExtensions | undefined
  /** Our node of the DHT (BEP 5); absent: there is none. */
  readonly dht?: DhtContact.OurNode | undefined
  readonly requestSeconds?: PeerProtocol.Options["requestSeconds"]
  /** The number of the peer's address. */
  readonly id: SupplierId
  /** Called once, before anything is read; what it returns ends the session. */
  readonly onOpen: (session: PeerSession) => SessionError | undefined
  /** The peer's interest has changed; called in the middle of what others do. */
  readonly onInterest: () => void
  /** Runs the turns of woken sessions. Sessions that are woken together share one; default: one of its own. */
  readonly turns?: Scheduler.SchedulerDispatcher | undefined
}

/** Whether what was thrown is a failure of the session; anything else is a bug of ours. */
export const isSessionError = (error: unknown): error is SessionError =>
  error instanceof WireError || error instanceof PeerDropped || error instanceof NotAdmitted

/** Runs a session until the peer closes it (success) or it fails. When it ends, its requests are free for others. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { assembly, extensions, introduced, upload } = options
  const { connection, features, isIncoming, peerId } = introduced
  const { remote } = connection
  const clock = yield* Clock.Clock
  const failed = yield* Deferred.make<never, SessionError>()
  const turns = options.turns ?? (yield* Scheduler.Scheduler).makeDispatcher()
  const blocked = Latch.makeUnsafe(false)
  const requested = Latch.makeUnsafe(false)
  // A connection may deliver after its session has ended, until its scope closes.
  let isOver = false
  let isDue = false
  let takeDueTurn = (): void => {}

  // Whoever wakes a session is in the middle of something else, often of reading from another peer. A returned buffer
  // wakes every session that could use it, so this is a task and no fiber.
  const wake = (): void => {
    if (isDue) return
    isDue = true
    turns.scheduleTask(due, 0)
  }
  const due = (): void => {
    isDue = false
    if (!isOver) takeDueTurn()
  }

  const begin = Effect.sync(() =>
    PeerProtocol.make({
      assembly,
      upload,
      limits: options.limits,
      offer: options.offer,
      allowedFast: options.allowedFast,
      id: options.id,
      isFast: features.fast,
      extensions: extensions && features.extensionProtocol ? { torrent: extensions, remote } : undefined,
      dht: options.dht && features.dht ? DhtContact.make(options.dht, remote) : undefined,
      wake,
      serve: () => void Latch.openUnsafe(requested),
      interestChanged: options.onInterest,
      requestSeconds: options.requestSeconds,
      now: Monotonic.nowUnsafe(clock)
    })
  )

  /** Sends the outbox; `false` if the connection wants a pause afterwards. */
  const flush = (protocol: PeerProtocol.PeerProtocol, now: number): boolean => {
    if (protocol.pipeline.requests.size === 0) PeerPieces.updateInterest(protocol)
    if (FrameEncoder.isEmpty(protocol.outbox)) return true
    protocol.lastSent = now
    const isRoomy = connection.writeUnsafe(FrameEncoder.take(protocol.outbox))
    if (!isRoomy) {
      protocol.patience.blockedSince = now
      RequestPipeline.rest(protocol.pipeline)
    }
    if (protocol.extensions !== undefined) {
      PeerExtensions.sendMetadata(protocol.extensions)
      if (!FrameEncoder.isEmpty(protocol.outbox)) wake()
    }
    return isRoomy
  }

  /** Refills the pipeline and sends, unless the connection has no room. */
  const takeTurn = (protocol: PeerProtocol.PeerProtocol, now = Monotonic.nowUnsafe(clock)): void => {
    if (protocol.patience.blockedSince !== undefined) return
    Requests.refill(assembly, protocol, now)
    if (!flush(protocol, now)) Latch.openUnsafe(blocked)
  }

  /** Waits until the connection has room again, each time that it has none, and goes on then. */
  const untilRoomy = Effect.fnUntraced(function* (protocol: PeerProtocol.PeerProtocol) {
    while (true) {
      yield* blocked.await
      Latch.closeUnsafe(blocked)
      yield* connection.drained
      protocol.patience.blockedSince = undefined
      takeTurn(protocol)
    }
  })

  const converse = (protocol: PeerProtocol.PeerProtocol) =>
    Effect.suspend(() => {
      const failUnsafe = (error: SessionError): void => {
        isOver = true
        FrameDecoder.stop(protocol.decoder)
        Deferred.doneUnsafe(failed, Effect.fail(error))
      }

      const sink = (view: Uint8Array): boolean => {
        if (isOver) return true
        try {
          const now = Monotonic.nowUnsafe(clock)
          PeerProtocol.receive(protocol, view, now)
          // Before this returns: the pipeline is refilled before any piece these bytes completed is hashed.
          if (PeerProtocol.hasTurn(protocol)) takeTurn(protocol, now)
        } catch (error) {
          if (!isSessionError(error)) throw error
          failUnsafe(error)
        }
        return true
      }

      takeDueTurn = () => {
        try {
          takeTurn(protocol)
        } catch (error) {
          if (isSessionError(error)) return failUnsafe(error)
          isOver = true
          Deferred.doneUnsafe(failed, Effect.die(error))
        }
      }

      const refusal = options.onOpen({
        protocol,
        peerId,
        remote,
        isIncoming,
        isEncrypted: connection.isEncrypted === true,
        canEncrypt: connection.canEncrypt === true,
        prefersEncryption: () => protocol.extensions?.theirs.prefersEncryption ?? connection.canEncrypt === true,
        openedAt: protocol.openedAt,
        client: () => protocol.extensions?.theirs.client,
        failUnsafe
      })
      if (refusal !== undefined) return Effect.fail(refusal)
      connection.receiveUnsafe(sink)
      // A peer that says nothing hears which pieces we have, too.
      if (!isOver) takeTurn(protocol)
      return Effect.raceAllFirst([
        connection.closed,
        Deferred.await(failed),
        untilRoomy(protocol),
        UploadSession.run(connection, protocol, requested)
      ])
    })

  return yield* Effect.acquireUseRelease(begin, converse, (protocol) =>
    Effect.suspend(() => {
      isOver = true
      return PeerProtocol.close(protocol)
    })
  )
})
