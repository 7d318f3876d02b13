/**
 * One session with a peer that was introduced, to fetch nothing but the info dict of a magnet link (BEP 9): extension
 * handshake (BEP 10), then `ut_metadata`. Everything else that the peer says is ignored, because it cannot be checked
 * without the info dict.
 *
 * Leaves to `MetadataExchange.ts` which pieces are requested from which peer, and to its shell when.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Monotonic from "../base/Monotonic.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Version from "../base/Version.ts"
import type { Introduced } from "../connect/Introduction.ts"
import * as ExtensionHandshake from "../wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../wire/extension/MetadataMessage.ts"
import * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import * as Handshake from "../wire/Handshake.ts"
import * as DhtContact from "./DhtContact.ts"
import { PeerDropped } from "./PeerPatience.ts"
import type { SessionError } from "./PeerSession.ts"
import * as PeerSession from "./PeerSession.ts"

/** What we can do beyond BEP 3 when we exchange metadata alone. */
export const features: Handshake.Features = { ...Handshake.noFeatures, extensionProtocol: true }

/** How long a peer may take for its extension handshake after the handshake of BEP 3. */
export const handshakeTimeout = "10 seconds"

/** The id under which peers send us `ut_metadata`. */
const ourId = 1

/** What a session is made of. The functions are called in the middle of reading, and must not throw. */
export interface Options {
  readonly introduced: Introduced
  /** Our node of the DHT (BEP 5); absent: there is none. */
  readonly dht?: DhtContact.OurNode | undefined
  /** Whether we prefer encrypted connections, or accept no others. */
  readonly prefersEncryption: boolean
  /** Called once, when the peer says that it has the info dict; what it returns ends the session. */
  readonly onOpen: (session: MetadataSession) => SessionError | undefined
  /** The info dict of the peer has `size` bytes; called again when it says so again. */
  readonly onSize: (size: number) => void
  readonly onMessage: (message: MetadataMessage.MetadataMessage) => void
}

/** A session with a peer that has the info dict. */
export interface MetadataSession {
  /** What the peer calls itself, 20 bytes. */
  readonly peerId: Uint8Array
  /** Whether the peer opened the connection. */
  readonly isIncoming: boolean
  /** Whether the peer prefers encrypted connections: as it says, or else if its handshake was encrypted. */
  readonly prefersEncryption: () => boolean
  /** When the session began, in milliseconds. */
  readonly openedAt: number
  /** Where the peer can be dialled, if it connected to us and has sent the port at which it listens (BEP 10). */
  readonly dialAddress: () => PeerAddress.PeerAddress | undefined
  /** The name and version that it gives itself (BEP 10 `v`). */
  readonly client: () => string | undefined
  /** Requests a piece of the info dict. */
  readonly request: (piece: number) => void
  /** Ends the session; nothing more is read from the peer. */
  readonly failUnsafe: (error: SessionError) => void
}

/** Runs a session until the peer goes away (success) or the session fails. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { connection, features, isIncoming, peerId } = options.introduced
  if (!features.extensionProtocol) return yield* new PeerDropped({ why: "it does not send the metadata" })
  const failed = yield* Deferred.make<never, SessionError>()
  const opened = yield* Deferred.make<void>()
  const outbox = FrameEncoder.make()
  let theirs = ExtensionHandshake.empty
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
    peerId,
    isIncoming,
    prefersEncryption: () => theirs.prefersEncryption ?? connection.canEncrypt === true,
    openedAt: yield* Monotonic.now,
    dialAddress: () =>
      isIncoming && theirs.port !== undefined ? PeerAddress.make(connection.remote.host, theirs.port) : undefined,
    client: () => theirs.client,
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
        throw new PeerDropped({ why: "it does not send the metadata" })
      }
      if (Deferred.doneUnsafe(opened, Effect.void)) {
        const refusal = options.onOpen(session)
        if (refusal !== undefined) throw refusal
      }
      options.onSize(metadataSize)
    } else if (id === ourId) {
      options.onMessage(Result.getOrThrow(MetadataMessage.decode(payload)))
    }
  }

  const contact = options.dht && features.dht ? DhtContact.make(options.dht, connection.remote) : undefined
  const onPort = (port: number): void => {
    if (contact !== undefined) DhtContact.receive(contact, port)
  }

  const decoder = FrameDecoder.make({ ...FrameDecoder.ignoreAll, extended: onExtended, port: onPort })

  const sink = (view: Uint8Array): boolean => {
    if (isOver) return true
    try {
      FrameDecoder.push(decoder, view)
    } catch (error) {
      if (!PeerSession.isSessionError(error)) throw error
      failUnsafe(error)
    }
    return true
  }

  const inTime = Deferred.await(opened).pipe(
    Effect.timeoutOrElse({
      duration: handshakeTimeout,
      orElse: () => Effect.fail(new PeerDropped({ why: "no extension handshake within 10 seconds" }))
    }),
    Effect.andThen(Effect.never)
  )

  return yield* Effect.suspend(() => {
    // Sent with the extension handshake.
    if (contact !== undefined) DhtContact.send(contact, outbox)
    send(
      ExtensionHandshake.id,
      ExtensionHandshake.encode({
        ids: new Map([[MetadataMessage.extensionName, ourId]]),
        client: Version.userAgent,
        prefersEncryption: options.prefersEncryption
      })
    )
    connection.receiveUnsafe(sink)
    return Effect.raceAllFirst([connection.closed, Deferred.await(failed), inTime])
  }).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        isOver = true
      })
    )
  )
})
