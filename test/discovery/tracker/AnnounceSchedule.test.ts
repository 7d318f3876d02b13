import { assert, describe, it } from "@effect/vitest"
import * as AnnounceSchedule from "../../../src/discovery/tracker/AnnounceSchedule.ts"

const url = (name: string) => `http://${name}.example/announce`

const make = (options: {
  readonly tiers: ReadonlyArray<string>
  readonly isComplete?: boolean
  readonly random?: () => number
  readonly oneAtATime?: boolean
}) =>
  AnnounceSchedule.make({
    tiers: options.tiers.map((tier) => Array.from(tier, url)),
    // Keeps the order of tiers, and extends waits by nearly the whole jitter.
    random: options.random ?? (() => 0.999_999),
    isComplete: options.isComplete ?? false,
    port: 6_881,
    oneAtATime: options.oneAtATime
  })

/** Returns the next step, which must be an announce. */
const announce = (
  self: AnnounceSchedule.AnnounceSchedule,
  now: number,
  wantsMore = false
): AnnounceSchedule.Announce => {
  const step = AnnounceSchedule.next(self, now, wantsMore)
  if (step._tag !== "Announce") assert.fail(`expected an announce, got ${step._tag}`)
  return step
}

const until = (self: AnnounceSchedule.AnnounceSchedule, now: number, wantsMore = false): number => {
  const step = AnnounceSchedule.next(self, now, wantsMore)
  if (step._tag !== "Wait") assert.fail(`expected to wait, got ${step._tag}`)
  return step.until
}

/** Collects the announces from `now` on, each with its time, while no tracker answers. */
const askInSilence = (self: AnnounceSchedule.AnnounceSchedule, now: number) => {
  const announces: Array<AnnounceSchedule.Announce & { readonly at: number }> = []
  for (let at = now; at < Number.POSITIVE_INFINITY; ) {
    const step = AnnounceSchedule.next(self, at, false)
    if (step._tag === "Wait") at = step.until
    else announces.push({ ...step, at })
  }
  return announces
}

const drawn = (announces: ReadonlyArray<AnnounceSchedule.Announce & { readonly at: number }>) =>
  announces.map(({ at, event, url }) => `${at} ${url[7]} ${event ?? "-"}`)

const peer = { host: "10.0.0.1", port: 6_881 }

const answer = (intervalSeconds = 1800, minIntervalSeconds?: number, trackerId?: Uint8Array) => ({
  peers: [peer],
  intervalSeconds,
  minIntervalSeconds,
  trackerId
})

describe("AnnounceSchedule", () => {
  it("announces `started` at once, then without an event", () => {
    const schedule = make({ tiers: ["a"] })

    const first = announce(schedule, 0)
    AnnounceSchedule.answered(schedule, first, answer(), 0)
    const second = announce(schedule, 1_980_000)

    assert.strictEqual(first.event, "started")
    assert.strictEqual(second.event, undefined)
  })

  it("waits for the interval and up to a tenth of it more", () => {
    const early = make({ tiers: ["a"], random: () => 0 })
    const late = make({ tiers: ["a"] })

    AnnounceSchedule.answered(early, announce(early, 0), answer(1800), 1000)
    AnnounceSchedule.answered(late, announce(late, 0), answer(1800), 1000)

    assert.strictEqual(until(early, 1000), 1_801_000)
    assert.strictEqual(until(late, 1000), 1_981_000)
  })

  it("asks the next tracker when one fails, and the one that answered first from then on", () => {
    const schedule = make({ tiers: ["ab"] })

    const first = announce(schedule, 0)
    AnnounceSchedule.failed(schedule, first, undefined, 0)
    const second = announce(schedule, 0)
    AnnounceSchedule.answered(schedule, second, answer(60), 0)
    const third = announce(schedule, 66_000)

    assert.deepStrictEqual([first.url, second.url, third.url], ["a", "b", "b"].map(url))
  })

  it("begins with the first tier again after a backup answered", () => {
    const schedule = make({ tiers: ["a", "b"] })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), undefined, 0)
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60), 0)

    const again = announce(schedule, 66_000)

    assert.strictEqual(again.url, url("a"))
    assert.strictEqual(again.event, "started")
  })

  it("announces a changed port as soon as the interval allows", () => {
    const schedule = make({ tiers: ["a"] })
    const first = announce(schedule, 0)
    AnnounceSchedule.answered(schedule, first, answer(1800, 300), 0)

    AnnounceSchedule.portChanged(schedule, 51_413)
    const next = until(schedule, 1000)
    const second = announce(schedule, next)
    AnnounceSchedule.answered(schedule, second, answer(1800, 300), next)

    assert.deepStrictEqual([first.port, next, second.port], [6_881, 300_000, 51_413])
    assert.strictEqual(until(schedule, next + 1_979_999), next + 1_980_000)
  })

  it("announces a changed port at once if the interval is over, unless it changed back", () => {
    const schedule = make({ tiers: ["a"] })
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(1800, 300), 0)

    AnnounceSchedule.portChanged(schedule, 51_413)
    AnnounceSchedule.portChanged(schedule, 6_881)
    const unchanged = until(schedule, 400_000)
    AnnounceSchedule.portChanged(schedule, 51_413)
    const again = announce(schedule, 400_000)

    assert.isAbove(unchanged, 400_000)
    assert.deepStrictEqual([again.port, again.event], [51_413, undefined])
  })

  it("announces again if the port changed during an announce", () => {
    const schedule = make({ tiers: ["a"] })
    const first = announce(schedule, 0)

    AnnounceSchedule.portChanged(schedule, 51_413)
    AnnounceSchedule.answered(schedule, first, answer(1800, 300), 0)

    assert.strictEqual(announce(schedule, 300_000).port, 51_413)
  })

  it("keeps the backoff when the port changes while no tracker answers", () => {
    const schedule = make({ tiers: ["a"], random: () => 0 })
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60), 0)
    AnnounceSchedule.failed(schedule, announce(schedule, 60_000), undefined, 60_000)
    const before = until(schedule, 60_000)

    AnnounceSchedule.portChanged(schedule, 51_413)

    assert.strictEqual(until(schedule, 60_000), before)
    assert.strictEqual(announce(schedule, before).port, 51_413)
  })

  it("doubles the wait from 15 seconds to half an hour while no tracker answers", () => {
    const schedule = make({ tiers: ["a"], random: () => 0 })
    const waits: Array<number> = []
    let now = 0

    for (let round = 0; round < 10; round++) {
      AnnounceSchedule.failed(schedule, announce(schedule, now), undefined, now)
      const next = until(schedule, now)
      waits.push((next - now) / 1000)
      now = next
    }

    assert.deepStrictEqual(waits, [15, 30, 60, 120, 240, 480, 960, 1800, 1800, 1800])
  })

  it("resets the backoff after an answer", () => {
    const schedule = make({ tiers: ["a"], random: () => 0 })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), undefined, 0)
    AnnounceSchedule.failed(schedule, announce(schedule, until(schedule, 0)), undefined, 0)
    const third = until(schedule, 15_000)
    AnnounceSchedule.answered(schedule, announce(schedule, third), answer(60), third)
    AnnounceSchedule.failed(schedule, announce(schedule, third + 60_000), undefined, third + 60_000)

    const next = until(schedule, third + 60_000)

    assert.strictEqual(next - third - 60_000, 15_000)
  })

  it("does not ask a tracker before its retry time, and goes on with the others", () => {
    const schedule = make({ tiers: ["a", "b"], random: () => 0 })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), 3600, 0)
    AnnounceSchedule.failed(schedule, announce(schedule, 0), undefined, 0)
    const retry = until(schedule, 0)

    const meanwhile = announce(schedule, retry)
    AnnounceSchedule.answered(schedule, meanwhile, answer(3600), retry)
    const later = announce(schedule, retry + 3_600_000)

    assert.strictEqual(retry, 15_000)
    assert.strictEqual(meanwhile.url, url("b"))
    assert.strictEqual(later.url, url("a"))
  })

  it("waits for the earliest retry time if every tracker set one", () => {
    const schedule = make({ tiers: ["a", "b"] })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), 7200, 0)
    AnnounceSchedule.failed(schedule, announce(schedule, 0), 3600, 0)

    assert.strictEqual(until(schedule, 0), 3_600_000)
    assert.strictEqual(announce(schedule, 3_600_000).url, url("b"))
  })

  it("asks again after a day if a tracker said never, or a longer time", () => {
    const schedule = make({ tiers: ["ab"] })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), "never", 0)
    AnnounceSchedule.failed(schedule, announce(schedule, 0), 1e12, 0)

    assert.strictEqual(until(schedule, 0, true), 86_400_000)
    assert.strictEqual(announce(schedule, 86_400_000).event, "started")
  })

  it("asks the next tracker too when one is silent for three seconds, tier after tier", () => {
    const schedule = make({ tiers: ["ab", "c"] })

    const asked = askInSilence(schedule, 0)

    assert.deepStrictEqual(drawn(asked), ["0 a started", "3000 b started", "6000 c started"])
  })

  it("keeps waiting for the tracker asked last when one before it fails", () => {
    const schedule = make({ tiers: ["abc"] })
    const first = announce(schedule, 0)
    announce(schedule, 3000)

    AnnounceSchedule.failed(schedule, first, undefined, 4000)

    assert.strictEqual(until(schedule, 4000), 6000)
  })

  it("ends the round with the first answer, and begins the next with the tracker that answered", () => {
    const schedule = make({ tiers: ["abc"] })
    const [, , third] = askInSilence(schedule, 0)

    AnnounceSchedule.answered(schedule, third!, answer(60), 6500)
    const next = askInSilence(schedule, 6500)

    // The two trackers with an announce in flight do not get another.
    assert.deepStrictEqual(drawn(next), ["72500 c -"])
  })

  it("applies a late answer to its own tracker only", () => {
    const schedule = make({ tiers: ["ab"] })
    const [slow, quick] = askInSilence(schedule, 0)
    AnnounceSchedule.answered(schedule, quick!, answer(60), 3100)

    AnnounceSchedule.answered(schedule, slow!, answer(600, undefined, Uint8Array.of(7)), 5000)
    const next = askInSilence(schedule, 5000)
    const later = announce(schedule, 605_000)

    // b stays first, and a is not asked before its own interval has passed.
    assert.deepStrictEqual(drawn(next), ["69100 b -"])
    assert.deepInclude(later, { url: url("a"), event: undefined, trackerId: Uint8Array.of(7) })
  })

  it("keeps the retry time of a tracker that fails late", () => {
    const schedule = make({ tiers: ["a", "b"] })
    const [slow, quick] = askInSilence(schedule, 0)
    AnnounceSchedule.answered(schedule, quick!, answer(60), 3100)

    AnnounceSchedule.failed(schedule, slow!, "never", 15_000)

    assert.deepStrictEqual(drawn(askInSilence(schedule, 15_000)), ["69100 b -"])
  })

  it("fails a round only after all its trackers have failed", () => {
    const schedule = make({ tiers: ["ab"], random: () => 0 })
    const [first, last] = askInSilence(schedule, 0)
    AnnounceSchedule.failed(schedule, last!, undefined, 10_000)
    const before = until(schedule, 10_000)

    AnnounceSchedule.failed(schedule, first!, undefined, 15_000)

    assert.strictEqual(before, Number.POSITIVE_INFINITY)
    assert.strictEqual(until(schedule, 15_000), 30_000)
  })

  it("with oneAtATime, asks the next tracker only after the one before it has failed", () => {
    const schedule = make({ tiers: ["ab"], oneAtATime: true })
    const [first, ...others] = askInSilence(schedule, 0)

    AnnounceSchedule.failed(schedule, first!, undefined, 15_000)

    assert.deepStrictEqual(others, [])
    assert.deepStrictEqual(drawn(askInSilence(schedule, 15_000)), ["15000 b started"])
  })

  it("announces `completed` once to each of several trackers in flight", () => {
    const schedule = make({ tiers: ["ab"] })
    const [slow, quick] = askInSilence(schedule, 0)
    AnnounceSchedule.completed(schedule, 3100)

    AnnounceSchedule.answered(schedule, quick!, answer(60), 3100)
    const told = announce(schedule, 3100)
    AnnounceSchedule.answered(schedule, slow!, answer(60), 3150)
    const toldLate = announce(schedule, 3150)
    AnnounceSchedule.answered(schedule, told, answer(60), 3200)
    AnnounceSchedule.answered(schedule, toldLate, answer(60), 3250)
    const next = askInSilence(schedule, 3250)

    assert.deepStrictEqual(
      [told, toldLate].map(({ event, url }) => `${url[7]} ${event}`),
      ["b completed", "a completed"]
    )
    assert.deepStrictEqual(
      next.map(({ event }) => event),
      [undefined, undefined]
    )
  })

  it("announces `completed` at once and only once", () => {
    const schedule = make({ tiers: ["a"] })
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(), 0)

    AnnounceSchedule.completed(schedule, 5000)
    const completed = announce(schedule, 5000)
    AnnounceSchedule.answered(schedule, completed, answer(), 5000)
    AnnounceSchedule.completed(schedule, 6000)
    const isWaiting = AnnounceSchedule.next(schedule, 6000, false)._tag
    const later = announce(schedule, 5000 + 1_980_000)

    assert.strictEqual(completed.event, "completed")
    assert.strictEqual(isWaiting, "Wait")
    assert.strictEqual(later.event, undefined)
  })

  it("never announces `completed` for a torrent that was complete at the start", () => {
    const schedule = make({ tiers: ["a"], isComplete: true })

    const first = announce(schedule, 0)
    AnnounceSchedule.answered(schedule, first, answer(), 0)
    AnnounceSchedule.completed(schedule, 1)

    assert.strictEqual(first.event, "started")
    assert.strictEqual(AnnounceSchedule.next(schedule, 1, false)._tag, "Wait")
  })

  it("announces `completed` right after `started` if the torrent completed during it", () => {
    const schedule = make({ tiers: ["a"] })
    const first = announce(schedule, 0)

    AnnounceSchedule.completed(schedule, 10)
    AnnounceSchedule.answered(schedule, first, answer(), 20)
    const second = announce(schedule, 20)

    assert.strictEqual(second.event, "completed")
  })

  it("keeps the backoff when the torrent completes while no tracker answers", () => {
    const schedule = make({ tiers: ["a"], random: () => 0 })
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60), 0)
    AnnounceSchedule.failed(schedule, announce(schedule, 60_000), undefined, 60_000)
    const retry = until(schedule, 60_000)

    AnnounceSchedule.completed(schedule, 61_000)

    assert.strictEqual(until(schedule, 61_000), retry)
    assert.strictEqual(announce(schedule, retry).event, "completed")
  })

  describe("once the torrent is complete", () => {
    /** A torrent with few peers, whose trackers of every tier have answered. */
    const asked = () => {
      const schedule = make({ tiers: ["a", "b", "c"] })
      for (const _ of "abc") {
        const step = AnnounceSchedule.next(schedule, 0, false, true)
        if (step._tag !== "Announce") return assert.fail("expected an announce")
        AnnounceSchedule.answered(schedule, step, { ...answer(), peers: [] }, 0)
      }
      return schedule
    }

    it("announces `completed` at once to every tracker that knows of us, and to each only once", () => {
      const schedule = asked()
      AnnounceSchedule.completed(schedule, 5_000)

      const announces = [1, 2, 3].map(() => announce(schedule, 5_000))
      for (const step of announces) AnnounceSchedule.answered(schedule, step, answer(), 5_000)
      const later = announce(schedule, 2_000_000)

      assert.deepStrictEqual(
        announces.map(({ event, url }) => `${url[7]} ${event}`),
        ["b completed", "c completed", "a completed"]
      )
      assert.deepStrictEqual([later.url[7], later.event], ["a", undefined])
    })

    it("keeps the first tier in use if another one is the first to answer `completed`", () => {
      const schedule = asked()
      AnnounceSchedule.completed(schedule, 5_000)
      const [second, third, first] = [1, 2, 3].map(() => announce(schedule, 5_000))

      AnnounceSchedule.answered(schedule, second!, answer(60), 5_000)
      AnnounceSchedule.answered(schedule, third!, answer(60), 5_000)
      AnnounceSchedule.answered(schedule, first!, answer(), 6_000)

      assert.deepStrictEqual(drawn(askInSilence(schedule, 6_000).slice(0, 1)), ["1986000 a -"])
    })

    it("announces `completed` again to a tracker of another tier that failed, after a wait", () => {
      const schedule = asked()
      AnnounceSchedule.completed(schedule, 5_000)
      const [second, third, first] = [1, 2, 3].map(() => announce(schedule, 5_000))

      AnnounceSchedule.failed(schedule, second!, undefined, 5_000)
      AnnounceSchedule.answered(schedule, third!, answer(), 5_000)
      AnnounceSchedule.answered(schedule, first!, answer(), 5_000)

      assert.deepStrictEqual(drawn(askInSilence(schedule, 5_000).slice(0, 1)), ["21500 b completed"])
    })

    it("announces `completed` of a private torrent to one tracker at a time, the one in use first", () => {
      const schedule = make({ tiers: ["a", "b"], oneAtATime: true })
      AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60), 0)
      AnnounceSchedule.failed(schedule, announce(schedule, 66_000), 60, 66_000)
      AnnounceSchedule.answered(schedule, announce(schedule, 66_000), answer(), 66_000)
      AnnounceSchedule.completed(schedule, 100_000)

      const [current, ...others] = askInSilence(schedule, 100_000)
      AnnounceSchedule.answered(schedule, current!, answer(), 100_000)

      assert.deepStrictEqual(drawn([current!]), ["100000 b completed"])
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(drawn(askInSilence(schedule, 100_000).slice(0, 1)), ["126000 a completed"])
    })
  })

  it("sends a tracker id back until the tracker sends another", () => {
    const schedule = make({ tiers: ["a"] })
    const id = Uint8Array.of(1, 2)

    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60, undefined, id), 0)
    const second = announce(schedule, 66_000)
    AnnounceSchedule.answered(schedule, second, answer(60), 66_000)
    const third = announce(schedule, 132_000)

    assert.deepStrictEqual([second.trackerId, third.trackerId], [id, id])
  })

  it("announces after the min interval if peers are wanted", () => {
    const schedule = make({ tiers: ["a"] })
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(1800, 300), 0)

    assert.strictEqual(AnnounceSchedule.next(schedule, 299_999, true)._tag, "Wait")
    assert.strictEqual(AnnounceSchedule.next(schedule, 300_000, false)._tag, "Wait")
    assert.strictEqual(announce(schedule, 300_000, true).event, undefined)
  })

  it("waits for the whole interval if the tracker sends no min interval", () => {
    const schedule = make({ tiers: ["a"] })
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(1800), 0)

    assert.strictEqual(AnnounceSchedule.next(schedule, 1_799_999, true)._tag, "Wait")
  })

  it("announces `stopped` to trackers that know of us, and to those with an announce in flight", () => {
    const schedule = make({ tiers: ["a", "b", "c"] })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), undefined, 0)
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60, undefined, Uint8Array.of(7)), 0)
    const before = AnnounceSchedule.informed(schedule)

    announce(schedule, 66_000)
    const during = AnnounceSchedule.informed(schedule)

    assert.deepStrictEqual(before, [{ url: url("b"), trackerId: Uint8Array.of(7), hasAnswered: true }])
    assert.deepStrictEqual(
      during.map((tracker) => [tracker.url, tracker.hasAnswered]),
      [
        [url("a"), false],
        [url("b"), true]
      ]
    )
  })

  describe("while there are few peers", () => {
    /** Answers, and returns the next step at `now`. */
    const stepAfter = (
      schedule: AnnounceSchedule.AnnounceSchedule,
      asked: AnnounceSchedule.Announce,
      now: number,
      peers: ReadonlyArray<typeof peer> = []
    ) => {
      AnnounceSchedule.answered(schedule, asked, { ...answer(1800), peers }, now)
      return AnnounceSchedule.next(schedule, now, false, true)
    }

    const asked = (step: AnnounceSchedule.Step) =>
      step._tag === "Announce" ? `${step.url[7]} ${step.event}` : step.until

    it("asks the next tier when one answered with nobody, and the last tier after that", () => {
      const schedule = make({ tiers: ["ab", "c", "d"] })

      const second = stepAfter(schedule, announce(schedule, 0), 0)
      if (second._tag !== "Announce") return assert.fail("expected an announce")
      const third = stepAfter(schedule, second, 100)

      assert.deepStrictEqual([asked(second), asked(third)], ["c started", "d started"])
    })

    it("lets the peers of a tier connect first, and asks no other tier if enough do", () => {
      const schedule = make({ tiers: ["a", "b"] })

      const wait = stepAfter(schedule, announce(schedule, 0), 0, [peer])
      const enough = AnnounceSchedule.next(schedule, 10_000, false, false)
      const few = AnnounceSchedule.next(schedule, 40_000, false, true)

      assert.deepStrictEqual([wait, enough, few].map(asked), [10_000, 40_000, "b started"])
    })

    it("asks each tracker on its own interval, and again later if it failed", () => {
      const schedule = make({ tiers: ["a", "b", "c"] })
      const second = stepAfter(schedule, announce(schedule, 0), 0)
      if (second._tag !== "Announce") return assert.fail("expected an announce")
      AnnounceSchedule.failed(schedule, second, undefined, 0)
      const third = AnnounceSchedule.next(schedule, 0, false, true)
      if (third._tag !== "Announce") return assert.fail("expected an announce")
      AnnounceSchedule.answered(schedule, third, { ...answer(60), peers: [peer] }, 0)

      const steps = [10_000, 16_500, 30_000].map((now) => asked(AnnounceSchedule.next(schedule, now, false, true)))

      // The failed one waits 15 s and some chance, the other one its interval of 60 s.
      assert.deepStrictEqual(steps, [40_000, "b started", 60_000])
      assert.deepStrictEqual(asked(AnnounceSchedule.next(schedule, 66_000, false, true)), "c undefined")
    })

    it("asks the next tracker of a silent tier after its patience", () => {
      const schedule = make({ tiers: ["a", "bc"] })
      stepAfter(schedule, announce(schedule, 0), 0)

      const steps = [1_000, 3_000].map((now) => asked(AnnounceSchedule.next(schedule, now, false, true)))

      assert.deepStrictEqual(steps, [3_000, "c started"])
    })

    it("asks no further tier of a private torrent", () => {
      const schedule = make({ tiers: ["a", "b"], oneAtATime: true })

      assert.strictEqual(asked(stepAfter(schedule, announce(schedule, 0), 0)), 1_980_000)
    })
  })
})
