/**
 * The message of `upload_only`, by which a peer says later on what `upload_only` says in its extension handshake (BEP 21):
 * whether it wants nothing more. One byte, 0 for no. BEP 21 does not have it; libtorrent and its kin send it when they
 * become a seed, instead of a second handshake.
 *
 * Knows nothing of sessions: a peer may lie, so what it says only helps to choose whom to serve and whom to keep.
 */
import * as Result from "effect/Result"
import { WireError } from "../WireError.ts"

/** What the extension handshake calls it. */
export const extensionName = "upload_only"

/** Reads the payload of an `extended` frame. `WireError` unless it is one byte. */
export const decode = (payload: Uint8Array): Result.Result<boolean, WireError> =>
  payload.length === 1
    ? Result.succeed(payload[0] !== 0)
    : Result.fail(new WireError({ why: `an upload_only of ${payload.length} bytes` }))

/** The payload of an `extended` frame, fresh. */
export const encode = (isUploadOnly: boolean): Uint8Array => Uint8Array.of(Number(isUploadOnly))
