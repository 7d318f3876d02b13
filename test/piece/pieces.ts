/** Torrents, sources and deliveries that the tests of pieces share. */
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Download from "../../src/piece/Download.ts"
import * as PieceBuffer from "../../src/piece/PieceBuffer.ts"
import * as RequestPipeline from "../../src/piece/RequestPipeline.ts"
import * as Resting from "../../src/piece/Resting.ts"
import * as Standing from "../../src/piece/Standing.ts"

export const { blockLength } = PieceGeometry

/** A torrent of `pieceCount` pieces of `blocks` blocks each; the last piece has `lastLength` bytes. */
export const geometryOf = (pieceCount: number, blocks: number, lastLength = blocks * blockLength) => {
  const pieceLength = blocks * blockLength
  return PieceGeometry.make({ totalLength: (pieceCount - 1) * pieceLength + lastLength, pieceLength })
}

export const piece = (index: number) => index as PieceIndex

/** The right bytes of a piece: no two blocks of a test are alike. */
export const contentOf = (geometry: PieceGeometry.PieceGeometry, index: number) => {
  const bytes = new Uint8Array(PieceGeometry.pieceSize(geometry, piece(index)))
  for (let at = 0; at < bytes.length; at++) bytes[at] = 1 + ((at * 31 + (at >>> 14) * 7 + index * 13) % 255)
  return bytes
}

/** A bitfield drawn as a string, a `*` for each piece that is there: `"* *."`. */
export const has = (drawn: string) => {
  const bits = Bitfield.make(drawn.length)
  for (let index = 0; index < drawn.length; index++) if (drawn[index] === "*") Bitfield.add(bits, index)
  return bits
}

/** A source that notes what it is told. */
export interface TestSource extends Download.Source {
  standing: Standing.Standing
  readonly cancels: Array<string>
  woken: number
}

/** A source with no pieces and an empty pipeline. */
export const sourceOf = (geometry: PieceGeometry.PieceGeometry, key: number, now = 0): TestSource => {
  const source: TestSource = {
    key,
    has: Bitfield.make(geometry.pieceCount),
    pipeline: RequestPipeline.make(Math.ceil(geometry.pieceLength / blockLength), now),
    refused: Resting.make(),
    standing: Standing.make(),
    peerChoking: false,
    allowedFast: new Set(),
    current: undefined,
    isSeed: false,
    searchedVersion: Download.never,
    cancels: [],
    woken: 0,
    cancel: (index, begin) => void source.cancels.push(`${index}:${begin / blockLength}`),
    wake: () => {
      source.woken++
    }
  }
  return source
}

/** A source that joins a download with the pieces drawn (default: every piece). */
export const joined = (download: Download.Download, key: number, drawn?: string): TestSource => {
  const source = sourceOf(download.geometry, key)
  Download.join(download, source)
  Download.gainAll(download, source, drawn === undefined ? Bitfield.full(download.geometry.pieceCount) : has(drawn))
  return source
}

/** The block of a request as `piece:block`. */
export const nameOf = (request: RequestPipeline.Request | undefined) =>
  request === undefined ? undefined : `${request.buffer.piece}:${request.block}`

/** Requests `count` blocks of the pieces under way. */
export const ask = (download: Download.Download, source: Download.Source, count: number, now = 0) =>
  Array.from({ length: count }, () => nameOf(Download.nextBlock(download, source, now)))

/** The requests out to a source, as `piece:block`. */
export const asked = (source: Download.Source) =>
  [...source.pipeline.requests.values()].map((request) => nameOf(request))

/** A source answers its oldest requests, `count` of them or all, with right bytes or wrong ones. */
export const answer = (
  download: Download.Download,
  source: Download.Source,
  options: { readonly count?: number; readonly wrong?: boolean; readonly now?: number } = {}
) => {
  for (const request of [...source.pipeline.requests.values()].slice(0, options.count)) {
    const { block, buffer } = request
    const begin = block * blockLength
    const bytes = contentOf(download.geometry, buffer.piece).subarray(begin, begin + PieceBuffer.sizeOf(buffer, block))
    PieceBuffer.write(buffer, begin, options.wrong === true ? bytes.map((byte) => byte ^ 0x55) : bytes)
    Download.received(download, source, request, options.now ?? 0)
  }
}
