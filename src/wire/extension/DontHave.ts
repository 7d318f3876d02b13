/**
 * The message of `lt_donthave`, by which a peer takes back that it has a piece (BEP 54): the piece's index, u32, big-endian.
 *
 * Knows nothing of sessions: whether the index is one of the torrent, and what becomes of requests that are out for the
 * piece, is `peer/PeerProtocol.ts`'s question.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import { WireError } from "../WireError.ts"

/** What the extension handshake calls it. */
export const extensionName = "lt_donthave"

/** Reads the payload of an `extended` frame: what the peer calls a piece, 0 to 2^32 - 1. `WireError` unless 4 bytes. */
export const decode = (payload: Uint8Array): Result.Result<number, WireError> =>
  payload.length === 4
    ? Result.succeed(Bytes.readUint32Unsafe(payload, 0))
    : Result.fail(new WireError({ why: `a donthave of ${payload.length} bytes` }))

/** The payload of an `extended` frame, fresh. */
export const encode = (piece: number): Uint8Array => {
  const payload = new Uint8Array(4)
  Bytes.writeUint32Unsafe(payload, 0, piece)
  return payload
}
