/** Moves of a session's torrents to other folders, on a real disk. What the storage does is in `FolderMove.test.ts`. */
import * as NFS from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as InfoHash from "../../src/base/InfoHash.ts"
import { Engine } from "../../src/engine/Engine.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as TorrentFile from "../../src/metainfo/TorrentFile.ts"
import * as NodeSession from "../../src/node/NodeSession.ts"
import * as Session from "../../src/session/Session.ts"
import { SessionStore, SessionStoreError, StoreFull } from "../../src/session/SessionStore.ts"
import { make } from "../simulation/torrents.ts"

const known = await make({ name: "t", seed: 1, pieceLength: 16_384, files: [{ path: ["a"], length: 40_000 }] })
const { infoHash } = known.metainfo
const metainfo = TorrentFile.encode(known.metainfo)

/** A folder of another file system than that of temporary files; `undefined` if this machine has none. */
const elsewhere = ["/dev/shm"].find(
  (path) => NFS.existsSync(path) && NFS.statSync(path).dev !== NFS.statSync(OperatingSystem.tmpdir()).dev
)

const folder = Effect.acquireRelease(
  Effect.sync(() => NFS.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-moves-"))),
  (path) => Effect.sync(() => NFS.rmSync(path, { recursive: true }))
)

const put = (directory: string): void => {
  NFS.mkdirSync(Path.join(directory, "t"), { recursive: true })
  NFS.writeFileSync(Path.join(directory, "t", "a"), known.fileContent(0))
}

const isIn = (...path: ReadonlyArray<string>): boolean => NFS.existsSync(Path.join(...path, "t", "a"))

/** Runs a program in a session in this folder. */
const inSession = <A, E>(
  directory: string,
  program: Effect.Effect<A, E, Session.Session | SessionStore | Engine>
): Effect.Effect<A, unknown> =>
  Effect.provide(program, Layer.provideMerge(NodeSession.layer({ directory, dht: false }), Logger.layer([])), {
    local: true
  })

const until = Effect.fnUntraced(function* (torrent: Session.SessionTorrent, name: string) {
  for (;;) {
    const { state } = yield* torrent.status
    if ((state._tag === "Active" ? state.state._tag : state._tag) === name) return
    yield* Effect.sleep("10 millis")
  }
})

/** Adds the torrent, whose files are there, and waits until it is complete. */
const seed = Effect.fnUntraced(function* (options?: Session.AddOptions) {
  const session = yield* Session.Session
  const torrent = yield* session.add({ metainfo }, options)
  yield* until(torrent, "Complete")
  return torrent
})

/** The torrent in a later run. */
const again = Effect.flatMap(Session.Session, ({ get }) => get(infoHash))

/** The tags of the engine's events while a program runs. */
const hearing = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const tags: Array<string> = []
    const engine = yield* Engine
    const fiber = yield* Effect.forkChild(
      Stream.runForEach(engine.events, ({ event }) => Effect.sync(() => void tags.push(event._tag))),
      { startImmediately: true }
    )
    yield* Effect.sleep("50 millis")
    tags.length = 0
    yield* program
    yield* Fiber.interrupt(fiber)
    return tags
  })

describe("fault 107: moving a torrent of a session to another folder", () => {
  it.live("takes its files along, of which nothing is verified again, also in the next run, and back", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      put(directory)
      const first = Effect.gen(function* () {
        const torrent = yield* seed()
        const tags = yield* hearing(Effect.andThen(torrent.moveTo("films/new"), until(torrent, "Complete")))
        const { options, statistics } = yield* torrent.status
        return { tags, folder: options.folder, downloadedBytes: statistics.downloadedBytes }
      })
      const second = Effect.gen(function* () {
        const torrent = yield* again
        const tags = yield* hearing(until(torrent, "Complete"))
        const places = [isIn(directory, "films/new"), isIn(directory)]
        // The same folder by another name.
        yield* torrent.moveTo(Path.join(directory, "films", "new"))
        yield* until(torrent, "Complete")
        yield* torrent.moveTo(undefined)
        yield* until(torrent, "Complete")
        return { tags, places, folder: (yield* torrent.status).options.folder }
      })

      const before = yield* inSession(directory, first)
      const after = yield* inSession(directory, second)

      assert.deepStrictEqual([before.folder, before.downloadedBytes], ["films/new", 0])
      for (const tags of [before.tags, after.tags]) {
        assert.notInclude(tags, "Checking")
        assert.notInclude(tags, "FilesChanged")
      }
      assert.deepStrictEqual(after.places, [true, false])
      assert.isUndefined(after.folder)
      assert.deepStrictEqual([isIn(directory), NFS.existsSync(Path.join(directory, "films/new/t"))], [true, false])
    })
  )

  it.live("that a kill interrupted is taken back if a file of somebody else's is in the way", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      put(directory)
      const first = Effect.gen(function* () {
        yield* seed()
        const moving = { to: "films" }
        yield* SessionStore.use(({ commit }) =>
          commit([{ _tag: "SetFiles", infoHash, files: { renamed: [], moving } }])
        )
      })
      const second = Effect.gen(function* () {
        const torrent = yield* again
        yield* until(torrent, "Complete")
        const content = yield* SessionStore.use((store) => store.content(infoHash))
        return { moving: content?.files.moving, folder: (yield* torrent.status).options.folder }
      })

      yield* inSession(directory, first)
      const place = Path.join(directory, "films", "t", "a")
      NFS.mkdirSync(Path.dirname(place), { recursive: true })
      NFS.writeFileSync(place, "not this torrent's")
      const found = yield* inSession(directory, second)

      assert.deepStrictEqual(found, { moving: undefined, folder: undefined })
      assert.isTrue(isIn(directory))
      assert.strictEqual(NFS.readFileSync(place, "utf8"), "not this torrent's")
    })
  )

  it.live.skipIf(elsewhere === undefined)("takes them to another file system, and none is verified there either", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      const other = yield* Effect.acquireRelease(
        Effect.sync(() => NFS.mkdtempSync(Path.join(elsewhere!, "piecewise-moves-"))),
        (path) => Effect.sync(() => NFS.rmSync(path, { recursive: true }))
      )
      put(directory)
      const tags = yield* inSession(
        directory,
        Effect.gen(function* () {
          const torrent = yield* seed()
          return yield* hearing(Effect.andThen(torrent.moveTo(other), until(torrent, "Complete")))
        })
      )

      assert.notInclude(tags, "Checking")
      assert.deepStrictEqual([isIn(directory), isIn(other)], [false, true])
      assert.isTrue(NFS.readFileSync(Path.join(other, "t", "a")).equals(known.fileContent(0)))
    })
  )

  it.live("leaves all as it was if something is there, and says so", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      put(directory)
      put(Path.join(directory, "films"))
      const found = yield* inSession(
        directory,
        Effect.gen(function* () {
          const torrent = yield* seed()
          const error = yield* Effect.flip(torrent.moveTo("films"))
          yield* until(torrent, "Complete")
          const unsafe = yield* Effect.flip(torrent.moveTo("../films"))
          const content = yield* Effect.flatMap(SessionStore, ({ content }) => content(infoHash))
          return { error, unsafe, moving: content?.files.moving, folder: (yield* torrent.status).options.folder }
        })
      )

      assert.deepInclude(found.error, { _tag: "piecewise/StorageError", operation: "move" })
      assert.strictEqual(found.unsafe._tag, "piecewise/OptionRefused")
      assert.deepStrictEqual([found.moving, found.folder], [undefined, undefined])
      assert.deepStrictEqual([isIn(directory), isIn(directory, "films")], [true, true])
    })
  )

  it.live("is finished in the next run if a kill has interrupted it", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      const other = Path.join(directory, "other")
      put(directory)
      yield* inSession(
        directory,
        Effect.gen(function* () {
          const torrent = yield* seed()
          yield* torrent.pause
          const { commit } = yield* SessionStore
          yield* commit([{ _tag: "SetFiles", infoHash, files: { renamed: [], moving: { to: other } } }])
        })
      )
      // As far as it came before the kill.
      NFS.mkdirSync(Path.join(other, "t"), { recursive: true })
      NFS.linkSync(Path.join(directory, "t", "a"), Path.join(other, "t", "a"))

      const found = yield* inSession(
        directory,
        Effect.gen(function* () {
          const torrent = yield* again
          yield* torrent.resume()
          const tags = yield* hearing(until(torrent, "Complete"))
          const content = yield* Effect.flatMap(SessionStore, ({ content }) => content(infoHash))
          return { tags, folder: (yield* torrent.status).options.folder, moving: content?.files.moving }
        })
      )

      assert.deepStrictEqual([found.folder, found.moving], [other, undefined])
      assert.notInclude(found.tags, "Checking")
      assert.deepStrictEqual([isIn(directory), isIn(other)], [false, true])
    })
  )

  it.live("is finished, and not forgotten, if the session cannot save that the files are in the new folder", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      put(directory)
      const found = yield* inSession(
        directory,
        Effect.gen(function* () {
          const torrent = yield* seed()
          yield* torrent.pause
          const store = yield* SessionStore
          const { commit } = store
          // The disk is full at that moment, and has room a little later.
          const full = new SessionStoreError({ operation: "commit", reason: new StoreFull({ path: "session.db" }) })
          let failures = 0
          Object.assign(store, {
            commit: (changes: Parameters<typeof commit>[0]) =>
              changes.length === 2 && failures++ === 0 ? Effect.fail(full) : commit(changes)
          })
          const error = yield* Effect.flip(torrent.moveTo("films"))
          yield* torrent.resume()
          const tags = yield* hearing(until(torrent, "Complete"))
          return { error, tags, folder: (yield* torrent.status).options.folder }
        })
      )

      assert.strictEqual(found.error._tag, "piecewise/SessionStoreError")
      assert.strictEqual(found.folder, "films")
      assert.notInclude(found.tags, "FilesMissing")
      assert.deepStrictEqual([isIn(directory), isIn(directory, "films")], [false, true])
    })
  )

  it.live("is finished if all files have left the old folder, also with names for other disks", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      const other = Path.join(directory, "other")
      // One file is there under the name that every file system can hold, and one is missing.
      const two = yield* Effect.promise(() =>
        make({
          name: "t",
          seed: 2,
          pieceLength: 16_384,
          files: [
            { path: ["a:b"], length: 16_384 },
            { path: ["c"], length: 16_384 }
          ]
        })
      )
      const { infoHash } = two.metainfo
      const name = FileLayout.fileAt(two.metainfo.layout, 0).portable!.at(-1)!
      NFS.mkdirSync(Path.join(directory, "t"))
      NFS.mkdirSync(Path.join(other, "t"), { recursive: true })
      for (const [file, path] of [name, "c"].entries())
        NFS.writeFileSync(Path.join(directory, "t", path), two.fileContent(file))
      const before = Effect.gen(function* () {
        const torrent = yield* Effect.flatMap(Session.Session, ({ add }) =>
          add({ metainfo: TorrentFile.encode(two.metainfo) })
        )
        yield* until(torrent, "Complete")
        yield* torrent.pause
        NFS.rmSync(Path.join(directory, "t", "c"))
        const store = yield* SessionStore
        const { commit } = store
        // A kill behind the last file.
        Object.assign(store, {
          commit: (changes: Parameters<typeof commit>[0]) =>
            changes.length === 2 ? Effect.die("a kill") : commit(changes)
        })
        yield* Effect.exit(torrent.moveTo(other))
      })
      const after = Effect.gen(function* () {
        const torrent = yield* Effect.flatMap(Session.Session, ({ get }) => get(infoHash))
        yield* torrent.resume()
        yield* until(torrent, "Downloading")
        const content = yield* Effect.flatMap(SessionStore, ({ content }) => content(infoHash))
        const { options, progress } = yield* torrent.status
        return [options.folder, progress?.missingBytes, content?.files.moving]
      })
      yield* inSession(directory, before)

      assert.deepStrictEqual(NFS.readdirSync(Path.join(other, "t")), [name])
      assert.deepStrictEqual(yield* inSession(directory, after), [other, 16_384, undefined])
    })
  )

  it.live("does not end before all files are there, if the old folder is away", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      const [drive, away] = [Path.join(directory, "drive"), Path.join(directory, "away")]
      put(drive)
      const paused = Effect.gen(function* () {
        const torrent = yield* seed({ folder: drive })
        yield* torrent.pause
      })
      const moved = Effect.gen(function* () {
        const torrent = yield* again
        const result = yield* Effect.result(torrent.moveTo("films"))
        const { options } = yield* torrent.status
        return [result._tag, options.folder]
      })
      yield* inSession(directory, paused)
      const found: Array<unknown> = []
      for (const isEmptied of [false, true]) {
        NFS.renameSync(drive, away)
        // What a drive is mounted on may be there without it.
        if (isEmptied) NFS.mkdirSync(drive)
        found.push(yield* inSession(directory, moved))
        if (isEmptied) NFS.rmdirSync(drive)
        NFS.renameSync(away, drive)
      }
      // Neither is one that a kill has interrupted.
      const begun = Effect.gen(function* () {
        const torrent = yield* again
        const { commit, content } = yield* SessionStore
        yield* commit([{ _tag: "SetFiles", infoHash, files: { renamed: [], moving: { to: "films" } } }])
        yield* torrent.resume()
        yield* until(torrent, "Failed")
        return [(yield* content(infoHash))?.files.moving, (yield* torrent.status).options.folder]
      })
      NFS.renameSync(drive, away)
      found.push(yield* inSession(directory, begun))
      NFS.renameSync(away, drive)
      found.push(yield* inSession(directory, moved))

      assert.deepStrictEqual(found, [
        ["Failure", drive],
        ["Failure", drive],
        [{ to: "films" }, drive],
        ["Success", "films"]
      ])
      assert.deepStrictEqual([isIn(drive), isIn(directory, "films")], [false, true])
    })
  )

  it.live("of which only the magnet link is known saves where its files will be", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      const magnet = `magnet:?xt=urn:btih:${InfoHash.toHex(infoHash)}`
      const options = yield* inSession(
        directory,
        Effect.gen(function* () {
          const torrent = yield* Effect.flatMap(Session.Session, ({ add }) => add({ magnet }, { isPaused: true }))
          yield* torrent.moveTo("films")
          return (yield* torrent.status).options
        })
      )

      assert.strictEqual(options.folder, "films")
    })
  )

  it.live("is refused if its files are away, and takes its folder along if it has none yet", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      const own = Path.join(directory, "own")
      put(own)
      const found = yield* inSession(
        directory,
        Effect.gen(function* () {
          const session = yield* Session.Session
          const torrent = yield* seed({ folder: own })
          yield* torrent.pause
          // As a disk that is not mounted.
          NFS.renameSync(own, `${own} away`)
          const error = yield* Effect.flip(torrent.moveTo("films"))
          NFS.rmSync(own, { recursive: true, force: true })
          NFS.renameSync(`${own} away`, own)
          yield* torrent.moveTo("films")
          yield* torrent.remove({ data: true })
          const empty = yield* session.add({ metainfo }, { folder: own, isPaused: true })
          yield* empty.moveTo("films")
          return { error, folder: (yield* empty.status).options.folder }
        })
      )

      assert.deepInclude(found.error, { _tag: "piecewise/StorageError", operation: "move" })
      assert.include(found.error.message, "none of the files is there")
      assert.strictEqual(found.folder, "films")
    })
  )

  it.live("goes on if whoever asked for it does not wait", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      put(directory)
      yield* inSession(
        directory,
        Effect.gen(function* () {
          const torrent = yield* seed()
          const moving = yield* Effect.forkChild(torrent.moveTo("films"), { startImmediately: true })
          yield* Fiber.interrupt(moving)
          while ((yield* torrent.status).options.folder !== "films") yield* Effect.sleep("10 millis")
          yield* until(torrent, "Complete")
        })
      )

      assert.deepStrictEqual([isIn(directory), isIn(directory, "films")], [false, true])
    })
  )
})
