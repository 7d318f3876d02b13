import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as AnnounceSchedule from "../../src/tracker/AnnounceSchedule.ts"

const url = (name: string) => `http://${name}.example/announce`

const make = (options: {
  readonly tiers: ReadonlyArray<string>
  readonly isComplete?: boolean
  readonly random?: () => number
}) =>
  AnnounceSchedule.make({
    tiers: options.tiers.map((tier) => Array.from(tier, url)),
    // Keeps tiers in order, and stretches waits by nearly the whole share.
    random: options.random ?? (() => 0.999_999),
    isComplete: options.isComplete ?? false
  })

type Announce = Extract<AnnounceSchedule.Step, { _tag: "Announce" }>

/** The next step, which must be an announce. */
const announce = (self: AnnounceSchedule.AnnounceSchedule, now: number, wantsMore = false): Announce => {
  const step = AnnounceSchedule.next(self, now, wantsMore)
  if (step._tag !== "Announce") assert.fail(`expected an announce, got ${step._tag}`)
  return step
}

const until = (self: AnnounceSchedule.AnnounceSchedule, now: number, wantsMore = false): number => {
  const step = AnnounceSchedule.next(self, now, wantsMore)
  if (step._tag !== "Wait") assert.fail(`expected to wait, got ${step._tag}`)
  return step.until
}

const answer = (intervalSeconds = 1800, minIntervalSeconds?: number, trackerId?: Uint8Array) => ({
  intervalSeconds,
  minIntervalSeconds,
  trackerId
})

describe("AnnounceSchedule", () => {
  it("announces `started` at once, then nothing special", () => {
    const schedule = make({ tiers: ["a"] })

    const first = announce(schedule, 0)
    AnnounceSchedule.answered(schedule, first, answer(), 0)
    const second = announce(schedule, 1_980_000)

    assert.strictEqual(first.event, "started")
    assert.strictEqual(second.event, undefined)
  })

  it("waits the interval and up to a tenth of it", () => {
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

  it("begins again with the first tier although a backup answered", () => {
    const schedule = make({ tiers: ["a", "b"] })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), undefined, 0)
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60), 0)

    const again = announce(schedule, 66_000)

    assert.strictEqual(again.url, url("a"))
    assert.strictEqual(again.event, "started")
  })

  it("doubles the wait from 15 seconds to half an hour while nobody answers", () => {
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

  it("begins with the short wait again after an answer", () => {
    const schedule = make({ tiers: ["a"], random: () => 0 })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), undefined, 0)
    AnnounceSchedule.failed(schedule, announce(schedule, until(schedule, 0)), undefined, 0)
    const third = until(schedule, 15_000)
    AnnounceSchedule.answered(schedule, announce(schedule, third), answer(60), third)
    AnnounceSchedule.failed(schedule, announce(schedule, third + 60_000), undefined, third + 60_000)

    const next = until(schedule, third + 60_000)

    assert.strictEqual(next - third - 60_000, 15_000)
  })

  it("leaves a tracker alone for as long as it asked, and goes on with the others", () => {
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

  it("waits for the first tracker that may be asked again when all want to be left alone", () => {
    const schedule = make({ tiers: ["a", "b"] })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), 7200, 0)
    AnnounceSchedule.failed(schedule, announce(schedule, 0), 3600, 0)

    assert.strictEqual(until(schedule, 0), 3_600_000)
    assert.strictEqual(announce(schedule, 3_600_000).url, url("b"))
  })

  it("rests when every tracker is out for good", () => {
    const schedule = make({ tiers: ["ab"] })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), "never", 0)
    AnnounceSchedule.failed(schedule, announce(schedule, 0), "never", 0)

    const step = AnnounceSchedule.next(schedule, 0, true)

    assert.deepStrictEqual(step, { _tag: "Rest" })
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

  it("announces no `completed` for a torrent that was complete at the start", () => {
    const schedule = make({ tiers: ["a"], isComplete: true })

    const first = announce(schedule, 0)
    AnnounceSchedule.answered(schedule, first, answer(), 0)
    AnnounceSchedule.completed(schedule, 1)

    assert.strictEqual(first.event, "started")
    assert.strictEqual(AnnounceSchedule.next(schedule, 1, false)._tag, "Wait")
  })

  it("announces `completed` right after a `started` during which the torrent completed", () => {
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

  it("echoes a tracker's id until it sends another", () => {
    const schedule = make({ tiers: ["a"] })
    const id = Uint8Array.of(1, 2)

    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60, undefined, id), 0)
    const second = announce(schedule, 66_000)
    AnnounceSchedule.answered(schedule, second, answer(60), 66_000)
    const third = announce(schedule, 132_000)

    assert.deepStrictEqual([second.trackerId, third.trackerId], [id, id])
  })

  it("comes back after the min interval when peers are wanted", () => {
    const schedule = make({ tiers: ["a"] })
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(1800, 300), 0)

    assert.strictEqual(AnnounceSchedule.next(schedule, 299_999, true)._tag, "Wait")
    assert.strictEqual(AnnounceSchedule.next(schedule, 300_000, false)._tag, "Wait")
    assert.strictEqual(announce(schedule, 300_000, true).event, undefined)
  })

  it("waits the whole interval where the tracker names no shorter one", () => {
    const schedule = make({ tiers: ["a"] })
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(1800), 0)

    assert.strictEqual(AnnounceSchedule.next(schedule, 1_799_999, true)._tag, "Wait")
  })

  it("says goodbye to those that know of us, and to one whose answer is outstanding", () => {
    const schedule = make({ tiers: ["a", "b", "c"] })
    AnnounceSchedule.failed(schedule, announce(schedule, 0), undefined, 0)
    AnnounceSchedule.answered(schedule, announce(schedule, 0), answer(60, undefined, Uint8Array.of(7)), 0)
    const before = AnnounceSchedule.informed(schedule)

    announce(schedule, 66_000)
    const during = AnnounceSchedule.informed(schedule)

    assert.deepStrictEqual(before, [{ url: url("b"), trackerId: Uint8Array.of(7) }])
    assert.deepStrictEqual(
      during.map((tracker) => tracker.url),
      [url("a"), url("b")]
    )
  })

  it("never asks a tracker sooner than it allowed, nor announces more than `started` and `completed` once", () => {
    const reply = fc.oneof(
      fc.record({
        interval: fc.integer({ min: 60, max: 7200 }),
        least: fc.option(fc.integer({ min: 60, max: 7200 }), { nil: undefined })
      }),
      fc.constant("fail" as const),
      fc.integer({ min: 60, max: 7200 })
    )
    const script = fc.array(fc.record({ reply, wantsMore: fc.boolean(), completes: fc.boolean() }), { maxLength: 60 })
    fc.assert(
      fc.property(script, (steps) => {
        const schedule = make({ tiers: ["ab", "c"], random: () => 0 })
        const allowedAt = new Map<string, number>()
        const told = new Map<string, Array<string>>()
        let now = 0
        for (const { completes, reply, wantsMore } of steps) {
          if (completes) AnnounceSchedule.completed(schedule, now)
          const step = AnnounceSchedule.next(schedule, now, wantsMore)
          if (step._tag === "Rest") assert.fail("nobody said never")
          if (step._tag === "Wait") {
            assert.isAbove(step.until, now)
            now = step.until
            continue
          }
          if (step.event !== "completed") assert.isAtLeast(now, allowedAt.get(step.url) ?? 0)
          if (typeof reply === "object") {
            const least = reply.least === undefined ? reply.interval : Math.min(reply.least, reply.interval)
            told.set(step.url, [...(told.get(step.url) ?? []), step.event ?? ""])
            allowedAt.set(step.url, now + least * 1000)
            AnnounceSchedule.answered(schedule, step, answer(reply.interval, least), now)
            continue
          }
          if (typeof reply === "number") allowedAt.set(step.url, now + reply * 1000)
          AnnounceSchedule.failed(schedule, step, typeof reply === "number" ? reply : undefined, now)
        }
        for (const events of told.values()) {
          assert.strictEqual(events.indexOf("started"), 0)
          assert.strictEqual(events.lastIndexOf("started"), 0)
          assert.strictEqual(events.indexOf("completed"), events.lastIndexOf("completed"))
        }
      }),
      { numRuns: 300 }
    )
  })
})
