import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as TorrentFile from "../../src/metainfo/TorrentFile.ts"
import type * as Session from "../../src/session/Session.ts"
import { SessionStore } from "../../src/session/SessionStore.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { make, other, small } from "../simulation/torrents.ts"
import { fileOf, inEngine, session, statesOf, test, until } from "./sessions.ts"

const third = await make({ name: "third", seed: 3, pieceLength: 32_768, files: [{ path: [], length: 100_000 }] })

const trackers = [["udp://one.example:80/announce", "http://Two.Example/announce"], ["http://one.example/announce"]]

/** Peers that have all of the three torrents, of which the first is slow. */
const peers = TestEngine.TestEngine.use(({ join }) =>
  Effect.all([
    join(small, { bytesPerSecond: 100_000 }),
    join(other, PeerBehaviour.honest),
    join(third, PeerBehaviour.honest)
  ])
)

const addAll = (session: Session.Session["Service"], options?: Session.AddOptions) =>
  Effect.forEach([small, other, third], (known) => session.add(fileOf(known), options))

describe("the queue of a session", () => {
  test(
    "runs as many downloads as are allowed, and the next one when one is complete",
    Effect.gen(function* () {
      yield* peers
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.setLimits({ downloads: 1 })
          const [first, second, last] = yield* addAll(session)
          yield* Effect.sleep("5 seconds")
          const early = [yield* statesOf(session), yield* inEngine]
          yield* until(first!, "Active Complete")
          yield* until(last!, "Active Complete")
          yield* until(second!, "Active Complete")

          assert.deepStrictEqual(early, [["Active Downloading", "Queued", "Queued"], ["known"]])
          assert.deepStrictEqual(new Set(yield* inEngine), new Set(["known", "other", "third"]))
        })
      )
    })
  )

  test(
    "runs as many seeds as are allowed, the first of the queue, also after a restart",
    Effect.gen(function* () {
      yield* peers
      yield* session((session) =>
        Effect.gen(function* () {
          for (const torrent of yield* addAll(session)) yield* until(torrent, "Active Complete")
          yield* session.setLimits({ seeds: 2 })
          yield* Effect.sleep("5 seconds")
          assert.deepStrictEqual(yield* statesOf(session), ["Active Complete", "Active Complete", "Queued"])
          const torrent = yield* session.get(third.metainfo.infoHash)
          yield* torrent.move("first")
          yield* Effect.sleep("5 seconds")
          assert.deepStrictEqual(yield* inEngine, ["known", "third"])
        })
      )

      yield* session((session) =>
        Effect.gen(function* () {
          yield* Effect.sleep("5 seconds")
          assert.deepStrictEqual(new Set(yield* inEngine), new Set(["known", "third"]))
          assert.deepStrictEqual(
            (yield* session.list).torrents.map(({ name }) => name),
            ["third", "known", "other"]
          )
          yield* session.setLimits({})
          yield* Effect.sleep("5 seconds")
          assert.strictEqual((yield* inEngine).length, 3)
        })
      )
    })
  )

  test(
    "goes on to the next torrent if one is paused, and comes back to it",
    Effect.gen(function* () {
      yield* peers
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.setLimits({ downloads: 1, seeds: 0 })
          const [first, second] = yield* addAll(session)
          yield* Effect.sleep("3 seconds")
          yield* first!.pause
          const stopped = yield* first!.status
          yield* until(second!, "Queued")
          yield* Effect.sleep("10 seconds")
          const states = yield* statesOf(session)
          const { statistics } = yield* first!.status
          yield* first!.resume()
          yield* Effect.sleep("3 seconds")

          assert.deepStrictEqual(states, ["Paused", "Queued", "Queued"])
          assert.isAbove(stopped.statistics.downloadedBytes, 0)
          assert.deepStrictEqual(statistics, stopped.statistics)
          assert.strictEqual((yield* statesOf(session))[0], "Active Downloading")
          assert.isAtLeast((yield* first!.status).statistics.downloadedBytes, statistics.downloadedBytes)
        })
      )
    })
  )

  test(
    "has any torrent before any other, however often they are moved",
    session((session) =>
      Effect.gen(function* () {
        const [first, second, last] = yield* addAll(session, { isPaused: true })
        const names = Effect.map(session.list, ({ torrents }) => torrents.map(({ name }) => name))
        for (let index = 0; index < 70; index++) {
          yield* (index % 2 === 0 ? last! : second!).move({
            before: (index % 2 === 0 ? second! : last!).infoHash
          })
        }
        const many = yield* names
        yield* first!.move("last")
        const moved = yield* names
        yield* first!.move({ before: first!.infoHash })
        yield* second!.move("first")

        assert.deepStrictEqual(many, ["known", "other", "third"])
        assert.deepStrictEqual(moved, ["other", "third", "known"])
        assert.deepStrictEqual(yield* names, ["other", "third", "known"])
        const saved = (yield* (yield* SessionStore).load).torrents.map(({ name }) => name)
        assert.deepStrictEqual(saved, ["other", "third", "known"])
      })
    )
  )
})

describe("a seeding goal", () => {
  const goal = { time: Duration.minutes(2) }

  test(
    "counts all runs, and ends seeding for good",
    Effect.gen(function* () {
      yield* peers
      const first = yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(third), { goal })
          yield* until(torrent, "Active Complete")
          yield* Effect.sleep("1 minute")
          return yield* torrent.status
        })
      )
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(third.metainfo.infoHash)
          yield* Effect.sleep("50 seconds")
          const early = yield* statesOf(session)
          yield* Effect.sleep("30 seconds")
          const late = [yield* statesOf(session), yield* inEngine]
          const { statistics } = yield* torrent.status

          assert.deepStrictEqual(early, ["Active Complete"])
          assert.deepStrictEqual(late, [["GoalReached"], []])
          assert.isTrue(Math.abs(statistics.seedingMillis - 120_000) < 3_000, String(statistics.seedingMillis))
        })
      )
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(third.metainfo.infoHash)
          yield* Effect.sleep("10 seconds")
          assert.deepStrictEqual([yield* statesOf(session), yield* inEngine], [["GoalReached"], []])
          yield* torrent.setOptions({ goal: undefined })
          yield* until(torrent, "Active Complete")
        })
      )
      assert.isTrue(Math.abs(first.statistics.seedingMillis - 60_000) < 3_000, String(first.statistics.seedingMillis))
    })
  )

  test(
    "may be that of a label, and gives its place in the queue to the next seed",
    Effect.gen(function* () {
      yield* peers
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.setLabel({ name: "short", goal })
          const torrents = yield* Effect.forEach([other, third], (known) =>
            session.add(fileOf(known), { labels: ["none", "short"] })
          )
          for (const torrent of torrents) yield* until(torrent, "Active Complete")
          yield* session.setLimits({ seeds: 1 })
          yield* Effect.sleep("1 minute")
          const early = yield* statesOf(session)
          yield* Effect.sleep("90 seconds")
          const late = yield* statesOf(session)
          yield* session.removeLabel("short")
          yield* Effect.sleep("5 seconds")

          assert.deepStrictEqual(early, ["Active Complete", "Queued"])
          assert.deepStrictEqual(late, ["GoalReached", "Active Complete"])
          assert.deepStrictEqual(yield* statesOf(session), ["Active Complete", "Queued"])
        })
      )
    })
  )

  test(
    "is its own, else that of a label, else that of its first tracker that has one",
    Effect.gen(function* () {
      yield* peers
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.setLabel({ name: "short", goal })
          yield* session.setTrackerGoal({ host: "Two.Example", goal })
          const never = { ratio: 1_000_000 }
          const add = (known: typeof other, options: Session.AddOptions) =>
            session.add({ metainfo: TorrentFile.encode({ ...known.metainfo, trackers }) }, options)
          const own = yield* add(other, { goal: never, labels: ["short"] })
          const tracker = yield* add(third, { labels: ["none"] })
          for (const torrent of [own, tracker]) yield* until(torrent, "Active Complete")
          yield* Effect.sleep("3 minutes")
          const states = yield* statesOf(session)
          yield* session.setLabel({ name: "none", goal: never })
          yield* until(tracker, "Active Complete")
          yield* session.removeLabel("none")
          yield* until(tracker, "GoalReached")
          yield* session.removeTrackerGoal("two.example.")
          yield* until(tracker, "Active Complete")
          yield* session.setTrackerGoal({ host: "two.example", goal })
          yield* session.setTrackerGoal({ host: "one.example", goal: never })

          yield* Effect.sleep("10 seconds")
          assert.deepStrictEqual(states, ["Active Complete", "GoalReached"])
          assert.deepStrictEqual(yield* statesOf(session), ["Active Complete", "Active Complete"])
          assert.deepStrictEqual((yield* tracker.status).trackerHosts, ["one.example", "two.example"])
          assert.deepStrictEqual(
            (yield* session.trackerGoals).map(({ host }) => host),
            ["two.example", "one.example"]
          )
          yield* own.setOptions({ goal: undefined })
          yield* until(own, "GoalReached")
        })
      )
    })
  )

  test(
    "of a tracker holds for torrents of which an earlier version has not saved the trackers, once they were opened",
    Effect.gen(function* () {
      yield* peers
      const store = yield* SessionStore
      yield* session((session) =>
        Effect.gen(function* () {
          const metainfo = TorrentFile.encode({ ...third.metainfo, trackers })
          yield* until(yield* session.add({ metainfo }), "Active Complete")
          yield* session.setTrackerGoal({ host: "one.example", goal })
          yield* Effect.sleep("1 minute")
        })
      )
      const [saved] = (yield* store.load).torrents
      yield* store.commit([{ _tag: "SetTorrent", torrent: { ...saved!, trackerHosts: undefined } }])
      yield* session((session) =>
        Effect.flatMap(session.get(third.metainfo.infoHash), (torrent) => until(torrent, "GoalReached"))
      )

      assert.deepStrictEqual((yield* store.load).torrents[0]?.trackerHosts, ["one.example", "two.example"])
    })
  )

  test(
    "of a tracker holds for a magnet link, by its own trackers and then by those of its metadata",
    session((session) =>
      Effect.gen(function* () {
        yield* peers
        const hex = InfoHash.toHex(third.metainfo.infoHash)
        const torrent = yield* session.add({ magnet: `magnet:?xt=urn:btih:${hex}&tr=udp%3A%2F%2FOne.Example%3A80` })
        const early = (yield* torrent.status).trackerHosts
        yield* until(torrent, "Active Complete")

        assert.deepStrictEqual([early, (yield* torrent.status).trackerHosts], [["one.example"], ["one.example"]])
      })
    )
  )

  test(
    "of a ratio counts what was uploaded",
    Effect.gen(function* () {
      yield* peers
      const store = yield* SessionStore
      yield* session((session) =>
        Effect.flatMap(session.add(fileOf(third), { goal: { ratio: 2 } }), (torrent) =>
          until(torrent, "Active Complete")
        )
      )
      const [saved] = (yield* store.load).torrents
      const statistics = { ...saved!.statistics, uploadedBytes: 199_999 }
      const save = (uploadedBytes: number) =>
        store.commit([
          {
            _tag: "SetStatistics",
            infoHash: third.metainfo.infoHash,
            statistics: { ...statistics, uploadedBytes },
            progress: saved!.progress
          }
        ])
      const stateWith = Effect.fnUntraced(function* (uploadedBytes: number) {
        yield* save(uploadedBytes)
        return yield* session((session) => Effect.andThen(Effect.sleep("5 seconds"), statesOf(session)))
      })

      assert.deepStrictEqual(yield* stateWith(199_999), ["Active Complete"])
      assert.deepStrictEqual(yield* stateWith(200_000), ["GoalReached"])
    })
  )
})

describe("a session that starts", () => {
  test(
    "opens downloads before seeds, each in the order of the queue, and one that is added meanwhile before the seeds",
    Effect.gen(function* () {
      const store = yield* SessionStore
      const names = Array.from({ length: 20 }, (_, index) => `t${index}`)
      const many = yield* Effect.promise(() =>
        Promise.all(
          names.map((name, index) =>
            make({ name, seed: index, pieceLength: 32_768, files: [{ path: [], length: 1_000 }] })
          )
        )
      )
      yield* session((session) =>
        Effect.forEach(many, (known) => session.add(fileOf(known), { isPaused: true }), { discard: true })
      )
      const { torrents } = yield* store.load
      const isDownload = (name: string) => name === "t5" || name === "t9"
      yield* store.commit(
        torrents.map((torrent) => ({
          _tag: "SetTorrent",
          torrent: {
            ...torrent,
            wanted: { _tag: "Running" },
            progress: { totalBytes: 1_000, wantedBytes: 1_000, missingBytes: isDownload(torrent.name) ? 1_000 : 0 }
          }
        }))
      )
      // They look for their files for a while.
      const { faults } = yield* TestEngine.TestEngine
      faults.delay("look", "200 millis")
      yield* session((session) =>
        Effect.gen(function* () {
          yield* Effect.sleep("100 millis")
          const early = yield* inEngine
          yield* session.add(fileOf(other))
          yield* Effect.sleep("10 seconds")
          faults.recover()
          const late = yield* inEngine
          const seeds = names.filter((name) => !isDownload(name))

          assert.deepStrictEqual(early, ["t5", "t9", ...seeds.slice(0, 6)])
          assert.deepStrictEqual(late.slice(0, 8), early)
          assert.deepStrictEqual(late.slice(8, 9), ["other"])
          assert.deepStrictEqual(late.slice(9), seeds.slice(6))
        })
      )
    })
  )
})
