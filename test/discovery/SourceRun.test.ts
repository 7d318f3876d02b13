import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { PeerSource, PeerSourceEvent } from "../../src/discovery/PeerSource.ts"
import * as PeerSources from "../../src/discovery/PeerSources.ts"
import * as SourceRun from "../../src/discovery/SourceRun.ts"
import { peerSourceContext } from "./peerSourceContext.ts"

class Unreachable extends Data.TaggedError("Unreachable")<{ readonly host: string }> {
  override get message() {
    return `${this.host} does not answer`
  }
}

const found = (source: string): PeerSourceEvent => ({ _tag: "Peers", source, addresses: [] })

/** Runs a source in the background; returns what it reports, with the seconds at which it does. */
const watch = Effect.fnUntraced(function* (source: PeerSource<unknown>) {
  const reports: Array<string> = []
  const clock = yield* TestClock.testClockWith(Effect.succeed)
  const run = SourceRun.run(source, peerSourceContext(), (event) =>
    Effect.sync(() => {
      const what = event._tag === "Failed" ? `${event.source}: ${event.why}` : `${event.source} found`
      reports.push(`${clock.currentTimeMillisUnsafe() / 1_000} ${what}`)
    })
  )
  return { reports, fiber: yield* Effect.forkChild(run, { startImmediately: true }) }
})

describe("SourceRun", () => {
  it.effect("reports a source that fails, and runs it again after twice as long each time, at most 10 minutes", () =>
    Effect.gen(function* () {
      const source = { name: "ours", peers: () => Stream.fail(new Unreachable({ host: "directory" })) }
      const { reports } = yield* watch(source)

      yield* TestClock.adjust("40 minutes")

      assert.deepStrictEqual(
        reports,
        [0, 10, 30, 70, 150, 310, 630, 1_230, 1_830].map((seconds) => `${seconds} ours: directory does not answer`)
      )
    })
  )

  it.effect("waits for 10 seconds again once the source has found peers, and has the name of its last event", () =>
    Effect.gen(function* () {
      let runs = 0
      const source: PeerSource<string> = {
        peers: () =>
          ++runs === 3 ? Stream.concat(Stream.make(found("url")), Stream.fail("closed")) : Stream.fail("no")
      }
      const { reports } = yield* watch(source)

      yield* TestClock.adjust("40 seconds")

      assert.deepStrictEqual(reports, [
        "0 peer source: no",
        "10 peer source: no",
        "30 url found",
        "30 url: closed",
        "40 url: no"
      ])
    })
  )

  it.effect("reports a source that dies, in its stream or before, and runs it again", () =>
    Effect.gen(function* () {
      const bugs = [
        () => Stream.die(new TypeError("undefined is not a function")),
        () => {
          throw new RangeError("out of range")
        },
        () => Stream.make(found("url"))
      ]
      const { fiber, reports } = yield* watch({ name: "ours", peers: () => bugs.shift()!() })

      yield* TestClock.adjust("1 minute")

      assert.deepStrictEqual(reports, [
        "0 ours: an internal error: undefined is not a function",
        "10 ours: an internal error: out of range",
        "30 url found"
      ])
      assert.deepStrictEqual(fiber.pollUnsafe(), Exit.void)
    })
  )

  it.effect("runs rounds that throw as those of a source that dies, and asks again whether one is due", () =>
    Effect.gen(function* () {
      let isBroken = true
      let dueAt = 45_000
      const given: PeerSource = {
        name: "ours",
        peers: () => Stream.empty,
        rounds: () => ({
          isDue: (now) => {
            if (isBroken) throw new Error("it does not know")
            return now >= dueAt
          },
          round: () => Stream.make(found("round"))
        })
      }
      const rounds = SourceRun.roundsOf(given, peerSourceContext())
      assert(rounds !== undefined)

      assert.isTrue(rounds.isDue(0))
      const { fiber, reports } = yield* watch({ ...given, peers: rounds.round })
      yield* TestClock.adjust("20 seconds")
      isBroken = false
      yield* TestClock.adjust("40 seconds")

      assert.deepStrictEqual(reports, [
        "0 ours: an internal error: it does not know",
        "10 ours: an internal error: it does not know",
        "45 round found"
      ])
      assert.deepStrictEqual(fiber.pollUnsafe(), Exit.void)
      dueAt = 100_000
      assert.deepStrictEqual([99_999, 100_000].map(rounds.isDue), [false, true])
    })
  )

  it.effect("makes rounds again after the source threw when it was to make them", () =>
    Effect.gen(function* () {
      let calls = 0
      const given: PeerSource = {
        name: "ours",
        peers: () => Stream.empty,
        rounds: () => {
          if (++calls === 1) throw new Error("it is not ready")
          return { isDue: () => true, round: () => Stream.make(found("round")) }
        }
      }
      const rounds = SourceRun.roundsOf(given, peerSourceContext())
      assert(rounds !== undefined)

      assert.isTrue(rounds.isDue(0))
      const { reports } = yield* watch({ ...given, peers: rounds.round })
      yield* TestClock.adjust("20 seconds")

      assert.deepStrictEqual(reports, ["0 ours: an internal error: it is not ready", "10 round found"])
      assert.strictEqual(calls, 2)
    })
  )

  it("has no rounds of a source that has none for the torrent", () => {
    assert.isUndefined(SourceRun.roundsOf({ peers: () => Stream.empty }, peerSourceContext()))
    assert.isUndefined(SourceRun.roundsOf({ peers: () => Stream.empty, rounds: () => undefined }, peerSourceContext()))
  })

  it.effect("dies of what the receiver of its events dies of, and does not run the source again", () =>
    Effect.gen(function* () {
      let runs = 0
      const source = {
        peers: () => {
          runs++
          return Stream.make(found("url"))
        }
      }
      const run = SourceRun.run(source, peerSourceContext(), () => Effect.die("a bug of ours"))

      const exit = yield* Effect.exit(run)

      assert.strictEqual(Exit.isFailure(exit) && Cause.squash(exit.cause), "a bug of ours")
      assert.strictEqual(runs, 1)
    })
  )

  it.effect("ends a stream that is interrupted, with its finalizers, and does not run it again", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const source = {
        peers: () =>
          Stream.concat(Stream.make(found("url")), Stream.never).pipe(
            Stream.ensuring(Effect.sync(() => void said.push("stopped")))
          )
      }
      const { fiber, reports } = yield* watch(source)

      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")

      assert.deepStrictEqual(said, ["stopped"])
      assert.deepStrictEqual(reports, ["0 url found"])
    })
  )

  it.effect("gives each run of a source a scope of its own, which ends with it", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const source: PeerSource<string, Scope.Scope> = {
        peers: () =>
          Stream.fromEffect(
            Effect.as(
              Effect.acquireRelease(
                Effect.sync(() => void said.push("opened")),
                () => Effect.sync(() => void said.push("closed"))
              ),
              found("url")
            )
          ).pipe(Stream.concat(said.length < 2 ? Stream.fail("cut") : Stream.empty))
      }
      const [provided] = yield* PeerSources.provide([source])

      const { fiber } = yield* watch(provided!)
      yield* TestClock.adjust("10 seconds")

      assert.deepStrictEqual(said, ["opened", "closed", "opened", "closed"])
      assert.deepStrictEqual(fiber.pollUnsafe(), Exit.void)
    })
  )
})
