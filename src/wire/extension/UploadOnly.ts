/**
 * The message of `upload_only`, by which a peer updates `upload_only` of its extension handshake (BEP 21): whether it
 * wants nothing more. One byte, 0 for no. It is not in BEP 21; libtorrent and clients built on it send it when they
 * become a seed, instead of a second handshake.
 *
 * A peer may lie, so its word only helps to choose whom to serve and whom to keep.
 */
import * as Result from "effect/Result"
import { WireError } from "../WireError.ts"

/** Its name in the extension handshake. */
export const extensionName = "upload_only"

/** Reads the payload of an `extended` frame. Fails with `WireError` unless it is one byte. */
export const decode = (payload: Uint8Array): Result.Result<boolean, WireError> =>
  payload.length === 1
    ? Result.succeed(payload[0] !== 0)
    : Result.fail(new WireError({ why: `an upload_only of ${payload.length} bytes` }))

/** Encodes the payload of an `extended` frame. */
export const encode = (isUploadOnly: boolean): Uint8Array => Uint8Array.of(Number(isUploadOnly))
