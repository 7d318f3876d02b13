import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Prng from "../../src/base/Prng.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"

const block = 16_384

/** A peer that sends as much as it may, in takes of `size` bytes. */
interface Greedy {
  readonly limiter: RateLimiter.RateLimiter
  /** What was taken or granted, and when. */
  readonly passed: Array<readonly [at: number, bytes: number]>
  size: () => number
  total: number
  /** Since when it waits. */
  waitsSince: number | undefined
  longestWait: number
}

const greedy = (
  parent: RateLimiter.RateLimiter,
  options: { readonly bytesPerSecond?: number | undefined; readonly size?: () => number; readonly now?: number } = {}
): Greedy => {
  const self: Greedy = {
    limiter: RateLimiter.make({ bytesPerSecond: options.bytesPerSecond, parent, now: options.now ?? 0 }),
    passed: [],
    size: options.size ?? (() => block),
    total: 0,
    waitsSince: undefined,
    longestWait: 0
  }
  return self
}

/**
 * Takes until it has to wait, at most `most` times, because a peer without limits would never stop. Demands 20 takes at
 * a time.
 */
const eat = (self: Greedy, now: number, most = 1_000): void => {
  for (let count = 0; count < most; count++) {
    const bytes = self.size()
    if (!RateLimiter.take(self.limiter, bytes, now, 20 * bytes)) {
      self.waitsSince ??= now
      self.longestWait = Math.max(self.longestWait, now - self.waitsSince)
      return
    }
    self.waitsSince = undefined
    self.total += bytes
  }
}

/** Gives back a block that was just taken, as a peer does that has nothing to request after all. */
const decline = (limiter: RateLimiter.RateLimiter): void => {
  RateLimiter.forfeit(limiter, block)
  RateLimiter.rest(limiter)
}

/** Lets all peers take from `from` to `until`. Steps when the limiter says so, but at most every 20 ms. */
const run = (
  root: RateLimiter.RateLimiter,
  peers: ReadonlyArray<Greedy>,
  from: number,
  until: number,
  most = 1_000
) => {
  let now = from
  while (now < until) {
    RateLimiter.step(root, now)
    for (const peer of peers) eat(peer, now, most)
    now = Math.max(now + 20, RateLimiter.nextAt(root, now) ?? until)
  }
}

const engineOf = (bytesPerSecond: number | undefined) => RateLimiter.make({ bytesPerSecond, now: 0 })

const within = (actual: number, expected: number, share: number) =>
  assert.isAtMost(Math.abs(actual - expected) / expected, share, `${actual} instead of ${expected}`)

describe("RateLimiter", () => {
  it("lets everything through without a limit", () => {
    const peer = greedy(RateLimiter.make({ parent: engineOf(undefined), now: 0 }))

    eat(peer, 0)

    assert.strictEqual(peer.total, 1_000 * block)
    assert.isUndefined(RateLimiter.nextAt(peer.limiter.parent!.parent!, 0))
  })

  it("lets half a second's worth and one block through at once, and no more", () => {
    const peer = greedy(engineOf(10 * block))

    eat(peer, 0)

    assert.strictEqual(peer.total, 6 * block)
  })

  it("serves peers that come within seconds of each other as if they had come together", () => {
    const engine = engineOf(100 * block)
    const peers = [0, 300, 600, 900].map((now) => ({ now, peer: greedy(engine, { now }) }))
    let now = 0
    const go = (until: number) => {
      for (; now < until; now += 20) {
        RateLimiter.step(engine, now)
        for (const { now: from, peer } of peers) if (from <= now) eat(peer, now)
      }
    }
    go(5_000)

    const totals = peers.map(({ peer }) => peer.total / block)
    const late = greedy(engine, { now })
    peers.push({ now, peer: late })
    go(6_000)

    assert.isAtMost(Math.max(...totals) - Math.min(...totals), 2, totals.join())
    // A peer that comes later has its share from now on, and no claim to more.
    within(late.total, 20 * block, 0.1)
  })

  it("keeps only a little of what was saved for the first peer after a pause", () => {
    const engine = engineOf(1_000 * block)
    const peer = greedy(engine)

    eat(peer, 0)
    run(engine, [peer], 0, 1_000)
    const before = peer.total
    RateLimiter.rest(peer.limiter)
    run(engine, [], 1_000, 3_000)
    eat(peer, 3_000)

    assert.isAtMost(before, 1_060 * block)
    assert.isAtMost(peer.total - before, 75 * block)
  })

  it("serves a child of a greater weight as many times as much", () => {
    const engine = engineOf(100 * block)
    const peers = [greedy(engine), greedy(engine)]
    RateLimiter.setWeight(peers[0]!.limiter, 9)

    run(engine, peers, 0, 10_000)

    within(peers[0]!.total, 9 * peers[1]!.total, 0.05)
  })

  it("lets a whole block through under a limit far below it, and then waits until it is paid back", () => {
    const engine = engineOf(1_024)
    const peer = greedy(engine)
    eat(peer, 0)

    const next = RateLimiter.nextAt(engine, 0)!
    RateLimiter.step(engine, next - 1)
    const creditBefore = peer.limiter.credit
    RateLimiter.step(engine, next)

    assert.strictEqual(peer.total, block)
    assert.strictEqual(next, ((block - 512) * 1_000) / 1_024)
    assert.deepStrictEqual([creditBefore, peer.limiter.credit], [0, block])
  })

  it("wakes a waiting peer once, and grants what it waits for", () => {
    const engine = engineOf(block)
    let woken = 0
    const peer = RateLimiter.make({ parent: engine, wake: () => void woken++, now: 0 })
    while (RateLimiter.take(peer, block, 0)) {}

    RateLimiter.step(engine, 10_000)
    RateLimiter.step(engine, 10_000)

    assert.strictEqual(woken, 1)
    assert.isTrue(RateLimiter.take(peer, block, 10_000))
  })

  it("grants a long block in turns, and wakes the peer when it has all of it", () => {
    const engine = engineOf(block)
    const woken: Array<number> = []
    let now = 0
    const peer = RateLimiter.make({ parent: engine, wake: () => void woken.push(now), now })
    RateLimiter.take(peer, 2 * block, now)
    const first = RateLimiter.take(peer, 4 * block, now)

    for (; now <= 10_000; now += 100) RateLimiter.step(engine, now)

    assert.isFalse(first)
    // A debt of one and a half blocks, then four blocks of which the last may be overdrawn.
    assert.deepStrictEqual(woken, [4_500])
    assert.isTrue(RateLimiter.take(peer, 4 * block, now))
  })

  it("returns the lowest limit on the way up", () => {
    const torrent = RateLimiter.make({ bytesPerSecond: 300, parent: engineOf(1_000), now: 0 })
    const [peer, slow] = [undefined, 5].map((bytesPerSecond) => greedy(torrent, { bytesPerSecond }).limiter)

    const lowest = [peer!, slow!, torrent.parent!, engineOf(undefined)].map(RateLimiter.lowest)

    assert.deepStrictEqual(lowest, [300, 5, 1_000, undefined])
  })

  it("uses a limit fully", () => {
    const engine = engineOf(1_000_000)
    const peers = [greedy(engine), greedy(engine)]

    run(engine, peers, 0, 60_000)

    within(peers[0]!.total + peers[1]!.total, 60_000_000, 0.02)
  })

  it("keeps to the lowest limit on the way", () => {
    const engine = engineOf(1_000_000)
    const torrent = RateLimiter.make({ bytesPerSecond: 300_000, parent: engine, now: 0 })
    const [slow, other] = [greedy(torrent, { bytesPerSecond: 50_000 }), greedy(torrent)]

    run(engine, [slow, other], 0, 60_000)

    within(slow.total, 50_000 * 60, 0.02)
    within(slow.total + other.total, 300_000 * 60, 0.02)
  })

  it("shares evenly between a torrent of one peer and one of fifty, and among the fifty", () => {
    const engine = engineOf(2_000_000)
    const [small, large] = [RateLimiter.make({ parent: engine, now: 0 }), RateLimiter.make({ parent: engine, now: 0 })]
    const alone = greedy(small)
    const crowd = Array.from({ length: 50 }, () => greedy(large))

    // The half second that was saved goes to the first peer.
    run(engine, [...crowd, alone], 0, 10_000)
    const before = new Map([...crowd, alone].map((peer) => [peer, peer.total]))
    run(engine, [...crowd, alone], 10_000, 130_000)

    within(alone.total - before.get(alone)!, 120_000_000, 0.01)
    for (const peer of crowd) within(peer.total - before.get(peer)!, 120_000_000 / 50, 0.03)
  })

  it("shares bytes and not takes", () => {
    const engine = engineOf(1_000_000)
    const [large, small] = [greedy(engine, { size: () => 131_072 }), greedy(engine, { size: () => 1_024 })]

    run(engine, [large, small], 0, 120_000)

    within(large.total, 60_000_000, 0.05)
    within(small.total, 60_000_000, 0.05)
  })

  it("grants others what one peer cannot use because of its own limit", () => {
    const engine = engineOf(1_000_000)
    const peers = [greedy(engine, { bytesPerSecond: 10_000 }), greedy(engine), greedy(engine)]

    run(engine, peers, 0, 60_000)

    within(peers[0]!.total, 600_000, 0.1)
    within(peers[1]!.total, 29_700_000, 0.05)
    within(peers[2]!.total, 29_700_000, 0.05)
  })

  it("grants no later claim to unused bytes", () => {
    const engine = engineOf(1_000_000)
    const [busy, idle] = [greedy(engine), greedy(engine)]
    run(engine, [busy], 0, 600_000)
    const before = busy.total

    run(engine, [busy, idle], 600_000, 660_000)

    within(busy.total - before, idle.total, 0.05)
  })

  it("follows a limit that changes while a peer waits", () => {
    const engine = engineOf(100_000)
    const peer = greedy(engine)
    run(engine, [peer], 0, 10_000)
    const first = peer.total

    RateLimiter.setLimit(engine, 1_000_000, 10_000)
    run(engine, [peer], 10_000, 20_000)
    const second = peer.total - first
    RateLimiter.setLimit(engine, undefined, 20_000)
    RateLimiter.step(engine, 20_000)

    within(first, 1_050_000, 0.03)
    within(second, 10_000_000, 0.03)
    assert.isAbove(peer.limiter.credit, 0)
    assert.isUndefined(RateLimiter.nextAt(engine, 20_000))
  })

  it("wakes whoever steps it when a debt is paid back at once", () => {
    let woken = 0
    const engine = RateLimiter.make({ bytesPerSecond: block, wake: () => void woken++, now: 0 })
    const [one, other] = [greedy(engine), greedy(engine)]
    eat(one, 0)
    eat(other, 0)
    const before = woken

    RateLimiter.giveBack(one.limiter, block)

    assert.deepStrictEqual([before, woken], [2, 3])
  })

  it("lets no more through for callers whose times are a little behind each other", () => {
    const engine = engineOf(100_000)
    const peers = [greedy(engine), greedy(engine)]
    for (let now = 0; now < 60_000; now += 5) {
      RateLimiter.step(engine, now)
      eat(peers[0]!, now)
      eat(peers[1]!, Math.max(0, now - 7))
    }

    within(peers[0]!.total + peers[1]!.total, 6_050_000, 0.02)
  })

  it("counts bytes that were given back as not taken", () => {
    const engine = engineOf(block)
    const peer = greedy(engine)
    eat(peer, 0)
    const wait = RateLimiter.nextAt(engine, 0)!

    RateLimiter.giveBack(peer.limiter, block)

    assert.isAbove(wait, 0)
    assert.strictEqual(RateLimiter.nextAt(engine, 0), 0)
  })

  it("does not count bytes that were given back as a turn", () => {
    const engine = engineOf(block)
    const [unlucky, other] = [greedy(engine).limiter, greedy(engine).limiter]
    RateLimiter.take(unlucky, block, 0)
    RateLimiter.giveBack(unlucky, block)
    RateLimiter.take(other, block, 0)
    for (const limiter of [other, unlucky]) RateLimiter.take(limiter, block, 0)

    RateLimiter.step(engine, RateLimiter.nextAt(engine, 0)!)

    assert.deepStrictEqual([unlucky.credit, other.credit], [block, 0])
  })

  it("takes its turn from a peer that gives back what it was granted", () => {
    const engine = engineOf(block)
    const [unlucky, other] = [greedy(engine).limiter, greedy(engine).limiter]
    RateLimiter.take(unlucky, block, 0)
    RateLimiter.forfeit(unlucky, block)
    RateLimiter.spend(other, block - 1)
    for (const limiter of [unlucky, other]) RateLimiter.take(limiter, block, 0)

    RateLimiter.step(engine, RateLimiter.nextAt(engine, 0)!)

    assert.deepStrictEqual([unlucky.credit, other.credit], [0, block])
  })

  it("serves a peer that was served a block more than others, which decline every grant", () => {
    const engine = engineOf(30_000)
    const torrent = RateLimiter.make({ parent: engine, now: 0 })
    const [one, other, user] = [greedy(torrent).limiter, greedy(torrent).limiter, greedy(torrent)]
    for (const limiter of [one, other, user.limiter, user.limiter]) RateLimiter.spend(limiter, block)

    for (let now = 0; now < 60_000; now += 20) {
      RateLimiter.step(engine, now)
      for (const limiter of [one, other]) {
        if (RateLimiter.take(limiter, block, now, 2 * block)) decline(limiter)
        RateLimiter.take(limiter, block, now, 2 * block)
      }
      eat(user, now)
    }

    within(user.total, 60 * 30_000, 0.2)
  })

  it("charges a torrent for no grant that one peer declines while another one waits", () => {
    const engine = engineOf(100_000)
    const [crowded, small] = [
      RateLimiter.make({ parent: engine, now: 0 }),
      RateLimiter.make({ parent: engine, now: 0 })
    ]
    const decliners = Array.from({ length: 20 }, () => greedy(crowded).limiter)
    const users = [greedy(crowded), greedy(small)]

    for (let now = 0; now < 120_000; now += 20) {
      RateLimiter.step(engine, now)
      for (const limiter of decliners) if (RateLimiter.take(limiter, block, now)) decline(limiter)
      for (const user of users) eat(user, now)
    }

    // 20 of 21 turns in the torrent are declined. Charged to it, they would leave it a twentieth of what the other gets.
    assert.isAtLeast(users[0]!.total, 0.4 * users[1]!.total)
  })

  it("serves a torrent beside one whose peers decline every grant", () => {
    const engine = engineOf(100_000)
    const [idle, busy] = [RateLimiter.make({ parent: engine, now: 0 }), RateLimiter.make({ parent: engine, now: 0 })]
    const decliners = Array.from({ length: 20 }, () => greedy(idle).limiter)
    const user = greedy(busy)

    for (let now = 0; now < 60_000; now += 20) {
      RateLimiter.step(engine, now)
      for (const limiter of decliners) if (RateLimiter.take(limiter, block, now)) decline(limiter)
      eat(user, now)
    }

    within(user.total, 60 * 100_000, 0.2)
  })

  it("keeps for the next take what was taken too early", () => {
    const engine = engineOf(block)
    const peer = greedy(engine).limiter
    RateLimiter.take(peer, block, 0)
    RateLimiter.spend(engine, block)

    RateLimiter.keep(peer, block)

    assert.isTrue(RateLimiter.take(peer, block, 0))
    assert.isFalse(RateLimiter.take(peer, block, 0))
  })

  it("leaves what a peer was granted to the others when it rests", () => {
    const engine = engineOf(block)
    const [one, other] = [greedy(engine), greedy(engine)]
    eat(one, 0)
    RateLimiter.step(engine, 2_000)
    const granted = one.limiter.credit
    eat(other, 2_000)
    const before = other.total

    RateLimiter.rest(one.limiter)
    RateLimiter.step(engine, 2_000)
    eat(other, 2_000)

    assert.strictEqual(granted, block)
    assert.isAbove(other.total, before)
  })

  it("does not count as a turn what is left of a grant when a peer pauses after a take", () => {
    const engine = engineOf(block)
    const peer = greedy(engine).limiter
    RateLimiter.take(peer, block, 0)
    RateLimiter.take(peer, block, 0, 3 * block)
    RateLimiter.setLimit(engine, undefined, 0)
    RateLimiter.step(engine, 0)
    const granted = [peer.credit, peer.served]
    RateLimiter.take(peer, block, 0)

    RateLimiter.pause(peer)

    assert.deepStrictEqual(granted, [3 * block, 4 * block])
    assert.deepStrictEqual([peer.credit, peer.served, engine.waiting.size], [0, 2 * block, 0])
  })

  it("does not keep a resting peer waiting in its parents", () => {
    const engine = engineOf(block)
    const torrent = RateLimiter.make({ parent: engine, now: 0 })
    const peer = greedy(torrent)
    eat(peer, 0)
    const waiting = engine.waiting.size

    RateLimiter.rest(peer.limiter)

    assert.deepStrictEqual([waiting, engine.waiting.size, torrent.waiting.size], [1, 0, 0])
    assert.isUndefined(RateLimiter.nextAt(engine, 0))
  })

  it("does not let a newcomer overtake those that wait", () => {
    const engine = engineOf(block)
    const [waiting, newcomer] = [greedy(engine), greedy(engine)]
    eat(waiting, 0)

    eat(newcomer, 60_000)

    assert.strictEqual(newcomer.total, 0)
  })

  it("fault 60: goes on when the clock is set back by an hour", () => {
    const engine = engineOf(100_000)
    const peer = greedy(engine)
    run(engine, [peer], 3_600_000, 3_610_000)
    const before = peer.total

    run(engine, [peer], 0, 10_000)

    within(peer.total - before, 1_000_000, 0.1)
  })
})

describe("RateLimiter, any tree", () => {
  const limit = fc.option(fc.integer({ min: 2_000, max: 2_000_000 }), { nil: undefined })

  /** An engine with torrents and peers, each with its limit. */
  const tree = fc.record({
    engine: limit,
    torrents: fc.array(fc.record({ limit, peers: fc.array(limit, { minLength: 1, maxLength: 6 }) }), {
      minLength: 1,
      maxLength: 4
    }),
    seed: fc.nat()
  })

  const grow = (plan: typeof tree extends fc.Arbitrary<infer A> ? A : never) => {
    const random = Prng.make(plan.seed)
    const engine = engineOf(plan.engine)
    const torrents = plan.torrents.map((torrent) => {
      const limiter = RateLimiter.make({ bytesPerSecond: torrent.limit, parent: engine, now: 0 })
      const size = () => Prng.between(random, 1, block)
      return { limiter, peers: torrent.peers.map((bytesPerSecond) => greedy(limiter, { bytesPerSecond, size })) }
    })
    return { engine, torrents, peers: torrents.flatMap((torrent) => torrent.peers), random }
  }

  const slowest = (rates: ReadonlyArray<number | undefined>) =>
    Math.min(...rates.map((rate) => rate ?? Number.POSITIVE_INFINITY))

  /** How many seconds' worth the first to come takes before the others are there. */
  const early = (rate: number) => Math.min(RateLimiter.burstSeconds, Math.max(0.05, (8 * block) / rate))

  /** The most that passed beyond what the rate allows, over all stretches of time. */
  const excess = (passed: Greedy["passed"], bytesPerSecond: number): number => {
    let most = 0
    let above = 0
    let last = 0
    for (const [at, bytes] of passed) {
      above = Math.max(0, above - (bytesPerSecond * (at - last)) / 1_000) + bytes
      last = at
      most = Math.max(most, above)
    }
    return most
  }

  /** Notes what the peers have received since the last time. A grant counts when it is made, whenever it is used. */
  const note = (peers: ReadonlyArray<Greedy>, now: number) => {
    for (const { limiter, passed, total } of peers) {
      const before = passed.reduce((sum, [, bytes]) => sum + bytes, 0)
      passed.push([now, total + limiter.credit - before])
    }
  }

  const inOrder = (peers: ReadonlyArray<Greedy>) =>
    peers.flatMap((peer) => peer.passed).sort(([one], [other]) => one - other)

  it("lets no more through in any stretch of time than the rate, half a second and one block", () => {
    fc.assert(
      fc.property(tree, fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 60 }), (plan, waits) => {
        const { engine, peers, random, torrents } = grow(plan)
        let now = 0
        for (const wait of waits) {
          now += wait
          RateLimiter.step(engine, now)
          for (const peer of peers) if (random() < 0.7) eat(peer, now, 50)
          note(peers, now)
        }

        // One byte for debts that count as paid, one for rounding.
        const check = ({ bytesPerSecond }: RateLimiter.RateLimiter, below: ReadonlyArray<Greedy>) => {
          if (bytesPerSecond === undefined) return
          const bound = bytesPerSecond * RateLimiter.burstSeconds + block
          assert.isAtMost(excess(inOrder(below), bytesPerSecond), bound + 2)
        }
        check(engine, peers)
        for (const torrent of torrents) check(torrent.limiter, torrent.peers)
        for (const peer of peers) check(peer.limiter, [peer])
        for (const { limiter } of peers) assert.isAtLeast(limiter.credit, 0)
      }),
      { numRuns: 200 }
    )
  })

  it("keeps no peer waiting for which no limiter is closed", () => {
    fc.assert(
      fc.property(tree, fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 60 }), (plan, waits) => {
        const { engine, peers, random } = grow(plan)
        let now = 0
        for (const wait of waits) {
          now += wait
          for (const peer of peers) if (random() < 0.5) eat(peer, now, 50)
          RateLimiter.step(engine, now)

          for (const { limiter } of peers) {
            const way = [limiter, limiter.parent!, engine]
            const isClosed = way.some((node) => node.bytesPerSecond !== undefined && node.tokens <= -1)
            assert.isTrue(limiter.wanted === 0 || isClosed)
          }
          const next = RateLimiter.nextAt(engine, now)
          assert.isTrue(next === undefined || next > now)
          assert.strictEqual(
            next === undefined,
            peers.every(({ limiter }) => limiter.wanted === 0)
          )
        }
      }),
      { numRuns: 200 }
    )
  })

  it("serves every waiting peer in bounded time", () => {
    fc.assert(
      fc.property(tree, (plan) => {
        const { engine, peers, torrents } = grow(plan)
        run(engine, peers, 0, 100_000, 20)

        // What those beside it may take before it, twice, and as much as it took at the start before they came, at the
        // slowest rate on its way, and the half second at the start.
        for (const torrent of torrents) {
          for (const peer of torrent.peers) {
            const rate = slowest([peer.limiter.bytesPerSecond, torrent.limiter.bytesPerSecond, engine.bytesPerSecond])
            const turns = torrents.length * torrent.peers.length + 1
            assert.isAtMost(peer.longestWait, turns * 1_000 * ((2 * block) / rate + early(rate)) + 1_000)
          }
        }
      }),
      { numRuns: 50 }
    )
  })

  it("serves every peer that uses its grants in bounded time, whatever the others give back", () => {
    fc.assert(
      fc.property(tree, fc.integer({ min: 1, max: 9 }), (plan, share) => {
        const { engine, peers, random, torrents } = grow(plan)
        const decliners = peers.filter(() => random() < share / 10)
        const users = peers.filter((peer) => !decliners.includes(peer))
        for (let now = 0; now < 60_000; now += 20) {
          RateLimiter.step(engine, now)
          for (const { limiter } of decliners) {
            if (!RateLimiter.take(limiter, block, now)) continue
            // Either at once, or as its request is released later.
            if (random() < 0.5) RateLimiter.forfeit(limiter, block)
            else decline(limiter)
            RateLimiter.take(limiter, block, now)
          }
          for (const user of users) eat(user, now, 5)
        }

        for (const torrent of torrents) {
          for (const peer of torrent.peers.filter((peer) => users.includes(peer))) {
            const rate = slowest([peer.limiter.bytesPerSecond, torrent.limiter.bytesPerSecond, engine.bytesPerSecond])
            const turns = 2 * (torrents.length * torrent.peers.length + 1)
            // Before each turn, every decliner may take and give back two. One turn may be what it took at the start.
            const turnMillis = 1_000 * (block / rate + early(rate)) + 2 * 20 * decliners.length
            assert.isAtMost(peer.longestWait, turns * turnMillis + 1_000)
          }
        }
      }),
      { numRuns: 30 }
    )
  })

  it("comes to rest when all limits are removed", () => {
    fc.assert(
      fc.property(tree, (plan) => {
        const { engine, peers, torrents } = grow(plan)
        run(engine, peers, 0, 2_000)

        for (const { limiter } of [...torrents, ...peers]) RateLimiter.setLimit(limiter, undefined, 2_000)
        RateLimiter.setLimit(engine, undefined, 2_000)
        RateLimiter.step(engine, 2_000)

        assert.isTrue(peers.every(({ limiter }) => limiter.wanted === 0))
        assert.isUndefined(RateLimiter.nextAt(engine, 2_000))
      })
    )
  })
})
