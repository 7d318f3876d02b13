/**
 * What every medium that keeps torrents as files does with unwanted files. A medium passes if it runs these with its
 * own layer. `folder` is the folder in which it keeps torrents, for tests to inspect and change.
 */
import * as Crypto from "node:crypto"
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import type { Storage, TorrentStorage } from "../../src/storage/Storage.ts"
import { listFiles } from "./disk.ts"
import { contentOf, layoutOf, layout as layouts, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import { claim, open, store } from "./openings.ts"

/** The folder in which a medium keeps torrents. */
export class DownloadFolder extends Context.Service<DownloadFolder, { readonly folder: string }>()(
  "piecewise/test/storage/DownloadFolder"
) {}

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

export const read = (torrent: TorrentStorage, layout: FileLayout, index: number) =>
  Effect.map(
    torrent.readBlock(pieceOf(layout, index), 0, PieceGeometry.pieceSize(layout.geometry, pieceOf(layout, index))),
    ({ bytes }) => bytes
  )

/** The pieces that match their digests. */
export const matching = (torrent: TorrentStorage, layout: FileLayout) =>
  Effect.map(Stream.runCollect(torrent.digests(piecesOf(layout))), (digests) =>
    digests
      .filter(({ piece, sha1 }) => sha1 && Bytes.equals(sha1, Crypto.hash("sha1", right(layout, piece), "buffer")))
      .map(({ piece }) => Number(piece))
  )

/** Opens `abc`, selects the wanted files, and runs a program until the torrent is closed. */
export const run = <A, E>(wanted: ReadonlyArray<number>, use: (torrent: TorrentStorage) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(open(abc), (torrent) => Effect.andThen(torrent.prepare(wanted), use(torrent))))

const names = Effect.map(DownloadFolder, ({ folder }) => [...listFiles(folder).keys()].sort())

/** Puts a file below the download folder, as a user does. */
const put = (path: string, content: string | Uint8Array) =>
  Effect.map(DownloadFolder, ({ folder }) => {
    const place = Path.join(folder, path)
    NFS.mkdirSync(Path.dirname(place), { recursive: true })
    NFS.writeFileSync(place, content)
    return place
  })

/** Runs a medium through all of it; each test gets a fresh one. */
export const suite = <E>(name: string, layer: Layer.Layer<Storage | DownloadFolder, E>): void => {
  describe(`a skipped file (${name})`, () => {
    const test = (title: string, effect: Effect.Effect<void, unknown, Storage | DownloadFolder | Scope.Scope>) =>
      it.live(title, () => Effect.provide(effect, layer))

    test(
      "is not made by a piece that it shares, which can still be read",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])

        yield* write(torrent, abc, 0)
        yield* write(torrent, abc, 1)

        assert.deepStrictEqual(yield* names, [".piecewise/parts/t/b/b", "t/a"])
        assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
        assert.deepStrictEqual(yield* matching(torrent, abc), [0, 1])
      })
    )

    test(
      "is moved to its place when it is wanted, and leaves no folder behind",
      Effect.gen(function* () {
        const { folder } = yield* DownloadFolder
        const torrent = yield* open(abc)
        yield* torrent.prepare([b])
        for (const index of [1, 2]) yield* write(torrent, abc, index)
        const before = yield* names

        yield* torrent.prepare([a, b])
        const between = yield* names
        yield* torrent.prepare([a, b, c])
        for (const index of [0, 3]) yield* write(torrent, abc, index)

        assert.deepStrictEqual(before, [".piecewise/parts/t/a", ".piecewise/parts/t/b/c", "t/b/b"])
        assert.deepStrictEqual(between, [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
        assert.deepStrictEqual(yield* names, ["t/a", "t/b/b", "t/b/c"])
        assert.isFalse(NFS.existsSync(Path.join(folder, ".piecewise", "parts")))
        assert.deepStrictEqual(yield* matching(torrent, abc), [0, 1, 2, 3])
      })
    )

    test(
      "is made in its place if it was wanted before it was used",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        yield* torrent.prepare([a, b])

        yield* write(torrent, abc, 1)

        assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
      })
    )

    test(
      "is found again by a later run, skipped or wanted",
      Effect.gen(function* () {
        yield* run([a], (torrent) => write(torrent, abc, 1))
        const before = yield* names

        const skipping = yield* run([a], (torrent) => matching(torrent, abc))
        const other = yield* run([c], (torrent) => matching(torrent, abc))
        const wanting = yield* run([a, b], (torrent) => matching(torrent, abc))

        assert.deepStrictEqual(before, [".piecewise/parts/t/b/b", "t/a"])
        assert.deepStrictEqual([skipping, other, wanting], [[1], [1], [1]])
        assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
      })
    )

    test(
      "is used where it is, if it exists",
      Effect.gen(function* () {
        yield* put("t/b/b", contentOf(abc).subarray(20, 40))
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])

        yield* write(torrent, abc, 1)

        assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
        assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
      })
    )

    test(
      "stays where it was written before it was skipped",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.prepare([a, b, c])
        yield* write(torrent, abc, 1)

        yield* torrent.prepare([a])
        yield* write(torrent, abc, 2)

        assert.deepStrictEqual(yield* names, [".piecewise/parts/t/b/c", "t/a", "t/b/b"])
        assert.deepStrictEqual(yield* matching(torrent, abc), [1, 2])
      })
    )

    test(
      "is replaced by a file that the user put in its place",
      Effect.gen(function* () {
        yield* run([a], (torrent) => write(torrent, abc, 1))
        const place = yield* put("t/b/b", "mine")
        const before = yield* names

        yield* run([a, b], () => Effect.void)

        assert.deepStrictEqual(before, [".piecewise/parts/t/b/b", "t/a", "t/b/b"])
        assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
        assert.strictEqual(NFS.readFileSync(place, "utf8"), "mine")
      })
    )

    test(
      "stays set aside while something is in the way",
      Effect.gen(function* () {
        const torrent = yield* open(abc)
        yield* torrent.prepare([a])
        yield* write(torrent, abc, 1)
        const inTheWay = yield* put("t/b", "a file where a folder should be")

        const error = yield* Effect.flip(torrent.prepare([a, b]))
        const between = yield* read(torrent, abc, 1)
        NFS.rmSync(inTheWay)
        yield* torrent.prepare([a, b])

        assert.deepStrictEqual([error.operation, error.reason._tag], ["prepare", "StorageRefused"])
        assert.deepStrictEqual(between, right(abc, 1))
        assert.deepStrictEqual(yield* names, ["t/a", "t/b/b"])
        assert.deepStrictEqual(yield* read(torrent, abc, 1), right(abc, 1))
      })
    )

    test(
      "can be written and read while it is moved",
      Effect.gen(function* () {
        const layout = layoutOf(16, ["t/wanted", 8], ...Array.from({ length: 100 }, (_, index) => entry(index)))
        const torrent = yield* open(layout)
        yield* torrent.prepare([0])
        for (const piece of piecesOf(layout)) yield* write(torrent, layout, piece)
        const before = (yield* names).filter((name) => name.startsWith(".piecewise/parts/t/")).length
        const use = Effect.forEach(
          piecesOf(layout),
          (piece) =>
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* read(torrent, layout, piece), right(layout, piece))
              yield* write(torrent, layout, piece)
            }),
          { discard: true }
        )

        yield* Effect.all([torrent.prepare(layout.files.keys().toArray()), use, use], { concurrency: "unbounded" })

        const expected = layout.files.map(({ path }) => path.join("/"))
        assert.strictEqual(before, 100)
        assert.deepStrictEqual(yield* names, expected.sort())
        assert.deepStrictEqual(yield* matching(torrent, layout), piecesOf(layout).map(Number))
      })
    )

    test(
      "stays aside if another torrent has a file with the name of its folder",
      Effect.gen(function* () {
        const other = layoutOf(16, ["t/b", 20])
        yield* run([a], (torrent) => write(torrent, abc, 1))

        yield* Effect.scoped(Effect.flatMap(open(other), (torrent) => torrent.prepare([0])))

        assert.deepStrictEqual(yield* names, [".piecewise/parts/t/b/b", "t/a"])
      })
    )

    it.live("is never made and never lost, under any script of selections, writes and runs", () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(layouts, fc.array(step, { maxLength: 12 }), (layout, steps) =>
            play(layout, steps).pipe(Effect.provide(layer), Effect.runPromise)
          ),
          { numRuns: 60 }
        )
      )
    )
  })
}

const entry = (index: number) => [`t/${index % 7}/${index}`, 24] as const

/** One step of a script; `selection` has a bit for each of the first twelve files. */
export type Step = readonly [piece: number, selection: number, isNewRun: boolean]

const step: fc.Arbitrary<Step> = fc.tuple(fc.nat(99), fc.nat(0xfff), fc.boolean())

/** Selects, writes a piece, and now and then opens the torrent again; at last wants everything. */
const play = Effect.fnUntraced(function* (layout: FileLayout, steps: ReadonlyArray<Step>) {
  const { folder } = yield* DownloadFolder
  const real = [...layout.files.keys()].filter((index) => !layout.files[index]!.padding)
  const everWanted = new Set<string>()
  const written = new Set<number>()
  let scope = yield* Scope.make()
  let torrent = yield* Scope.provide(open(layout), scope)
  const check = Effect.gen(function* () {
    for (const name of listFiles(folder).keys()) if (!name.startsWith(".piecewise")) assert.isTrue(everWanted.has(name))
    for (const index of written) assert.deepStrictEqual(yield* read(torrent, layout, index), right(layout, index))
  })

  for (const [number, selection, isNewRun] of steps) {
    if (isNewRun) {
      yield* Scope.close(scope, Exit.void)
      scope = yield* Scope.make()
      torrent = yield* Scope.provide(open(layout), scope)
    }
    const wanted = real.filter((index) => selection & (1 << (index % 12)))
    for (const index of wanted) everWanted.add(layout.files[index]!.path.join("/"))
    yield* torrent.prepare(wanted)
    const index = number % layout.geometry.pieceCount
    yield* write(torrent, layout, index)
    written.add(index)
    yield* check
  }
  for (const index of real) everWanted.add(layout.files[index]!.path.join("/"))
  yield* torrent.prepare(real)
  yield* claim(torrent, layout)
  yield* check
  for (const piece of piecesOf(layout)) yield* write(torrent, layout, piece)
  yield* Scope.close(scope, Exit.void)

  const content = contentOf(layout)
  const expected = real.map((index) => {
    const { length, offset, path } = layout.files[index]!
    return [path.join("/"), content.slice(offset, offset + length)] as const
  })
  assert.deepStrictEqual(new Map([...listFiles(folder)].sort()), new Map(expected.sort()))
})
