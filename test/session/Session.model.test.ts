import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as fc from "fast-check"
import * as MemorySessionStore from "../../src/session/provider/memory/MemorySessionStore.ts"
import type * as Session from "../../src/session/Session.ts"
import { SessionStore } from "../../src/session/SessionStore.ts"
import * as TorrentFolders from "../../src/session/TorrentFolders.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { make, other, seed, small } from "../simulation/torrents.ts"
import { fileOf, inEngine, session } from "./sessions.ts"

const third = await make({ name: "third", seed: 3, pieceLength: 32_768, files: [{ path: [], length: 100_000 }] })
const torrents = [small, other, third]

/** What a user does. Numbers are those of torrents. */
type Step =
  | readonly [
      "add" | "paused" | "pause" | "resume" | "remove" | "recheck" | "rename" | "files" | "first" | "goal",
      number
    ]
  | readonly ["before", number, number]
  | readonly ["limits", number | undefined, number | undefined]
  | readonly ["wait", number]
  | readonly ["restart"]

const number = fc.nat(torrents.length - 1)
const limit = fc.option(fc.nat(2), { nil: undefined })
const kinds = ["add", "paused", "pause", "resume", "remove", "recheck", "rename", "files", "first", "goal"] as const
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(fc.constant("add" as const), number) },
  { weight: 8, arbitrary: fc.tuple(fc.constantFrom(...kinds), number) },
  fc.tuple(fc.constant("before" as const), number, number),
  fc.tuple(fc.constant("limits" as const), limit, limit),
  { weight: 4, arbitrary: fc.tuple(fc.constant("wait" as const), fc.nat(4_000)) },
  fc.constant(["restart"] as const)
)

const act = Effect.fnUntraced(function* (session: Session.Session["Service"], [kind, ...rest]: Step) {
  const [first, second] = rest as [number, number]
  if (kind === "wait") return yield* Effect.sleep(first)
  if (kind === "limits") return yield* session.setLimits({ downloads: first, seeds: second })
  if (kind === "restart") return
  if (kind === "add" || kind === "paused") {
    return yield* session.add(fileOf(torrents[first]!), { isPaused: kind === "paused" })
  }
  const torrent = yield* session.get(torrents[first]!.metainfo.infoHash)
  if (kind === "before") return yield* torrent.move({ before: torrents[second]!.metainfo.infoHash })
  if (kind === "first") return yield* torrent.move("first")
  if (kind === "pause") return yield* torrent.pause
  if (kind === "resume") return yield* torrent.resume()
  if (kind === "remove") return yield* torrent.remove({ data: true })
  if (kind === "recheck") return yield* torrent.recheck
  if (kind === "files") return yield* torrent.setFiles(["high"])
  if (kind === "goal") return yield* torrent.setOptions({ goal: { time: Duration.seconds(3) } })
  return yield* torrent.renameFile(0, [`${torrents[first]!.metainfo.name} renamed`])
})

/** Errors that a user may meet, because a torrent is there already or not there, or somebody else changes it. */
const expected = ["piecewise/NotInSession", "piecewise/AlreadyInSession"]
const expectedAtOnce = [...expected, "piecewise/NotOpened"]

const attempt = (opened: Session.Session["Service"], step: Step, atOnce: boolean) =>
  Effect.catch(act(opened, step), (error) =>
    Effect.sync(() => assert.include(atOnce ? expectedAtOnce : expected, error._tag, `${step}: ${error.message}`))
  )

/** Runs the steps, in a new session after each restart, and returns the session at the end when all has settled. */
const run = (steps: ReadonlyArray<Step>, atOnce: boolean) =>
  Effect.gen(function* () {
    const { join } = yield* TestEngine.TestEngine
    for (const known of torrents) yield* join(known, PeerBehaviour.honest)
    const runs: Array<Array<Step>> = [[]]
    for (const step of steps) {
      if (step[0] === "restart") runs.push([])
      else runs.at(-1)!.push(step)
    }
    for (const [index, run] of runs.entries()) {
      yield* session((session) =>
        Effect.gen(function* () {
          const work = run.map((step) => attempt(session, step, atOnce))
          yield* Effect.all(work, { concurrency: atOnce ? "unbounded" : 1, discard: true })
          if (index < runs.length - 1) return
          yield* Effect.sleep("2 minutes")
          yield* inspect(session)
        })
      )
    }
    assert.deepStrictEqual(yield* inEngine, [])
  }).pipe(Effect.provide([MemorySessionStore.layer, TorrentFolders.layer, Logger.layer([])]))

/** What holds when nothing happens any more. */
const inspect = Effect.fnUntraced(function* (session: Session.Session["Service"]) {
  const { medium } = yield* TestEngine.TestEngine
  const { torrents: listed } = yield* session.list
  const limits = yield* session.limits
  const saved = yield* (yield* SessionStore).load
  const active = listed.filter(({ state }) => state._tag === "Active")
  const queued = listed.filter(({ state }) => state._tag === "Queued")

  // The session, the engine and the store agree.
  assert.deepStrictEqual(new Set(yield* inEngine), new Set(active.map(({ name }) => name)))
  const kept = ({
    completedAtMillis,
    labels,
    name,
    options,
    position
  }: (typeof listed)[number] | (typeof saved.torrents)[number]) => ({
    completedAtMillis,
    labels,
    name,
    options,
    position
  })
  assert.deepStrictEqual(saved.torrents.map(kept), listed.map(kept))
  assert.deepStrictEqual(saved.limits, limits)
  for (const [index, { wanted }] of saved.torrents.entries()) {
    assert.strictEqual(wanted._tag === "Paused", listed[index]!.state._tag === "Paused")
  }
  // Whoever can be complete is, and whoever waits has a reason.
  const isComplete = ({ progress }: (typeof listed)[number]) => progress?.missingBytes === 0
  for (const { state } of active) assert.deepStrictEqual(state, { _tag: "Active", state: { _tag: "Complete" } })
  if (queued.some(isComplete)) assert.strictEqual(active.length, limits.seeds)
  if (queued.some((torrent) => !isComplete(torrent))) assert.strictEqual(limits.downloads, 0)
  if (limits.seeds !== undefined) assert.isAtMost(active.length, limits.seeds)
  // Nothing is left of what was removed, and every file has the length that it should have.
  const own = medium.paths().filter((path) => !path.startsWith(".piecewise"))
  for (const path of own)
    assert.isTrue(
      listed.some(({ name }) => path.split("/")[0] === name || path.startsWith(name)),
      path
    )
})

describe("a session", () => {
  for (const atOnce of [false, true]) {
    it.effect(
      `agrees with its engine and its store whatever is done with its torrents${atOnce ? ", all at once" : ""}`,
      () =>
        Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(fc.array(step, { maxLength: 14 }), (steps) =>
              Effect.runPromise(TestEngine.run(run(steps, atOnce), { seed, engine: { listen: { port: 6_881 } } }))
            ),
            { numRuns: 25, seed }
          )
        ),
      60_000
    )
  }
})
