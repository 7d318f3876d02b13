/**
 * A model of a `SessionStore`, and random changes of both. Without a test runner, because programs use it too.
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import type { SavedContent, SavedLabel, SavedTorrent, TrackerGoal } from "../../src/session/SavedTorrent.ts"
import type { SavedSession, SessionStore, StoreChange } from "../../src/session/SessionStore.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"

const { drawContent, drawSession, hashOf, torrentOf } = SessionDrawing

type Store = SessionStore["Service"]
/** How many torrents there are at most. Few, so that most changes meet one that is there. */
const torrents = 4

/** The numbers of the torrents, from 1. */
export const numbers: ReadonlyArray<number> = Array.from({ length: torrents }, (_, index) => index + 1)

/** What a store should have. */
export interface Model {
  readonly torrents: Map<number, { torrent: SavedTorrent; content: SavedContent }>
  readonly labels: Map<string, SavedLabel>
  readonly trackerGoals: Map<string, TrackerGoal>
  limits: SavedSession["limits"]
}

/** Nothing. */
export const emptyModel = (): Model => ({ torrents: new Map(), labels: new Map(), trackerGoals: new Map(), limits: {} })

/** A copy, which later changes of the model leave as it is. */
export const copyOf = (model: Model): Model => ({
  torrents: new Map(model.torrents),
  labels: new Map(model.labels),
  trackerGoals: new Map(model.trackerGoals),
  limits: model.limits
})

/** Makes a change of the model. The number of a torrent is each byte of its info hash. */
export const change = (model: Model, made: StoreChange): void => {
  const set = (
    infoHash: Uint8Array,
    parts: (old: { torrent: SavedTorrent; content: SavedContent }) => object
  ): void => {
    const old = model.torrents.get(infoHash[0]!)
    if (old !== undefined) model.torrents.set(infoHash[0]!, { ...old, ...parts(old) })
  }
  if (made._tag === "AddTorrent") model.torrents.set(made.torrent.infoHash[0]!, made)
  if (made._tag === "SetTorrent") set(made.torrent.infoHash, () => ({ torrent: made.torrent }))
  if (made._tag === "SetStatistics") {
    const { infoHash, progress, statistics } = made
    set(infoHash, ({ torrent }) => ({ torrent: { ...torrent, progress, statistics } }))
  }
  if (made._tag === "SetSource") set(made.infoHash, ({ content }) => ({ content: { ...content, source: made.source } }))
  if (made._tag === "SetFiles") set(made.infoHash, ({ content }) => ({ content: { ...content, files: made.files } }))
  if (made._tag === "RemoveTorrent") model.torrents.delete(made.infoHash[0]!)
  if (made._tag === "SetLabel") model.labels.set(made.label.name, made.label)
  if (made._tag === "RemoveLabel") model.labels.delete(made.name)
  if (made._tag === "SetTrackerHosts") {
    const { hosts: trackerHosts, infoHash } = made
    set(infoHash, ({ torrent }) => ({ torrent: { ...torrent, trackerHosts } }))
  }
  if (made._tag === "SetTrackerGoal") model.trackerGoals.set(made.goal.host, made.goal)
  if (made._tag === "RemoveTrackerGoal") model.trackerGoals.delete(made.host)
  if (made._tag === "SetLimits") model.limits = made.limits
}

/** What a model has, as JSON. */
export const drawModel = (model: Model) => ({
  session: drawSession({
    torrents: [...model.torrents]
      .sort(([one, { torrent }], [other, another]) => torrent.position - another.torrent.position || one - other)
      .map(([, { torrent }]) => torrent),
    labels: [...model.labels.values()],
    trackerGoals: [...model.trackerGoals.values()],
    limits: model.limits
  }),
  contents: numbers.map((number) => drawContent(model.torrents.get(number)?.content))
})

/** What a store has, as JSON. */
export const drawStore = Effect.fnUntraced(function* (store: Store) {
  return {
    session: drawSession(yield* store.load),
    contents: yield* Effect.forEach(numbers, (number) => Effect.map(store.content(hashOf(number)), drawContent))
  }
})

const statistics = fc.record({ downloadedBytes: fc.nat(), uploadedBytes: fc.nat(), seedingMillis: fc.nat() })
const progress = fc.option(fc.record({ totalBytes: fc.nat(), wantedBytes: fc.nat(), missingBytes: fc.nat() }), {
  nil: undefined
})
const number = fc.integer({ min: 1, max: torrents })
const source = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((bytes): SavedContent["source"] => ({ _tag: "Metainfo", bytes })),
  fc.string().map((link): SavedContent["source"] => ({ _tag: "Magnet", link }))
)
const files = fc.record({
  priorities: fc.option(fc.array(fc.constantFrom("skip" as const, "normal" as const, "high" as const)), {
    nil: undefined
  }),
  renamed: fc.array(fc.record({ file: fc.nat(5), path: fc.tuple(fc.string(), fc.string()) }), { maxLength: 2 })
})
const torrent = fc
  .record({
    number,
    position: fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((value) => value + 0),
    name: fc.string({ unit: "grapheme" }),
    labels: fc.array(fc.string(), { maxLength: 2 }),
    trackerHosts: fc.option(fc.array(fc.string(), { maxLength: 2 }), { nil: undefined }),
    completedAtMillis: fc.option(fc.nat(), { nil: undefined }),
    isCompletionDue: fc.constantFrom(true, undefined),
    wanted: fc.constantFrom<SavedTorrent["wanted"]>(
      { _tag: "Running" },
      { _tag: "Paused" },
      { _tag: "Removing", data: true }
    ),
    progress,
    statistics
  })
  .map(({ number, ...parts }) => torrentOf(number, parts))
const label = fc.record({
  name: fc.constantFrom("a", "A", "b'"),
  folder: fc.option(fc.constantFrom("/a", "/b"), { nil: undefined })
})

const host = fc.constantFrom("a.example", "A", "b'")

/** A change of any kind. */
export const anyChange: fc.Arbitrary<StoreChange> = fc.oneof(
  fc
    .tuple(torrent, source, files)
    .map(([torrent, source, files]): StoreChange => ({ _tag: "AddTorrent", torrent, content: { source, files } })),
  torrent.map((torrent): StoreChange => ({ _tag: "SetTorrent", torrent })),
  fc.tuple(number, statistics, progress).map(
    ([number, statistics, progress]): StoreChange => ({
      _tag: "SetStatistics",
      infoHash: hashOf(number),
      statistics,
      progress
    })
  ),
  fc
    .tuple(number, source)
    .map(([number, source]): StoreChange => ({ _tag: "SetSource", infoHash: hashOf(number), source })),
  fc
    .tuple(number, files)
    .map(([number, files]): StoreChange => ({ _tag: "SetFiles", infoHash: hashOf(number), files })),
  number.map((number): StoreChange => ({ _tag: "RemoveTorrent", infoHash: hashOf(number) })),
  label.map((label): StoreChange => ({ _tag: "SetLabel", label })),
  label.map(({ name }): StoreChange => ({ _tag: "RemoveLabel", name })),
  fc
    .tuple(number, fc.array(host, { maxLength: 2 }))
    .map(([number, hosts]): StoreChange => ({ _tag: "SetTrackerHosts", infoHash: hashOf(number), hosts })),
  fc
    .tuple(host, fc.integer({ min: 1, max: 5 }))
    .map(([host, ratio]): StoreChange => ({ _tag: "SetTrackerGoal", goal: { host, goal: { ratio } } })),
  host.map((host): StoreChange => ({ _tag: "RemoveTrackerGoal", host })),
  fc.record({ downloads: fc.nat(), seeds: fc.nat() }).map((limits): StoreChange => ({ _tag: "SetLimits", limits }))
)

/** The changes of a commit. */
export const batches = fc.array(anyChange, { minLength: 1, maxLength: 5 })
