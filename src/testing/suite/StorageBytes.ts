/** What every storage does with the bytes of torrents. */
import * as Effect from "effect/Effect"
import * as Bytes from "../../base/Bytes.ts"
import * as Prng from "../../base/Prng.ts"
import type { Storage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import * as StorageSamples from "./StorageSamples.ts"
import * as Suite from "./Suite.ts"

const { digestsOf, mixed, readBlock, rightDigests, sha1, tagOf, ten } = StorageSamples

const { contentOf, layoutOf, open, openToWrite, pieceOf, piecesOf, realFiles, sliceOf, store } = Layouts

/** Stores and reads back one torrent of any shape. */
const playAny = Effect.fnUntraced(function* (seed: number) {
  const random = Prng.make(seed)
  const layout = Layouts.drawn(random, `t${seed}`)
  const bytes = Layouts.contentOf(layout, seed)
  const order = [...Layouts.piecesOf(layout)]
  Prng.shuffle(random, order)
  const torrent = yield* Layouts.open(layout)
  yield* Layouts.claim(torrent, layout, "new")
  yield* torrent.prepare(layout.files.keys().toArray())
  yield* Effect.forEach(order, (piece) => torrent.writePiece(piece, Layouts.sliceOf(layout, bytes, piece)), {
    concurrency: Prng.between(random, 1, 5),
    discard: true
  })

  for (const piece of Layouts.piecesOf(layout)) {
    const right = Layouts.sliceOf(layout, bytes, piece)
    Assert.deepStrictEqual(yield* readBlock(torrent, piece, 0, right.length), right, `seed ${seed}, piece ${piece}`)
  }
  Assert.deepStrictEqual(yield* digestsOf(torrent, order), yield* rightDigests(layout, bytes, order), `seed ${seed}`)
}, Effect.scoped)

const runs = 20

/** The cases. */
export const cases: ReadonlyArray<Suite.Case<Storage>> = [
  Suite.test(
    "reads back the block it wrote",
    Effect.gen(function* () {
      const layout = layoutOf(32_768, ["sevens", 32_768])
      const torrent = yield* openToWrite(layout)
      yield* torrent.writePiece(pieceOf(layout, 0), new Uint8Array(32_768).fill(7))

      const block = yield* readBlock(torrent, pieceOf(layout, 0), 16_384, 4)

      Assert.deepStrictEqual(block, new Uint8Array(4).fill(7))
    })
  ),

  Suite.test(
    "reads back an odd last piece",
    Effect.gen(function* () {
      const content = contentOf(ten)
      const torrent = yield* open(ten)
      yield* store(torrent, ten, content)

      const last = yield* readBlock(torrent, pieceOf(ten, 2), 0, 2)

      Assert.deepStrictEqual(last, content.slice(8))
    })
  ),

  Suite.test(
    "reads a block that crosses files and padding",
    Effect.gen(function* () {
      const content = contentOf(mixed)
      const torrent = yield* open(mixed)
      yield* store(torrent, mixed, content)

      const block = yield* readBlock(torrent, pieceOf(mixed, 0), 9, 7)

      Assert.deepStrictEqual(block, content.slice(9, 16))
      Assert.deepStrictEqual(block.slice(4), new Uint8Array(3))
    })
  ),

  Suite.test(
    "reads the same into memory that it is passed, whatever was there, and no further",
    Effect.gen(function* () {
      const content = contentOf(mixed)
      const torrent = yield* open(mixed)
      yield* store(torrent, mixed, content)
      const into = new Uint8Array(20).fill(9)

      const block = yield* torrent.readBlock(pieceOf(mixed, 0), 0, 16, into)

      Assert.deepStrictEqual(Uint8Array.from(block.bytes), content.slice(0, 16))
      Assert.deepStrictEqual(into.slice(16), new Uint8Array(4).fill(9))
    })
  ),

  Suite.test(
    "stores a torrent that is nothing but padding after its first byte",
    Effect.gen(function* () {
      const layout = layoutOf(4, ["p/a", 1], ["p/.pad/7", 7, "padding"])
      const content = contentOf(layout)
      const torrent = yield* open(layout)
      yield* store(torrent, layout, content)

      const block = yield* readBlock(torrent, pieceOf(layout, 1), 0, 4)

      Assert.deepStrictEqual(block, new Uint8Array(4))
    })
  ),

  Suite.test(
    "stores pieces in any order",
    Effect.gen(function* () {
      const content = contentOf(mixed)
      const torrent = yield* open(mixed)
      yield* store(torrent, mixed, content, [...piecesOf(mixed)].reverse())

      const read = yield* Effect.forEach(piecesOf(mixed), (piece) =>
        readBlock(torrent, piece, 0, sliceOf(mixed, content, piece).length)
      )

      Assert.deepStrictEqual(Bytes.concat(read), content)
    })
  ),

  Suite.test(
    "does not read its caller's buffer after a write returned",
    Effect.gen(function* () {
      const torrent = yield* openToWrite(ten)
      const buffer = new Uint8Array(4).fill(5)
      yield* torrent.writePiece(pieceOf(ten, 0), buffer)
      buffer.fill(9)

      const block = yield* readBlock(torrent, pieceOf(ten, 0), 0, 4)

      Assert.deepStrictEqual(block, new Uint8Array(4).fill(5))
    })
  ),

  Suite.test(
    "keeps the later of two writes of a piece",
    Effect.gen(function* () {
      const later = contentOf(mixed, 1)
      const torrent = yield* open(mixed)
      yield* store(torrent, mixed, contentOf(mixed))
      yield* store(torrent, mixed, later)

      const digests = yield* digestsOf(torrent, piecesOf(mixed))

      Assert.deepStrictEqual(digests, yield* rightDigests(mixed, later))
    })
  ),

  Suite.test(
    "fault 54: the same piece written eight times at once is stored once",
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

      Assert.deepStrictEqual(block, content.slice(0, 16))
    })
  ),

  Suite.test(
    "stores different pieces written at once",
    Effect.gen(function* () {
      const layout = layoutOf(64, ["t/a", 1_000], ["t/b", 30], ["t/c", 3_000])
      const content = contentOf(layout)
      const torrent = yield* openToWrite(layout)
      yield* Effect.forEach(piecesOf(layout), (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)), {
        concurrency: 16,
        discard: true
      })

      const digests = yield* digestsOf(torrent, piecesOf(layout))

      Assert.deepStrictEqual(digests, yield* rightDigests(layout, content))
    })
  ),

  Suite.test(
    "reports to a reader that nothing is stored before the first write",
    Effect.gen(function* () {
      const torrent = yield* open(mixed)

      const reason = yield* tagOf(torrent.readBlock(pieceOf(mixed, 1), 0, 4))

      Assert.strictEqual(reason, "read NotStored")
    })
  ),

  Suite.test(
    "reports to a reader that a piece past the end of a file is not stored",
    Effect.gen(function* () {
      const torrent = yield* openToWrite(ten)
      yield* torrent.writePiece(pieceOf(ten, 0), new Uint8Array(4).fill(1))

      const reason = yield* tagOf(torrent.readBlock(pieceOf(ten, 1), 0, 1))

      Assert.strictEqual(reason, "read NotStored")
    })
  ),

  Suite.test(
    "digests what is stored, in the requested order, and nothing for the rest",
    Effect.gen(function* () {
      const content = contentOf(ten)
      const torrent = yield* open(ten)
      yield* store(torrent, ten, content, [pieceOf(ten, 0), pieceOf(ten, 1)])

      const digests = yield* digestsOf(torrent, [pieceOf(ten, 2), pieceOf(ten, 1), pieceOf(ten, 0)])

      Assert.deepStrictEqual(digests, [
        [2, undefined],
        [1, yield* sha1(content.slice(4, 8))],
        [0, yield* sha1(content.slice(0, 4))]
      ])
    })
  ),

  Suite.test(
    "digests a piece with the zeros of its padding",
    Effect.gen(function* () {
      const content = contentOf(mixed)
      const torrent = yield* open(mixed)
      yield* store(torrent, mixed, content)

      const digests = yield* digestsOf(torrent, [pieceOf(mixed, 0)])

      Assert.deepStrictEqual(digests, [[pieceOf(mixed, 0), yield* sha1(content.slice(0, 16))]])
    })
  ),

  Suite.test(
    "has no digest for a piece if only one of its files exists",
    Effect.gen(function* () {
      const layout = layoutOf(4, ["t/a", 6], ["t/b", 2])
      const torrent = yield* openToWrite(layout)
      yield* torrent.writePiece(pieceOf(layout, 0), new Uint8Array(4).fill(1))

      const digests = yield* digestsOf(torrent, [pieceOf(layout, 1)])

      Assert.deepStrictEqual(digests, [[pieceOf(layout, 1), undefined]])
    })
  ),

  Suite.test(
    "digests nothing for no pieces",
    Effect.gen(function* () {
      const torrent = yield* open(ten)

      const digests = yield* digestsOf(torrent, [])

      Assert.deepStrictEqual(digests, [])
    })
  ),

  Suite.test(
    "finds what an earlier opening stored",
    Effect.gen(function* () {
      const content = contentOf(mixed)
      yield* Effect.scoped(Effect.flatMap(open(mixed), (torrent) => store(torrent, mixed, content)))

      const digests = yield* Effect.scoped(
        Effect.flatMap(open(mixed), (torrent) => digestsOf(torrent, piecesOf(mixed)))
      )

      Assert.deepStrictEqual(digests, yield* rightDigests(mixed, content))
    })
  ),

  Suite.test(
    "keeps what it stored through a flush",
    Effect.gen(function* () {
      const content = contentOf(mixed)
      const torrent = yield* open(mixed)
      yield* store(torrent, mixed, content)
      yield* torrent.flush(realFiles(mixed))
      yield* torrent.flush(realFiles(mixed))

      const block = yield* readBlock(torrent, pieceOf(mixed, 1), 3, 5)

      Assert.deepStrictEqual(block, content.slice(19, 24))
    })
  ),

  Suite.test(
    "has the bytes of an unwanted file, before and after it is wanted",
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

      Assert.deepStrictEqual([before, after], [content.slice(0, 16), content.slice(0, 16)])
    })
  ),

  Suite.test(
    "law: any torrent written in any order reads back equal",
    Effect.forEach(
      Array.from({ length: runs }, (_, seed) => seed),
      playAny,
      { discard: true }
    )
  )
]
