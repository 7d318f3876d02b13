/**
 * What every medium does. A medium passes if it runs these with its own layer; see `MediumFiles` for what it adds.
 * Which files may be written, and what happens to other files, is in `Claims.suite.ts`.
 */

import * as Crypto from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import type { Storage, StorageError, TorrentStorage } from "../../src/storage/Storage.ts"
import * as Claims from "./Claims.suite.ts"
import * as Layouts from "./layouts.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import { MediumFiles } from "./MediumFiles.ts"
import { claim, open, openToWrite, realFiles, store } from "./openings.ts"

const sha1 = (bytes: Uint8Array) => new Uint8Array(Crypto.createHash("sha1").update(bytes).digest())

const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString("hex")

const readPiece = (torrent: TorrentStorage, layout: FileLayout, content: Uint8Array, piece: PieceIndex) =>
  Effect.map(torrent.readBlock(piece, 0, sliceOf(layout, content, piece).length), ({ bytes }) => bytes)

const readBlock = (torrent: TorrentStorage, piece: PieceIndex, begin: number, length: number) =>
  Effect.map(torrent.readBlock(piece, begin, length), ({ bytes }) => bytes)

const digestsOf = (torrent: TorrentStorage, pieces: Iterable<PieceIndex>) =>
  Effect.map(Stream.runCollect(torrent.digests(pieces)), (all) => all.map(({ piece, sha1 }) => [piece, hex(sha1)]))

const namesListed = Effect.flatMap(MediumFiles, ({ list }) => Effect.map(list, (files) => [...files.keys()].sort()))

const reasonOf = (effect: Effect.Effect<unknown, StorageError>) =>
  Effect.map(Effect.flip(effect), (error) => `${error.operation} ${error.reason._tag}`)

/** One file of ten bytes in pieces of four. */
const ten = layoutOf(4, ["ten", 10])
/** Pieces over several files, folders, empty files and padding. */
const mixed = layoutOf(
  16,
  ["m/a", 10],
  ["m/empty", 0],
  ["m/d/b", 1],
  ["m/d/c", 2],
  ["m/.pad/11", 3, "padding"],
  ["m/d/e/f", 37],
  ["m/zero/end", 0]
)

/** Runs a medium through all of it; each test gets a fresh one. */
export const suite = (name: string, layer: Layer.Layer<Storage | MediumFiles, unknown>): void => {
  describe(`Storage (${name})`, () => {
    const test = (title: string, effect: Effect.Effect<void, unknown, Storage | MediumFiles>) =>
      it.live(title, () => Effect.provide(effect, layer))

    test(
      "reads back the block it wrote",
      Effect.scoped(
        Effect.gen(function* () {
          const layout = layoutOf(32_768, ["sevens", 32_768])
          const torrent = yield* openToWrite(layout)
          yield* torrent.writePiece(pieceOf(layout, 0), new Uint8Array(32_768).fill(7))

          const block = yield* readBlock(torrent, pieceOf(layout, 0), 16_384, 4)

          assert.deepStrictEqual(block, new Uint8Array(4).fill(7))
        })
      )
    )

    test(
      "reads back an odd last piece",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(ten)
          const torrent = yield* open(ten)
          yield* store(torrent, ten, content)

          const last = yield* readBlock(torrent, pieceOf(ten, 2), 0, 2)

          assert.deepStrictEqual(last, content.slice(8))
        })
      )
    )

    test(
      "writes a piece that spans files to each of them",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(mixed)
          const torrent = yield* open(mixed)
          yield* store(torrent, mixed, content, [pieceOf(mixed, 0)])

          const files = yield* (yield* MediumFiles).list

          assert.deepStrictEqual([...files.keys()].sort(), ["m/a", "m/d/b", "m/d/c"])
          assert.deepStrictEqual(files.get("m/a"), content.slice(0, 10))
          assert.deepStrictEqual(files.get("m/d/b"), content.slice(10, 11))
          assert.deepStrictEqual(files.get("m/d/c"), content.slice(11, 13))
        })
      )
    )

    test(
      "has the bytes of an unwanted file, before and after it is wanted",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(mixed)
          const piece = pieceOf(mixed, 0)
          const torrent = yield* open(mixed)
          const readAll = readBlock(torrent, piece, 0, 16)
          yield* torrent.prepare([0])
          yield* store(torrent, mixed, content, [piece])

          const before = yield* readAll
          yield* torrent.prepare([...mixed.files.keys()])
          const after = yield* readAll
          const files = yield* (yield* MediumFiles).list

          assert.deepStrictEqual([before, after], [content.slice(0, 16), content.slice(0, 16)])
          assert.deepStrictEqual(files.get("m/d/b"), content.slice(10, 11))
        })
      )
    )

    test(
      "reads a block that crosses files and padding",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(mixed)
          const torrent = yield* open(mixed)
          yield* store(torrent, mixed, content)

          const block = yield* readBlock(torrent, pieceOf(mixed, 0), 9, 7)

          assert.deepStrictEqual(block, content.slice(9, 16))
          assert.deepStrictEqual(block.slice(4), new Uint8Array(3))
        })
      )
    )

    test(
      "reads the same into memory that it is passed, whatever was there, and no further",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(mixed)
          const torrent = yield* open(mixed)
          yield* store(torrent, mixed, content)
          const into = new Uint8Array(20).fill(9)

          const block = yield* torrent.readBlock(pieceOf(mixed, 0), 0, 16, into)

          assert.deepStrictEqual(Uint8Array.from(block.bytes), content.slice(0, 16))
          assert.deepStrictEqual(into.slice(16), new Uint8Array(4).fill(9))
        })
      )
    )

    test(
      "writes padding nowhere",
      Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* openToWrite(mixed)
          yield* store(torrent, mixed)

          const names = yield* namesListed

          assert.deepStrictEqual(names, ["m/a", "m/d/b", "m/d/c", "m/d/e/f", "m/empty", "m/zero/end"])
        })
      )
    )

    test(
      "stores a torrent that is nothing but padding after its first byte",
      Effect.scoped(
        Effect.gen(function* () {
          const layout = layoutOf(4, ["p/a", 1], ["p/.pad/7", 7, "padding"])
          const content = contentOf(layout)
          const torrent = yield* open(layout)
          yield* store(torrent, layout, content)

          const block = yield* readBlock(torrent, pieceOf(layout, 1), 0, 4)

          assert.deepStrictEqual(block, new Uint8Array(4))
        })
      )
    )

    test(
      "stores pieces in any order",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(mixed)
          const torrent = yield* open(mixed)
          yield* store(torrent, mixed, content, [...piecesOf(mixed)].reverse())

          const read = yield* Effect.forEach(piecesOf(mixed), (piece) => readPiece(torrent, mixed, content, piece))

          assert.deepStrictEqual(Buffer.concat(read), Buffer.from(content))
        })
      )
    )

    test(
      "does not read its caller's buffer after a write returned",
      Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* openToWrite(ten)
          const buffer = new Uint8Array(4).fill(5)
          yield* torrent.writePiece(pieceOf(ten, 0), buffer)
          buffer.fill(9)

          const block = yield* readBlock(torrent, pieceOf(ten, 0), 0, 4)

          assert.deepStrictEqual(block, new Uint8Array(4).fill(5))
        })
      )
    )

    test(
      "keeps the later of two writes of a piece",
      Effect.scoped(
        Effect.gen(function* () {
          const later = contentOf(mixed, 1)
          const torrent = yield* open(mixed)
          yield* store(torrent, mixed, contentOf(mixed))
          yield* store(torrent, mixed, later)

          const digests = yield* digestsOf(torrent, piecesOf(mixed))

          assert.deepStrictEqual(
            digests,
            piecesOf(mixed).map((piece) => [piece, hex(sha1(sliceOf(mixed, later, piece)))])
          )
        })
      )
    )

    test(
      "fault 54: the same piece written eight times at once is stored once",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(mixed)
          const first = pieceOf(mixed, 0)
          const torrent = yield* openToWrite(mixed)
          const write = torrent.writePiece(first, sliceOf(mixed, content, first))
          yield* Effect.all(
            Array.from({ length: 8 }, () => write),
            { concurrency: "unbounded", discard: true }
          )

          const block = yield* readBlock(torrent, first, 0, 16)

          assert.deepStrictEqual(block, content.slice(0, 16))
        })
      )
    )

    test(
      "stores different pieces written at once",
      Effect.scoped(
        Effect.gen(function* () {
          const layout = layoutOf(64, ["t/a", 1_000], ["t/b", 30], ["t/c", 3_000])
          const content = contentOf(layout)
          const torrent = yield* openToWrite(layout)
          yield* Effect.forEach(
            piecesOf(layout),
            (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)),
            { concurrency: 16, discard: true }
          )

          const digests = yield* digestsOf(torrent, piecesOf(layout))

          assert.deepStrictEqual(
            digests,
            piecesOf(layout).map((piece) => [piece, hex(sha1(sliceOf(layout, content, piece)))])
          )
        })
      )
    )

    test(
      "reports to a reader that nothing is stored before the first write",
      Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* open(mixed)

          const reason = yield* reasonOf(torrent.readBlock(pieceOf(mixed, 1), 0, 4))

          assert.strictEqual(reason, "read NotStored")
        })
      )
    )

    test(
      "reports to a reader that a piece past the end of a file is not stored",
      Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* openToWrite(ten)
          yield* torrent.writePiece(pieceOf(ten, 0), new Uint8Array(4).fill(1))

          const reason = yield* reasonOf(torrent.readBlock(pieceOf(ten, 1), 0, 1))

          assert.strictEqual(reason, "read NotStored")
        })
      )
    )

    test(
      "digests what is stored, in the requested order, and nothing for the rest",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(ten)
          const torrent = yield* open(ten)
          yield* store(torrent, ten, content, [pieceOf(ten, 0), pieceOf(ten, 1)])

          const digests = yield* digestsOf(torrent, [pieceOf(ten, 2), pieceOf(ten, 1), pieceOf(ten, 0)])

          assert.deepStrictEqual(digests, [
            [2, undefined],
            [1, hex(sha1(content.slice(4, 8)))],
            [0, hex(sha1(content.slice(0, 4)))]
          ])
        })
      )
    )

    test(
      "digests a piece with the zeros of its padding",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(mixed)
          const torrent = yield* open(mixed)
          yield* store(torrent, mixed, content)

          const digests = yield* digestsOf(torrent, [pieceOf(mixed, 0)])

          assert.deepStrictEqual(digests, [[pieceOf(mixed, 0), hex(sha1(content.slice(0, 16)))]])
        })
      )
    )

    test(
      "has no digest for a piece if only one of its files exists",
      Effect.scoped(
        Effect.gen(function* () {
          const layout = layoutOf(4, ["t/a", 6], ["t/b", 2])
          const torrent = yield* openToWrite(layout)
          yield* torrent.writePiece(pieceOf(layout, 0), new Uint8Array(4).fill(1))

          const digests = yield* digestsOf(torrent, [pieceOf(layout, 1)])

          assert.deepStrictEqual(digests, [[pieceOf(layout, 1), undefined]])
        })
      )
    )

    test(
      "digests nothing for no pieces",
      Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* open(ten)

          const digests = yield* digestsOf(torrent, [])

          assert.deepStrictEqual(digests, [])
        })
      )
    )

    test(
      "touches nothing before it is asked to store",
      Effect.scoped(
        Effect.gen(function* () {
          const torrent = yield* open(mixed)
          yield* torrent.prepare([0, 1, 2, 3, 5, 6])
          yield* torrent.prepare([])
          yield* torrent.look([0, 1])
          yield* torrent.flush([0, 1])
          yield* digestsOf(torrent, piecesOf(mixed))
          yield* Effect.flip(torrent.readBlock(pieceOf(mixed, 0), 0, 1))

          const names = yield* namesListed

          assert.deepStrictEqual(names, [])
        })
      )
    )

    test(
      "finds what an earlier opening stored",
      Effect.gen(function* () {
        const content = contentOf(mixed)
        yield* Effect.scoped(Effect.flatMap(open(mixed), (torrent) => store(torrent, mixed, content)))

        const digests = yield* Effect.scoped(
          Effect.flatMap(open(mixed), (torrent) => digestsOf(torrent, piecesOf(mixed)))
        )

        assert.deepStrictEqual(
          digests,
          piecesOf(mixed).map((piece) => [piece, hex(sha1(sliceOf(mixed, content, piece)))])
        )
      })
    )

    test(
      "keeps what it stored through a flush",
      Effect.scoped(
        Effect.gen(function* () {
          const content = contentOf(mixed)
          const torrent = yield* open(mixed)
          yield* store(torrent, mixed, content)
          yield* torrent.flush(realFiles(mixed))
          yield* torrent.flush(realFiles(mixed))

          const block = yield* readBlock(torrent, pieceOf(mixed, 1), 3, 5)

          assert.deepStrictEqual(block, content.slice(19, 24))
        })
      )
    )

    it.live("law: any torrent written in any order reads back equal, as exactly its files", () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            Layouts.layout,
            fc.infiniteStream(fc.nat()),
            fc.integer({ min: 1, max: 5 }),
            (layout, dice, concurrency) => {
              const content = contentOf(layout)
              const ranks = new Map(piecesOf(layout).map((piece) => [piece, dice.next().value]))
              const order = [...piecesOf(layout)].sort((a, b) => ranks.get(a)! - ranks.get(b)!)
              const program = Effect.gen(function* () {
                const torrent = yield* open(layout)
                yield* claim(torrent, layout, "new")
                yield* torrent.prepare(layout.files.keys().toArray())
                yield* Effect.forEach(order, (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)), {
                  concurrency,
                  discard: true
                })

                const read = yield* Effect.forEach(piecesOf(layout), (piece) =>
                  readPiece(torrent, layout, content, piece)
                )
                const digests = yield* digestsOf(torrent, order)
                const files = yield* (yield* MediumFiles).list

                assert.deepStrictEqual(Buffer.concat(read), Buffer.from(content))
                assert.deepStrictEqual(
                  digests,
                  order.map((piece) => [piece, hex(sha1(sliceOf(layout, content, piece)))])
                )
                assert.deepStrictEqual(
                  new Map(files),
                  new Map(
                    layout.files
                      .filter((file) => !file.padding)
                      .map((file) => [file.path.join("/"), content.slice(file.offset, file.offset + file.length)])
                  )
                )
              })
              return Effect.runPromise(Effect.provide(Effect.scoped(program), layer))
            }
          ),
          { numRuns: 40 }
        )
      )
    )
  })
  Claims.suite(name, layer)
}
