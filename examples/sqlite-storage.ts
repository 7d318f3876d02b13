/**
 * Keeps torrents in a table of SQLite, one row a piece: `node examples/sqlite-storage.ts IT.torrent PEER:PORT`. Another
 * database, or an object store, works the same way: it stores, reads, lists and removes bytes under keys.
 */
import { readFile } from "node:fs/promises"
import { DatabaseSync } from "node:sqlite"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { Engine, MemoryResumeStore, Metainfo, ObjectStorage, PeerAddress, Storage } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** A store of objects in the database at a path; `:memory:` keeps it in memory. */
export const open = Effect.fnUntraced(function* (path: string) {
  const opening = Effect.sync(() => new DatabaseSync(path))
  const database = yield* Effect.acquireRelease(opening, (opened) => Effect.sync(() => opened.close()))
  database.exec("CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID")
  const put = database.prepare("INSERT OR REPLACE INTO objects VALUES (?, ?)")
  const get = database.prepare("SELECT substr(bytes, ?, ?) AS bytes FROM objects WHERE key = ?")
  const list = database.prepare("SELECT key FROM objects WHERE key >= ? AND key < ?")
  const remove = database.prepare("DELETE FROM objects WHERE key = ?")

  // Whatever the database throws becomes a reason that the engine knows. The code of a full disk is 13.
  const reasonOf = (cause: unknown) =>
    (cause as { readonly errcode?: number }).errcode === 13
      ? new Storage.DiskFull({ path })
      : new Storage.StorageUnavailable({ path, why: String(cause) })
  const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: reasonOf })
  const read = (key: string, begin: number, length: number) => {
    const row = get.get(begin + 1, length, key) as { readonly bytes: Uint8Array } | undefined
    return row?.bytes.length === length ? { bytes: row.bytes } : undefined
  }
  return {
    put: (key, bytes) => attempt(() => void put.run(key, bytes)),
    get: (key, begin, length) => attempt(() => read(key, begin, length)),
    list: (prefix) => attempt(() => list.all(prefix, `${prefix}~`) as unknown as Array<{ key: string }>),
    remove: (keys) => attempt(() => keys.forEach((key) => void remove.run(key)))
  } satisfies ObjectStorage.ObjectStore
})

/** A storage in the database at a path. */
export const layer = (path: string) => Layer.effect(Storage.Storage, Effect.flatMap(open(path), ObjectStorage.make))

/** An engine that keeps its torrents in the database at a path. */
export const layerEngine = (path: string) => Engine.layer().pipe(Layer.provide([layer(path), MemoryResumeStore.layer]))

/** Downloads a torrent, also from the given peers. */
export const download = Effect.fnUntraced(function* (file: Uint8Array, peers: ReadonlyArray<PeerAddress.PeerAddress>) {
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(yield* Metainfo.fromBytes(file), { peers })
  yield* torrent.completed
  yield* Console.log(`${yield* torrent.name} is complete`)
}, Effect.scoped)

const [torrentFile = "", peer = ""] = process.argv.slice(2)
const program = Effect.flatMap(
  Effect.promise(() => readFile(torrentFile)),
  (file) => download(file, [PeerAddress.parse(peer)!])
)
const layers = Layer.provideMerge(layerEngine("torrents.sqlite"), NodeEngine.layerServices({ directory: "unused" }))
if (import.meta.main) NodeRuntime.runMain(Effect.provide(program, layers))
