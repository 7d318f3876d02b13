import * as FileSystem from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as TorrentFile from "../../src/metainfo/TorrentFile.ts"
import * as Session from "../../src/session/Session.ts"
import { SessionStoreError, StoreFull } from "../../src/session/SessionStore.ts"
import * as WatchFolder from "../../src/session/WatchFolder.ts"
import { other, small } from "../simulation/torrents.ts"

const logs: Array<string> = []
const logger = Logger.make(({ message }) => void logs.push(JSON.stringify(message)))

/** What was added, in the place of a session. */
interface Added {
  readonly name: string
  readonly options: Session.AddOptions | undefined
}

let added: Map<string, Added> = new Map()
let failure: SessionStoreError | undefined
let whileAdding = () => {}

const add: Session.Session["Service"]["add"] = Effect.fnUntraced(function* (source, options) {
  const { infoHash, name } =
    "metainfo" in source
      ? yield* Effect.provide(Metainfo.fromBytes(source.metainfo), WebCryptoPieceHasher.layer)
      : yield* Effect.fromResult(Magnet.parse(source.magnet))
  const key = InfoHash.toHex(infoHash!)
  if (added.has(key)) return yield* new Session.AlreadyInSession({ infoHash: infoHash! })
  if (failure !== undefined) return yield* failure
  added.set(key, { name: name!, options })
  whileAdding()
  return { infoHash: infoHash! } as Session.SessionTorrent
})

const layer = Layer.mergeAll(Layer.mock(Session.Session, { add }), NodeServices.layer, Logger.layer([logger]))

const temporary = Effect.acquireRelease(
  Effect.sync(() => FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-watch-"))),
  (path) => Effect.sync(() => FileSystem.rmSync(path, { recursive: true, force: true }))
)

const put = (folder: string, name: string, bytes: Uint8Array | string): void =>
  FileSystem.writeFileSync(Path.join(folder, name), bytes)

const bytesOf = (known: typeof small) => TorrentFile.encode(known.metainfo)
const magnetOf = (known: typeof small) => `magnet:?xt=urn:btih:${InfoHash.toHex(known.metainfo.infoHash)}`

const names = () => Array.from(added.values(), ({ name }) => name)

/** A test with a folder, and what scans it. */
const test = (
  name: string,
  run: (folder: string, scan: Effect.Effect<void>) => Effect.Effect<void, unknown, Session.Session>,
  options: Partial<WatchFolder.Options> = {}
) =>
  it.live(name, () =>
    Effect.gen(function* () {
      logs.length = 0
      added = new Map()
      failure = undefined
      const folder = yield* temporary
      const scan = yield* WatchFolder.make({ folder, ...options })
      yield* run(folder, scan)
    }).pipe(Effect.provide(layer))
  )

const options: Session.AddOptions = { labels: ["watched"], folder: "films", isPaused: true }

describe("fault 109: a watched folder", () => {
  test(
    "has its torrent files and magnet links added, and says so by their names",
    (folder, scan) =>
      Effect.gen(function* () {
        put(folder, "a.torrent", bytesOf(small))
        put(folder, "b.MAGNET", `\n  ${magnetOf(other)}&dn=other \nmore`)
        for (const name of ["c.txt", ".d.torrent", "e.torrent.part"]) put(folder, name, bytesOf(small))
        FileSystem.mkdirSync(Path.join(folder, "f.torrent"))
        FileSystem.symlinkSync(Path.join(folder, "a.torrent"), Path.join(folder, "g.torrent"))
        yield* scan
        const early = names()
        yield* scan

        assert.deepStrictEqual(early, [])
        assert.deepStrictEqual(names(), ["known", "other"])
        assert.deepStrictEqual(FileSystem.readdirSync(folder).sort(), [
          ".d.torrent",
          "a.torrent.added",
          "b.MAGNET.added",
          "c.txt",
          "e.torrent.part",
          "f.torrent",
          "g.torrent"
        ])
        assert.deepStrictEqual(
          [...added.values()].map(({ options }) => options),
          Array(2).fill(options)
        )
      }),
    { add: options }
  )

  test("waits until a file is written", (folder, scan) =>
    Effect.gen(function* () {
      const bytes = bytesOf(small)
      put(folder, "a.torrent", "")
      yield* scan
      yield* scan
      for (const length of [5, 100]) {
        put(folder, "a.torrent", bytes.subarray(0, length))
        yield* scan
      }
      put(folder, "a.torrent", bytes)
      yield* scan
      const early = [names(), FileSystem.readdirSync(folder)]
      yield* scan

      assert.deepStrictEqual(early, [[], ["a.torrent"]])
      assert.deepStrictEqual(FileSystem.readdirSync(folder), ["a.torrent.added"])
    }))

  test(
    "has files refused that are none, and says why in the log",
    (folder, scan) =>
      Effect.gen(function* () {
        put(folder, "a.torrent", "<html>")
        put(folder, "b.magnet", "http://example.org/")
        put(folder, "c.torrent", new Uint8Array(100_001))
        put(folder, "d.magnet", `${magnetOf(other)}&x=${"x".repeat(70_000)}`)
        yield* scan
        yield* scan

        assert.deepStrictEqual(
          FileSystem.readdirSync(folder).sort(),
          ["a.torrent", "b.magnet", "c.torrent", "d.magnet"].map((name) => `${name}.refused`)
        )
        assert.strictEqual(logs.filter((line) => line.includes("was refused")).length, 4)
        assert.include(logs.join(), "more than 100000 bytes")
        assert.deepStrictEqual(names(), [])
      }),
    { maxBytes: 100_000 }
  )

  test("overwrites no file that was handled before, and takes what the session has as added", (folder, scan) =>
    Effect.gen(function* () {
      yield* Session.Session.use(({ add }) => add({ metainfo: bytesOf(small) }, { isPaused: true }))
      put(folder, "a.torrent.added", "mine")
      put(folder, "a.torrent", bytesOf(small))
      yield* scan
      yield* scan

      assert.deepStrictEqual(FileSystem.readdirSync(folder).sort(), ["a.torrent.2.added", "a.torrent.added"])
      assert.strictEqual(FileSystem.readFileSync(Path.join(folder, "a.torrent.added"), "utf8"), "mine")
    }))

  test("adds what is behind many files that it cannot add", (folder, scan) =>
    Effect.gen(function* () {
      // As of downloads that have not begun. A folder is listed in no order.
      for (let file = 0; file < 1_100; file++) put(folder, `${file}.torrent`, "")
      for (let file = 0; file < 20; file++)
        put(folder, `x${file}.magnet`, `magnet:?xt=urn:btih:${`${file + 10}`.repeat(20)}&dn=${file}`)
      yield* scan
      yield* scan

      assert.strictEqual(added.size, 20)
    }))

  test("takes a file for a new one that was replaced while the old one was added", (folder, scan) =>
    Effect.gen(function* () {
      put(folder, "a.torrent", bytesOf(small))
      yield* scan
      whileAdding = () => put(folder, "a.torrent", bytesOf(other))
      yield* scan
      whileAdding = () => {}
      const between = FileSystem.readdirSync(folder)
      yield* scan
      yield* scan

      assert.deepStrictEqual(between, ["a.torrent"])
      assert.deepStrictEqual(names(), ["known", "other"])
      assert.deepStrictEqual(FileSystem.readdirSync(folder), ["a.torrent.added"])
    }))

  test("keeps files that the store has no room for, says so once, and tries again", (folder, scan) =>
    Effect.gen(function* () {
      put(folder, "a.torrent", bytesOf(small))
      failure = new SessionStoreError({ operation: "commit", reason: new StoreFull({ path: "session.db" }) })
      for (let turn = 0; turn < 4; turn++) yield* scan
      const early = FileSystem.readdirSync(folder)
      failure = undefined
      yield* scan

      assert.deepStrictEqual(early, ["a.torrent"])
      assert.strictEqual(logs.filter((line) => line.includes("cannot be added yet")).length, 1)
      assert.deepStrictEqual(FileSystem.readdirSync(folder), ["a.torrent.added"])
    }))

  test("that vanishes is waited for", (folder, scan) =>
    Effect.gen(function* () {
      FileSystem.rmdirSync(folder)
      for (let turn = 0; turn < 3; turn++) yield* scan
      FileSystem.mkdirSync(folder)
      put(folder, "a.torrent", bytesOf(small))
      yield* scan
      yield* scan

      assert.deepStrictEqual(names(), ["known"])
      assert.deepStrictEqual(
        logs.filter((line) => line.includes("watched folder can")).map((line) => line.includes("waited for")),
        [true, false]
      )
    }))

  it.live("is looked at again and again", () =>
    Effect.gen(function* () {
      added = new Map()
      const folder = yield* temporary
      yield* Layer.build(WatchFolder.layer([{ folder, every: "10 millis" }]))
      put(folder, "a.torrent", bytesOf(small))
      while (!FileSystem.existsSync(Path.join(folder, "a.torrent.added"))) yield* Effect.sleep("10 millis")

      assert.deepStrictEqual(names(), ["known"])
    }).pipe(Effect.provide(layer))
  )
})
