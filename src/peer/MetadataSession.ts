/**
 * One connection to a peer that is asked for nothing but the info dict of a magnet link (BEP 9): handshake, extension
 * handshake (BEP 10), `ut_metadata`. Without the info dict nothing else that a peer says can be checked, so it is ignored.
 *
 * The connection ends with the fiber. Which pieces are asked of whom is `MetadataExchange.ts`'s, time its shell's.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PeerId } from "../base/PeerId.ts"
import * as Version from "../base/Version.ts"
import type { Connection } from "../transport/Transport.ts"
import * as ExtensionHandshake from "../wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../wire/extension/MetadataMessage.ts"
import * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import * as Handshake from "../wire/Handshake.ts"
import { PeerDropped } from "./PeerPatience.ts"
import type { SessionError } from "./PeerSession.ts"
import * as PeerSession from "./PeerSession.ts"

/** The id by which we want `ut_metadata` to be called. */
const ourId = 1

/** What a session is made of. `onOpen`, `onMessage` are called in the middle of reading, and may not throw. */
export interface Options {
  readonly connection: Connection
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  /** The peer has an info dict of `size` bytes; called again when it says so again. */
  readonly onOpen: (session: MetadataSession, size: number) => void
  readonly onMessage: (message: MetadataMessage.MetadataMessage) => void
}

/** A session whose handshakes are done. */
export interface MetadataSession {
  /** Asks for a piece of the info dict. */
  readonly request: (piece: number) => void
  /** Ends the session; nothing more is read from the peer. */
  readonly failUnsafe: (error: SessionError) => void
}

/** Runs a session on an open connection until the peer goes away (success) or the session fails. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { connection } = options
  const failed = yield* Deferred.make<never, SessionError>()
  const opened = yield* Deferred.make<void>()
  const handshake = Handshake.makeDecoder()
  const outbox = FrameEncoder.make()
  let theirs = ExtensionHandshake.empty
  let isGreeted = false
  let isOver = false

  const failUnsafe = (error: SessionError): void => {
    isOver = true
    FrameDecoder.stop(decoder)
    Deferred.doneUnsafe(failed, Effect.fail(error))
  }

  const send = (id: number, payload: Uint8Array): void => {
    FrameEncoder.extended(outbox, id, payload)
    connection.writeUnsafe(FrameEncoder.take(outbox))
  }

  const session: MetadataSession = {
    failUnsafe,
    request: (piece) => {
      const id = ExtensionHandshake.idOf(theirs, MetadataMessage.extensionName)
      if (id !== undefined) send(id, MetadataMessage.encode({ _tag: "Request", piece }))
    }
  }

  const onExtended = (id: number, payload: Uint8Array): void => {
    if (id === ExtensionHandshake.id) {
      theirs = ExtensionHandshake.merge(theirs, Result.getOrThrow(ExtensionHandshake.decode(payload)))
      const { metadataSize } = theirs
      if (metadataSize === undefined || ExtensionHandshake.idOf(theirs, MetadataMessage.extensionName) === undefined) {
        throw new PeerDropped({ why: "it does not give the metadata" })
      }
      Deferred.doneUnsafe(opened, Effect.void)
      options.onOpen(session, metadataSize)
    } else if (id === ourId) {
      options.onMessage(Result.getOrThrow(MetadataMessage.decode(payload)))
    }
  }

  const decoder = FrameDecoder.make({ ...FrameDecoder.ignoreAll, extended: onExtended })

  const greet = (peer: Handshake.Handshake): void => {
    PeerSession.checkHandshake(peer, options)
    if (!peer.features.extensionProtocol) throw new PeerDropped({ why: "it does not give the metadata" })
    isGreeted = true
    send(
      ExtensionHandshake.id,
      ExtensionHandshake.encode({ ids: new Map([[MetadataMessage.extensionName, ourId]]), client: Version.userAgent })
    )
  }

  const receive = (view: Uint8Array): void => {
    if (isGreeted) return FrameDecoder.push(decoder, view)
    const taken = Handshake.push(handshake, view)
    const peer = Handshake.result(handshake)
    if (peer === undefined) return
    greet(peer)
    FrameDecoder.push(decoder, view.subarray(taken))
  }

  const sink = (view: Uint8Array): boolean => {
    if (isOver) return true
    try {
      receive(view)
    } catch (error) {
      if (!PeerSession.isSessionError(error)) throw error
      failUnsafe(error)
    }
    return true
  }

  return yield* Effect.suspend(() => {
    const features = { ...Handshake.noFeatures, extensionProtocol: true }
    connection.writeUnsafe(Handshake.encode({ features, infoHash: options.infoHash, peerId: options.peerId }))
    connection.receiveUnsafe(sink)
    return Effect.raceAllFirst([
      connection.closed,
      Deferred.await(failed),
      PeerSession.shakeHands(Deferred.await(opened))
    ])
  }).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        isOver = true
      })
    )
  )
})
