/**
 * The message of `lt_donthave`, by which a peer takes back that it has a piece (BEP 54): the piece's index, u32,
 * big-endian.
 *
 * Leaves to `peer/PeerPieces.ts` whether the torrent has that index, and what is done with requests for the piece.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import { WireError } from "../WireError.ts"

/** Its name in the extension handshake. */
export const extensionName = "lt_donthave"

/**
 * Reads the index from the payload of an `extended` frame, 0 to 2^32 - 1. Fails with `WireError` unless it is 4 bytes.
 */
export const decode = (payload: Uint8Array): Result.Result<number, WireError> =>
  payload.length === 4
    ? Result.succeed(Bytes.readUint32Unsafe(payload, 0))
    : Result.fail(new WireError({ why: `a donthave of ${payload.length} bytes` }))

/** Encodes the payload of an `extended` frame. */
export const encode = (piece: number): Uint8Array => {
  const payload = new Uint8Array(4)
  Bytes.writeUint32Unsafe(payload, 0, piece)
  return payload
}
