/** What a medium of files does with the bytes of unwanted files, which share pieces with wanted ones. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Bytes from "../../base/Bytes.ts"
import * as PieceGeometry from "../../base/PieceGeometry.ts"
import * as Prng from "../../base/Prng.ts"
import type { FileLayout } from "../../metainfo/FileLayout.ts"
import type { Storage, TorrentStorage } from "../../storage/Storage.ts"
import * as Assert from "./Assert.ts"
import * as Layouts from "./Layouts.ts"
import { MediumFiles } from "./MediumFiles.ts"
import * as StorageSamples from "./StorageSamples.ts"
import * as Suite from "./Suite.ts"

const { bytesOf, digestsOf, listed, namesListed, rightDigests } = StorageSamples

const { claim, contentOf, layoutOf, open, pieceOf, piecesOf, sliceOf, store } = Layouts

/** Three files, each of which shares a piece with the next: pieces 0 a, 1 a and b, 2 b and c, 3 c. */
export const abc = layoutOf(16, ["t/a", 20], ["t/b/b", 20], ["t/b/c", 20])

/** The files of `abc`. */
export const [a, b, c] = [0, 1, 2]

/** What a piece should be. */
export const right = (layout: FileLayout, index: number): Uint8Array =>
  sliceOf(layout, contentOf(layout), pieceOf(layout, index))

/** Claims the files of a piece, whatever exists there, and writes it. */
export const write = (torrent: TorrentStorage, layout: FileLayout, index: number) =>
  store(torrent, layout, contentOf(layout), [pieceOf(layout, index)])

/** The bytes of a piece. */
export const read = (torrent: TorrentStorage, layout: FileLayout, index: number) =>
  Effect.map(
    torrent.readBlock(pieceOf(layout, index), 0, PieceGeometry.pieceSize(layout.geometry, pieceOf(layout, index))),
    ({ bytes }) => bytes
  )

/** The pieces that match their digests. */
export const matching = Effect.fnUntraced(function* (torrent: TorrentStorage, layout: FileLayout) {
  const expected = new Map(yield* rightDigests(layout, contentOf(layout)))
  const found = yield* digestsOf(torrent, piecesOf(layout))
  return found.flatMap(([piece, digest]) => (expected.get(piece) === digest ? [Number(piece)] : []))
})

/** Opens `abc`, selects the wanted files, and runs a program until the torrent is closed. */
export const run = <A, E, R>(wanted: ReadonlyArray<number>, use: (torrent: TorrentStorage) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(open(abc), (torrent) => Effect.andThen(torrent.prepare(wanted), use(torrent))))

/** Puts a file below the download folder, as a user does. */
const put = (path: string, content: string | Uint8Array) =>
  Effect.flatMap(MediumFiles, (files) =>
    files.put(path, typeof content === "string" ? Bytes.fromText(content) : content)
  )

const entry = (index: number) => [`t/${index % 7}/${index}`, 24] as const

/** Scripts of selections, writes and runs that are tried. */
const scripts = 16

/** Selects, writes a piece, and now and then opens the torrent again; at last wants everything. */
const play = Effect.fnUntraced(function* (seed: number) {
  const random = Prng.make(seed)
  const layout = Layouts.drawn(random, `t${seed}`)
  const real = Layouts.realFiles(layout)
  const pathOf = (index: number) => layout.files[index]!.path.join("/")
  const everWanted = new Set<string>()
  const written = new Set<number>()
  let scope = yield* Scope.make()
  let torrent = yield* Scope.provide(open(layout), scope)
  const check = Effect.gen(function* () {
    for (const name of yield* namesListed) {
      Assert.isTrue(name.startsWith(".piecewise") || everWanted.has(name), `seed ${seed}: nobody wanted ${name}`)
    }
    for (const index of written) {
      Assert.deepStrictEqual(yield* read(torrent, layout, index), right(layout, index), `seed ${seed}, piece ${index}`)
    }
  })

  for (let step = Prng.between(random, 0, 12); step > 0; step--) {
    if (random() < 0.5) {
      yield* Scope.close(scope, Exit.void)
      scope = yield* Scope.make()
      torrent = yield* Scope.provide(open(layout), scope)
    }
    const wanted = real.filter(() => random() < 0.5)
    for (const index of wanted) everWanted.add(pathOf(index))
    yield* torrent.prepare(wanted)
    const index = Prng.integer(random, layout.geometry.pieceCount)
    yield* write(torrent, layout, index)
    written.add(index)
    yield* check
  }
  for (const index of real) everWanted.add(pathOf(index))
  yield* torrent.prepare(real)
  yield* claim(torrent, layout)
  yield* check
  for (const piece of piecesOf(layout)) yield* write(torrent, layout, piece)

  const expected = real.map((index) => [pathOf(index), bytesOf(layout, index)] as const)
  Assert.deepStrictEqual(new Map(yield* listed), new Map(expected), `seed ${seed}`)
  yield* torrent.remove(real)
  yield* Scope.close(scope, Exit.void)
})

/** The cases. */
export const cases: ReadonlyArray<Suite.Case<Storage | MediumFiles>> = Suite.group("a skipped file", [
  Suite.test(
    "is not made by a piece that it shares, which can still be read",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])

      yield* write(torrent, abc, 0)
      yield* write(torrent, abc, 1)

      Assert.deepStrictEqual(yield* namesListed, [".piecewise/parts/t/b/b", "t/a"])
      Assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
      Assert.deepStrictEqual(yield* matching(torrent, abc), [0, 1])
    })
  ),

  Suite.test(
    "is moved to its place when it is wanted, and leaves no folder behind",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.prepare([b])
      for (const index of [1, 2]) yield* write(torrent, abc, index)
      const before = yield* namesListed

      yield* torrent.prepare([a, b])
      const between = yield* namesListed
      yield* torrent.prepare([a, b, c])
      for (const index of [0, 3]) yield* write(torrent, abc, index)

      Assert.deepStrictEqual(before, [".piecewise/parts/t/a", ".piecewise/parts/t/b/c", "t/b/b"])
      Assert.deepStrictEqual(between, [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
      Assert.deepStrictEqual(yield* namesListed, ["t/a", "t/b/b", "t/b/c"])
      Assert.deepStrictEqual(yield* matching(torrent, abc), [0, 1, 2, 3])
    })
  ),

  Suite.test(
    "is made in its place if it was wanted before it was used",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* torrent.prepare([a, b])

      yield* write(torrent, abc, 1)

      Assert.deepStrictEqual(yield* namesListed, ["t/a", "t/b/b"])
    })
  ),

  Suite.test(
    "is found again by a later run, skipped or wanted",
    Effect.gen(function* () {
      yield* run([a], (torrent) => write(torrent, abc, 1))
      const before = yield* namesListed

      const skipping = yield* run([a], (torrent) => matching(torrent, abc))
      const other = yield* run([c], (torrent) => matching(torrent, abc))
      const wanting = yield* run([a, b], (torrent) => matching(torrent, abc))

      Assert.deepStrictEqual(before, [".piecewise/parts/t/b/b", "t/a"])
      Assert.deepStrictEqual([skipping, other, wanting], [[1], [1], [1]])
      Assert.deepStrictEqual(yield* namesListed, ["t/a", "t/b/b"])
    })
  ),

  Suite.test(
    "is used where it is, if it exists",
    Effect.gen(function* () {
      yield* put("t/b/b", contentOf(abc).subarray(20, 40))
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])

      yield* write(torrent, abc, 1)

      Assert.deepStrictEqual(yield* namesListed, ["t/a", "t/b/b"])
      Assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
    })
  ),

  Suite.test(
    "stays where it was written before it was skipped",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.prepare([a, b, c])
      yield* write(torrent, abc, 1)

      yield* torrent.prepare([a])
      yield* write(torrent, abc, 2)

      Assert.deepStrictEqual(yield* namesListed, [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
      Assert.deepStrictEqual(yield* matching(torrent, abc), [1, 2])
    })
  ),

  Suite.test(
    "is replaced by a file that the user put in its place",
    Effect.gen(function* () {
      yield* run([a], (torrent) => write(torrent, abc, 1))
      yield* put("t/b/b", "mine")
      const before = yield* namesListed

      yield* run([a, b], () => Effect.void)

      Assert.deepStrictEqual(before, [".piecewise/parts/t/b/b", "t/a", "t/b/b"])
      Assert.deepStrictEqual(yield* namesListed, ["t/a", "t/b/b"])
      Assert.strictEqual(Bytes.toText((yield* listed).get("t/b/b")!), "mine")
    })
  ),

  Suite.test(
    "stays set aside while something is in the way",
    Effect.gen(function* () {
      const torrent = yield* open(abc)
      yield* torrent.prepare([a])
      yield* write(torrent, abc, 1)
      yield* put("t/b", "a file where a folder should be")

      const error = yield* Effect.flip(torrent.prepare([a, b]))
      const between = yield* read(torrent, abc, 1)
      yield* (yield* MediumFiles).remove("t/b")
      yield* torrent.prepare([a, b])

      Assert.deepStrictEqual([error.operation, error.reason._tag], ["prepare", "StorageRefused"])
      Assert.deepStrictEqual(between, right(abc, 1))
      Assert.deepStrictEqual(yield* namesListed, ["t/a", "t/b/b"])
      Assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
    })
  ),

  Suite.test(
    "can be written and read while it is moved",
    Effect.gen(function* () {
      const layout = layoutOf(16, ["t/wanted", 8], ...Array.from({ length: 100 }, (_, index) => entry(index)))
      const torrent = yield* open(layout)
      yield* torrent.prepare([0])
      for (const piece of piecesOf(layout)) yield* write(torrent, layout, piece)
      const before = (yield* namesListed).filter((name) => name.startsWith(".piecewise/parts/t/")).length
      const use = Effect.forEach(
        piecesOf(layout),
        (piece) =>
          Effect.gen(function* () {
            Assert.deepStrictEqual(yield* read(torrent, layout, piece), right(layout, piece))
            yield* write(torrent, layout, piece)
          }),
        { discard: true }
      )

      yield* Effect.all([torrent.prepare(layout.files.keys().toArray()), use, use], { concurrency: "unbounded" })

      const expected = layout.files.map(({ path }) => path.join("/"))
      Assert.strictEqual(before, 100)
      Assert.deepStrictEqual(yield* namesListed, expected.sort())
      Assert.deepStrictEqual(yield* matching(torrent, layout), piecesOf(layout).map(Number))
    })
  ),

  Suite.test(
    "stays aside if another torrent has a file with the name of its folder",
    Effect.gen(function* () {
      const other = layoutOf(16, ["t/b", 20])
      yield* run([a], (torrent) => write(torrent, abc, 1))

      yield* Effect.scoped(Effect.flatMap(open(other), (torrent) => torrent.prepare([0])))

      Assert.deepStrictEqual(yield* namesListed, [".piecewise/parts/t/b/b", "t/a"])
    })
  ),

  Suite.test(
    "is never made and never lost, under any script of selections, writes and runs",
    Effect.forEach(
      Array.from({ length: scripts }, (_, seed) => seed),
      play,
      { discard: true }
    )
  )
])
