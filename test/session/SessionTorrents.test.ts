import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as InfoHash from "../../src/base/InfoHash.ts"
import { SessionStore } from "../../src/session/SessionStore.ts"
import { type Move, Storage } from "../../src/storage/Storage.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { make, small } from "../simulation/torrents.ts"
import { fileOf, inEngine, session, statesOf, test, until } from "./sessions.ts"

const { infoHash, layout } = small.metainfo

/** Downloads the torrent in a session of its own. */
const download = Effect.gen(function* () {
  yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
  yield* session((session) =>
    Effect.flatMap(session.add(fileOf(small)), (torrent) => until(torrent, "Active Complete"))
  )
})

const paths = TestEngine.TestEngine.useSync(({ medium }) => medium.paths())

describe("removing a torrent of a session", () => {
  for (const [name, isPaused] of [
    ["that is active", false],
    ["that is paused", true]
  ] as const) {
    test(
      `${name} deletes its files if that is asked`,
      Effect.gen(function* () {
        yield* download
        const { resume } = yield* TestEngine.TestEngine
        yield* session((session) =>
          Effect.gen(function* () {
            const torrent = yield* session.get(infoHash)
            yield* until(torrent, "Active Complete")
            if (isPaused) yield* torrent.pause
            const removed = yield* torrent.remove({ data: true })
            const late = yield* Effect.flip(torrent.status)

            assert.deepStrictEqual(removed, { keptPaths: [], isRemembered: false })
            assert.strictEqual(late._tag, "piecewise/NotInSession")
            assert.deepStrictEqual([yield* statesOf(session), yield* inEngine], [[], []])
          })
        )

        assert.deepStrictEqual(yield* paths, [])
        assert.isUndefined(resume.saved(infoHash))
        assert.deepStrictEqual((yield* (yield* SessionStore).load).torrents, [])
      })
    )

    test(
      `${name} keeps its files else, and it can be added again`,
      Effect.gen(function* () {
        yield* download
        const before = yield* paths
        yield* session((session) =>
          Effect.gen(function* () {
            const torrent = yield* session.get(infoHash)
            if (isPaused) yield* torrent.pause
            yield* torrent.remove({ data: false })
            const after = yield* paths
            yield* until(yield* session.add(fileOf(small)), "Active Complete")

            assert.deepStrictEqual(after, before)
          })
        )
      })
    )
  }

  test(
    "that a kill has ended before its first byte was written deletes the file that was made for it",
    Effect.gen(function* () {
      const { medium } = yield* TestEngine.TestEngine
      medium.put("known/a.bin", new Uint8Array())
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(small), { isPaused: true })
          const { keptPaths } = yield* torrent.remove({ data: true })

          assert.deepStrictEqual(keptPaths, [])
        })
      )

      assert.deepStrictEqual(yield* paths, [])
    })
  )

  test(
    "goes on in the next run if a kill has interrupted it",
    Effect.gen(function* () {
      yield* download
      const store = yield* SessionStore
      const [saved] = (yield* store.load).torrents
      yield* store.commit([{ _tag: "SetTorrent", torrent: { ...saved!, wanted: { _tag: "Removing", data: true } } }])
      yield* session((session) =>
        Effect.gen(function* () {
          yield* Effect.sleep("10 seconds")
          assert.deepStrictEqual(yield* statesOf(session), [])
        })
      )

      assert.deepStrictEqual(yield* paths, [])
      assert.deepStrictEqual((yield* store.load).torrents, [])
    })
  )
})

describe("a torrent of a session that fails", () => {
  test(
    "stays so in the next run, until it is resumed",
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
      const { medium } = yield* TestEngine.TestEngine
      medium.put("known/a.bin", new Uint8Array(7))
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(small))
          yield* until(torrent, "Failed")
          const { state } = yield* torrent.status
          assert.deepInclude(state, { error: "piecewise/ContentExists" })
          yield* torrent.resume()
          yield* until(torrent, "Failed")
        })
      )
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(infoHash)
          yield* Effect.sleep("10 seconds")
          assert.deepStrictEqual([yield* statesOf(session), yield* inEngine], [["Failed"], []])
          yield* torrent.resume({ overwrite: true })
          yield* until(torrent, "Active Complete")
        })
      )
    })
  )
})

describe("a torrent of a session that cannot be opened", () => {
  test(
    "says why, and can be removed without its files",
    Effect.gen(function* () {
      yield* download
      const store = yield* SessionStore
      const before = yield* paths
      const source = { _tag: "Metainfo" as const, bytes: Uint8Array.from([1]) }
      yield* store.commit([{ _tag: "SetSource", infoHash, source }])
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(infoHash)
          yield* until(torrent, "Failed")
          const { state } = yield* torrent.status
          const refused = yield* Effect.flip(torrent.remove({ data: true }))
          yield* until(torrent, "Paused")
          const removed = yield* torrent.remove({ data: false })

          assert.deepInclude(state, { error: "piecewise/MetainfoError" })
          assert.strictEqual(refused._tag, "piecewise/NotOpened")
          assert.isTrue(removed.isRemembered)
          assert.deepStrictEqual(yield* statesOf(session), [])
        })
      )

      assert.deepStrictEqual((yield* store.load).torrents, [])
      assert.deepStrictEqual(yield* paths, before)
    })
  )

  test(
    "because its metadata is not known, refuses what needs that at once",
    session((session) =>
      Effect.gen(function* () {
        const magnet = `magnet:?xt=urn:btih:${InfoHash.toHex(infoHash)}`
        const torrent = yield* session.add({ magnet }, { isPaused: true })
        const errors = [yield* Effect.flip(torrent.recheck), yield* Effect.flip(torrent.renameFile(0, ["a"]))]
        yield* torrent.setFiles(["skip"])
        const { progress, state } = yield* torrent.status

        assert.deepStrictEqual(
          errors.map(({ _tag }) => _tag),
          ["piecewise/NotOpened", "piecewise/NotOpened"]
        )
        assert.deepStrictEqual([progress, state._tag], [undefined, "Paused"])
      })
    )
  )
})

describe("rechecking a torrent of a session", () => {
  test(
    "finds what is wrong of a paused one, which is not in the engine afterwards",
    Effect.gen(function* () {
      yield* download
      const { medium } = yield* TestEngine.TestEngine
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(infoHash)
          yield* torrent.pause
          medium.damage(layout, 2, 5)
          const before = yield* torrent.status
          yield* torrent.recheck
          const after = yield* torrent.status
          yield* Effect.sleep("5 seconds")

          assert.strictEqual(before.progress?.missingBytes, 0)
          assert.strictEqual(after.progress?.missingBytes, 65_536)
          assert.deepStrictEqual([yield* statesOf(session), yield* inEngine], [["Paused"], []])
          yield* torrent.resume()
          yield* until(torrent, "Active Complete")
        })
      )
    })
  )
})

describe("pausing a torrent of a session", () => {
  test(
    "that another operation needs in the engine ends all exchange before it returns",
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, { bytesPerSecond: 20_000 }))
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(small))
          yield* until(torrent, "Active Downloading")
          const checking = yield* Effect.forkChild(torrent.recheck, { startImmediately: true })
          yield* torrent.pause
          const inside = Option.getOrThrow(yield* torrent.torrent)
          const peers = yield* inside.peers
          yield* Fiber.join(checking)
          yield* Effect.sleep("5 seconds")

          assert.deepStrictEqual(peers, [])
          assert.deepStrictEqual([yield* statesOf(session), yield* inEngine], [["Paused"], []])
        })
      )
    })
  )
})

describe("renaming a file of a torrent of a session", () => {
  for (const isPaused of [false, true]) {
    test(
      `moves it, and it is found there in the next run, of a torrent that is ${isPaused ? "paused" : "active"}`,
      Effect.gen(function* () {
        yield* download
        yield* session((session) =>
          Effect.gen(function* () {
            const torrent = yield* session.get(infoHash)
            yield* until(torrent, "Active Complete")
            if (isPaused) yield* torrent.pause
            yield* torrent.renameFile(0, ["known", "films", "b.bin"])
            yield* torrent.renameFile(1, ["elsewhere"])
            yield* torrent.renameFile(1, ["elsewhere"])
            const renamed = yield* paths
            yield* until(torrent, isPaused ? "Paused" : "Active Complete")

            assert.deepStrictEqual(renamed, ["elsewhere", "known/b/c.bin", "known/films/b.bin"])
          })
        )
        yield* session((session) =>
          Effect.gen(function* () {
            const torrent = yield* session.get(infoHash)
            if (isPaused) yield* torrent.resume()
            yield* until(torrent, "Active Complete")
            const { statistics } = yield* torrent.status
            yield* torrent.recheck
            assert.strictEqual((yield* torrent.status).progress?.missingBytes, 0)
            assert.isBelow(statistics.downloadedBytes, 2 * layout.geometry.totalLength)
            yield* torrent.remove({ data: true })
          })
        )

        assert.deepStrictEqual(yield* paths, [])
      })
    )
  }

  test(
    "is refused for paths that are not safe, or that other files have, and changes nothing then",
    Effect.gen(function* () {
      yield* download
      const { medium } = yield* TestEngine.TestEngine
      medium.put("known/mine", new Uint8Array(3))
      const before = yield* paths
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(infoHash)
          const refused: ReadonlyArray<readonly [number, ReadonlyArray<string>]> = [
            [0, []],
            [0, ["..", "a.bin"]],
            [0, ["known", "..", "a.bin"]],
            [0, ["known/a.bin"]],
            [0, ["known", "a\u0000"]],
            [0, ["known", "con"]],
            [0, [".piecewise", "a.bin"]],
            [0, ["known", "b", "C.BIN"]],
            [0, ["known", "b"]],
            [0, ["known", "empty", "a"]],
            [3, ["known", "new"]],
            [-1, ["known", "new"]]
          ]
          const tags = yield* Effect.forEach(refused, ([file, path]) =>
            Effect.map(Effect.flip(torrent.renameFile(file, path)), ({ _tag }) => _tag)
          )
          const taken = yield* Effect.flip(torrent.renameFile(0, ["known", "mine"]))
          yield* until(torrent, "Active Complete")

          assert.deepStrictEqual(
            tags,
            refused.map(() => "piecewise/PathRefused")
          )
          assert.strictEqual(taken._tag, "piecewise/StorageError")
        })
      )

      assert.deepStrictEqual(yield* paths, before)
    })
  )

  for (const isMoved of [false, true]) {
    test(
      `that a kill interrupted ${isMoved ? "after" : "before"} the move is finished by the next run`,
      Effect.gen(function* () {
        yield* download
        const store = yield* SessionStore
        const { medium } = yield* TestEngine.TestEngine
        const renaming = { file: 0, path: ["known", "new.bin"] as const }
        yield* store.commit([{ _tag: "SetFiles", infoHash, files: { renamed: [], renaming } }])
        if (isMoved) medium.move("known/a.bin", "known/new.bin")
        yield* session((session) =>
          Effect.gen(function* () {
            const torrent = yield* session.get(infoHash)
            yield* until(torrent, "Active Complete")
            yield* torrent.recheck
            const { statistics } = yield* torrent.status

            assert.isBelow(statistics.downloadedBytes, 2 * layout.geometry.totalLength)
          })
        )

        assert.deepStrictEqual(yield* paths, ["known/b/c.bin", "known/empty", "known/new.bin"])
        assert.deepStrictEqual((yield* store.content(infoHash))?.files, {
          renamed: [renaming]
        })
      })
    )
  }

  test(
    "that a kill interrupted leaves a file of somebody else at the new path alone, although the file was not there yet",
    Effect.gen(function* () {
      const store = yield* SessionStore
      const { medium } = yield* TestEngine.TestEngine
      medium.put("known/mine", Uint8Array.from([1, 2, 3]))
      yield* session((session) => session.add(fileOf(small), { isPaused: true }))
      const renaming = { file: 0, path: ["known", "mine"] as const }
      yield* store.commit([{ _tag: "SetFiles", infoHash, files: { renamed: [], renaming } }])
      yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(infoHash)
          yield* torrent.resume()
          yield* until(torrent, "Active Complete")
        })
      )

      assert.deepStrictEqual(yield* paths, ["known/a.bin", "known/b/c.bin", "known/empty", "known/mine"])
      assert.deepStrictEqual((yield* store.content(infoHash))?.files, { renamed: [] })
    })
  )
})

describe("what is chosen for a torrent of a session", () => {
  test(
    "are the files that are wanted, also while it is paused, and in the next run",
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
      yield* session((session) =>
        Effect.gen(function* () {
          const files = ["skip", "normal", "normal"] as const
          const chosen = yield* session.add(fileOf(small), { isPaused: true, files })
          const early = yield* chosen.status
          yield* chosen.remove({ data: false })
          const torrent = yield* session.add(fileOf(small), { isPaused: true })
          yield* torrent.setFiles(files)
          const { progress } = yield* torrent.status
          yield* Effect.sleep("5 seconds")

          assert.deepStrictEqual(early.progress, progress)
          assert.isBelow(progress!.wantedBytes, progress!.totalBytes)
          assert.deepStrictEqual([yield* statesOf(session), yield* inEngine], [["Paused"], []])
          yield* torrent.resume()
          yield* until(torrent, "Active Complete")
        })
      )
      const { medium } = yield* TestEngine.TestEngine
      const first = medium.torrent(layout).isWhole
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(infoHash)
          yield* until(torrent, "Active Complete")
          const { progress } = yield* torrent.status
          yield* torrent.setFiles([])
          yield* until(torrent, "Active Complete")

          assert.isBelow(progress!.wantedBytes, progress!.totalBytes)
        })
      )

      assert.deepStrictEqual([first, medium.torrent(layout).isWhole], [false, true])
    })
  )

  test(
    "are options, which the engine gets at once or when it is opened again",
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
      yield* session((session) =>
        Effect.gen(function* () {
          const limits = { downloadBytesPerSecond: 50_000 }
          const torrent = yield* session.add(fileOf(small), { limits })
          yield* Effect.sleep("5 seconds")
          const slow = yield* torrent.status
          const before = yield* torrent.torrent
          yield* torrent.setOptions({ order: "sequential" })
          yield* until(torrent, "Active Downloading")
          const after = yield* torrent.torrent
          yield* torrent.setOptions({ limits: undefined })
          const same = yield* torrent.torrent
          yield* Effect.sleep("5 seconds")
          yield* torrent.setLabels(["a", "b", "a"])
          const { labels, options } = yield* torrent.status

          assert.isBelow(slow.statistics.downloadedBytes, 400_000)
          assert.notStrictEqual(Option.getOrUndefined(before), Option.getOrUndefined(after))
          assert.strictEqual(Option.getOrUndefined(after), Option.getOrUndefined(same))
          assert.deepStrictEqual(yield* statesOf(session), ["Active Complete"])
          assert.deepStrictEqual(labels, ["a", "b"])
          assert.deepInclude(options, { order: "sequential", limits: undefined })
        })
      )
    })
  )
})

describe("moves that take hours", () => {
  /** Ten torrents without files. */
  const many = Effect.promise(() =>
    Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        make({ name: `${index}`, seed: index + 10, pieceLength: 16_384, files: [{ path: [], length: 16_384 }] })
      )
    )
  )
  const nothing: Move = { isOneFolder: false, files: [], leave: Effect.succeed([]) }
  const moving = <A, E, R>(program: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Storage, (storage) => {
      const move: typeof storage.move = ({ isTrial }) => (isTrial === true ? Effect.succeed(nothing) : Effect.never)
      return Effect.provideService(program, Storage, Storage.of({ ...storage, move }))
    })

  test(
    "keep no other torrent from being started, also after a kill",
    Effect.gen(function* () {
      const states = yield* moving(
        session((session) =>
          Effect.gen(function* () {
            for (const known of yield* many) {
              const torrent = yield* session.add(fileOf(known))
              yield* Effect.forkChild(torrent.moveTo("elsewhere"))
            }
            yield* Effect.sleep("5 seconds")
            yield* session.add(fileOf(small))
            yield* Effect.sleep("5 seconds")
            return yield* statesOf(session)
          })
        )
      )
      const after = yield* moving(session((session) => Effect.andThen(Effect.sleep("5 seconds"), statesOf(session))))

      const expected = [...Array<string>(10).fill("Moving"), "Active Downloading"]
      assert.deepStrictEqual(states, expected)
      assert.deepStrictEqual(after, expected)
    })
  )
})
