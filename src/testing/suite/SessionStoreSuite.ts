/**
 * What every `SessionStore` does, whatever it keeps a session in. Every store passes `cases`, and `reopenCases` if what
 * it keeps outlives its layer.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SavedContent, SavedTorrent } from "../../session/SavedTorrent.ts"
import { SessionStore, type StoreChange } from "../../session/SessionStore.ts"
import * as Assert from "./Assert.ts"
import * as SessionDrawing from "./SessionDrawing.ts"
import * as Suite from "./Suite.ts"

const { contentOf, drawContent, drawSession, hashOf, torrentOf } = SessionDrawing

type Store = SessionStore["Service"]

const add = (torrent: SavedTorrent, content: SavedContent = contentOf([])): StoreChange => ({
  _tag: "AddTorrent",
  torrent,
  content
})

const names = (store: Store) => Effect.map(store.load, ({ torrents }) => torrents.map(({ name }) => name))

const test = <E>(name: string, run: (store: Store) => Effect.Effect<void, E, Scope.Scope>) =>
  Suite.test(name, Effect.flatMap(SessionStore, run))

/** A torrent of which nothing is empty or zero. */
const full: SavedTorrent = {
  infoHash: hashOf(9),
  name: `it's "a" film; DROP TABLE torrents -- \u{1f3ac} \u0000`,
  position: -0.5,
  wanted: { _tag: "Failed", error: "piecewise/ContentExists", message: "It's there." },
  labels: ["films", "", "it's"],
  trackerHosts: ["tracker.example", "xn--bcher-kva.example"],
  options: {
    folder: "/srv/films",
    goal: { ratio: 1.5, time: Duration.hours(30) },
    order: "sequential",
    limits: { downloadBytesPerSecond: 1_000_000, uploadBytesPerSecond: 1 },
    peerLimits: { uploadBytesPerSecond: 5_000 },
    maxConnections: 7,
    uploadSlots: 3,
    superSeed: true,
    webSeeds: ["http://example.org/"]
  },
  addedAtMillis: 1_700_000_000_000,
  completedAtMillis: 1_700_000_000_001,
  isCompletionDue: true,
  progress: { totalBytes: Number.MAX_SAFE_INTEGER, wantedBytes: 5, missingBytes: 4 },
  statistics: { downloadedBytes: Number.MAX_SAFE_INTEGER, uploadedBytes: 2, seedingMillis: 3 },
  hintedBytes: 5
}

const fullContent = contentOf([0, 1, 255], {
  priorities: ["skip", "normal", "high"],
  renamed: [{ file: 2, path: ["films", "it's.mkv"] }],
  renaming: { file: 0, path: ["a"] },
  hintedPieces: Uint8Array.of(0, 0b1010_0000)
})

/** What every store does. */
export const cases: ReadonlyArray<Suite.Case<SessionStore>> = [
  test("is empty at first", (store) =>
    Effect.gen(function* () {
      Assert.deepStrictEqual(drawSession(yield* store.load), { torrents: [], labels: [], trackerGoals: [], limits: {} })
      Assert.isUndefined(yield* store.content(hashOf(1)))
    })),

  test("returns torrents as they were added, in the order of their positions and then of their info hashes", (store) =>
    Effect.gen(function* () {
      const twin = torrentOf(1, { infoHash: hashOf(7), name: "twin" })
      yield* store.commit([add(torrentOf(2)), add(twin), add(full), add(torrentOf(1))])

      const session = yield* store.load

      const expected = { torrents: [full, torrentOf(1), twin, torrentOf(2)], labels: [], trackerGoals: [], limits: {} }
      Assert.deepStrictEqual(drawSession(session), drawSession(expected))
    })),

  test("returns the content of each torrent", (store) =>
    Effect.gen(function* () {
      const magnet: SavedContent = { source: { _tag: "Magnet", link: "magnet:?x='\"" }, files: { renamed: [] } }
      yield* store.commit([add(full, fullContent), add(torrentOf(1), magnet), add(torrentOf(2), contentOf([]))])

      const contents = [
        yield* store.content(hashOf(9)),
        yield* store.content(hashOf(1)),
        yield* store.content(hashOf(2))
      ]

      Assert.deepStrictEqual(contents.map(drawContent), [fullContent, magnet, contentOf([])].map(drawContent))
    })),

  test("keeps the bytes of its callers and its own apart", (store) =>
    Effect.gen(function* () {
      const given = Uint8Array.from([1, 2, 3])
      yield* store.commit([add(torrentOf(1), { ...contentOf([]), source: { _tag: "Metainfo", bytes: given } })])
      given.fill(9)
      const read = yield* store.content(hashOf(1))
      if (read?.source._tag === "Metainfo") read.source.bytes.fill(8)

      const content = yield* store.content(hashOf(1))

      Assert.deepStrictEqual(drawContent(content), drawContent(contentOf([1, 2, 3])))
    })),

  test("replaces a torrent that is added again, with its content", (store) =>
    Effect.gen(function* () {
      yield* store.commit([add(torrentOf(1), fullContent)])
      yield* store.commit([add(torrentOf(1, { name: "another" }), contentOf([4]))])

      Assert.deepStrictEqual(yield* names(store), ["another"])
      Assert.deepStrictEqual(drawContent(yield* store.content(hashOf(1))), drawContent(contentOf([4])))
    })),

  test("sets everything of a torrent except its content", (store) =>
    Effect.gen(function* () {
      const changed = { ...full, infoHash: hashOf(1) }
      yield* store.commit([add(torrentOf(1), fullContent), add(torrentOf(2))])
      yield* store.commit([{ _tag: "SetTorrent", torrent: changed }])

      const session = yield* store.load

      const expected = { torrents: [changed, torrentOf(2)], labels: [], trackerGoals: [], limits: {} }
      Assert.deepStrictEqual(drawSession(session), drawSession(expected))
      Assert.deepStrictEqual(drawContent(yield* store.content(hashOf(1))), drawContent(fullContent))
    })),

  test("sets the statistics and the progress of a torrent, and nothing else", (store) =>
    Effect.gen(function* () {
      const statistics = { downloadedBytes: 1, uploadedBytes: 2, seedingMillis: 3 }
      const progress = { totalBytes: 6, wantedBytes: 5, missingBytes: 4 }
      yield* store.commit([add(torrentOf(1)), add(full)])
      yield* store.commit([
        { _tag: "SetStatistics", infoHash: hashOf(1), statistics, progress },
        { _tag: "SetStatistics", infoHash: full.infoHash, statistics, progress: undefined }
      ])

      const session = yield* store.load

      const expected = [{ ...full, statistics, progress: undefined }, torrentOf(1, { statistics, progress })]
      Assert.deepStrictEqual(
        drawSession(session),
        drawSession({ torrents: expected, labels: [], trackerGoals: [], limits: {} })
      )
    })),

  test("sets the source and the files of a torrent, each without the other", (store) =>
    Effect.gen(function* () {
      const link: SavedContent["source"] = { _tag: "Magnet", link: "magnet:?xt=1" }
      yield* store.commit([add(torrentOf(1), fullContent), add(torrentOf(2), { ...fullContent, source: link })])
      yield* store.commit([
        { _tag: "SetFiles", infoHash: hashOf(1), files: { renamed: [] } },
        { _tag: "SetSource", infoHash: hashOf(2), source: fullContent.source }
      ])

      const contents = [yield* store.content(hashOf(1)), yield* store.content(hashOf(2))]

      const expected = [{ ...fullContent, files: { renamed: [] } }, fullContent]
      Assert.deepStrictEqual(contents.map(drawContent), expected.map(drawContent))
    })),

  test("removes a torrent with its content", (store) =>
    Effect.gen(function* () {
      yield* store.commit([add(torrentOf(1), fullContent), add(torrentOf(2), fullContent)])
      yield* store.commit([{ _tag: "RemoveTorrent", infoHash: hashOf(1) }])

      Assert.deepStrictEqual(yield* names(store), ["torrent 2"])
      Assert.isUndefined(yield* store.content(hashOf(1)))
      Assert.deepStrictEqual(drawContent(yield* store.content(hashOf(2))), drawContent(fullContent))
    })),

  test("does nothing for torrents and labels that are not there", (store) =>
    Effect.gen(function* () {
      const infoHash = hashOf(1)
      yield* store.commit([
        { _tag: "SetTorrent", torrent: torrentOf(1) },
        { _tag: "SetStatistics", infoHash, statistics: full.statistics, progress: full.progress },
        { _tag: "SetSource", infoHash, source: fullContent.source },
        { _tag: "SetFiles", infoHash, files: fullContent.files },
        { _tag: "RemoveTorrent", infoHash },
        { _tag: "RemoveLabel", name: "films" }
      ])

      Assert.deepStrictEqual(drawSession(yield* store.load), { torrents: [], labels: [], trackerGoals: [], limits: {} })
      Assert.isUndefined(yield* store.content(infoHash))
    })),

  test("sets, replaces and removes labels", (store) =>
    Effect.gen(function* () {
      const goal = { ratio: 2, time: Duration.minutes(5) }
      yield* store.commit([
        { _tag: "SetLabel", label: { name: "films", folder: "/films", goal } },
        { _tag: "SetLabel", label: { name: "Films" } },
        { _tag: "SetLabel", label: { name: "it's" } }
      ])
      yield* store.commit([
        { _tag: "SetLabel", label: { name: "Films", folder: "/Films" } },
        { _tag: "RemoveLabel", name: "it's" }
      ])

      const session = yield* store.load

      const labels = [
        { name: "films", folder: "/films", goal },
        { name: "Films", folder: "/Films" }
      ]
      Assert.deepStrictEqual(drawSession(session), drawSession({ torrents: [], labels, trackerGoals: [], limits: {} }))
    })),

  test("sets the hosts of the trackers of a torrent, and nothing else", (store) =>
    Effect.gen(function* () {
      yield* store.commit([add(torrentOf(1)), add(full)])
      yield* store.commit([
        { _tag: "SetTrackerHosts", infoHash: hashOf(1), hosts: ["a", "b"] },
        { _tag: "SetTrackerHosts", infoHash: full.infoHash, hosts: [] }
      ])

      const session = yield* store.load

      const torrents = [{ ...full, trackerHosts: [] }, torrentOf(1, { trackerHosts: ["a", "b"] })]
      Assert.deepStrictEqual(drawSession(session), drawSession({ torrents, labels: [], trackerGoals: [], limits: {} }))
    })),

  test("sets, replaces and removes goals of trackers", (store) =>
    Effect.gen(function* () {
      const goal = { ratio: 2, time: Duration.minutes(5) }
      yield* store.commit([
        { _tag: "SetTrackerGoal", goal: { host: "a.example", goal: { ratio: 1 } } },
        { _tag: "SetTrackerGoal", goal: { host: "b.example", goal } }
      ])
      yield* store.commit([
        { _tag: "SetTrackerGoal", goal: { host: "a.example", goal } },
        { _tag: "RemoveTrackerGoal", host: "b.example" },
        { _tag: "RemoveTrackerGoal", host: "c.example" }
      ])

      const session = yield* store.load

      const trackerGoals = [{ host: "a.example", goal }]
      Assert.deepStrictEqual(drawSession(session), drawSession({ torrents: [], labels: [], trackerGoals, limits: {} }))
    })),

  test("replaces the limits", (store) =>
    Effect.gen(function* () {
      yield* store.commit([{ _tag: "SetLimits", limits: { downloads: 3, seeds: 0 } }])
      const first = yield* store.load
      yield* store.commit([{ _tag: "SetLimits", limits: { seeds: 5, uploadBytesPerSecond: 1.5 } }])

      Assert.deepStrictEqual(first.limits, { downloads: 3, seeds: 0 })
      const limits = { seeds: 5, uploadBytesPerSecond: 1.5 }
      Assert.deepStrictEqual(drawSession(yield* store.load), { torrents: [], labels: [], trackerGoals: [], limits })
    })),

  test("makes the changes of a commit in their order", (store) =>
    Effect.gen(function* () {
      yield* store.commit([
        add(torrentOf(1)),
        { _tag: "RemoveTorrent", infoHash: hashOf(1) },
        add(torrentOf(1, { name: "again" })),
        { _tag: "SetTorrent", torrent: torrentOf(1, { name: "and again" }) },
        { _tag: "SetLimits", limits: { seeds: 1 } },
        { _tag: "SetLimits", limits: { seeds: 2 } }
      ])
      yield* store.commit([])

      Assert.deepStrictEqual(yield* names(store), ["and again"])
      Assert.deepStrictEqual((yield* store.load).limits, { seeds: 2 })
    })),

  test("makes the commits of several fibers one after the other", (store) =>
    Effect.gen(function* () {
      const commits = Array.from({ length: 30 }, (_, index) => store.commit([add(torrentOf(index + 1))]))
      yield* Effect.all(commits, { concurrency: "unbounded", discard: true })

      Assert.strictEqual((yield* store.load).torrents.length, 30)
    }))
]

/** What a store keeps from one run to the next. `open` opens the same store each time, until the scope closes. */
export const reopenCases = <E, R>(
  open: Effect.Effect<Store, E, R | Scope.Scope>
): ReadonlyArray<Suite.Case<Exclude<R, Scope.Scope>>> => {
  const use = <A, E2>(run: (store: Store) => Effect.Effect<A, E2>) => Effect.scoped(Effect.flatMap(open, run))
  return [
    Suite.test(
      "finds everything again that was committed",
      Effect.gen(function* () {
        const label = { name: "films", folder: "/films" }
        const trackerGoal = { host: "tracker.example", goal: { ratio: 2, time: Duration.days(30) } }
        yield* use((store) => store.commit([add(full, fullContent), add(torrentOf(2))]))
        yield* use((store) =>
          store.commit([
            { _tag: "SetLabel", label },
            { _tag: "SetTrackerGoal", goal: trackerGoal },
            { _tag: "SetLimits", limits: { seeds: 4 } }
          ])
        )
        yield* use((store) => store.commit([{ _tag: "RemoveTorrent", infoHash: hashOf(2) }]))

        const [session, content] = yield* use((store) => Effect.all([store.load, store.content(full.infoHash)]))

        const expected = { torrents: [full], labels: [label], trackerGoals: [trackerGoal], limits: { seeds: 4 } }
        Assert.deepStrictEqual(drawSession(session), drawSession(expected))
        Assert.deepStrictEqual(drawContent(content), drawContent(fullContent))
      })
    )
  ]
}
