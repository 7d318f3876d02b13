import { assert, describe, it } from "@effect/vitest"
import * as DhtSchedule from "../../../src/discovery/dht/DhtSchedule.ts"

const leech: DhtSchedule.Facts = { hasFew: true, isSeed: false, port: 6_881 }

/**
 * Runs lookups that take a second from 0 to `until`, and returns when each began, what it announced and what was wrong
 * at its end. `announced`: how many nodes take an announce that ends at a time.
 */
const run = (
  schedule: DhtSchedule.DhtSchedule,
  until: number,
  facts: (now: number) => DhtSchedule.Facts,
  announced: (now: number) => number = () => 8
) => {
  const lookups: Array<{
    readonly at: number
    readonly announce: DhtSchedule.Announcement | undefined
    readonly trouble: DhtSchedule.Trouble | undefined
  }> = []
  for (let now = 0; now < until; ) {
    const step = DhtSchedule.next(schedule, facts(now), now)
    if (step._tag === "Wait") {
      assert.isAbove(step.until, now)
      now = step.until
      continue
    }
    const { announce } = step
    const end = { begunAt: now, announce, answered: 8, announced: announced(now) }
    lookups.push({ at: now, announce, trouble: DhtSchedule.ended(schedule, end, now + 1_000) })
    now += 1_000
  }
  return lookups
}

const secondsOf = (lookups: ReturnType<typeof run>) => lookups.map(({ at }) => at / 1_000)

const minutes = (count: number) => count * 60_000

describe("DhtSchedule", () => {
  it("looks up at once, soon again while there are few peers, and at most every five minutes", () => {
    const lookups = run(DhtSchedule.make(), minutes(30), () => leech)

    assert.deepStrictEqual(secondsOf(lookups), [0, 16, 47, 108, 229, 470, 771, 1_072, 1_373, 1_674])
  })

  it("announces at once, and every 15 to 20 minutes while there are few peers", () => {
    const lookups = run(DhtSchedule.make(), minutes(60), () => leech)
    const announces = lookups.filter(({ announce }) => announce !== undefined)

    assert.deepStrictEqual(announces[0], { at: 0, announce: { port: 6_881, isSeed: false }, trouble: undefined })
    for (const [index, { at }] of announces.entries()) {
      if (index > 0) assert.isAtMost(at - announces[index - 1]!.at, minutes(20) + 2_000)
      if (index > 0) assert.isAtLeast(at - announces[index - 1]!.at, minutes(15))
    }
    assert.isAtLeast(announces.length, 3)
  })

  it("looks up every 15 minutes with enough peers, with an announce each time", () => {
    const lookups = run(DhtSchedule.make(), minutes(60), () => ({ ...leech, hasFew: false }))

    assert.deepStrictEqual(secondsOf(lookups), [0, 901, 1_802, 2_703])
    assert.isTrue(lookups.every(({ announce }) => announce !== undefined))
  })

  it("notices within half a minute that peers have become few", () => {
    const lookups = run(DhtSchedule.make(), minutes(12), (now) => ({ ...leech, hasFew: now > minutes(10) }))

    const [first, second, third] = secondsOf(lookups) as [number, number, number]
    assert.strictEqual(first, 0)
    assert.isAtMost(second, 10 * 60 + 31)
    assert.isAtMost(third - second, 16)
  })

  it("does not look for peers of a seed more often than it is announced", () => {
    const lookups = run(DhtSchedule.make(), minutes(60), () => ({ ...leech, isSeed: true }))

    assert.deepStrictEqual(secondsOf(lookups), [0, 901, 1_802, 2_703])
    assert.deepStrictEqual(lookups[0]!.announce, { port: 6_881, isSeed: true })
  })

  it("announces nothing without a port, and announces a port soon when there is one", () => {
    const silent = run(DhtSchedule.make(), minutes(60), () => ({ ...leech, hasFew: false, port: undefined }))
    const mapped = run(DhtSchedule.make(), minutes(8), (now) => ({
      ...leech,
      hasFew: false,
      port: now < minutes(5) ? undefined : 7_000
    }))

    assert.isTrue(silent.every(({ announce }) => announce === undefined))
    assert.isAtLeast(silent.length, 3)
    assert.deepStrictEqual(mapped.at(-1)!.announce, { port: 7_000, isSeed: false })
    assert.isAtMost(mapped.at(-1)!.at, minutes(5) + 31_000)
  })

  it("announces another port and a completion, a quarter of a minute after the last lookup at the earliest", () => {
    const lookups = run(DhtSchedule.make(), minutes(10), (now) => ({
      hasFew: false,
      isSeed: now > minutes(5),
      port: now < 3_000 ? 6_881 : 7_000
    }))

    assert.deepStrictEqual(
      lookups.map(({ announce }) => announce),
      [
        { port: 6_881, isSeed: false },
        { port: 7_000, isSeed: false },
        { port: 7_000, isSeed: true }
      ]
    )
    assert.isAtLeast(lookups[1]!.at, 16_000)
  })

  it("announces again soon, and ever more rarely, what no node has taken, and reports that from the second time on", () => {
    const lookups = run(
      DhtSchedule.make(),
      minutes(40),
      () => ({ ...leech, hasFew: false }),
      (now) => (now < minutes(17) ? 0 : 1)
    )

    assert.deepStrictEqual(secondsOf(lookups), [0, 16, 47, 108, 229, 470, 771, 1_072, 1_973])
    assert.isTrue(lookups.every(({ announce }) => announce !== undefined))
    assert.deepStrictEqual(
      lookups.map(({ trouble }) => trouble),
      [undefined, ...Array<string>(6).fill("NotTaken"), undefined, undefined]
    )
  })

  it("announces again soon if nodes no longer take what they have taken before", () => {
    const seed = { hasFew: false, isSeed: true, port: 6_881 }
    const lookups = run(
      DhtSchedule.make(),
      minutes(20),
      () => seed,
      (now) => (now === 0 ? 8 : 0)
    )

    assert.deepStrictEqual(secondsOf(lookups), [0, 901, 917, 948, 1_009, 1_130])
    assert.deepStrictEqual(
      lookups.slice(1).map(({ trouble }) => trouble),
      [undefined, ...Array<string>(4).fill("NotTaken")]
    )
  })

  it("does not wait for the next announce while there are few peers", () => {
    const few = (now: number) => ({ ...leech, hasFew: now >= minutes(8) })
    const lookups = run(DhtSchedule.make(), minutes(9), few, () => 0)

    assert.deepStrictEqual(secondsOf(lookups), [0, 16, 47, 108, 229, 470, 501, 517])
  })

  it("does not retry an announce of a port that is gone", () => {
    const lookups = run(
      DhtSchedule.make(),
      minutes(14),
      (now) => ({ ...leech, hasFew: false, port: now < minutes(1) ? 6_881 : undefined }),
      () => 0
    )

    assert.deepStrictEqual(secondsOf(lookups), [0, 16, 47])
  })

  it("does not look up again and again when an untaken announce is no longer due", () => {
    const lookups = run(
      DhtSchedule.make(),
      minutes(14),
      // A router maps another port, and takes it back before a node has taken the announce of it.
      (now) => ({ ...leech, hasFew: false, port: now >= minutes(1) && now < minutes(2) ? 7_000 : 6_881 }),
      (now) => (now < minutes(1) ? 8 : 0)
    )

    assert.deepStrictEqual(
      lookups.map(({ announce }) => announce?.port),
      [6_881, 7_000, 7_000, 7_000, undefined]
    )
  })

  it("asks again soon while no node answers, and reports that as a failure after ten seconds", () => {
    const schedule = DhtSchedule.make()
    const failures: Array<readonly [at: number, trouble: DhtSchedule.Trouble | undefined]> = []
    let now = 0
    while (now < minutes(3)) {
      const step = DhtSchedule.next(schedule, leech, now)
      if (step._tag === "Wait") {
        now = step.until
        continue
      }
      const end = { begunAt: now, announce: step.announce, answered: 0, announced: 0 }
      failures.push([now / 1_000, DhtSchedule.ended(schedule, end, now)])
    }

    assert.deepStrictEqual(failures, [
      [0, undefined],
      [1, undefined],
      [3, undefined],
      [7, undefined],
      [15, "NoAnswer"],
      [31, "NoAnswer"],
      [63, "NoAnswer"],
      [123, "NoAnswer"]
    ])
    // Nothing was announced, so that is due once there are nodes.
    const found = run(schedule, minutes(1), () => leech).at(0)
    assert.isUndefined(found)
    const step = DhtSchedule.next(schedule, leech, minutes(4))
    assert.deepStrictEqual(step, { _tag: "LookUp", announce: { port: 6_881, isSeed: false } })
  })
})
