/** Torrents that the suites of storages share, and how their cases ask about them. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as Bytes from "../../base/Bytes.ts"
import type { PieceIndex } from "../../base/PieceGeometry.ts"
import * as WebCryptoPieceHasher from "../../hash/provider/WebCryptoPieceHasher.ts"
import type * as FileLayout from "../../metainfo/FileLayout.ts"
import type { FlushedFile, StorageError, TorrentStorage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import { MediumFiles } from "./MediumFiles.ts"

/** One file of ten bytes in pieces of four. */
export const ten = Layouts.layoutOf(4, ["ten", 10])

/** Pieces over several files, folders, empty files and padding. */
export const mixed = Layouts.layoutOf(
  16,
  ["m/a", 10],
  ["m/empty", 0],
  ["m/d/b", 1],
  ["m/d/c", 2],
  ["m/.pad/11", 3, "padding"],
  ["m/d/e/f", 37],
  ["m/zero/end", 0]
)

/** Three files in folders: piece 0 is of a, piece 1 of a and b, piece 2 of b, c and e. */
export const abc = Layouts.layoutOf(
  4,
  ["t/a", 6],
  ["t/d/b", 3],
  ["t/d/c", 2],
  ["t/empty", 0],
  ["t/.pad/1", 1, "padding"]
)

/** The files of `abc`. */
export const [a, b, c, empty] = [0, 1, 2, 3]

/** Another torrent, which shares one path with it. */
export const rival = Layouts.layoutOf(4, ["t/a", 6], ["t/other", 2])

/** The bytes of `abc`. */
export const content = Layouts.contentOf(abc)

/** The bytes of one file. */
export const bytesOf = (layout: FileLayout.FileLayout, file: number): Uint8Array => {
  const { length, offset } = layout.files[file]!
  return Layouts.contentOf(layout).slice(offset, offset + length)
}

/** Writes a piece, whose files must be claimed. */
export const write = (torrent: TorrentStorage, layout: FileLayout.FileLayout, index: number) => {
  const piece = Layouts.pieceOf(layout, index)
  return torrent.writePiece(piece, Layouts.sliceOf(layout, Layouts.contentOf(layout), piece))
}

/** What a storage says of one file. */
export const lookAt = (torrent: TorrentStorage, file: number) => Effect.map(torrent.look([file]), ([facts]) => facts)

/** The operation and the reason with which an effect fails; fails if it succeeds. */
export const tagOf = (effect: Effect.Effect<unknown, StorageError>) =>
  Effect.map(Effect.flip(effect), (error) => `${error.operation} ${error.reason._tag}`)

/** What an effect dies of; fails if it does not. */
export const dies = (effect: Effect.Effect<unknown, StorageError>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    Assert.isTrue(Exit.hasDies(exit), "the call dies")
    return Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : ""
  })

/** The files that were flushed, with their lengths or what is wrong with them. */
export const outcomes = (flushed: ReadonlyArray<FlushedFile>): ReadonlyArray<readonly [number, number | string]> =>
  flushed.map((each) => ("facts" in each ? [each.file, each.facts.length] : [each.file, each.reason._tag]))

/** Every file of the medium. */
export const listed = Effect.flatMap(MediumFiles, ({ list }) => list)

/** The paths of every file of the medium, sorted. */
export const namesListed = Effect.map(listed, (files) => [...files.keys()].sort())

/** The bytes of a block. */
export const readBlock = (torrent: TorrentStorage, piece: PieceIndex, begin: number, length: number) =>
  Effect.map(torrent.readBlock(piece, begin, length), ({ bytes }) => bytes)

/** The SHA-1 of bytes in hex. */
export const sha1 = (bytes: Uint8Array) =>
  Effect.flatMap(WebCryptoPieceHasher.make, (hasher) => Effect.map(hasher.sha1(bytes), Bytes.toHex))

/** The digests of pieces as the storage computes them, in hex. */
export const digestsOf = (torrent: TorrentStorage, pieces: Iterable<PieceIndex>) =>
  Effect.map(Stream.runCollect(torrent.digests(pieces)), (all) =>
    all.map(({ piece, sha1 }): readonly [number, string | undefined] => [piece, sha1 && Bytes.toHex(sha1)])
  )

/** The digests that pieces should have, in hex. */
export const rightDigests = (layout: FileLayout.FileLayout, bytes: Uint8Array, pieces = Layouts.piecesOf(layout)) =>
  Effect.forEach(pieces, (piece) =>
    Effect.map(sha1(Layouts.sliceOf(layout, bytes, piece)), (digest): readonly [number, string] => [piece, digest])
  )
