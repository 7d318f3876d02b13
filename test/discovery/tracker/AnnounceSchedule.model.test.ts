import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as AnnounceSchedule from "../../../src/discovery/tracker/AnnounceSchedule.ts"
import * as TrackerTiers from "../../../src/discovery/tracker/TrackerTiers.ts"

/**
 * The model is what the trackers see: when each was asked and for what, what it answered, and until when it must not be
 * asked. Any number of announces may be in flight, and the script decides in which order they end.
 */
interface TrackerModel {
  asked: { readonly announce: AnnounceSchedule.Announce; readonly at: number; readonly isBeside: boolean } | undefined
  /** The events of the announces that it answered. */
  readonly answeredEvents: Array<AnnounceSchedule.Announce["event"]>
  trackerId: Uint8Array | undefined
  /** Set by its last answer (`intervalUntil`) and by its last refusal (`refusedUntil`). */
  intervalUntil: number
  refusedUntil: number
}

const actions = {
  pass: fc.record({ do: fc.constant("pass" as const), millis: fc.integer({ min: 1, max: 4000 }) }),
  /** Advances the time to the schedule's next step. */
  wait: fc.record({ do: fc.constant("wait" as const), wantsMore: fc.boolean() }),
  answer: fc.record({
    do: fc.constant("answer" as const),
    which: fc.nat(4),
    interval: fc.integer({ min: 60, max: 7200 }),
    least: fc.option(fc.integer({ min: 60, max: 7200 }), { nil: undefined }),
    id: fc.option(fc.uint8Array({ minLength: 1, maxLength: 2 }), { nil: undefined })
  }),
  fail: fc.record({
    do: fc.constant("fail" as const),
    which: fc.nat(4),
    retryAfter: fc.constantFrom(undefined, undefined, undefined, 60, 3600, "never" as const)
  }),
  complete: fc.record({ do: fc.constant("complete" as const) }),
  port: fc.record({ do: fc.constant("port" as const), port: fc.integer({ min: 1, max: 3 }) })
}

const step = fc.oneof(
  { weight: 6, arbitrary: actions.pass },
  { weight: 4, arbitrary: actions.wait },
  { weight: 4, arbitrary: actions.answer },
  { weight: 4, arbitrary: actions.fail },
  { weight: 1, arbitrary: actions.complete },
  { weight: 1, arbitrary: actions.port }
)

type Action = typeof step extends fc.Arbitrary<infer A> ? A : never

const names = Array.from("abcde", (name) => `http://${name}.example/announce`)

/** With this as `random`, a shuffle changes nothing. */
const keep = () => 0.999_999

/** Plays a script, and compares schedule and model after every step. */
const play = (script: ReadonlyArray<Action>, wasComplete: boolean, oneAtATime: boolean) => {
  const tiers = [names.slice(0, 3), names.slice(3)]
  const schedule = AnnounceSchedule.make({ tiers, random: keep, isComplete: wasComplete, port: 1, oneAtATime })
  const trackers = new Map(
    names.map((url): [string, TrackerModel] => [
      url,
      { asked: undefined, answeredEvents: [], trackerId: undefined, intervalUntil: 0, refusedUntil: 0 }
    ])
  )
  const inFlight = () => [...trackers].flatMap(([url, { asked }]) => (asked === undefined ? [] : [{ url, ...asked }]))
  const patience = oneAtATime ? Number.POSITIVE_INFINITY : AnnounceSchedule.patienceMillis
  let now = 0
  let isComplete = wasComplete
  let port = 1
  /** The announce whose answer ended the last round; `undefined` after a failed round. */
  let current: AnnounceSchedule.Announce | undefined
  /**
   * `last` is the tracker that this round asked last. The set holds the trackers that had their turn: those asked in
   * this round, and those that failed an announce of an earlier round.
   */
  let last: string | undefined
  const over = new Set<string>()
  /** After the answer that ended a round, no tracker is asked before this time, unless the torrent completes. */
  let quietUntil = 0

  const mayBeAsked = (url: string): boolean => {
    const { asked, intervalUntil, refusedUntil } = trackers.get(url)!
    return asked === undefined && !over.has(url) && Math.max(intervalUntil, refusedUntil) <= now
  }

  const lacksCompleted = ({ answeredEvents }: TrackerModel) =>
    isComplete && !wasComplete && !answeredEvents.includes("completed")

  const endRound = () => {
    last = undefined
    over.clear()
  }

  const check = (announce: AnnounceSchedule.Announce) => {
    const tracker = trackers.get(announce.url)!
    assert.isUndefined(tracker.asked, "only one announce to a tracker is in flight")
    assert.isAtLeast(now, tracker.refusedUntil)
    if (announce.event !== "completed") assert.isAtLeast(now, tracker.intervalUntil)
    const event = lacksCompleted(tracker) ? "completed" : undefined
    assert.strictEqual(announce.event, tracker.answeredEvents.length === 0 ? "started" : event)
    assert.strictEqual(announce.trackerId, tracker.trackerId)
    assert.strictEqual(announce.port, port)
    if (schedule.beside.has(announce.url)) return assert.strictEqual(announce.event, "completed")
    assert.isAtLeast(now, quietUntil)
    const before = trackers.get(last ?? "")?.asked
    if (before !== undefined) assert.isAtLeast(now, before.at + patience, "the tracker before had its patience")
    const order = TrackerTiers.order(schedule.tiers)
    assert.strictEqual(
      order.slice(0, order.indexOf(announce.url)).find(mayBeAsked),
      undefined,
      "trackers are asked in order"
    )
  }

  /** Makes the announces that are due, and returns when the next step is due. */
  const settle = (wantsMore = false): number => {
    while (true) {
      const { failedRounds } = schedule
      const step = AnnounceSchedule.next(schedule, now, wantsMore)
      if (schedule.failedRounds > failedRounds) {
        assert.deepStrictEqual(inFlight(), [])
        current = undefined
      }
      if (step._tag === "Announce") {
        check(step)
        const isBeside = schedule.beside.has(step.url)
        trackers.get(step.url)!.asked = { announce: step, at: now, isBeside }
        if (isBeside) {
          assert.isFalse(oneAtATime && inFlight().length > 1)
          if (schedule.asked !== undefined) over.add(step.url)
          continue
        }
        last = step.url
        over.add(step.url)
        continue
      }
      assert.isAbove(step.until, now)
      const before = trackers.get(last ?? "")?.asked
      if (before !== undefined && now < before.at + patience && names.some(mayBeAsked)) {
        assert.isAtMost(step.until, before.at + patience, "a silent tracker delays the next by its patience at most")
      }
      if (inFlight().length === 0) {
        endRound()
        const isOver = [...trackers.values()].every((tracker) => tracker.refusedUntil === Number.POSITIVE_INFINITY)
        assert.strictEqual(step.until === Number.POSITIVE_INFINITY, isOver)
      }
      if (schedule.asked === undefined && current !== undefined && current.port !== port) {
        const { intervalUntil, refusedUntil } = trackers.get(current.url)!
        assert.isAtMost(
          step.until,
          Math.max(intervalUntil, refusedUntil),
          "a new port is announced as soon as the tracker allows"
        )
      }
      const informed = [...trackers].flatMap(([url, { asked, answeredEvents, trackerId }]) =>
        asked !== undefined || answeredEvents.length > 0
          ? [{ url, trackerId, hasAnswered: answeredEvents.length > 0 }]
          : []
      )
      assert.deepStrictEqual(AnnounceSchedule.informed(schedule), informed)
      return step.until
    }
  }

  settle()
  for (const step of script) {
    switch (step.do) {
      case "pass":
        now += step.millis
        break
      case "wait": {
        const until = settle(step.wantsMore)
        if (until < Number.POSITIVE_INFINITY) now = until
        settle(step.wantsMore)
        break
      }
      case "complete":
        if (!isComplete) quietUntil = 0
        isComplete = true
        AnnounceSchedule.completed(schedule, now)
        break
      case "port":
        port = step.port
        AnnounceSchedule.portChanged(schedule, port)
        break
      default: {
        const asked = inFlight()
        if (asked.length === 0) break
        const { announce, isBeside, url } = asked[step.which % asked.length]!
        const tracker = trackers.get(url)!
        tracker.asked = undefined
        if (step.do === "fail") {
          over.add(url)
          const { retryAfter } = step
          if (retryAfter !== undefined) {
            tracker.refusedUntil = retryAfter === "never" ? Number.POSITIVE_INFINITY : now + retryAfter * 1000
          }
          AnnounceSchedule.failed(schedule, announce, retryAfter, now)
          break
        }
        const minIntervalSeconds = step.least === undefined ? undefined : Math.min(step.least, step.interval)
        tracker.answeredEvents.push(announce.event)
        tracker.trackerId = step.id ?? tracker.trackerId
        tracker.intervalUntil = now + (minIntervalSeconds ?? step.interval) * 1000
        if (!isBeside) endRound()
        if (schedule.asked !== undefined && !isBeside) {
          quietUntil = lacksCompleted(tracker) ? 0 : tracker.intervalUntil
          current = announce
        }
        const answer = { peers: [], intervalSeconds: step.interval, minIntervalSeconds, trackerId: step.id }
        AnnounceSchedule.answered(schedule, announce, answer, now)
      }
    }
    settle()
  }
  return trackers
}

describe("AnnounceSchedule under any script of answers and failures in any order", () => {
  for (const oneAtATime of [false, true]) {
    it(`keeps its promises to every tracker, asking ${oneAtATime ? "one at a time" : "several at once"}`, () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 100 }), fc.boolean(), (script, wasComplete) => {
          const trackers = play(script, wasComplete, oneAtATime)

          for (const { answeredEvents } of trackers.values()) {
            assert.isAtMost(answeredEvents.filter((event) => event === "started").length, 1)
            assert.isAtMost(answeredEvents.filter((event) => event === "completed").length, 1)
          }
        }),
        { numRuns: 500 }
      )
    })
  }
})
