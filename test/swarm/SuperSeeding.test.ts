import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as SuperSeeding from "../../src/swarm/SuperSeeding.ts"
import { has, piece } from "../assembly/pieces.ts"

const seedOf = (pieceCount: number, seed = 1) =>
  SuperSeeding.make<string>({ pieceCount, random: Prng.make(seed), patience: 60_000 })

/** The offers that are due, as `peer:piece`. */
const offered = (self: SuperSeeding.SuperSeeding<string>, now = 0) =>
  SuperSeeding.offers(self, now).map(({ peer, piece }) => `${peer}:${piece}`)

/** The only piece that a peer is offered. */
const offer = (self: SuperSeeding.SuperSeeding<string>, peer: string, now = 0) => {
  const offers = SuperSeeding.offers(self, now)
  assert.deepStrictEqual(
    offers.map((offer) => offer.peer),
    [peer]
  )
  return offers[0]!.piece
}

const joinAll = (self: SuperSeeding.SuperSeeding<string>, peers: string, drawn: string) => {
  for (const peer of peers) SuperSeeding.join(self, peer, has(drawn), 0)
}

describe("SuperSeeding", () => {
  it("offers each peer one piece, no two the same", () => {
    const self = seedOf(8)
    joinAll(self, "abc", "        ")

    const offers = SuperSeeding.offers(self, 0)

    assert.deepStrictEqual(
      offers.map(({ peer }) => peer),
      ["a", "b", "c"]
    )
    assert.strictEqual(new Set(offers.map(({ piece }) => piece)).size, 3)
    assert.deepStrictEqual(offered(self), [])
  })

  it("offers a peer another piece when a second peer has its last one", () => {
    const self = seedOf(8)
    joinAll(self, "ab", "        ")
    const [first] = SuperSeeding.offers(self, 0)
    SuperSeeding.gain(self, "a", first!.piece, 1_000)
    const before = offered(self, 1_000)
    SuperSeeding.gain(self, "b", first!.piece, 2_000)

    const next = offer(self, "a", 2_000)

    assert.deepStrictEqual(before, [])
    assert.notStrictEqual(next, first!.piece)
    assert.strictEqual(self.remaining, 7)
  })

  it("offers pieces that nobody has before pieces that one peer has", () => {
    const self = seedOf(3)
    joinAll(self, "a", "** ")
    joinAll(self, "b", "   ")

    const early = offered(self, 0)
    SuperSeeding.sent(self, "a", piece(2), 50_000)
    const late = offered(self, 60_000)

    assert.deepStrictEqual(early, ["a:2"])
    assert.match(late.join(), /^b:[01]$/)
  })

  it("does not wait for an impossible proof if every peer has the piece", () => {
    const self = seedOf(4)
    joinAll(self, "a", "    ")
    const pieces = [0, 1, 2, 3].map(() => {
      const next = offer(self, "a")
      SuperSeeding.gain(self, "a", next, 0)
      return next as number
    })

    assert.deepStrictEqual(pieces.sort(), [0, 1, 2, 3])
  })

  it("offers a peer another piece after a while if nobody fetches its last one from it", () => {
    const self = seedOf(4)
    joinAll(self, "ab", "    ")
    const [first] = SuperSeeding.offers(self, 0)
    SuperSeeding.gain(self, "a", first!.piece, 10_000)
    const early = SuperSeeding.offers(self, 69_999).filter(({ peer }) => peer === "a")
    const late = SuperSeeding.offers(self, 70_000).filter(({ peer }) => peer === "a")

    assert.deepStrictEqual([early.length, late.length], [0, 1])
  })

  it("offers a piece to another peer if its peer does not fetch it, but not while it does", () => {
    const self = seedOf(1)
    joinAll(self, "a", " ")
    SuperSeeding.offers(self, 0)
    joinAll(self, "b", " ")
    SuperSeeding.sent(self, "a", piece(0), 50_000)
    SuperSeeding.sent(self, "b", piece(0), 100_000)

    const early = offered(self, 109_999)
    const late = offered(self, 110_000)

    assert.deepStrictEqual([early, late], [[], ["b:0"]])
  })

  it("offers a piece to another peer at once when the peer leaves that was offered it or had it", () => {
    for (const hasIt of [false, true]) {
      const self = seedOf(1)
      joinAll(self, "a", " ")
      SuperSeeding.offers(self, 0)
      joinAll(self, "b", " ")
      if (hasIt) SuperSeeding.gain(self, "a", piece(0), 0)
      const before = offered(self)
      SuperSeeding.leave(self, "a", 0)

      assert.deepStrictEqual([before, offered(self)], [[], ["b:0"]])
    }
  })

  it("offers spread pieces, one at a time, to a peer that receives nothing otherwise", () => {
    const self = seedOf(3)
    joinAll(self, "ab", "***")
    joinAll(self, "c", "   ")

    const early = offered(self, 59_999)
    const first = offer(self, "c", 60_000)
    const before = offered(self, 90_000)
    SuperSeeding.gain(self, "c", first, 90_000)
    const soon = offered(self, 100_000)
    const late = offered(self, 150_000)

    assert.deepStrictEqual([early, before, soon], [[], [], []])
    assert.strictEqual(late.length, 1)
  })

  it("is done when every piece is spread and half of the peers have everything", () => {
    const self = seedOf(2)
    joinAll(self, "abc", "  ")
    const done: Array<boolean> = []
    for (const name of ["a0", "a1", "b1", "c0", "b0"]) {
      SuperSeeding.gain(self, name[0]!, piece(Number(name[1])), 0)
      done.push(SuperSeeding.isDone(self))
    }

    assert.deepStrictEqual(done, [false, false, false, false, true])
  })

  it("no longer counts a piece as spread when its second holder has left", () => {
    const self = seedOf(1)
    joinAll(self, "ab", "*")
    const wasDone = SuperSeeding.isDone(self)

    SuperSeeding.leave(self, "b", 0)

    assert.deepStrictEqual([wasDone, SuperSeeding.isDone(self)], [true, false])
  })

  it("offers nothing to a seed", () => {
    const self = seedOf(3)
    joinAll(self, "a", "***")

    assert.deepStrictEqual(offered(self, 1_000_000), [])
  })

  it("serves a peer what it was offered or has, and announces the rest at the end", () => {
    const self = seedOf(4)
    joinAll(self, "a", "*   ")
    const next = offer(self, "a")

    const served = [0, 1, 2, 3].filter((index) => SuperSeeding.mayServe(self, "a", piece(index)))
    const rest = [...SuperSeeding.unoffered(self, "a")]

    assert.sameMembers(served, [0, next])
    assert.sameMembers([...served, ...rest], [0, 1, 2, 3])
    assert.isFalse(SuperSeeding.mayServe(self, "stranger", piece(0)))
  })

  it("fault 60: is not more patient after the clock was set back", () => {
    const self = seedOf(1)
    joinAll(self, "a", " ")
    SuperSeeding.offers(self, 3_600_000)
    joinAll(self, "b", " ")

    assert.deepStrictEqual(offered(self, 0), ["b:0"])
  })

  it("keeps count of spread pieces and of offers, after any script of peers and pieces", () => {
    const pieceCount = 6
    const event = fc.record({
      tag: fc.constantFrom(...(["join", "leave", "gain", "gain", "gain", "offer", "wait", "sent"] as const)),
      peer: fc.constantFrom(..."abcd"),
      piece: fc.nat(pieceCount - 1)
    })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 150 }), fc.nat(), (script, seed) => {
        const self = seedOf(pieceCount, seed)
        const model = new Map<string, { readonly has: Set<number>; readonly offered: Set<number> }>()
        let now = 0
        for (const step of script) {
          const known = model.get(step.peer)
          if (step.tag === "wait") now += 20_000
          else if (step.tag === "join" && known === undefined) {
            SuperSeeding.join(self, step.peer, Bitfield.make(pieceCount), now)
            model.set(step.peer, { has: new Set(), offered: new Set() })
          } else if (step.tag === "leave") {
            SuperSeeding.leave(self, step.peer, now)
            model.delete(step.peer)
          } else if (step.tag === "sent") SuperSeeding.sent(self, step.peer, piece(step.piece), now)
          else if (step.tag === "gain") {
            SuperSeeding.gain(self, step.peer, piece(step.piece), now)
            known?.has.add(step.piece)
          } else if (step.tag === "offer") {
            for (const offer of SuperSeeding.offers(self, now)) {
              const { has, offered } = model.get(offer.peer)!
              assert.isFalse(has.has(offer.piece) || offered.has(offer.piece), "it knows that")
              offered.add(offer.piece)
            }
          }
          const spread = Array.from({ length: pieceCount }, (_, index) => index).filter(
            (index) => [...model.values()].filter(({ has }) => has.has(index)).length >= 2
          )
          assert.strictEqual(self.remaining, pieceCount - spread.length)
          for (const [peer, { has, offered }] of model) {
            for (let index = 0; index < pieceCount; index++) {
              assert.strictEqual(SuperSeeding.mayServe(self, peer, piece(index)), has.has(index) || offered.has(index))
            }
          }
          // Every piece that is not spread is either a candidate or left to a peer.
          for (let index = 0; index < pieceCount; index++) {
            const isCandidate = self.picker.positions[index]! >= 0
            const isClaimed = self.claims.has(piece(index))
            assert.strictEqual(Number(isCandidate) + Number(isClaimed), spread.includes(index) ? 0 : 1)
          }
        }
      }),
      { numRuns: 300 }
    )
  })
})

/**
 * A swarm in steps of a second. In each step the seed sends up to four pieces and every honest peer one, the rarest
 * that the receiver lacks, while the receiver has room (two pieces). Free-riders receive and send nothing. Returns how
 * many copies the seed sent until all have everything, and how long that took.
 */
const simulate = (options: {
  readonly honest: number
  readonly riders: number
  readonly pieceCount: number
  readonly seed: number
  readonly isSuper: boolean
}) => {
  const { pieceCount } = options
  const random = Prng.make(options.seed)
  const self = SuperSeeding.make<number>({ pieceCount, random: Prng.fork(options.seed, 1) })
  const peers = Array.from({ length: options.honest + options.riders }, (_, name) => ({
    name,
    isHonest: name < options.honest,
    has: new Set<number>(),
    offered: new Set<number>()
  }))
  const holders = new Array<number>(pieceCount).fill(0)
  for (const peer of peers) SuperSeeding.join(self, peer.name, Bitfield.make(pieceCount), 0)
  let sends = 0
  let seconds = 0
  for (; peers.some(({ has }) => has.size < pieceCount); seconds++) {
    assert.isBelow(seconds, 5_000, "the swarm stalls")
    const now = seconds * 1_000
    if (options.isSuper && !SuperSeeding.isDone(self)) {
      for (const offer of SuperSeeding.offers(self, now)) peers[offer.peer]!.offered.add(offer.piece)
    } else {
      for (const { offered } of peers) for (let index = 0; index < pieceCount; index++) offered.add(index)
    }
    const room = new Map(peers.map((peer) => [peer, 2]))
    /** A piece that arrived in this second can be uploaded in the next. */
    const received: Array<readonly [(typeof peers)[number], number]> = []
    const isComing = new Set<number>()
    const serve = (giver: { readonly has: ReadonlySet<number> } | undefined): boolean => {
      const takers = [...peers]
      Prng.shuffle(random, takers)
      for (const taker of takers) {
        if (taker === giver || room.get(taker) === 0) continue
        const offered = [...(giver?.has ?? taker.offered)].filter(
          (index) => !taker.has.has(index) && !isComing.has(taker.name * pieceCount + index)
        )
        if (offered.length === 0) continue
        Prng.shuffle(random, offered)
        const wanted = offered.reduce((best, index) => (holders[index]! < holders[best]! ? index : best))
        room.set(taker, room.get(taker)! - 1)
        isComing.add(taker.name * pieceCount + wanted)
        received.push([taker, wanted])
        return true
      }
      return false
    }
    for (let slot = 0; slot < 4; slot++) if (serve(undefined)) sends++
    for (const giver of peers) if (giver.isHonest) serve(giver)
    for (const [taker, index] of received) {
      taker.has.add(index)
      holders[index]!++
      SuperSeeding.gain(self, taker.name, piece(index), now)
    }
  }
  return { copies: sends / pieceCount, seconds, isDone: SuperSeeding.isDone(self) }
}

describe("SuperSeeding in a swarm", () => {
  it("uploads less than 1.5 copies to 30 honest peers, an ordinary seed more than 3", () => {
    for (let seed = 0; seed < 3; seed++) {
      const swarm = { honest: 30, riders: 0, pieceCount: 120, seed }
      const superSeed = simulate({ ...swarm, isSuper: true })
      const ordinary = simulate({ ...swarm, isSuper: false })

      assert.isBelow(superSeed.copies, 1.5)
      assert.isAbove(ordinary.copies, 3)
      assert.isTrue(superSeed.isDone)
    }
  })

  it("uploads little more if a sixth of the peers upload nothing", () => {
    const { copies } = simulate({ honest: 25, riders: 5, pieceCount: 120, seed: 1, isSuper: true })

    assert.isBelow(copies, 1.5)
  })

  it("completes all peers, even a single one or only free-riders", () => {
    const swarm = fc.record({
      honest: fc.nat(3),
      riders: fc.nat(3),
      pieceCount: fc.integer({ min: 1, max: 8 }),
      seed: fc.nat()
    })
    fc.assert(
      fc.property(swarm, (swarm) => {
        simulate({ ...swarm, isSuper: true })
      }),
      { numRuns: 50 }
    )
  })
})
