import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Spread from "../../src/swarm/Spread.ts"
import * as SuperSeeding from "../../src/swarm/SuperSeeding.ts"
import { has, piece } from "../assembly/pieces.ts"

/** Pieces of a mebibyte, of which a peer is offered two ahead. */
const pieceLength = 1_048_576

const geometryOf = (pieceCount: number) => PieceGeometry.make({ totalLength: pieceCount * pieceLength, pieceLength })

const seedOf = (pieceCount: number, seed = 1) =>
  SuperSeeding.make<string>({ geometry: geometryOf(pieceCount), random: Prng.make(seed), patience: 60_000 })

/** The offers that are due, to peers that nothing holds up. */
const offersOf = <P>(
  self: SuperSeeding.SuperSeeding<P>,
  now: number,
  stanceOf: (peer: P) => SuperSeeding.Stance = () => "interested"
) => SuperSeeding.offers(self, now, stanceOf)

/** The offers that are due, as `peer:piece`. */
const offered = (self: SuperSeeding.SuperSeeding<string>, now = 0) =>
  offersOf(self, now).map(({ peer, piece }) => `${peer}:${piece}`)

/** Sends a piece to a peer, which then has it. */
const upload = (self: SuperSeeding.SuperSeeding<string>, peer: string, index: number, now = 0) => {
  SuperSeeding.sent(self, peer, piece(index), pieceLength, now)
  SuperSeeding.gain(self, peer, piece(index), now)
}

const joinAll = (self: SuperSeeding.SuperSeeding<string>, peers: string, drawn: string) => {
  for (const peer of peers) SuperSeeding.join(self, peer, has(drawn), 0)
}

describe("SuperSeeding", () => {
  it("offers each peer two pieces ahead, no two the same", () => {
    const self = seedOf(8)
    joinAll(self, "abc", "        ")

    const offers = offersOf(self, 0)

    assert.strictEqual(offers.map(({ peer }) => peer).join(""), "aabbcc")
    assert.strictEqual(new Set(offers.map(({ piece }) => piece)).size, 6)
    assert.deepStrictEqual(offered(self), [])
  })

  it("offers more small pieces ahead, but not all of a few pieces to the first peer", () => {
    const ahead = (pieceCount: number, length: number) => {
      const geometry = PieceGeometry.make({ totalLength: pieceCount * length, pieceLength: length })
      const self = SuperSeeding.make<string>({ geometry, random: Prng.make(1) })
      SuperSeeding.join(self, "a", Bitfield.make(pieceCount), 0)
      return offersOf(self, 0).length
    }

    assert.deepStrictEqual([ahead(1_000, 65_536), ahead(20, 65_536), ahead(1_000, 4_194_304)], [16, 5, 2])
  })

  it("offers another piece when all bytes of one were sent, or when the peer has announced it", () => {
    const self = seedOf(8)
    joinAll(self, "a", "        ")
    const [first, second] = offersOf(self, 0)

    const half = SuperSeeding.sent(self, "a", first!.piece, pieceLength / 2, 1_000)
    const whole = SuperSeeding.sent(self, "a", first!.piece, pieceLength / 2, 1_000)
    const afterSent = SuperSeeding.offersTo(self, "a", 1_000).length
    SuperSeeding.gain(self, "a", second!.piece, 2_000)
    const afterGained = SuperSeeding.offersTo(self, "a", 2_000).length

    assert.deepStrictEqual([half, whole, afterSent, afterGained], [false, true, 1, 1])
  })

  it("offers more ahead to a peer that looks only now and then at what it was offered", () => {
    const self = seedOf(100)
    joinAll(self, "a", " ".repeat(100))
    const counts: Array<number> = []
    let ahead = offersOf(self, 0)
    for (let now = 5_000; now <= 20_000; now += 5_000) {
      counts.push(ahead.length)
      for (const { piece } of ahead) SuperSeeding.sent(self, "a", piece, pieceLength, now)
      ahead = SuperSeeding.offersTo(self, "a", now)
    }

    assert.deepStrictEqual(counts, [2, 2, 4, 8])
  })

  it("offers other pieces to a peer that leaves its offers alone, soon if it is not interested", () => {
    const counts = (stance: SuperSeeding.Stance) => {
      const self = seedOf(100)
      joinAll(self, "a", " ".repeat(100))
      return [0, 1_999, 2_000, 59_999, 60_000].map((now) => offersOf(self, now, () => stance).length)
    }

    assert.deepStrictEqual(
      [counts("waiting"), counts("interested"), counts("not interested")],
      [
        [2, 0, 0, 0, 0],
        [2, 0, 0, 0, 2],
        [2, 0, 2, 4, 0]
      ]
    )
  })

  it("offers to others what a peer left alone, and still serves it", () => {
    const self = seedOf(2)
    joinAll(self, "ab", "  ")
    const before = offered(self)

    const after = offersOf(self, 2_000, () => "not interested").map(({ peer, piece }) => `${peer}:${piece}`)

    assert.deepStrictEqual(
      [before.sort(), after.sort()],
      [
        ["a:0", "a:1"],
        ["b:0", "b:1"]
      ]
    )
    assert.isTrue(SuperSeeding.mayServe(self, "a", piece(0)))
  })

  it("offers all pieces to the only peer, without waiting", () => {
    const self = seedOf(6)
    joinAll(self, "a", "      ")
    let now = 0
    for (const { piece } of offersOf(self, now)) upload(self, "a", piece, now)
    for (; !Bitfield.isFull(self.recipients.get("a")!.has); now += 1_000) {
      for (const { piece } of offersOf(self, now)) upload(self, "a", piece, now)
    }

    assert.isAtMost(now, 3_000)
  })

  it("offers nothing more to a peer that forwards nothing, if others upload to it", () => {
    const self = seedOf(20)
    joinAll(self, "a", " ".repeat(20))
    joinAll(self, "b", `**${" ".repeat(18)}`)
    for (const { peer, piece } of offersOf(self, 0)) upload(self, peer, piece, 0)
    SuperSeeding.gain(self, "a", piece(0), 50_000)

    const early = SuperSeeding.offersTo(self, "a", 59_999).length
    for (const [index] of self.recipients.get("a")!.outstanding) upload(self, "a", index, 59_999)
    const late = SuperSeeding.offersTo(self, "a", 60_000).length
    const [from] = [...self.spread.soleHolders].find(([, { peer }]) => peer === "a")!
    SuperSeeding.gain(self, "b", from, 61_000)
    const later = SuperSeeding.offersTo(self, "a", 61_000).length

    assert.deepStrictEqual([early, late, later], [2, 0, 2])
  })

  it("leaves what a peer has alone to it while it forwards, and offers it to others when it does not", () => {
    const self = seedOf(4)
    joinAll(self, "a", "    ")
    for (let round = 0; round < 2; round++) {
      for (const { piece } of SuperSeeding.offersTo(self, "a", 0)) upload(self, "a", piece, 0)
    }
    joinAll(self, "b", "    ")
    SuperSeeding.gain(self, "b", piece(0), 50_000)

    const early = offered(self, 109_999)
    const late = offered(self, 110_000)

    assert.deepStrictEqual(early, [])
    assert.strictEqual(late.length, 2)
    assert.match(late.join(), /^b:[123],b:[123]$/)
  })

  it("offers a piece to another peer if its peer does not fetch it, but not while it does", () => {
    const self = seedOf(1)
    joinAll(self, "a", " ")
    offersOf(self, 0)
    joinAll(self, "b", " ")
    SuperSeeding.sent(self, "a", piece(0), 16_384, 50_000)
    SuperSeeding.sent(self, "b", piece(0), 16_384, 100_000)

    const early = offered(self, 59_999)
    const late = offered(self, 110_000)

    assert.deepStrictEqual([early, late], [[], ["b:0"]])
  })

  it("offers a piece to another peer at once when the peer leaves that was offered it or had it", () => {
    for (const hasIt of [false, true]) {
      const self = seedOf(3)
      joinAll(self, "a", " * ")
      offersOf(self, 0)
      joinAll(self, "b", " **")
      // It does not have everything, so it does not go on uploading.
      if (hasIt) SuperSeeding.gain(self, "a", piece(0), 0)
      const before = offered(self)
      SuperSeeding.leave(self, "a", 0)

      assert.deepStrictEqual([before, offered(self)], [[], ["b:0"]])
    }
  })

  it("counts a peer that left with everything as a holder, as long as others remain", () => {
    const self = seedOf(4)
    joinAll(self, "ab", "    ")
    for (let round = 0; round < 2; round++) {
      for (const { piece } of SuperSeeding.offersTo(self, "a", 0)) upload(self, "a", piece, 0)
    }
    SuperSeeding.leave(self, "a", 0)
    const withAnother = offered(self, 1_000)
    SuperSeeding.leave(self, "b", 2_000)
    joinAll(self, "c", "    ")
    const withNobody = offered(self, 3_000)

    assert.deepStrictEqual(withAnother, [])
    assert.deepStrictEqual([withNobody.length, Spread.remaining(self.spread)], [2, 4])
  })

  it("offers what others have, rare pieces first, to a peer that receives nothing from them", () => {
    const self = seedOf(3)
    joinAll(self, "ab", "***")
    SuperSeeding.join(self, "d", has(" **"), 0)
    joinAll(self, "c", "   ")

    const early = offered(self, 59_999)
    const late = offered(self, 60_000).filter((offer) => offer.startsWith("c"))

    assert.deepStrictEqual(early, [])
    assert.strictEqual(late[0], "c:0")
    assert.strictEqual(late.length, 2)
  })

  it("is more patient with slow peers", () => {
    const self = seedOf(8)
    joinAll(self, "ab", "        ")
    const [first] = offersOf(self, 0)
    SuperSeeding.gain(self, "a", first!.piece, 30_000)
    const spread = offersOf(self, 89_999)

    assert.strictEqual(self.pace, 30_000)
    assert.isFalse(spread.some(({ piece }) => piece === first!.piece))
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

  it("counts seeds as holders of every piece, which they upload for a while or not", () => {
    const self = seedOf(3)
    joinAll(self, "a", "   ")
    SuperSeeding.join(self, "s", Bitfield.make(3), 0)
    SuperSeeding.gainEverything(self, "s", 0)
    const early = offered(self, 1_000)
    SuperSeeding.gain(self, "a", piece(1), 1_000)
    const withOne = [Spread.remaining(self.spread), offered(self, 60_999)]
    const late = offered(self, 61_000).length
    joinAll(self, "t", "***")
    const withTwo = Spread.remaining(self.spread)
    SuperSeeding.leave(self, "t", 61_000)
    SuperSeeding.leave(self, "s", 61_000)

    assert.deepStrictEqual([early, withOne, late, withTwo], [[], [2, []], 2, 0])
    assert.deepStrictEqual([Spread.remaining(self.spread), self.departed], [3, 0])
  })

  it("takes no longer for a seed that comes and goes if there are more pieces", () => {
    const touched = (pieceCount: number) => {
      const self = seedOf(pieceCount)
      joinAll(self, "a", " ".repeat(pieceCount))
      let count = 0
      const counting = <A extends object>(target: A) =>
        new Proxy(target, {
          get: (_, key) => {
            count++
            return Reflect.get(target, key, target)
          }
        })
      const { picker, rarest } = self.spread
      for (const one of [picker, rarest]) Object.assign(one, { availability: counting(one.availability) })
      for (let round = 0; round < 20; round++) {
        SuperSeeding.join(self, "s", Bitfield.make(pieceCount), round)
        SuperSeeding.gainEverything(self, "s", round)
        SuperSeeding.gainEverything(self, "s", round)
        SuperSeeding.leave(self, "s", round)
        // Alone, too, a seed leaves nothing behind.
        if (round === 10) SuperSeeding.leave(self, "a", round)
      }
      return count
    }

    assert.deepStrictEqual([touched(1_000), touched(2_000)], [0, 0])
  })

  it("offers nothing to a seed", () => {
    const self = seedOf(3)
    joinAll(self, "a", "***")

    assert.deepStrictEqual(offered(self, 1_000_000), [])
  })

  it("serves a peer what it was offered or has, and announces the rest at the end", () => {
    const self = seedOf(4)
    joinAll(self, "a", "*   ")
    const next = offersOf(self, 0).map(({ piece }) => piece)

    const served = [0, 1, 2, 3].filter((index) => SuperSeeding.mayServe(self, "a", piece(index)))
    const rest = [...SuperSeeding.unoffered(self, "a")]

    assert.sameMembers(served, [0, ...next])
    assert.sameMembers([...served, ...rest], [0, 1, 2, 3])
    assert.isFalse(SuperSeeding.mayServe(self, "stranger", piece(0)))
  })

  it("offers no piece that cannot be read, and offers it again when it can", () => {
    const self = seedOf(3)
    joinAll(self, "a", "   ")
    const [first, second] = offersOf(self, 0)
    SuperSeeding.withdraw(self, first!.piece)
    SuperSeeding.withdraw(self, first!.piece)
    joinAll(self, "b", "   ")
    const without = offersOf(self, 0)
    SuperSeeding.leave(self, "a", 0)
    const later = [...without, ...offersOf(self, 0)].filter(({ peer }) => peer === "b")
    const atTheEnd = [...SuperSeeding.unoffered(self, "b")]
    for (const { piece } of later) upload(self, "b", piece)
    const remaining = Spread.remaining(self.spread)

    SuperSeeding.restore(self, first!.piece, 0)

    assert.isFalse(without.some(({ piece }) => piece === first!.piece || piece === second!.piece))
    assert.deepStrictEqual([later.length, atTheEnd, remaining], [2, [], 2])
    assert.deepStrictEqual([offered(self), Spread.remaining(self.spread)], [[`b:${first!.piece}`], 3])
  })

  it("fault 60: is not more patient after the clock was set back", () => {
    const self = seedOf(1)
    joinAll(self, "a", " ")
    offersOf(self, 3_600_000)
    joinAll(self, "b", " ")

    assert.deepStrictEqual(offered(self, 0), ["b:0"])
  })

  it("keeps count of spread pieces and of offers, after any script of peers and pieces", () => {
    const pieceCount = 6
    const tags = [
      "join",
      "leave",
      "gain",
      "gain",
      "gain",
      "everything",
      "offer",
      "wait",
      "sent",
      "withdraw",
      "restore"
    ] as const
    const event = fc.record({
      tag: fc.constantFrom(...tags),
      peer: fc.constantFrom(..."abcd"),
      piece: fc.nat(pieceCount - 1)
    })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 150 }), fc.nat(), (script, seed) => {
        const self = seedOf(pieceCount, seed)
        const model = new Map<string, { readonly has: Set<number>; readonly offered: Set<number> }>()
        let now = 0
        const seeds = new Set<string>()
        const grown = new Set<string>()
        const withdrawn = new Set<number>()
        let departed = 0
        let departedSeeds = 0
        for (const step of script) {
          const known = model.get(step.peer)
          if (step.tag === "wait") now += 20_000
          else if (step.tag === "join" && known === undefined) {
            SuperSeeding.join(self, step.peer, Bitfield.make(pieceCount), now)
            model.set(step.peer, { has: new Set(), offered: new Set() })
          } else if (step.tag === "leave") {
            SuperSeeding.leave(self, step.peer, now)
            if (known?.has.size === pieceCount && model.size > 1 && grown.has(step.peer)) {
              if (seeds.has(step.peer)) departedSeeds++
              else departed++
            }
            grown.delete(step.peer)
            seeds.delete(step.peer)
            model.delete(step.peer)
            if (model.size === 0) departed = departedSeeds = 0
          } else if (step.tag === "sent") SuperSeeding.sent(self, step.peer, piece(step.piece), pieceLength, now)
          else if (step.tag === "gain") {
            SuperSeeding.gain(self, step.peer, piece(step.piece), now)
            if (known !== undefined) grown.add(step.peer)
            known?.has.add(step.piece)
          } else if (step.tag === "withdraw") {
            SuperSeeding.withdraw(self, piece(step.piece))
            withdrawn.add(step.piece)
          } else if (step.tag === "restore") {
            SuperSeeding.restore(self, piece(step.piece), now)
            withdrawn.delete(step.piece)
          } else if (step.tag === "everything") {
            SuperSeeding.gainEverything(self, step.peer, now)
            if (known !== undefined && known.has.size < pieceCount) {
              seeds.add(step.peer)
              for (let index = 0; index < pieceCount; index++) known.has.add(index)
            }
          } else if (step.tag === "offer") {
            for (const offer of offersOf(self, now)) {
              const { has, offered } = model.get(offer.peer)!
              assert.isFalse(withdrawn.has(offer.piece), "it cannot be read")
              assert.isFalse(has.has(offer.piece) || offered.has(offer.piece), "it knows that")
              offered.add(offer.piece)
            }
          }
          const spread = Array.from({ length: pieceCount }, (_, index) => index).filter(
            (index) =>
              withdrawn.has(index) ||
              departed + departedSeeds + [...model.values()].filter(({ has }) => has.has(index)).length >= 2
          )
          assert.strictEqual(Spread.remaining(self.spread), pieceCount - spread.length)
          for (const [peer, { has, offered }] of model) {
            for (let index = 0; index < pieceCount; index++) {
              assert.strictEqual(SuperSeeding.mayServe(self, peer, piece(index)), has.has(index) || offered.has(index))
            }
          }
          // Every piece that is not spread is either a candidate or left to a peer, whatever seeds there are.
          for (let index = 0; index < pieceCount; index++) {
            const counted = [...model].filter(([peer, { has }]) => has.has(index) && !seeds.has(peer)).length + departed
            const isCandidate = self.spread.picker.positions[index]! >= 0
            const isClaimed = self.spread.claims.has(piece(index))
            assert.strictEqual(Number(isCandidate) + Number(isClaimed), counted >= 2 || withdrawn.has(index) ? 0 : 1)
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
  const self = SuperSeeding.make<number>({ geometry: geometryOf(pieceCount), random: Prng.fork(options.seed, 1) })
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
      for (const offer of offersOf(self, now)) peers[offer.peer]!.offered.add(offer.piece)
    } else {
      for (const { offered } of peers) for (let index = 0; index < pieceCount; index++) offered.add(index)
    }
    const room = new Map(peers.map((peer) => [peer, 2]))
    /** A piece that arrived in this second can be uploaded in the next. */
    const received: Array<readonly [(typeof peers)[number], number, boolean]> = []
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
        received.push([taker, wanted, giver === undefined])
        return true
      }
      return false
    }
    for (let slot = 0; slot < 4; slot++) if (serve(undefined)) sends++
    for (const giver of peers) if (giver.isHonest) serve(giver)
    for (const [taker, index, isOurs] of received) {
      taker.has.add(index)
      holders[index]!++
      if (isOurs) SuperSeeding.sent(self, taker.name, piece(index), pieceLength, now)
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
