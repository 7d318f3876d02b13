/**
 * The identity of a torrent: the SHA-1 of its raw `info` dictionary (BEP 3).
 */
import type * as Brand from "effect/Brand"

/** A v1 info hash, 20 bytes. */
export type InfoHash = Uint8Array & Brand.Brand<"piecewise/InfoHash">
