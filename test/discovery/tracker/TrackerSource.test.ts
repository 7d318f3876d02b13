import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/testing/TestClock"
import type { PeerSourceContext, PeerSourceEvent } from "../../../src/discovery/PeerSource.ts"
import * as UdpTracker from "../../../src/discovery/tracker/provider/UdpTracker.ts"
import type { AnnounceRequest, AnnounceResponse } from "../../../src/discovery/tracker/Tracker.ts"
import { Tracker, TrackerError } from "../../../src/discovery/tracker/Tracker.ts"
import * as TrackerSource from "../../../src/discovery/tracker/TrackerSource.ts"
import { listeningPort, peerSourceContext } from "../peerSourceContext.ts"

const url = (name: string) => `http://${name}.example/announce`

const response: AnnounceResponse = {
  peers: [{ host: "1.2.3.4", port: 80 }],
  intervalSeconds: 1800,
  minIntervalSeconds: undefined,
  seeders: 2,
  leechers: 1,
  trackerId: undefined,
  warning: undefined,
  externalHost: undefined
}

/** Keeps the order of tiers, and extends waits by nearly the whole jitter. */
const keep = () => 0.999_999

type Reply = Effect.Effect<AnnounceResponse, TrackerError>

interface Asked extends AnnounceRequest {
  readonly name: string
  readonly seconds: number
}

/**
 * Starts a source over `tiers` (each character is a tracker) whose trackers answer with `reply`. If `random` is not
 * given, waits get no jitter and tiers keep their order.
 */
const start = Effect.fnUntraced(function* (options: {
  readonly tiers: ReadonlyArray<string>
  readonly reply: (asked: Asked) => Reply
  readonly context?: Partial<PeerSourceContext>
  /** Default 0. */
  readonly random?: () => number
}) {
  const asked: Array<Asked> = []
  const events: Array<PeerSourceEvent> = []
  const completed = yield* Deferred.make<void>()
  const source = yield* TrackerSource.make().pipe(
    Effect.provideService(Tracker, {
      announce: (url, request) =>
        Effect.clockWith((clock) => {
          const one = { ...request, name: new URL(url).host[0]!, seconds: clock.currentTimeMillisUnsafe() / 1000 }
          asked.push(one)
          return options.reply(one)
        }),
      scrape: () => Effect.die("a source does not scrape")
    })
  )
  const context = peerSourceContext({
    trackers: options.tiers.map((tier) => Array.from(tier, url)),
    facts: () => ({ uploaded: 3, downloaded: 2, left: 1 }),
    completed: Deferred.await(completed),
    ...options.context
  })
  const fiber = yield* source.peers(context).pipe(
    Stream.runForEach((event) => Effect.sync(() => events.push(event))),
    Effect.provideService(Random.Random, { nextDoubleUnsafe: options.random ?? (() => 0), nextIntUnsafe: () => 0 }),
    Effect.forkChild({ startImmediately: true })
  )
  yield* TestClock.adjust(0)
  return { asked, events, fiber, complete: Deferred.succeed(completed, undefined) }
})

const ok: Reply = Effect.succeed(response)

/** Every tracker except `f` is silent until the timeout of a UDP tracker. `stopped` is answered at once. */
const onlyLastLives = ({ event, name }: Asked): Reply =>
  name === "f" || event === "stopped" ? ok : Effect.delay(refuse("no answer in time"), UdpTracker.defaultTimeout)

const refuse = (why: string, retryAfter?: number | "never"): Reply =>
  Effect.fail(new TrackerError({ url: "", why, retryAfter }))

const kinds = (events: ReadonlyArray<PeerSourceEvent>) => events.map(({ _tag, source }) => `${source[7]} ${_tag}`)

const log = (asked: ReadonlyArray<Asked>) =>
  asked.map(({ event, name, seconds }) => `${seconds} ${name} ${event ?? "-"}`)

describe("TrackerSource", () => {
  it.effect("announces `started` and then at every interval, and emits the peers", () =>
    Effect.gen(function* () {
      const reply = () => Effect.succeed({ ...response, externalHost: "7.7.7.7", warning: "old client" })
      const run = yield* start({ tiers: ["a"], reply })

      yield* TestClock.adjust("1 hour")

      assert.deepStrictEqual(log(run.asked), ["0 a started", "1800 a -", "3600 a -"])
      assert.deepStrictEqual(run.events[0], {
        _tag: "Peers",
        source: url("a"),
        addresses: response.peers,
        seeders: 2,
        leechers: 1,
        warning: "old client",
        externalHost: "7.7.7.7",
        from: "a.example"
      })
      assert.strictEqual(run.events.length, 3)
    })
  )

  it.effect("reports where the answer came from, if the tracker knows, else the host of its URL", () =>
    Effect.gen(function* () {
      const known = yield* start({ tiers: ["a"], reply: () => Effect.succeed({ ...response, from: "10.0.0.9" }) })
      const unknown = yield* start({ tiers: ["b"], reply: () => ok })

      const froms = [known, unknown].map(({ events: [event] }) => event?._tag === "Peers" && event.from)

      assert.deepStrictEqual(froms, ["10.0.0.9", "b.example"])
    })
  )

  it.effect("tells trackers how connections are encrypted, and emits which peers require that", () =>
    Effect.gen(function* () {
      const reply = () => Effect.succeed({ ...response, preferringEncryption: response.peers })
      const require = yield* start({ tiers: ["a"], reply, context: { encryption: "require" } })
      const none = yield* start({ tiers: ["a"], reply: () => ok })

      assert.deepStrictEqual(
        [require, none].map(({ asked: [first] }) => first?.encryption),
        ["require", undefined]
      )
      assert.deepStrictEqual(
        [require, none].map(({ events: [event] }) => event?._tag === "Peers" && event.preferringEncryption),
        [response.peers, undefined]
      )
    })
  )

  it.effect("fault 93: emits no peers of a tracker that a private torrent has left, whatever that one is told", () =>
    Effect.gen(function* () {
      let isDown = false
      const reply = ({ name }: Asked) => (name === "a" && isDown ? refuse("down") : ok)
      const run = yield* start({ tiers: ["a", "b"], reply, context: { isPrivate: true } })
      isDown = true
      yield* TestClock.adjust("30 minutes")
      isDown = false

      yield* run.complete
      yield* TestClock.adjust("1 minute")

      const found = run.events.flatMap((event) =>
        event._tag === "Peers" ? [[event.source[7], event.addresses.length, event.isBeside] as const] : []
      )
      assert.deepStrictEqual(log(run.asked).slice(-2), ["1800 a completed", "1800 b completed"])
      assert.deepStrictEqual(found, [
        ["a", 1, undefined],
        ["b", 1, undefined],
        // It is first, and so it is used again as soon as it answers.
        ["a", 1, undefined],
        ["b", 0, true]
      ])
    })
  )

  it.effect("announces the torrent's current counts", () =>
    Effect.gen(function* () {
      let left = 100
      const facts = () => ({ uploaded: 7, downloaded: 100 - left, left })
      const run = yield* start({ tiers: ["a"], reply: () => ok, context: { facts, port: listeningPort(4000) } })

      left = 40
      yield* TestClock.adjust("30 minutes")

      assert.deepStrictEqual(
        run.asked.map(({ downloaded, left, port, uploaded }) => [uploaded, downloaded, left, port]),
        [
          [7, 0, 100, 4000],
          [7, 60, 40, 4000]
        ]
      )
    })
  )

  it.effect("announces port 1 if nothing listens, because trackers refuse 0", () =>
    Effect.gen(function* () {
      const unset = yield* start({ tiers: ["a"], reply: () => ok })
      const zero = yield* start({ tiers: ["a"], reply: () => ok, context: { port: listeningPort(0) } })

      assert.strictEqual(unset.asked[0]?.port, TrackerSource.notListeningPort)
      assert.strictEqual(zero.asked[0]?.port, TrackerSource.notListeningPort)
    })
  )

  it.effect("announces a changed port as soon as the tracker allows, and in `stopped`", () =>
    Effect.gen(function* () {
      const port = listeningPort(4000)
      const reply = () => Effect.succeed({ ...response, minIntervalSeconds: 300 })
      const run = yield* start({ tiers: ["a"], reply, context: { port } })

      yield* TestClock.adjust("1 minute")
      yield* SubscriptionRef.set(port, 5000)
      yield* TestClock.adjust("29 minutes")
      yield* SubscriptionRef.set(port, undefined)
      yield* Effect.yieldNow
      yield* Fiber.interrupt(run.fiber)

      assert.deepStrictEqual(
        run.asked.map(({ port, seconds }) => [seconds, port]),
        [
          [0, 4000],
          [300, 5000],
          [1800, TrackerSource.notListeningPort],
          [1800, TrackerSource.notListeningPort]
        ]
      )
    })
  )

  it.effect("fault 57: reports a failure and asks the next tracker at once", () =>
    Effect.gen(function* () {
      const reply = ({ name }: Asked) => (name === "b" ? ok : refuse("the answer is a web page"))

      const run = yield* start({ tiers: ["a", "b"], reply })

      assert.deepStrictEqual(log(run.asked), ["0 a started", "0 b started"])
      assert.deepStrictEqual(run.events[0], { _tag: "Failed", source: url("a"), why: "the answer is a web page" })
      assert.strictEqual(run.events[1]?._tag, "Peers")
    })
  )

  for (const tiers of [["abcdef"], ["abc", "def"], ["a", "b", "c", "d", "e", "f"]]) {
    it.effect(`has peers after 15 seconds behind five dead trackers, in tiers ${tiers}`, () =>
      Effect.gen(function* () {
        const run = yield* start({ tiers, reply: onlyLastLives, random: keep })

        yield* TestClock.adjust("14999 millis")
        const before = run.events.length
        yield* TestClock.adjust("1 millis")

        assert.strictEqual(before, 0)
        assert.deepStrictEqual(kinds(run.events), ["f Peers"])
        assert.deepStrictEqual(
          log(run.asked),
          ["0 a", "3 b", "6 c", "9 d", "12 e", "15 f"].map((one) => `${one} started`)
        )
      })
    )
  }

  it.effect("reports dead trackers after their timeout, and begins later rounds with the live one", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: ["abcdef"], reply: onlyLastLives, random: keep })

      yield* TestClock.adjust("1 minute")
      const told = kinds(run.events)
      yield* TestClock.adjust("1 hour")
      yield* Fiber.interrupt(run.fiber)

      assert.deepStrictEqual(told, ["f Peers", ...Array.from("abcde", (name) => `${name} Failed`)])
      // The dead trackers are asked once, and get no `stopped`.
      assert.deepStrictEqual(log(run.asked).slice(5), ["15 f started", "1995 f -", "3660 f stopped"])
    })
  )

  it.effect("emits the peers of a slow tracker too, and sends it `started` once", () =>
    Effect.gen(function* () {
      const isSlow = ({ event, name }: Asked) => name === "a" && event !== "stopped"
      const reply = (asked: Asked) => (isSlow(asked) ? Effect.delay(ok, "5 seconds") : ok)
      const run = yield* start({ tiers: ["a", "b"], reply, random: keep })

      yield* TestClock.adjust("1985 seconds")
      yield* Fiber.interrupt(run.fiber)

      assert.deepStrictEqual(kinds(run.events).slice(0, 2), ["b Peers", "a Peers"])
      assert.deepStrictEqual(log(run.asked), [
        "0 a started",
        "3 b started",
        "1983 a -",
        "1985 a stopped",
        "1985 b stopped"
      ])
    })
  )

  it.effect("asks the trackers of a private torrent one at a time (BEP 27)", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: ["a", "f"], reply: onlyLastLives, context: { isPrivate: true } })

      yield* TestClock.adjust("1 minute")

      assert.deepStrictEqual(log(run.asked), ["0 a started", "30 f started"])
      assert.deepStrictEqual(kinds(run.events), ["a Failed", "f Peers"])
    })
  )

  it.effect("with allTiers, announces to every tier separately and at once", () =>
    Effect.gen(function* () {
      const reply = ({ event, name }: Asked) =>
        event === "stopped" ? Effect.never : name === "b" ? refuse("connection refused") : ok
      const run = yield* start({ tiers: ["a", "b", "c"], reply, context: { allTiers: true } })

      yield* TestClock.adjust("15 seconds")
      const stopping = yield* Effect.forkChild(Fiber.interrupt(run.fiber), { startImmediately: true })
      yield* TestClock.adjust(TrackerSource.stopTimeout)

      assert.deepStrictEqual(log(run.asked), [
        "0 a started",
        "0 b started",
        "0 c started",
        "15 b started",
        "15 a stopped",
        "15 c stopped"
      ])
      assert.sameMembers(kinds(run.events), ["a Peers", "b Failed", "c Peers", "b Failed"])
      assert.isDefined(stopping.pollUnsafe())
    })
  )

  it.effect("with allTiers, ends at once if there are no tiers", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: [], reply: () => ok, context: { allTiers: true } })

      yield* Fiber.join(run.fiber)

      assert.deepStrictEqual(run.events, [])
    })
  )

  it.effect("dies with a defect of the tracker's layer", () =>
    Effect.gen(function* () {
      for (const allTiers of [false, true]) {
        const run = yield* start({ tiers: ["a"], reply: () => Effect.die("bug"), context: { allTiers } })

        const exit = yield* Fiber.await(run.fiber)

        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      }
    })
  )

  it.effect("fault 24: asks a dead tracker less and less often", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: ["a"], reply: () => refuse("connection refused") })

      yield* TestClock.adjust("1 hour")

      assert.deepStrictEqual(
        run.asked.map(({ seconds }) => seconds),
        [0, 15, 45, 105, 225, 465, 945, 1905]
      )
      assert.strictEqual(run.events.length, 8)
    })
  )

  it.effect("asks again when the tracker said, or after a day if it said never", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: ["ab"], reply: ({ name }) => refuse("busy", name === "a" ? 600 : "never") })

      yield* TestClock.adjust("25 minutes")

      assert.deepStrictEqual(
        run.asked.filter(({ name }) => name === "a").map(({ seconds }) => seconds),
        [0, 600, 1200]
      )
      assert.strictEqual(run.asked.filter(({ name }) => name === "b").length, 1)
    })
  )

  it.effect("asks once a day if every tracker said never, and still announces `stopped`", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: ["a"], reply: () => refuse("UDP trackers are not supported yet", "never") })

      yield* TestClock.adjust("60 hours")
      yield* Fiber.interrupt(run.fiber)

      assert.deepStrictEqual(log(run.asked), ["0 a started", "86400 a started", "172800 a started"])
    })
  )

  it.effect("announces `completed` once, in the middle of a wait", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: ["a"], reply: () => ok })

      yield* TestClock.adjust("10 minutes")
      yield* run.complete
      yield* TestClock.adjust("30 minutes")

      assert.deepStrictEqual(log(run.asked), ["0 a started", "600 a completed", "2400 a -"])
    })
  )

  it.effect("never announces `completed` for a torrent that was complete at the start", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: ["a"], reply: () => ok, context: { completed: Effect.yieldNow } })

      yield* TestClock.adjust("30 minutes")

      assert.deepStrictEqual(log(run.asked), ["0 a started", "1800 a -"])
    })
  )

  it.effect("announces after the min interval while the torrent wants peers", () =>
    Effect.gen(function* () {
      let wantsMore = false
      const run = yield* start({
        tiers: ["a"],
        reply: () => Effect.succeed({ ...response, minIntervalSeconds: 300 }),
        context: { wantsMore: () => wantsMore }
      })

      yield* TestClock.adjust("400 seconds")
      wantsMore = true
      yield* TestClock.adjust("30 seconds")

      assert.deepStrictEqual(log(run.asked), ["0 a started", "420 a -"])
    })
  )

  it.effect("asks the next tier while there are few peers and the first tier knows nobody", () =>
    Effect.gen(function* () {
      let hasFew = true
      const run = yield* start({
        tiers: ["a", "b", "c"],
        reply: ({ name }) => (name === "a" ? Effect.succeed({ ...response, peers: [] }) : ok),
        context: { hasFew: () => hasFew }
      })
      hasFew = false

      yield* TestClock.adjust("10 minutes")

      assert.deepStrictEqual(log(run.asked), ["0 a started", "0 b started"])
      assert.deepStrictEqual(
        run.events.map((event) => event._tag === "Peers" && event.addresses.length),
        [0, 1]
      )
    })
  )

  it.effect("reports that a tracker refused for good", () =>
    Effect.gen(function* () {
      const run = yield* start({
        tiers: ["a", "b", "c"],
        reply: ({ name }) =>
          name === "a"
            ? refuse("unknown", "never")
            : Effect.fail(new TrackerError({ url: "", why: "gone", isFinal: name === "b" }))
      })

      assert.deepStrictEqual(
        run.events.map((event) => event._tag === "Failed" && event.isFinal),
        [true, true, undefined]
      )
    })
  )

  it.effect("sends the tracker id back and keeps its key", () =>
    Effect.gen(function* () {
      const trackerId = Uint8Array.of(1, 2, 3)
      const run = yield* start({ tiers: ["a"], reply: () => Effect.succeed({ ...response, trackerId }) })

      yield* TestClock.adjust("30 minutes")

      assert.deepStrictEqual(
        run.asked.map(({ trackerId }) => trackerId),
        [undefined, trackerId]
      )
      assert.strictEqual(run.asked[0]?.key, run.asked[1]?.key)
    })
  )

  it.effect("announces `stopped` to every tracker that answered, and asks for no peers", () =>
    Effect.gen(function* () {
      const reply = ({ name, seconds }: Asked) => (name === "a" && seconds === 0 ? refuse("busy") : ok)
      const run = yield* start({ tiers: ["a", "b", "c"], reply })
      yield* TestClock.adjust("30 minutes")

      yield* Fiber.interrupt(run.fiber)

      assert.deepStrictEqual(log(run.asked).slice(2), ["1800 a started", "1800 a stopped", "1800 b stopped"])
      assert.deepStrictEqual(
        run.asked.map(({ numWant }) => numWant),
        [100, 100, 100, 0, 0]
      )
    })
  )

  it.effect("announces `stopped` to trackers that have not answered yet, because they may know of us", () =>
    Effect.gen(function* () {
      const interrupted: Array<string> = []
      const silent = (name: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push(name)))
      const reply = ({ event, name }: Asked) => (event === "started" ? silent(name) : ok)
      const run = yield* start({ tiers: ["abc"], reply, random: keep })
      yield* TestClock.adjust("4 seconds")

      yield* Fiber.interrupt(run.fiber)

      assert.deepStrictEqual(log(run.asked), ["0 a started", "3 b started", "4 a stopped", "4 b stopped"])
      assert.deepStrictEqual(interrupted.sort(), ["a", "b"])
    })
  )

  it.effect.each([
    ["that has answered delays the end by one and a half seconds", ok, 1_500],
    ["that has never answered delays it by half a second", Effect.never, 500]
  ] as const)("a silent tracker %s at most", ([, started, millis]) =>
    Effect.gen(function* () {
      const reply = ({ event }: Asked) => (event === "stopped" ? Effect.never : started)
      const run = yield* start({ tiers: ["a"], reply })
      const stopping = yield* Effect.forkChild(Fiber.interrupt(run.fiber), { startImmediately: true })

      yield* TestClock.adjust(millis - 1)
      const early = stopping.pollUnsafe()
      yield* TestClock.adjust(1)
      const late = stopping.pollUnsafe()

      assert.deepStrictEqual(log(run.asked), ["0 a started", "0 a stopped"])
      assert.strictEqual(early, undefined)
      assert.notStrictEqual(late, undefined)
    })
  )

  it.effect("ends at once if the torrent has no trackers", () =>
    Effect.gen(function* () {
      const run = yield* start({ tiers: [], reply: () => ok })

      yield* Fiber.join(run.fiber)

      assert.deepStrictEqual(run.events, [])
    })
  )
})
