/**
 * How a scripted peer sends the info dict to peers that have only a magnet link (BEP 9): it offers it in its extension
 * handshake (BEP 10), and answers requests at once, whether it chokes or not. Plain; answers are appended to the
 * session's frames.
 */
import * as Result from "effect/Result"
import * as MetadataServer from "../peer/MetadataServer.ts"
import * as ExtensionHandshake from "../wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../wire/extension/MetadataMessage.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import { WireError } from "../wire/WireError.ts"
import type { PeerBehaviour } from "./PeerBehaviour.ts"

/** What a peer sends instead of the info dict. */
type WrongMetadata = PeerBehaviour["metadata"]

/** One conversation about the info dict. */
export interface ScriptedMetadata {
  readonly server: MetadataServer.MetadataServer
  /** The id of `ut_metadata` in frames to the other side; `undefined` until it has named one. */
  theirId: number | undefined
}

/** The id of `ut_metadata` in frames to us. */
const ourId = 1

/** Makes the state of a conversation. `info` is the info dict, which is only read. */
export const make = (info: Uint8Array, manner: WrongMetadata): ScriptedMetadata => ({
  server: MetadataServer.make(manner === "wrong" ? withWrongByte(info) : info),
  theirId: undefined
})

const withWrongByte = (info: Uint8Array): Uint8Array => {
  const wrong = info.slice()
  wrong[wrong.length >>> 1]! ^= 1
  return wrong
}

/** Appends the extension handshake. */
export const offer = ({ server }: ScriptedMetadata, out: FrameEncoder.FrameEncoder): void =>
  FrameEncoder.extended(
    out,
    ExtensionHandshake.id,
    ExtensionHandshake.encode({
      ids: new Map([[MetadataMessage.extensionName, ourId]]),
      metadataSize: server.info?.length
    })
  )

/**
 * Reads the payload of an `extended` frame, and appends the answer to a request; returns whether it was a request. Other
 * extensions are ignored. Throws `WireError` if the other side breaks BEP 9 or BEP 10, or requests without an end.
 */
export const receive = (
  self: ScriptedMetadata,
  id: number,
  payload: Uint8Array,
  manner: WrongMetadata,
  out: FrameEncoder.FrameEncoder
): boolean => {
  if (id === ExtensionHandshake.id) {
    const { ids } = Result.getOrThrow(ExtensionHandshake.decode(payload))
    self.theirId = ids.get(MetadataMessage.extensionName) ?? self.theirId
    return false
  }
  if (id !== ourId) return false
  const message = Result.getOrThrow(MetadataMessage.decode(payload))
  if (message._tag !== "Request") return false
  answer(self, message.piece, manner, out)
  return true
}

const answer = (
  { server, theirId }: ScriptedMetadata,
  piece: number,
  manner: WrongMetadata,
  out: FrameEncoder.FrameEncoder
): void => {
  if (theirId === undefined || theirId === 0) return
  const ruling = manner === "rejected" ? "reject" : MetadataServer.request(server, piece)
  if (ruling === "drop") throw new WireError({ why: "too many requests for metadata" })
  const message = ruling === "reject" ? { _tag: "Reject" as const, piece } : MetadataServer.next(server)
  if (message !== undefined) FrameEncoder.extended(out, theirId, MetadataMessage.encode(message))
}
