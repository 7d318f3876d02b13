/**
 * Peers that have only the info dict of a torrent, or wrong bytes instead of it.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import { Listener } from "../../src/network/Transport.ts"
import * as ExtensionHandshake from "../../src/wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../../src/wire/extension/MetadataMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import * as Handshake from "../../src/wire/Handshake.ts"

/** How a peer deals with requests for the info dict. */
export type Manner = "honest" | "lies" | "silent" | "rejects" | "closes" | "wrong size" | "no extensions" | "no size"

/** What a peer saw. */
export interface Counters {
  connections: number
  requests: number
}

const theirId = 3

/** Serves at `host` in the given manner, until the scope closes. */
export const serve = Effect.fnUntraced(function* (options: {
  readonly host: string
  readonly infoHash: InfoHash
  readonly info: Uint8Array
  readonly manner: Manner
  /** 20 bytes; default the bytes of the host's name. */
  readonly peerId?: Uint8Array | undefined
}) {
  const { host, info, infoHash, manner } = options
  const listening = yield* (yield* Listener).listen({ host, port: 6_881 })
  const counters: Counters = { connections: 0, requests: 0 }
  const greetings: Array<ExtensionHandshake.ExtensionHandshake> = []
  const totalSize = manner === "wrong size" ? info.length + 1 : info.length

  const answer = Effect.gen(function* () {
    const connection = yield* listening.accept
    counters.connections++
    const outbox = FrameEncoder.make()
    const handshake = Handshake.makeDecoder()
    let ids: ReadonlyMap<string, number> = new Map()
    let isGreeted = false

    const say = (id: number, payload: Uint8Array) => {
      FrameEncoder.extended(outbox, id, payload)
      connection.writeUnsafe(FrameEncoder.take(outbox))
    }
    const give = (piece: number) => {
      counters.requests++
      const ourId = ids.get(MetadataMessage.extensionName)!
      if (manner === "rejects") return say(ourId, MetadataMessage.encode({ _tag: "Reject", piece }))
      if (manner === "silent") return
      const begin = piece * MetadataMessage.pieceLength
      const bytes = new Uint8Array(MetadataMessage.pieceSize(totalSize, piece))
      bytes.set(info.subarray(begin, begin + MetadataMessage.pieceLength))
      if (manner === "lies") bytes[0]! ^= 1
      say(ourId, MetadataMessage.encode({ _tag: "Data", piece, totalSize, bytes }))
    }
    const decoder = FrameDecoder.make({
      ...FrameDecoder.ignoreAll,
      extended: (id, payload) => {
        if (id === ExtensionHandshake.id) {
          const greeting = Result.getOrThrow(ExtensionHandshake.decode(payload))
          greetings.push(greeting)
          ids = greeting.ids
        } else if (id === theirId) {
          const message = Result.getOrThrow(MetadataMessage.decode(payload))
          if (message._tag === "Request") give(message.piece)
        }
      }
    })
    if (manner === "closes") return
    connection.writeUnsafe(
      Handshake.encode({
        features: { ...Handshake.noFeatures, extensionProtocol: manner !== "no extensions" },
        infoHash,
        peerId: options.peerId ?? Uint8Array.from({ length: 20 }, (_, index) => host.charCodeAt(index % host.length))
      })
    )
    if (manner !== "no extensions") {
      say(
        ExtensionHandshake.id,
        ExtensionHandshake.encode({
          ids: new Map([[MetadataMessage.extensionName, theirId]]),
          metadataSize: manner === "no size" ? undefined : totalSize
        })
      )
    }
    connection.receiveUnsafe((view) => {
      if (isGreeted) FrameDecoder.push(decoder, view)
      else {
        const taken = Handshake.push(handshake, view)
        if (Handshake.result(handshake) === undefined) return true
        isGreeted = true
        FrameDecoder.push(decoder, view.subarray(taken))
      }
      return true
    })
    yield* Effect.exit(connection.closed)
  })

  yield* Effect.forkScoped(Effect.forever(Effect.scoped(answer)))
  return { address: listening.address, counters, greetings }
})
