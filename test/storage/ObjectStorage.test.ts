import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Sqlite from "../../examples/sqlite-storage.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as ObjectStorage from "../../src/storage/provider/object/ObjectStorage.ts"
import { DiskFull, Storage, StorageUnavailable } from "../../src/storage/Storage.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as StorageSuite from "../../src/testing/suite/StorageSuite.ts"
import { runCases } from "../runCases.ts"
import { small } from "../simulation/torrents.ts"
import { contentOf, layoutOf, pieceOf, sliceOf } from "./layouts.ts"
import { claim, infoHashOf, open, store } from "./openings.ts"

/** Objects in memory, and calls that can be held up or made to fail. */
const makeStore = (options: { readonly hasVersions: boolean }) => {
  const objects = new Map<string, { readonly bytes: Uint8Array; readonly version: string | undefined }>()
  let puts = 0
  const hooks = {
    beforeList: Effect.void as Effect.Effect<void, StorageUnavailable>,
    put: Effect.void as Effect.Effect<void, DiskFull>
  }
  const put = (key: string, bytes: Uint8Array) => {
    const version = options.hasVersions ? `"${++puts}"` : undefined
    objects.set(key, { bytes: bytes.slice(), version })
    return version
  }
  const objectStore: ObjectStorage.ObjectStore = {
    put: (key, bytes) =>
      Effect.andThen(
        hooks.put,
        Effect.sync(() => put(key, bytes))
      ),
    get: (key, begin, length) =>
      Effect.sync(() => {
        const found = objects.get(key)
        const bytes = found?.bytes.slice(begin, begin + length)
        return bytes?.length === length ? { bytes, version: found?.version } : undefined
      }),
    list: (prefix) =>
      Effect.suspend(() => {
        const found = [...objects].filter(([key]) => key.startsWith(prefix))
        return Effect.as(
          hooks.beforeList,
          found.map(([key, { version }]) => ({ key, version }))
        )
      }),
    remove: (keys) => Effect.sync(() => keys.forEach((key) => void objects.delete(key)))
  }
  const layer = Layer.provide(ObjectStorage.layer(objectStore), NodePieceHasher.layer)
  return { hooks, layer, objects, objectStore, put }
}

const layout = layoutOf(4, ["t/a", 6], ["t/b", 6])
const content = contentOf(layout)
const pieceKey = (piece: number) => `${Buffer.from(infoHashOf(layout)).toString("hex")}/piece/${piece}`

for (const hasVersions of [false, true]) {
  describe(`Storage (objects ${hasVersions ? "with" : "without"} versions)`, () => {
    runCases(StorageSuite.cases, Layer.unwrap(Effect.sync(() => makeStore({ hasVersions }).layer)))
  })
}

describe("Storage (SQLite, the example)", () => {
  runCases(StorageSuite.cases, Layer.provide(Sqlite.layer(":memory:"), NodePieceHasher.layer))
})

describe("ObjectStorage", () => {
  it.effect("stores a piece as one object, and removes every object with the files", () => {
    const { layer, objects } = makeStore({ hasVersions: false })
    return Effect.gen(function* () {
      const torrent = yield* open(layout)
      yield* store(torrent, layout)
      const pieces = [...objects].filter(([key]) => key.includes("/piece/"))
      yield* torrent.remove([0, 1])

      assert.deepStrictEqual(
        pieces.map(([key, { bytes }]) => [key, bytes]),
        [0, 1, 2].map((piece) => [pieceKey(piece), sliceOf(layout, content, pieceOf(layout, piece))])
      )
      assert.strictEqual(objects.size, 0)
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("notices objects that others remove, at a look or a read", () => {
    const { layer, objects } = makeStore({ hasVersions: false })
    return Effect.gen(function* () {
      const torrent = yield* open(layout)
      yield* store(torrent, layout)
      const before = yield* torrent.look([0, 1])
      objects.delete(pieceKey(0))
      const error = yield* Effect.flip(torrent.readBlock(pieceOf(layout, 0), 0, 4))
      objects.delete(pieceKey(2))
      const after = yield* torrent.look([0, 1])

      assert.strictEqual(error.reason._tag, "NotStored")
      assert.deepStrictEqual(
        after.map((facts) => facts?.length),
        [6, 2]
      )
      assert.notStrictEqual(after[0]?.mtimeNs, before[0]?.mtimeNs)
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("notices objects that others replace, if the store has versions", () => {
    const { layer, put } = makeStore({ hasVersions: true })
    return Effect.gen(function* () {
      const torrent = yield* open(layout)
      yield* store(torrent, layout)
      const before = yield* torrent.look([0, 1])
      put(pieceKey(0), new Uint8Array(4))
      const after = yield* torrent.look([0, 1])

      assert.notStrictEqual(after[0]?.mtimeNs, before[0]?.mtimeNs)
      assert.deepStrictEqual(after[1], before[1])
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("notices with the bytes that it reads that others replaced them, if the store has versions", () => {
    const { layer, put } = makeStore({ hasVersions: true })
    return Effect.gen(function* () {
      const torrent = yield* open(layout)
      yield* store(torrent, layout)
      const before = yield* torrent.readBlock(pieceOf(layout, 0), 0, 4)
      put(pieceKey(0), new Uint8Array(4))
      const after = yield* torrent.readBlock(pieceOf(layout, 0), 0, 4)

      assert.deepStrictEqual([...after.bytes], [0, 0, 0, 0])
      assert.notStrictEqual(after.files[0]?.mtimeNs, before.files[0]?.mtimeNs)
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("notices at a flush that others removed a file, whose writes then fail until it is claimed again", () => {
    const { layer, objects } = makeStore({ hasVersions: false })
    return Effect.gen(function* () {
      const torrent = yield* open(layout)
      yield* store(torrent, layout)
      const write = torrent.writePiece(pieceOf(layout, 0), sliceOf(layout, content, pieceOf(layout, 0)))
      for (const key of objects.keys()) if (key.includes("/file/0-")) objects.delete(key)

      const flushed = yield* torrent.flush([0, 1])
      const error = yield* Effect.flip(write)
      yield* claim(torrent, layout, "new", [0])
      yield* write

      assert.deepStrictEqual(
        flushed.map((each) => ("reason" in each ? each.reason.message : each.facts.length)),
        ["t/a was deleted while the torrent was open", 6]
      )
      assert.strictEqual(error.reason._tag, "FileChanged")
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("knows what it wrote while it listed", () => {
    const { hooks, layer } = makeStore({ hasVersions: true })
    return Effect.gen(function* () {
      const torrent = yield* open(layout)
      yield* claim(torrent, layout)
      const listed = yield* Deferred.make<void>()
      hooks.beforeList = Deferred.await(listed)
      const looking = yield* Effect.forkChild(torrent.look([0]), { startImmediately: true })
      yield* torrent.writePiece(pieceOf(layout, 0), sliceOf(layout, content, pieceOf(layout, 0)))
      yield* Deferred.succeed(listed, undefined)

      const [facts] = yield* Fiber.join(looking)

      assert.strictEqual(facts?.length, 4)
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("fails with the reasons of the store, and ignores objects that it does not know", () => {
    const { hooks, layer, put } = makeStore({ hasVersions: false })
    return Effect.gen(function* () {
      for (const name of ["piece/99", "piece/-1", "file/7-ab", "notes"])
        put(`${pieceKey(0).split("/")[0]}/${name}`, content)
      const torrent = yield* open(layout)
      const found = yield* torrent.look([0, 1])
      yield* claim(torrent, layout)
      hooks.put = Effect.fail(new DiskFull({ path: "bucket" }))
      const write = yield* Effect.flip(
        torrent.writePiece(pieceOf(layout, 0), sliceOf(layout, content, pieceOf(layout, 0)))
      )
      hooks.beforeList = Effect.fail(new StorageUnavailable({ path: "bucket", why: "it does not answer" }))
      const look = yield* Effect.flip(torrent.look([0]))
      const opening = yield* Effect.flip(open(layout))

      assert.deepStrictEqual(found, [undefined, undefined])
      assert.deepStrictEqual(
        [write, look, opening].map(({ operation, reason }) => `${operation} ${reason._tag}`),
        ["write DiskFull", "look StorageUnavailable", "open StorageUnavailable"]
      )
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("keeps a whole download, which the next run finds and uploads", () => {
    const { layer, objects } = makeStore({ hasVersions: true })
    return Effect.gen(function* () {
      const objectStorage = yield* Storage
      const run = Swarms.use(
        { seed: 1, storage: () => objectStorage },
        Effect.fnUntraced(function* (world) {
          const first = yield* world.download(small, { behaviours: [PeerBehaviour.honest] })
          yield* world.until(first.isComplete, "5 minutes")
          yield* first.stop
          // Resume data is trusted only if the files look as they did.
          const again = yield* world.download(small)
          yield* world.until(again.isComplete, "1 minute")
          const { downloadedBytes, state } = yield* again.torrent.status
          return { complete: first.isComplete(), downloadedBytes, state: state._tag }
        })
      )

      const result = yield* run
      const { pieceCount } = small.metainfo.layout.geometry
      const torrent = yield* objectStorage.open({ ...small.metainfo })
      const digests = yield* Stream.runCollect(torrent.digests([pieceOf(small.metainfo.layout, 3)]))

      assert.deepStrictEqual(result, { complete: true, downloadedBytes: 0, state: "Complete" })
      assert.strictEqual([...objects.keys()].filter((key) => key.includes("/piece/")).length, pieceCount)
      assert.deepStrictEqual(digests[0]?.sha1, small.metainfo.pieceDigests.slice(60, 80))
    }).pipe(Effect.scoped, Effect.provide(layer))
  })
})
