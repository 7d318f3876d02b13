/**
 * Unpacks with Node's zlib. Reads all members of gzip, and ignores what follows the last one, as gzip does, and what
 * follows the end of zlib. Node's own `Gunzip` fails for the former, and loses what it has unpacked then.
 */
import * as NodeStream from "node:stream"
import type * as NodeWeb from "node:stream/web"
import * as Zlib from "node:zlib"
import type { Unpack } from "../../Unpacking.ts"

/** See `Unpack`. */
export const unpack: Unpack = (packed, format) => {
  const source = new Source(packed as NodeWeb.ReadableStream<Uint8Array>)
  const chunks = format === "gzip" ? gunzip(source) : inflate(source, Zlib.createInflate())
  return NodeStream.Readable.toWeb(NodeStream.Readable.from(chunks)) as ReadableStream<Uint8Array>
}

/** Bytes of input at a time. They unpack to a thousand times as many at most. */
const inputBytes = 16_384

const damaged = () => new Error("the compressed data is damaged")

/** The input, of which a part can be put back. */
class Source {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array()

  constructor(packed: NodeWeb.ReadableStream<Uint8Array>) {
    this.#chunks = packed[Symbol.asyncIterator]()
  }

  /** The next bytes, at least one and `max` at most; `undefined` at the end. */
  async read(max: number): Promise<Uint8Array | undefined> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next()
      if (done === true) return undefined
      this.#rest = value
    }
    const bytes = this.#rest.subarray(0, max)
    this.#rest = this.#rest.subarray(bytes.length)
    return bytes
  }

  /** Puts back the last bytes of what was read last. */
  unread(bytes: Uint8Array): void {
    this.#rest = Buffer.concat([bytes, this.#rest])
  }

  /** Exactly so many bytes, which are few; `undefined` if there are fewer. */
  async take(count: number): Promise<Buffer | undefined> {
    const parts: Array<Uint8Array> = []
    for (let missing = count; missing > 0; missing -= parts.at(-1)!.length) {
      const part = await this.read(missing)
      if (part === undefined) return undefined
      parts.push(part)
    }
    return Buffer.concat(parts)
  }

  /** Moves past the next zero byte. */
  async skipText(): Promise<boolean> {
    for (let part = await this.read(inputBytes); part !== undefined; part = await this.read(inputBytes)) {
      const end = part.indexOf(0)
      if (end >= 0) return this.unread(part.subarray(end + 1)) ?? true
    }
    return false
  }

  async close(): Promise<void> {
    await this.#chunks.return?.()
  }
}

/** Moves past the header of a member (RFC 1952 section 2.3). Returns `false` if there is none. */
const skipHeader = async (source: Source): Promise<boolean> => {
  const header = await source.take(10)
  if (header === undefined || header.readUIntBE(0, 3) !== 0x1f8b08) return false
  const flags = header[3]!
  if ((flags & 4) !== 0) {
    const length = await source.take(2)
    if (length === undefined || (await source.take(length.readUInt16LE())) === undefined) return false
  }
  if ((flags & 8) !== 0 && !(await source.skipText())) return false
  if ((flags & 16) !== 0 && !(await source.skipText())) return false
  return (flags & 2) === 0 || (await source.take(2)) !== undefined
}

async function* gunzip(source: Source): AsyncGenerator<Uint8Array> {
  try {
    if (!(await skipHeader(source))) throw damaged()
    do {
      let crc = 0
      let length = 0
      for await (const chunk of inflate(source, Zlib.createInflateRaw())) {
        crc = Zlib.crc32(chunk, crc)
        length += chunk.length
        yield chunk
      }
      const trailer = await source.take(8)
      if (trailer?.readUInt32LE(0) !== crc || trailer.readUInt32LE(4) !== length % 2 ** 32) throw damaged()
    } while (await skipHeader(source))
  } finally {
    await source.close()
  }
}

/** Unpacks up to the end of the compressed data, and leaves the rest in `source`. */
async function* inflate(source: Source, zlib: Zlib.Inflate | Zlib.InflateRaw): AsyncGenerator<Uint8Array> {
  const unpacked: Array<Uint8Array> = []
  let isOver = false
  let fed = 0
  zlib.on("data", (chunk: Uint8Array) => unpacked.push(chunk))
  const over = new Promise<void>((resolve, reject) => {
    zlib.once("error", reject).once("end", () => {
      isOver = true
      resolve()
    })
  })
  over.catch(() => {})
  try {
    while (!isOver) {
      const bytes = await source.read(inputBytes)
      if (bytes === undefined) {
        // The end of zlib may be the end of the input.
        zlib.end()
        await over
      } else {
        fed += bytes.length
        // At the end of the compressed data, `zlib` ends instead of calling back.
        await Promise.race([over, new Promise((resolve) => zlib.write(bytes, resolve))])
      }
      yield* unpacked.splice(0)
      if (isOver && bytes !== undefined) source.unread(bytes.subarray(bytes.length - (fed - zlib.bytesWritten)))
    }
  } finally {
    zlib.destroy()
  }
}
