/**
 * Torrents whose pieces all have the same bytes, so that one of a million pieces is made without hashing a million
 * pieces, and served without a disk.
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as CreateTorrent from "../../src/metainfo/CreateTorrent.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

/** What a torrent is made of: pieces of these lengths, in files that are as long as each other. */
export interface Shape {
  readonly name: string
  readonly pieceLength: number
  readonly files: number
  readonly fileLength: number
}

/** The bytes of every piece; the last one has as many as are left. */
export const pieceOf = ({ pieceLength }: Shape): Uint8Array => {
  const piece = new Uint8Array(pieceLength)
  KnownTorrent.fill(piece, 0, 1)
  return piece
}

/** The torrent of a shape, as a client would read it from a file. */
export const metainfoOf = (shape: Shape): Effect.Effect<Metainfo.Metainfo> => {
  const { fileLength, files, name, pieceLength } = shape
  const total = files * fileLength
  const piece = pieceOf(shape)
  const count = Math.ceil(total / pieceLength)
  const digestOf = (length: number) => createHash("sha1").update(piece.subarray(0, length)).digest()
  const digests = Buffer.alloc(count * 20, digestOf(pieceLength))
  digestOf(total - (count - 1) * pieceLength).copy(digests, (count - 1) * 20)
  const pathOf = (file: number) => (files === 1 ? [] : [`folder ${file % 1_000}`, `file ${file}`])
  return Effect.orDie(
    Metainfo.fromBytes(
      CreateTorrent.encode({
        name,
        pieceLength,
        digests,
        files: Array.from({ length: files }, (_, file) => ({ path: pathOf(file), length: fileLength }))
      })
    )
  ).pipe(Effect.provide(NodePieceHasher.layer))
}
