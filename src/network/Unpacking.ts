/**
 * Unpacks gzip (RFC 1952) and zlib (RFC 1950). A page's streams do it by default. They refuse bytes after the end; an
 * environment that can read these, and unpacks as the bytes arrive, provides its own.
 *
 * Gzip may have several members (RFC 1952 section 2.2). A page's stream ends with the first one, and does not say where
 * that is. So the input is cut where a member seems to begin, and if that was no member, the next place is tried.
 */
import * as Context from "effect/Context"

/** Formats that are unpacked; `deflate` is zlib. */
export type Format = "gzip" | "deflate"

/** Returns a stream of the unpacked bytes. It fails with what `packed` fails with, or because the data is damaged. */
export type Unpack = (packed: ReadableStream<Uint8Array<ArrayBuffer>>, format: Format) => ReadableStream<Uint8Array>

/**
 * How often the input may be cut where no member begins. What a member begins with is in 16 MiB of compressed data
 * once, by chance.
 */
const maxMistakes = 16

/** The most members. Programs that write many put 64 KiB in each, and an empty one takes only 20 bytes. */
const maxMembers = 10_000

/** Where the next member seems to begin: at its magic number and the only method, or at the end. */
const nextMember = (bytes: Uint8Array, from: number): number => {
  for (let at = bytes.indexOf(0x1f, from); at >= 0; at = bytes.indexOf(0x1f, at + 1)) {
    if (bytes[at + 1] === 0x8b && bytes[at + 2] === 8) return at
  }
  return bytes.length
}

async function* unpackMember(bytes: Uint8Array<ArrayBuffer>): AsyncGenerator<Uint8Array> {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader()
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
  } finally {
    // If it has failed, nothing needs to be cancelled.
    await reader.cancel().catch(() => {})
  }
}

async function* unpackMembers(
  packed: ReadableStream<Uint8Array<ArrayBuffer>>,
  isCancelled: () => boolean
): AsyncGenerator<Uint8Array> {
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer())
  let mistakes = 0
  let members = 0
  let start = 0
  let end = 0
  /** How many bytes of the member at `start` were passed on. */
  let passed = 0
  // Cancelling waits for the next chunk, and many members may have none.
  while (start < bytes.length && !isCancelled()) {
    if (passed === 0 && ++members > maxMembers) throw new RangeError(`more than ${maxMembers} members`)
    end = nextMember(bytes, end + 1)
    try {
      let length = 0
      for await (const chunk of unpackMember(bytes.subarray(start, end))) {
        length += chunk.length
        if (length <= passed) continue
        yield chunk.subarray(Math.max(0, chunk.length - (length - passed)))
        passed = length
      }
      start = end
      passed = 0
    } catch (error) {
      if (end === bytes.length || ++mistakes > maxMistakes) throw error
    }
  }
}

const gunzip = (packed: ReadableStream<Uint8Array<ArrayBuffer>>): ReadableStream<Uint8Array> => {
  let isCancelled = false
  const chunks = unpackMembers(packed, () => isCancelled)
  return new ReadableStream({
    pull: async (controller) => {
      const { done, value } = await chunks.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    cancel: async () => {
      isCancelled = true
      await chunks.return(undefined)
    }
  })
}

/** How bytes are unpacked. */
export const Unpacking = Context.Reference<Unpack>("piecewise/network/Unpacking", {
  defaultValue: () => (packed, format) =>
    format === "gzip" ? gunzip(packed) : packed.pipeThrough(new DecompressionStream(format))
})
