import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as InfoHash from "../../src/base/InfoHash.ts"
import { Engine } from "../../src/engine/Engine.ts"
import * as MemorySessionStore from "../../src/session/provider/memory/MemorySessionStore.ts"
import { SessionStore, StoreFull } from "../../src/session/SessionStore.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { other, small } from "../simulation/torrents.ts"
import { fileOf, inEngine, nameOf, session, statesOf, test, until } from "./sessions.ts"

const joinSmall = TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))

describe("a session", () => {
  test(
    "downloads what is added, and seeds it in the next run without a check",
    Effect.gen(function* () {
      yield* joinSmall
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(small))
          yield* until(torrent, "Active Complete")
        })
      )

      const [status, events] = yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(small.metainfo.infoHash)
          yield* until(torrent, "Active Complete")
          const engine = yield* Engine
          const events = yield* engine.events.pipe(Stream.interruptWhen(Effect.sleep("1 second")), Stream.runCollect)
          return [yield* torrent.status, events] as const
        })
      )

      const { medium } = yield* TestEngine.TestEngine
      assert.isTrue(medium.torrent(small.metainfo.layout).isWhole)
      assert.deepStrictEqual(status.progress, {
        totalBytes: small.metainfo.layout.geometry.totalLength,
        wantedBytes: small.metainfo.layout.geometry.totalLength,
        missingBytes: 0
      })
      assert.isAtLeast(status.statistics.downloadedBytes, small.metainfo.layout.geometry.totalLength)
      assert.isDefined(status.completedAtMillis)
      assert.notInclude(
        events.map(({ event }) => event._tag),
        "Checking"
      )
      assert.deepStrictEqual(yield* inEngine, [])
    })
  )

  test(
    "saves the metadata of a magnet link, so that the next run needs no peer for it",
    Effect.gen(function* () {
      yield* joinSmall
      const magnet = `magnet:?xt=urn:btih:${InfoHash.toHex(small.metainfo.infoHash)}&dn=a+name`
      const early = yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add({ magnet })
          const { name, progress } = yield* torrent.status
          yield* until(torrent, "Active Complete")
          return { name, progress }
        })
      )

      const store = yield* SessionStore
      const content = yield* store.content(small.metainfo.infoHash)
      const [saved] = (yield* store.load).torrents

      assert.deepStrictEqual(early, { name: "a name", progress: undefined })
      assert.strictEqual(content?.source._tag, "Metainfo")
      assert.strictEqual(saved?.name, small.metainfo.name)
      assert.strictEqual(saved?.progress?.missingBytes, 0)
    })
  )

  test(
    "opens nothing of torrents that are paused or wait in the queue",
    Effect.gen(function* () {
      const store = yield* MemorySessionStore.MemorySessionStore
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.setLimits({ downloads: 0 })
          yield* session.add(fileOf(small))
          yield* session.add(fileOf(other), { isPaused: true })
        })
      )

      const states = yield* session((session) =>
        Effect.gen(function* () {
          yield* Effect.sleep("1 minute")
          assert.deepStrictEqual(yield* inEngine, [])
          return yield* statesOf(session)
        })
      )

      assert.deepStrictEqual(states, ["Queued", "Paused"])
      assert.strictEqual(store.contentReads(), 0)
    })
  )

  test(
    "refuses a torrent that it has, and sources that are none",
    session((session) =>
      Effect.gen(function* () {
        yield* session.add(fileOf(small), { isPaused: true })

        const hex = InfoHash.toHex(small.metainfo.infoHash)
        const sources = [
          fileOf(small),
          { magnet: `magnet:?xt=urn:btih:${hex}` },
          { metainfo: new Uint8Array(3) },
          { magnet: "http://example.org/" },
          { magnet: `magnet:?xt=urn:btmh:1220${"ab".repeat(32)}` }
        ]
        const errors = yield* Effect.forEach(sources, (source) => Effect.flip(session.add(source)))
        const unknown = yield* Effect.flip(session.get(other.metainfo.infoHash))

        assert.deepStrictEqual(
          [...errors, unknown].map(({ _tag }) => _tag),
          [
            "piecewise/AlreadyInSession",
            "piecewise/AlreadyInSession",
            "piecewise/MetainfoError",
            "piecewise/MagnetError",
            "piecewise/OnlyV2",
            "piecewise/NotInSession"
          ]
        )
      })
    )
  )

  test(
    "changes nothing that its store does not keep",
    Effect.gen(function* () {
      yield* joinSmall
      const inside = yield* MemorySessionStore.MemorySessionStore
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(small))
          yield* until(torrent, "Active Complete")
          inside.fail(new StoreFull({ path: "memory" }))
          const attempts: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
            session.add(fileOf(other)),
            torrent.pause,
            torrent.remove({ data: true }),
            torrent.setLabels(["a"]),
            torrent.move("first"),
            torrent.renameFile(0, ["elsewhere"]),
            session.setLimits({ seeds: 0 }),
            session.setLabel({ name: "a" })
          ]
          const errors = yield* Effect.forEach(attempts, Effect.flip)
          inside.fail(undefined)

          yield* until(torrent, "Active Complete")
          const { labels, position } = yield* torrent.status
          assert.deepStrictEqual(new Set(errors.map(({ _tag }) => _tag)), new Set(["piecewise/SessionStoreError"]))
          assert.deepStrictEqual([labels, position, yield* session.limits, yield* session.labels], [[], 1, {}, []])
          assert.deepStrictEqual(yield* statesOf(session), ["Active Complete"])
        })
      )
    })
  )

  test(
    "saves what its torrents have done every half minute, in one commit",
    Effect.gen(function* () {
      const { join } = yield* TestEngine.TestEngine
      yield* join(small, { bytesPerSecond: 8_000 })
      yield* join(other, { bytesPerSecond: 6_000 })
      const inside = yield* MemorySessionStore.MemorySessionStore
      const commits = yield* session((session) =>
        Effect.gen(function* () {
          for (const known of [small, other]) yield* session.add(fileOf(known))
          yield* Effect.sleep("10 seconds")
          const before = inside.commits().length
          yield* Effect.sleep("2 minutes")
          return inside.commits().slice(before)
        })
      )

      assert.strictEqual(commits.length, 4)
      for (const changes of commits) {
        assert.deepStrictEqual(
          changes.map(({ _tag }) => _tag),
          ["SetStatistics", "SetStatistics"]
        )
      }
    })
  )

  test(
    "saves rarely how long idle torrents have seeded, and again when it ends",
    Effect.gen(function* () {
      yield* joinSmall
      const inside = yield* MemorySessionStore.MemorySessionStore
      const commits = yield* session((session) =>
        Effect.gen(function* () {
          yield* until(yield* session.add(fileOf(small)), "Active Complete")
          yield* Effect.sleep("1 minute")
          const before = inside.commits().length
          yield* Effect.sleep("24 minutes")
          return inside.commits().slice(before)
        })
      )
      const [saved] = (yield* (yield* SessionStore).load).torrents

      assert.strictEqual(commits.length, 2)
      assert.isAtLeast(saved!.statistics.seedingMillis, 25 * 60_000)
    })
  )

  test(
    "reports what happens, and lists what is different from before",
    Effect.gen(function* () {
      yield* joinSmall
      yield* session((session) =>
        Effect.gen(function* () {
          const before = yield* session.list
          const torrent = yield* session.add(fileOf(small))
          const added = yield* session.changes(before.revision)
          yield* until(torrent, "Active Complete")
          yield* torrent.pause
          const paused = yield* session.changes(added.revision)
          const same = yield* session.changes(paused.revision)
          yield* torrent.remove({ data: true })
          const removed = yield* session.changes(same.revision)
          const foreign = yield* session.changes("another.5")
          const events = yield* session.events.pipe(Stream.interruptWhen(Effect.sleep("1 second")), Stream.runCollect)

          assert.deepStrictEqual(before.torrents, [])
          assert.deepStrictEqual([added.torrents.length, added.isAll], [1, false])
          assert.deepStrictEqual(
            paused.torrents.map(({ state }) => state._tag),
            ["Paused"]
          )
          assert.deepStrictEqual([same.torrents, same.revision], [[], paused.revision])
          assert.deepStrictEqual([removed.torrents, removed.removed], [[], [small.metainfo.infoHash]])
          assert.deepStrictEqual([foreign.isAll, foreign.torrents], [true, []])
          const told = events.map(({ event }) => (event._tag === "StateChanged" ? nameOf(event.state) : event._tag))
          assert.deepStrictEqual(
            told.filter((name) => name !== "Active Checking" && name !== "Active Flushing"),
            [
              "Added",
              "Queued",
              "Active Downloading",
              "Active Complete",
              "Completed",
              "Paused",
              "Removing",
              "Removed"
            ].filter((name) => name !== "Queued" || told.includes("Queued"))
          )
        })
      )
    })
  )
})
