/**
 * Unpacks gzip (RFC 1952) and zlib (RFC 1950) as they arrive. A page's streams do it by default. They refuse a second
 * member of gzip, and bytes after the end; an environment that can read these provides its own.
 */
import * as Context from "effect/Context"

/** Formats that are unpacked; `deflate` is zlib. */
export type Format = "gzip" | "deflate"

/** Returns a stream of the unpacked bytes. It fails with what `packed` fails with, or because the data is damaged. */
export type Unpack = (packed: ReadableStream<Uint8Array<ArrayBuffer>>, format: Format) => ReadableStream<Uint8Array>

/** How bytes are unpacked. */
export const Unpacking = Context.Reference<Unpack>("piecewise/network/Unpacking", {
  defaultValue: () => (packed, format) => packed.pipeThrough(new DecompressionStream(format))
})
