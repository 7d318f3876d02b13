import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Places from "../../src/connect/Places.ts"

const minute = 60_000

/** A torrent that counts how often it was woken. */
const share = (max = 50, now = 0) => {
  const woken = { times: 0 }
  return {
    share: Places.share(max, now, () => {
      woken.times++
    }),
    woken
  }
}

interface Guest {
  /** Since when it is of no use; `undefined` if it is useful. */
  idleSince?: number | undefined
  why?: Places.Why
  readonly host: string
  readonly isIncoming: boolean
  readonly rank?: number
}

/** Claims a place for a peer. Returns the peer and its place. */
const claim = (places: Places.Places, torrent: Places.Share, options: Partial<Guest> = {}, now = 0) => {
  const guest: Guest = { host: "10.0.0.1", isIncoming: true, ...options }
  const occupant: Places.Occupant = {
    useOf: (now) => {
      const idleMillis = guest.idleSince === undefined ? 0 : now - guest.idleSince
      return { idleMillis, isUseless: idleMillis >= 2 * minute }
    },
    leave: (why) => {
      guest.why = why
    }
  }
  return { guest, place: Places.claim(places, torrent, { ...guest, occupant }, now) }
}

const hosts = (count: number, from = 1) => Array.from({ length: count }, (_, index) => `10.0.1.${from + index}`)

describe("fault 72: places", () => {
  it("displace a useless peer, the longest useless first, and no useful one", () => {
    const places = Places.make(3)
    const { share: torrent } = share()
    const guests = [undefined, 20_000, 10_000].map((idleSince, index) =>
      claim(places, torrent, { idleSince, host: hosts(3)[index]! })
    )

    const claims = [3, 3, 3].map((minutes, index) =>
      claim(places, torrent, { host: `10.0.2.${index}`, isIncoming: false }, minutes * minute)
    )

    assert.deepStrictEqual(
      claims.map(({ place }) => place?.state),
      ["held", "held", undefined]
    )
    assert.deepStrictEqual(
      guests.map(({ guest, place }) => [place!.state, guest.why]),
      [
        ["held", undefined],
        ["displaced", "useless"],
        ["displaced", "useless"]
      ]
    )
  })

  it("displace a peer of the host with most for one that connects to us, while they are short", () => {
    const places = Places.make(6)
    const { share: torrent } = share()
    const many = Array.from({ length: 4 }, (_, index) => claim(places, torrent, { host: `2001:db8::${index}` }))
    const before = many.map(({ place }) => place!.state)
    const alone = hosts(2).map((host) => claim(places, torrent, { host }))

    const again = claim(places, torrent, { host: "2001:db8::ffff" })
    const dialled = claim(places, torrent, { host: "10.0.2.1", isIncoming: false })
    const newcomers = hosts(3, 10).map((host) => claim(places, torrent, { host }).place?.state)

    assert.deepStrictEqual(before, Array(4).fill("held"))
    assert.deepStrictEqual([again.place, dialled.place], [undefined, undefined])
    assert.deepStrictEqual(newcomers, ["held", "held", "held"])
    assert.deepStrictEqual(many.map(({ guest }) => guest.why).sort(), ["host", "host", "host", undefined])
    assert.isTrue(alone.every(({ place }) => place!.state === "held"))
  })

  it("give a torrent its share of them, and no more", () => {
    const places = Places.make(5)
    const [{ share: rich }, { share: poor }] = [share(), share()]
    for (const host of hosts(5)) claim(places, rich, { host })

    const claims = hosts(4, 20).map((host) => claim(places, poor, { host, isIncoming: false }).place?.state)

    assert.deepStrictEqual(claims, ["held", "held", undefined, undefined])
    assert.deepStrictEqual([rich.held, poor.held], [3, 2])
  })

  const distinct = (count: number, from = 1) =>
    Array.from({ length: count }, (_, index) => `10.1.${(from + index) >>> 8}.${(from + index) & 255}`)

  it("are not taken by one host from the useful peers of another torrent, whoever connects", () => {
    for (const isIncoming of [true, false]) {
      const places = Places.make(200)
      const [{ share: busy }, { share: other }] = [share(200), share(200)]
      const useful = distinct(200).map((host) => claim(places, busy, { host }))

      for (let connection = 0; connection < 200; connection++) {
        claim(places, other, { host: "10.66.66.66", isIncoming }, connection)
      }

      assert.deepStrictEqual([useful.filter(({ guest }) => guest.why !== undefined).length, other.held], [2, 2])
    }
  })

  it("go to a torrent that has had none for long, even if its only peer is of a host with many", () => {
    const places = Places.make(6)
    const [{ share: busy }, { share: empty }] = [share(), share()]
    for (const { share: other } of [share(), share()]) claim(places, other, { host: "10.66.66.66" })
    for (const host of hosts(4)) claim(places, busy, { host })

    const claims = [0, Places.turn, Places.turn].map(
      (now) => claim(places, empty, { host: "10.66.66.66" }, now).place?.state
    )

    assert.deepStrictEqual([claims, empty.held], [[undefined, "held", undefined], 1])
  })

  it("are won back from useless peers and from one host by any torrent, which keeps its last one", () => {
    for (const isUseless of [true, false]) {
      const places = Places.make(200)
      const [{ share: busy }, { share: other }] = [share(200), share(200)]
      for (const host of distinct(100)) claim(places, busy, { host })
      for (let connection = 0; connection < 100; connection++) {
        claim(places, other, { host: "10.66.66.66", idleSince: isUseless ? 0 : undefined })
      }

      const won = distinct(100, 1_000).map((host) => claim(places, busy, { host }, 10 * minute).place)

      assert.strictEqual(won.filter((place) => place !== undefined).length, 99)
      assert.deepStrictEqual([busy.held, other.held], [199, 1])
    }
  })

  it("that useless peers of a torrent with fewer hold are dialled for", () => {
    const places = Places.make(20)
    const [{ share: busy }, { share: other }] = [share(), share()]
    for (const host of distinct(15)) claim(places, busy, { host })
    for (const host of distinct(5, 100)) claim(places, other, { host, idleSince: 0 })
    const before = Places.takeDial(places, busy)
    Places.leaveLine(places, busy)

    Places.step(places, 10 * minute)

    const dials = distinct(9, 200).map(() => Places.takeDial(places, busy))
    assert.deepStrictEqual([before, dials.filter((isTaken) => isTaken).length], [false, 4])
  })

  describe("are kept by preferred peers", () => {
    it("which displace those of their torrent that are preferred least, the longest idle first", () => {
      const places = Places.make(4)
      const { share: torrent } = share()
      const guests = [1, 0, 0, 1].map((rank, index) =>
        claim(places, torrent, { rank, host: hosts(4)[index]!, idleSince: index === 2 ? 0 : undefined })
      )

      const claims = [0, 1, 1, 1].map((rank, index) =>
        claim(places, torrent, { rank, host: `10.0.2.${index}`, isIncoming: false }, 1_000)
      )

      assert.deepStrictEqual(
        claims.map(({ place }) => place?.state),
        [undefined, "held", "held", undefined]
      )
      assert.deepStrictEqual(
        guests.map(({ guest }) => guest.why),
        [undefined, "rank", "rank", undefined]
      )
    })

    it("which do not leave for a peer that connects to us from another host, unless they are useless", () => {
      const places = Places.make(3)
      const { share: torrent } = share()
      const guests = hosts(3).map(() => claim(places, torrent, { rank: 1, host: "10.0.0.1" }))
      guests[1]!.guest.idleSince = 0

      const early = claim(places, torrent, { host: "10.0.0.2" }, 1_000)
      const later = claim(places, torrent, { host: "10.0.0.2" }, 2 * minute)

      assert.deepStrictEqual([early.place, later.place?.state, guests[1]!.guest.why], [undefined, "held", "useless"])
    })

    it("but cost another torrent none, and a host with fewer none either", () => {
      const places = Places.make(4)
      const [{ share: first }, { share: second }] = [share(), share()]
      for (const host of hosts(2)) claim(places, first, { host })
      for (const host of hosts(2, 3)) claim(places, second, { host })

      const claims = [1, 2, 3].map(() => claim(places, first, { rank: 1, host: "10.0.2.1", isIncoming: false }))

      assert.deepStrictEqual(
        claims.map(({ place }) => place?.state),
        ["held", "held", undefined]
      )
      assert.deepStrictEqual([first.held, second.held], [2, 2])
    })

    it("and a preferred address is dialled for them", () => {
      const places = Places.make(2)
      const { share: torrent } = share(2)
      for (const host of hosts(2)) claim(places, torrent, { host })

      const dials = [0, 1, 1, 1].map((rank) => Places.takeDial(places, torrent, rank))

      assert.deepStrictEqual(dials, [false, true, true, false])
    })
  })

  it("keep a torrent within its own number, which its useless peers leave for others", () => {
    const places = Places.make(10)
    const [{ share: small }, { share: other }] = [share(2), share()]
    claim(places, other, { idleSince: 0 })
    const [first] = [claim(places, small, { host: "10.0.0.2" }), claim(places, small, { host: "10.0.0.3" })]

    const refused = claim(places, small, { host: "10.0.0.4" }, 5 * minute)
    first.guest.idleSince = 0
    const taken = claim(places, small, { host: "10.0.0.5" }, 5 * minute)

    assert.deepStrictEqual([refused.place, taken.place?.state, first.guest.why], [undefined, "held", "useless"])
    assert.deepStrictEqual([small.held, other.held], [2, 1])
  })

  it("pass from one torrent to the next when its turn is over, if there are more torrents than places", () => {
    const places = Places.make(1)
    const [{ share: first }, { share: second }] = [share(), share()]
    claim(places, first)

    const early = claim(places, second, {}, Places.turn - 1)
    const later = claim(places, second, {}, Places.turn)
    const back = claim(places, first, {}, Places.turn + 1)

    assert.deepStrictEqual([early.place, later.place?.state, back.place], [undefined, "held", undefined])
  })

  it("go to the torrent that has had none for longest, even if another was faster", () => {
    const places = Places.make(1)
    const [{ share: holder }, { share: patient }, { share: fast }] = [share(), share(50, 1_000), share(50, 90_000)]
    claim(places, holder)
    const quick = claim(places, fast, {}, Places.turn)

    const slow = claim(places, patient, {}, Places.turn + 300)

    assert.deepStrictEqual([quick.guest.why, slow.place?.state], ["torrent", "held"])
  })

  describe("and dials", () => {
    it("have a budget of their own, and go to the torrents in turn", () => {
      const places = Places.make(200)
      const torrents = [share(), share(), share()]
      for (const { share } of torrents) {
        for (let dial = 0; dial < 30 && Places.takeDial(places, share); dial++);
      }
      const before = torrents.map(({ share }) => Places.dials(share))
      const woken = torrents.map(({ woken }) => woken.times)

      for (let dial = 0; dial < 4; dial++) Places.endDial(places, torrents[0]!.share)

      assert.deepStrictEqual([before, places.held.size], [[30, 10, 0], 0])
      assert.deepStrictEqual(
        torrents.map(({ woken: { times } }, index) => times - woken[index]!),
        [0, 1, 1]
      )
    })

    it("are few while places are short, and begin only if the torrent could get one", () => {
      const places = Places.make(4)
      const [{ share: rich }, { share: poor, woken }] = [share(), share()]
      const guests = hosts(4).map((host) => claim(places, rich, { host }))

      Places.step(places, 0)
      const dials = [Places.takeDial(places, rich), Places.takeDial(places, poor), Places.takeDial(places, poor)]
      guests[0]!.guest.idleSince = 0
      Places.step(places, 3 * minute)

      assert.deepStrictEqual(dials, [false, true, false])
      assert.deepStrictEqual([rich.isGranted, poor.isGranted, woken.times], [false, true, 2])
    })

    it("that were granted go on to others if nobody wants them", () => {
      const places = Places.make(1)
      const [{ share: first }, { share: second }] = [share(), share()]
      Places.takeDial(places, first)
      const before = Places.takeDial(places, second)
      Places.endDial(places, first)
      const granted = second.isGranted

      Places.leaveLine(places, second)

      assert.deepStrictEqual([before, granted, places.dialing, second.dialing], [false, true, 0, 0])
    })
  })

  it("become fewer while descriptors are short, by the least useful peer first, and more again", () => {
    const places = Places.make(8)
    const { share: torrent } = share()
    const guests = hosts(4).map((host) => claim(places, torrent, { host }))
    guests[2]!.guest.idleSince = 0

    const given = [1, 2, 3, 4].map(() => Places.giveUp(places, 3 * minute))
    const fewest = places.capacity
    let now = 3 * minute
    for (; now < 13 * minute; now += 1_000) Places.step(places, now)

    assert.deepStrictEqual(given, [true, true, true, false])
    assert.deepStrictEqual([guests[2]!.guest.why, fewest, places.capacity], ["descriptors", 1, 8])
  })

  it("are never too many, are released once, and starve no torrent, whatever peers and torrents do", () => {
    const rank = fc.constantFrom(0, 0, 1, -1)
    const step = fc.oneof(
      fc.record({ tag: fc.constant("connect" as const), torrent: fc.nat(4), host: fc.nat(3), use: fc.boolean(), rank }),
      fc.record({ tag: fc.constant("leave" as const), which: fc.nat(20) }),
      fc.record({ tag: fc.constant("dial" as const), torrent: fc.nat(4), rank }),
      fc.record({ tag: fc.constant("answer" as const), which: fc.nat(20), host: fc.nat(3), rank }),
      fc.record({ tag: fc.constant("fail" as const), which: fc.nat(20) }),
      fc.record({ tag: fc.constant("short" as const) }),
      fc.record({ tag: fc.constant("wait" as const), millis: fc.integer({ min: 0, max: 90_000 }) })
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 120 }), (max, steps) => {
        const places = Places.make(max)
        const torrents = [1, 2, 3, 4, 50].map((own) => share(own).share)
        const held: Array<{ guest: Guest; place: Places.Place }> = []
        const dials: Array<Places.Share> = []
        let now = 0
        const take = (
          torrent: Places.Share,
          { host, rank }: { readonly host: number; readonly rank: number },
          isIncoming: boolean,
          idleSince: number | undefined
        ) => {
          const taken = claim(places, torrent, { host: `10.0.0.${host}`, isIncoming, idleSince, rank }, now)
          if (taken.place !== undefined) held.push({ guest: taken.guest, place: taken.place })
        }
        for (const one of steps) {
          if (one.tag === "wait") {
            now += one.millis
            Places.step(places, now)
          } else if (one.tag === "short") Places.giveUp(places, now)
          else if (one.tag === "connect") take(torrents[one.torrent]!, one, true, one.use ? undefined : now)
          else if (one.tag === "dial") {
            if (Places.takeDial(places, torrents[one.torrent]!, one.rank)) dials.push(torrents[one.torrent]!)
          } else if (one.tag === "leave" && held.length > 0) {
            const { place } = held.splice(one.which % held.length, 1)[0]!
            Places.release(places, place, now)
            Places.release(places, place, now)
          } else if ((one.tag === "answer" || one.tag === "fail") && dials.length > 0) {
            const torrent = dials.splice(one.which % dials.length, 1)[0]!
            if (one.tag === "answer") take(torrent, one, false, undefined)
            Places.endDial(places, torrent)
          }
          const open = held.filter(({ place }) => place.state === "held")
          assert.isAtMost(places.held.size, max)
          assert.strictEqual(places.held.size, open.length)
          assert.isAtMost(places.dialing, Math.max(dials.length, max) + torrents.length)
          for (const torrent of torrents) {
            assert.strictEqual(torrent.held, open.filter(({ place }) => place.share === torrent).length)
            assert.isAtMost(torrent.held, torrent.max)
            assert.strictEqual(
              [...torrent.ranks.values()].reduce((sum, count) => sum + count, 0),
              torrent.held
            )
          }
          assert.strictEqual(
            [...places.hosts.values()].reduce((sum, count) => sum + count, 0),
            places.held.size
          )
        }

        // Whoever has somebody to connect to gets a place within two turns of every torrent.
        for (const { place } of held) Places.release(places, place, now)
        for (const torrent of dials.splice(0)) Places.endDial(places, torrent)
        const served = new Set<Places.Share>()
        for (let second = 0; second < 2 * torrents.length * (Places.turn / 1_000); second++) {
          now += 1_000
          Places.step(places, now)
          for (const [index, torrent] of torrents.entries()) {
            if (!Places.takeDial(places, torrent)) continue
            const taken = claim(places, torrent, { host: `10.0.0.${index}`, isIncoming: false }, now)
            Places.endDial(places, torrent)
            if (taken.place !== undefined) served.add(torrent)
          }
        }
        assert.strictEqual(served.size, torrents.length)
        for (const place of [...places.held]) Places.release(places, place, now)
        for (const torrent of torrents) Places.leaveLine(places, torrent)
        assert.deepStrictEqual([places.held.size, places.dialing, places.hosts.size], [0, 0, 0])
      }),
      { numRuns: 100 }
    )
  })
})
