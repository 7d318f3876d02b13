/**
 * Torrents with known content: every byte is a function of a seed and its offset, so a test or a simulated peer can
 * compute any piece without keeping it. Digests are computed by the `PieceHasher` of the caller.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../base/Bytes.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as CreateTorrent from "../metainfo/CreateTorrent.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"

/** What a known torrent is made of. */
export interface Options extends CreateTorrent.Details {
  /** The torrent's name; default `known`. */
  readonly name?: string | undefined
  /** Paths are below the torrent's folder; one file with an empty path makes a single-file torrent. */
  readonly files: ReadonlyArray<CreateTorrent.File>
  readonly pieceLength: number
  /** Selects the content, any integer; default 1. */
  readonly seed?: number | undefined
}

/** A torrent whose content is known. */
export interface KnownTorrent {
  readonly metainfo: Metainfo.Metainfo
  /** The metainfo file. */
  readonly bytes: Uint8Array
  /** The right bytes of a piece, in fresh memory. */
  readonly content: (piece: PieceGeometry.PieceIndex) => Uint8Array
  /** The right bytes of a file, by its index in the layout, in fresh memory. */
  readonly fileContent: (file: number) => Uint8Array
}

/**
 * Makes a known torrent. Dies if `Metainfo.decode` would refuse it.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { WebCryptoPieceHasher } from "piecewise"
 * import { KnownTorrent } from "piecewise/testing"
 *
 * const files = [
 *   { path: ["one.bin"], length: 40_000 },
 *   { path: ["two.bin"], length: 10_000 }
 * ]
 * const made = KnownTorrent.make({ files, pieceLength: 16_384, seed: 7 })
 * const known = await Effect.runPromise(Effect.provide(made, WebCryptoPieceHasher.layer))
 * assert.equal(known.metainfo.layout.geometry.pieceCount, 4)
 * assert.deepEqual(known.metainfo.layout.files[1]?.path, ["known", "two.bin"])
 * assert.equal(known.fileContent(1).length, 10_000)
 * ```
 */
export const make = Effect.fnUntraced(function* (options: Options) {
  const hasher = yield* PieceHasher
  const { files, pieceLength, seed = 1 } = options
  const layout = FileLayout.make({
    files: files.map(({ length, padding, path }) => ({ path: ["known", ...path], length, padding })),
    pieceLength
  })
  const { geometry } = layout
  const digests = new Uint8Array(geometry.pieceCount * Metainfo.digestLength)
  for (let index = 0; index < geometry.pieceCount; index++) {
    const piece = PieceGeometry.pieceIndexUnsafe(geometry, index)
    digests.set(yield* hasher.sha1(contentOf(layout, piece, seed)), index * Metainfo.digestLength)
  }
  const bytes = CreateTorrent.encode({ ...options, name: options.name ?? "known", digests })
  const metainfo = yield* Effect.orDie(Metainfo.fromBytes(bytes))
  const known: KnownTorrent = {
    metainfo,
    bytes,
    content: (piece) => contentOf(metainfo.layout, piece, seed),
    fileContent: (file) => {
      const { length, offset, padding } = FileLayout.fileAt(metainfo.layout, file)
      const content = new Uint8Array(length)
      if (!padding) fill(content, offset, seed)
      return content
    }
  }
  return known
})

/**
 * A torrent of yours: its metainfo file, and the bytes of all its files one after another, with zeros for padding. Fails
 * with `MetainfoError` as `Metainfo.fromBytes` does, and dies if the bytes do not have the digests of the torrent.
 */
export const fromContent = Effect.fnUntraced(function* (file: Uint8Array, bytes: Uint8Array) {
  const content = bytes.slice()
  const hasher = yield* PieceHasher
  const metainfo = yield* Metainfo.fromBytes(file)
  const { layout } = metainfo
  const { geometry } = layout
  const pieceOf = (piece: PieceGeometry.PieceIndex): Uint8Array => {
    const begin = PieceGeometry.pieceOffset(geometry, piece)
    return content.slice(begin, begin + PieceGeometry.pieceSize(geometry, piece))
  }
  for (let index = 0; index < geometry.pieceCount; index++) {
    const piece = PieceGeometry.pieceIndexUnsafe(geometry, index)
    if (Bytes.equals(yield* hasher.sha1(pieceOf(piece)), Metainfo.pieceDigest(metainfo, piece))) continue
    return yield* Effect.die(new Error(`the bytes of piece ${piece} do not have the digest of the torrent`))
  }
  const known: KnownTorrent = {
    metainfo,
    bytes: file.slice(),
    content: pieceOf,
    fileContent: (index) => {
      const { length, offset } = FileLayout.fileAt(layout, index)
      return content.slice(offset, offset + length)
    }
  }
  return known
})

/** The right bytes of a piece: noise, but zeros in padding (BEP 47). */
const contentOf = (layout: FileLayout.FileLayout, piece: PieceGeometry.PieceIndex, seed: number): Uint8Array => {
  const content = new Uint8Array(PieceGeometry.pieceSize(layout.geometry, piece))
  const offset = PieceGeometry.pieceOffset(layout.geometry, piece)
  for (const { begin, file, length } of FileLayout.pieceSpans(layout, piece)) {
    if (!FileLayout.isPadding(layout, file)) fill(content.subarray(begin, begin + length), offset + begin, seed)
  }
  return content
}

/** Writes the noise from `offset` of the torrent on; four bytes a step, because tests make gigabytes of it. */
export const fill = (into: Uint8Array, offset: number, seed: number): void => {
  let word = Math.floor(offset / 4)
  let shift = (offset % 4) * 8
  let bits = noise(word, seed) >>> shift
  for (let index = 0; index < into.length; index++) {
    into[index] = bits
    shift += 8
    if (shift === 32) {
      shift = 0
      bits = noise(++word, seed)
    } else {
      bits >>>= 8
    }
  }
}

/** 32 bits for the word at `word`: the finalizer of MurmurHash3, so that neighbours show no pattern. */
const noise = (word: number, seed: number): number => {
  let bits = (Math.imul(word | 0, 0x9e3779b1) ^ Math.imul(seed | 0, 0x85ebca6b) ^ Math.floor(word / 4_294_967_296)) | 0
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
