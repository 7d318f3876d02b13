/** Where a medium of files keeps the bytes of torrents. */
import * as Effect from "effect/Effect"
import * as Prng from "../../base/Prng.ts"
import type { Storage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import { MediumFiles } from "./MediumFiles.ts"
import * as StorageSamples from "./StorageSamples.ts"
import * as Suite from "./Suite.ts"

const { bytesOf, digestsOf, listed, mixed, namesListed } = StorageSamples

const { contentOf, open, openToWrite, pieceOf, piecesOf, store } = Layouts

/** Stores one torrent of any shape, and removes it again. */
const playAny = Effect.fnUntraced(function* (seed: number) {
  const layout = Layouts.drawn(Prng.make(seed), `t${seed}`)
  const torrent = yield* Layouts.open(layout)
  yield* Layouts.claim(torrent, layout, "new")
  yield* Layouts.store(torrent, layout)

  const right = Layouts.realFiles(layout).map(
    (file) => [layout.files[file]!.path.join("/"), bytesOf(layout, file)] as const
  )
  Assert.deepStrictEqual(new Map(yield* listed), new Map(right), `seed ${seed}`)
  yield* torrent.remove(Layouts.realFiles(layout))
  Assert.deepStrictEqual(yield* namesListed, [], `seed ${seed}`)
}, Effect.scoped)

const runs = 16

/** The cases. */
export const cases: ReadonlyArray<Suite.Case<Storage | MediumFiles>> = [
  Suite.test(
    "writes a piece that spans files to each of them",
    Effect.gen(function* () {
      const content = contentOf(mixed)
      const torrent = yield* open(mixed)
      yield* store(torrent, mixed, content, [pieceOf(mixed, 0)])

      const files = yield* (yield* MediumFiles).list

      Assert.deepStrictEqual([...files.keys()].sort(), ["m/a", "m/d/b", "m/d/c"])
      Assert.deepStrictEqual(files.get("m/a"), content.slice(0, 10))
      Assert.deepStrictEqual(files.get("m/d/b"), content.slice(10, 11))
      Assert.deepStrictEqual(files.get("m/d/c"), content.slice(11, 13))
    })
  ),

  Suite.test(
    "writes padding nowhere",
    Effect.gen(function* () {
      const torrent = yield* openToWrite(mixed)
      yield* store(torrent, mixed)

      const names = yield* namesListed

      Assert.deepStrictEqual(names, ["m/a", "m/d/b", "m/d/c", "m/d/e/f", "m/empty", "m/zero/end"])
    })
  ),

  Suite.test(
    "touches nothing before it is asked to store",
    Effect.gen(function* () {
      const torrent = yield* open(mixed)
      yield* torrent.prepare([0, 1, 2, 3, 5, 6])
      yield* torrent.prepare([])
      yield* torrent.look([0, 1])
      yield* torrent.flush([0, 1])
      yield* digestsOf(torrent, piecesOf(mixed))
      yield* Effect.flip(torrent.readBlock(pieceOf(mixed, 0), 0, 1))

      const names = yield* namesListed

      Assert.deepStrictEqual(names, [])
    })
  ),

  Suite.test(
    "law: any torrent is stored as exactly its files",
    Effect.forEach(
      Array.from({ length: runs }, (_, seed) => seed),
      playAny,
      { discard: true }
    )
  )
]
