import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Prng from "../../src/base/Prng.ts"
import * as Choker from "../../src/swarm/Choker.ts"

type TestPeer = { -readonly [K in keyof Choker.Peer]: Choker.Peer[K] } & { readonly name: string }

const peerOf = (name: string, facts: Partial<TestPeer> = {}): TestPeer => ({
  name,
  peerInterested: true,
  amInterested: true,
  isUploadOnly: false,
  usefulBytes: 0,
  uploadedBytes: 0,
  ...facts
})

const peersOf = (count: number) => Array.from({ length: count }, (_, index) => peerOf(`peer ${index}`))

/** A choker with a clock, dice, and a record of who is unchoked according to its decisions. */
const table = (options: { readonly slots: number; readonly isSeeding?: boolean; readonly seed?: number }) => {
  const choker = Choker.make<TestPeer>()
  const random = Prng.make(options.seed ?? 1)
  const unchoked = new Set<TestPeer>()
  const self = {
    choker,
    unchoked,
    now: 0,
    slots: options.slots,
    isSeeding: options.isSeeding ?? false,
    step: (peers: ReadonlyArray<TestPeer>) => {
      const { slots, isSeeding, now } = self
      const chosen = new Set(Choker.step(choker, peers, { slots, isSeeding, now, random }))
      for (const peer of unchoked) if (!peers.includes(peer)) unchoked.delete(peer)
      const decisions = {
        choke: [...unchoked].filter((peer) => !chosen.has(peer)),
        unchoke: [...chosen].filter((peer) => !unchoked.has(peer))
      }
      for (const peer of decisions.choke) unchoked.delete(peer)
      for (const peer of decisions.unchoke) unchoked.add(peer)
      return decisions
    },
    /** Steps once a second up to `until`; `pass` is called before each step. */
    run: (peers: ReadonlyArray<TestPeer>, until: number, pass: () => void = () => {}) => {
      for (; self.now < until; self.now += 1_000) {
        self.step(peers)
        pass()
      }
    }
  }
  return self
}

const names = (peers: Iterable<TestPeer>) => Array.from(peers, ({ name }) => name).sort()

const give = (peer: TestPeer, bytes: number) => {
  peer.usefulBytes += bytes
}

const slotOf = <P extends Choker.Peer>({ standings }: Choker.Choker<P>, peer: P) => standings.get(peer)?.slot

describe("Choker", () => {
  it("unchokes every interested peer while there are slots", () => {
    const self = table({ slots: 4 })

    self.step([peerOf("a"), peerOf("b", { peerInterested: false }), peerOf("c")])

    assert.deepStrictEqual(names(self.unchoked), ["a", "c"])
  })

  it("gives the earned slots to the peers that sent most", () => {
    const self = table({ slots: 4 })
    const peers = peersOf(10)

    self.run(peers, 31_000, () => peers.forEach((peer, index) => void give(peer, index * 1_000)))

    const earned = peers.filter((peer) => slotOf(self.choker, peer) === "earned")
    assert.deepStrictEqual(names(earned), ["peer 7", "peer 8", "peer 9"])
    assert.strictEqual(self.unchoked.size, 4)
  })

  it("counts the bytes of the last 20 s, not those sent before", () => {
    const self = table({ slots: 2 })
    const [early, late] = [peerOf("early"), peerOf("late")]
    const peers = [early, late, ...peersOf(3)]
    self.run(peers, 60_000, () => give(early, 100_000))

    self.run(peers, 91_000, () => give(late, 1_000))

    assert.strictEqual(slotOf(self.choker, late), "earned")
    assert.notStrictEqual(slotOf(self.choker, early), "earned")
  })

  it("chokes no peer between two rounds that stays interested", () => {
    const self = table({ slots: 3 })
    const peers = peersOf(8)
    self.step(peers)
    const before = names(self.unchoked)

    for (self.now = 1_000; self.now < 10_000; self.now += 1_000) {
      peers.forEach((peer, index) => void give(peer, index))
      self.step(peers)
    }

    assert.deepStrictEqual(names(self.unchoked), before)
  })

  it("gives a slot that becomes free to the next peer at once", () => {
    const self = table({ slots: 2 })
    const peers = peersOf(3)
    self.step(peers)
    const first = [...self.unchoked][0]!
    first.peerInterested = false

    const decisions = self.step(peers)

    assert.deepStrictEqual(decisions.choke, [first])
    assert.strictEqual(decisions.unchoke.length, 1)
  })

  it("treats a peer that returns as a new one", () => {
    const self = table({ slots: 1 })
    self.step([peerOf("a")])
    const again = peerOf("a")

    const decisions = self.step([again])

    assert.deepStrictEqual(decisions, { choke: [], unchoke: [again] })
  })

  it("passes the optimistic slot on every 30 s, until every peer had it", () => {
    const self = table({ slots: 1 })
    const peers = peersOf(5)
    const turns: Array<readonly [from: number, name: string]> = []
    for (; self.now < 600_000; self.now += 1_000) {
      for (const { name } of self.step(peers).unchoke) turns.push([self.now, name])
    }

    assert.deepStrictEqual(
      turns.map(([from]) => from),
      Array.from({ length: 20 }, (_, turn) => turn * 30_000)
    )
    assert.strictEqual(new Set(turns.map(([, name]) => name)).size, 5)
  })

  it("draws a peer that had no slot yet three times as often", () => {
    let newcomers = 0
    const draws = 2_000
    for (let seed = 0; seed < draws; seed++) {
      const self = table({ slots: 1, seed })
      const old = peerOf("old")
      self.step([old])
      old.peerInterested = false
      self.step([old])
      old.peerInterested = true
      const [drawn] = self.step([old, peerOf("new")]).unchoke
      if (drawn?.name === "new") newcomers++
    }

    assert.approximately(newcomers / draws, 0.75, 0.03)
  })

  it("takes the earned slot from a peer that sent nothing for a minute, and draws another peer for it", () => {
    const self = table({ slots: 3 })
    const [fickle, steady] = [peerOf("fickle"), peerOf("steady")]
    const peers = [fickle, steady, ...peersOf(6)]
    self.run(peers, 31_000, () => {
      give(fickle, 5_000)
      give(steady, 1_000)
    })
    const before = slotOf(self.choker, fickle)

    self.run(peers, 101_000, () => give(steady, 1_000))

    const slots = peers.map((peer) => slotOf(self.choker, peer))
    assert.strictEqual(before, "earned")
    assert.notStrictEqual(slotOf(self.choker, fickle), "earned")
    assert.strictEqual(slots.filter((slot) => slot === "earned").length, 1)
    assert.strictEqual(slots.filter((slot) => slot === "optimistic").length, 2)
  })

  it("does not count a peer as snubbing if it has nothing that we want", () => {
    const self = table({ slots: 3 })
    const giver = peerOf("giver")
    const peers = [giver, ...peersOf(6)]
    self.run(peers, 31_000, () => give(giver, 5_000))
    giver.amInterested = false

    self.run(peers, 200_000)

    assert.strictEqual(slotOf(self.choker, giver), "earned")
  })

  it("gives no slot to an upload-only peer while seeding (BEP 21)", () => {
    const self = table({ slots: 4, isSeeding: true })

    self.step([peerOf("a", { isUploadOnly: true }), peerOf("b")])

    assert.deepStrictEqual(names(self.unchoked), ["b"])
  })

  it("ends a turn early if the peer has received its share, but not at once", () => {
    const self = table({ slots: 1, isSeeding: true })
    const peers = peersOf(2)
    const turns: Array<number> = []
    for (; self.now < 200_000; self.now += 1_000) {
      if (self.step(peers).unchoke.length > 0) turns.push(self.now)
      // One is fast, the other receives nothing.
      if (self.unchoked.has(peers[0]!)) peers[0]!.uploadedBytes += Choker.turnBytes
    }

    const lengths = turns.slice(1).map((from, index) => from - turns[index]!)
    assert.deepStrictEqual([...new Set(lengths)].sort(), [Choker.minTurnMillis, Choker.maxTurnMillis])
  })

  it("lets a peer keep its slot while seeding for as long as nobody waits", () => {
    const self = table({ slots: 2, isSeeding: true })
    const peers = peersOf(2)
    const events: Array<string> = []
    for (; self.now < 300_000; self.now += 1_000) events.push(...names(self.step(peers).unchoke))

    assert.deepStrictEqual(events, ["peer 0", "peer 1"])
  })

  it("unchokes every peer within a bound while seeding, again and again", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 25 }), fc.nat(), (slots, count, seed) => {
        const self = table({ slots, seed, isSeeding: true })
        const peers = peersOf(count)
        const random = Prng.make(seed)
        // As many turns as it takes to serve the others. A turn ends with the round after its time.
        const bound = Math.ceil(count / slots) * (Choker.maxTurnMillis + Choker.roundMillis)
        let longest = 0
        const lastServed = new Map<TestPeer, number>(peers.map((peer) => [peer, 0]))
        for (; self.now < 4 * bound; self.now += 1_000) {
          self.step(peers)
          for (const peer of self.unchoked) {
            lastServed.set(peer, self.now)
            peer.uploadedBytes += Math.floor(random() * 2_000_000)
          }
          for (const at of lastServed.values()) longest = Math.max(longest, self.now - at)
        }

        assert.isAtMost(longest, bound)
      }),
      { numRuns: 30 }
    )
  })

  it("sends a free-rider less than every peer that uploads", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 2, max: 6 }), (seed, slots) => {
        const self = table({ slots, seed })
        const rider = peerOf("rider")
        const givers = peersOf(slots - Choker.optimisticSlots(slots))
        const peers = [rider, ...givers, ...peersOf(4)]
        const received = new Map<TestPeer, number>()
        self.run(peers, 900_000, () => {
          for (const peer of self.unchoked) received.set(peer, (received.get(peer) ?? 0) + 1)
          // They upload as much as they receive, and a little to everybody, as their own optimistic slots would.
          for (const giver of givers) give(giver, self.unchoked.has(giver) ? 1_000 : 50)
        })

        for (const giver of givers) assert.isAbove(received.get(giver)!, 2 * (received.get(rider) ?? 0))
      }),
      { numRuns: 30 }
    )
  })

  it("makes the same decisions with the same dice", () => {
    const run = (seed: number) => {
      const self = table({ slots: 3, seed })
      const peers = peersOf(9)
      const events: Array<string> = []
      for (; self.now < 200_000; self.now += 1_000) events.push(...names(self.step(peers).unchoke))
      return events
    }

    assert.deepStrictEqual(run(3), run(3))
    assert.notDeepEqual(run(3), run(4))
  })

  it("fault 60: goes on when the clock is set back by an hour", () => {
    for (const isSeeding of [false, true]) {
      const self = table({ slots: 1, isSeeding })
      self.now = 3_600_000
      const peers = peersOf(2)
      self.run(peers, 3_700_000)
      self.now = 0
      let changes = 0
      for (; self.now < 200_000; self.now += 1_000) changes += self.step(peers).unchoke.length

      assert.isAtLeast(changes, 2)
    }
  })

  it("keeps its laws after any script of peers, interests, uploads, limits and clocks", () => {
    const event = fc.oneof(
      fc.record({ tag: fc.constant("join" as const) }),
      fc.record({ tag: fc.constant("leave" as const), which: fc.nat(20) }),
      fc.record({ tag: fc.constant("interest" as const), which: fc.nat(20), is: fc.boolean() }),
      fc.record({ tag: fc.constant("want" as const), which: fc.nat(20), is: fc.boolean() }),
      fc.record({ tag: fc.constant("uploadOnly" as const), which: fc.nat(20) }),
      fc.record({ tag: fc.constant("give" as const), which: fc.nat(20), bytes: fc.nat(1 << 20) }),
      fc.record({ tag: fc.constant("slots" as const), slots: fc.nat(6) }),
      fc.record({ tag: fc.constant("seed" as const), is: fc.boolean() }),
      fc.record({ tag: fc.constant("wait" as const), millis: fc.integer({ min: -5_000, max: 40_000 }) })
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 150 }), fc.nat(), (script, seed) => {
        const self = table({ slots: 3, seed })
        const peers: Array<TestPeer> = []
        for (const step of script) {
          const peer = "which" in step ? peers[step.which % Math.max(1, peers.length)] : undefined
          if (step.tag === "join") peers.push(peerOf(`peer ${peers.length}`))
          else if (step.tag === "slots") self.slots = step.slots
          else if (step.tag === "seed") self.isSeeding = step.is
          else if (step.tag === "wait") self.now += step.millis
          else if (peer !== undefined) {
            if (step.tag === "leave") peers.splice(peers.indexOf(peer), 1)
            else if (step.tag === "interest") peer.peerInterested = step.is
            else if (step.tag === "want") peer.amInterested = step.is
            else if (step.tag === "uploadOnly") peer.isUploadOnly = !peer.isUploadOnly
            else give(peer, step.bytes)
          }

          self.step(peers)

          const wanting = peers.filter((peer) => peer.peerInterested && !(self.isSeeding && peer.isUploadOnly))
          assert.strictEqual(self.unchoked.size, Math.min(self.slots, wanting.length))
          for (const peer of self.unchoked) assert.include(wanting, peer)
          for (const peer of peers) {
            assert.strictEqual(slotOf(self.choker, peer) !== undefined, self.unchoked.has(peer))
          }
          const optimistic = wanting.filter((peer) => slotOf(self.choker, peer) === "optimistic").length
          const earned = wanting.filter((peer) => slotOf(self.choker, peer) === "earned").length
          if (!self.isSeeding) assert.isAtMost(earned, self.slots - Choker.optimisticSlots(self.slots))
          if (self.isSeeding) assert.strictEqual(optimistic + earned, 0)
          assert.strictEqual(self.choker.standings.size, peers.length)
        }
      }),
      { numRuns: 300 }
    )
  })
})

describe("Choker.slotsFor", () => {
  it("grows with the limit, in number and in rate of a slot", () => {
    const slots = [1, 8_192, 102_400, 1_048_576, 5_242_880, 1_000_000_000].map((limit) => Choker.slotsFor(limit))

    assert.deepStrictEqual(slots, [2, 2, 7, 22, 50, 50])
  })

  it("is at least 8 without an upload limit, and grows with the rate at which we upload", () => {
    const slots = [0, 100_000, 1_048_576, 100_000_000].map((rate) => Choker.slotsFor(undefined, rate))

    assert.deepStrictEqual(slots, [8, 8, 22, 50])
    assert.deepStrictEqual([Choker.mostSlotsFor(undefined), Choker.mostSlotsFor(102_400)], [50, 7])
  })
})
