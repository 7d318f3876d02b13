import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Bans from "../../src/swarm/Bans.ts"
import * as Candidate from "../../src/swarm/Candidate.ts"
import * as PeerBook from "../../src/swarm/PeerBook.ts"
import * as Shelves from "../../src/swarm/Shelves.ts"

/** No jitter. */
const random = () => 0.5

const make = () => PeerBook.make(random)

const at = (host: number | string, port = 6881): PeerAddress => ({
  host: typeof host === "string" ? host : `10.${host >>> 16}.${(host >>> 8) & 255}.${host & 255}`,
  port
})

const added = (book: PeerBook.PeerBook, address: PeerAddress, now = 0, origin?: Candidate.Origin): PeerBook.Peer => {
  const peer = PeerBook.add(book, address, now, origin)
  if (peer === undefined) throw new Error("not added")
  return peer
}

/** Dials and fails. Returns how long the address waits. */
const failDial = (book: PeerBook.PeerBook, peer: PeerBook.Peer, now: number): number => {
  PeerBook.dialing(book, peer)
  PeerBook.disconnected(book, peer, now, "failed")
  return peer.dialAt - now
}

describe("PeerBook", () => {
  it("knows an address once, and allows a dial at once", () => {
    const book = make()
    const peer = added(book, at(1), 7)

    const again = PeerBook.add(book, at(1), 8)

    assert.deepStrictEqual([again, PeerBook.nextToDial(book, 7)], [undefined, peer])
  })

  it("dials the address that failed least, and none that is being dialled or connected", () => {
    const book = make()
    const [first, second, third] = [1, 2, 3].map((host) => added(book, at(host)))
    failDial(book, first!, 0)

    const order = [0, 1, 2, 3].map(() => {
      const peer = PeerBook.nextToDial(book, 5_000)
      if (peer !== undefined) PeerBook.dialing(book, peer)
      return peer
    })

    assert.deepStrictEqual(order, [second, third, first, undefined])
  })

  it("dials addresses of a higher rank first, also if they failed before and have a lower priority", () => {
    const preferred = new Set(["10.0.0.3", "10.0.0.4"])
    const book = PeerBook.make(
      () => 0.5,
      ({ host }) => (preferred.has(host) ? 0 : 1),
      undefined,
      ({ host }) => (preferred.has(host) ? 1 : 0)
    )
    const peers = [1, 2, 3, 4].map((host) => added(book, at(host)))
    for (const peer of peers.slice(1, 3)) failDial(book, peer, 0)

    const order = peers.map(() => {
      const next = PeerBook.nextToDial(book, 5_000)!
      PeerBook.dialing(book, next)
      return next.address.host
    })

    assert.deepStrictEqual(order, ["10.0.0.4", "10.0.0.3", "10.0.0.1", "10.0.0.2"])
  })

  it("waits an hour with a peer that was not admitted, and holds it against its worth", () => {
    const book = make()
    const peer = added(book, at(1))
    PeerBook.dialing(book, peer)

    PeerBook.disconnected(book, peer, 0, "not admitted")

    assert.deepStrictEqual([peer.dialAt, peer.failures], [PeerBook.restWhenNotAdmitted, 1])
  })

  it("bans for as long as it is told, and the host with it only if it is to count", () => {
    const book = make()
    const peers = [1, 2, 3, 4].map((port) => added(book, at(1, port)))

    for (const peer of peers.slice(0, 3)) Bans.ban(book, peer, 0, { millis: 5_000, countsForHost: false })
    const states = peers.map(({ state }) => state)
    const hasPardoned = [4_999, 5_000].map((now) => Bans.pardon(book, now))

    assert.deepStrictEqual(states, ["banned", "banned", "banned", "idle"])
    assert.deepStrictEqual(hasPardoned, [false, true])
    assert.deepStrictEqual([Bans.bannedCount(book), Bans.bansOf(peers[0]!, 5_000)], [0, 1])
    assert.strictEqual(Bans.bansOf(peers[0]!, 5_000 + Bans.longestBan), 0)
  })

  it("dials addresses that failed as often by priority, and unranked ones last", () => {
    const priorities = new Map<string, number>()
    const book = PeerBook.make(
      () => 0.5,
      ({ host }) => priorities.get(host)
    )
    const [none, low, high] = [1, 2, 3].map((host) => added(book, at(host)))
    for (const [host, priority] of [
      [2, 5],
      [3, 7],
      [4, 9]
    ] as const)
      priorities.set(at(host).host, priority)
    PeerBook.rank(book)
    const [highest, failed] = [added(book, at(4)), added(book, at(4, 1))]
    failDial(book, failed, 0)

    const order = [0, 1, 2, 3, 4].map(() => {
      const peer = PeerBook.nextToDial(book, 5_000)
      if (peer !== undefined) PeerBook.dialing(book, peer)
      return peer
    })

    assert.deepStrictEqual(order, [highest, high, low, none, failed])
  })

  it("fault 24: waits twice as long after every failure, up to ten minutes", () => {
    const book = make()
    const peer = added(book, at(1))

    const waits = Array.from({ length: 2_000 }, () => failDial(book, peer, 0))

    assert.deepStrictEqual(
      waits.slice(0, 11),
      [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600].map((seconds) => seconds * 1_000)
    )
    assert.strictEqual(waits.at(-1), PeerBook.maxDelay)
  })

  it("fault 24: tries a dead address some 150 times in a day, not 28,216 times in seconds", () => {
    const book = PeerBook.make(Prng.make(1))
    const peer = added(book, at(1))
    let dials = 0
    for (let now = 0; now < 86_400_000; now = PeerBook.nextDialAt(book) ?? now) {
      if (PeerBook.nextToDial(book, now) !== undefined) {
        dials++
        failDial(book, peer, now)
      }
    }

    assert.isAbove(dials, 100)
    assert.isBelow(dials, 250)
  })

  it("fault 24: dials every address that is due, while peers that named theirs are turned out", () => {
    const book = make()
    const waiting = Array.from({ length: 30 }, (_, host) => added(book, at(host)))
    for (const peer of waiting) failDial(book, peer, 0)
    const named = Array.from({ length: 20 }, (_, host) => added(book, at(100 + host), 500))
    for (const peer of named) PeerBook.disconnected(book, peer, 500, "without a place")

    const dialled = new Set<PeerBook.Peer>()
    for (let peer = PeerBook.nextToDial(book, 5_000); peer !== undefined; peer = PeerBook.nextToDial(book, 5_000)) {
      PeerBook.dialing(book, peer)
      dialled.add(peer)
    }

    assert.deepStrictEqual([dialled.size, PeerBook.nextDialAt(book)], [30, 500 + PeerBook.restWithoutPlace])
  })

  it("spreads the waits by a quarter either way, in whole milliseconds", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 20 }), (seed, failures) => {
        const book = PeerBook.make(Prng.make(seed))
        const peer = added(book, at(1))
        let wait = 0
        for (let turn = 0; turn < failures; turn++) wait = failDial(book, peer, 0)
        const middle = Math.min(PeerBook.maxDelay, PeerBook.firstDelay * 2 ** (failures - 1))
        return Number.isInteger(wait) && wait >= middle * 0.75 && wait <= middle * 1.25
      })
    )
  })

  it("dials a peer that had to leave for others after a while, and holds against it only that it was useless", () => {
    const book = make()
    const ends = ["without a place", "useless"] as const

    const peers = ends.map((end, host) => {
      const peer = added(book, at(host))
      PeerBook.dialing(book, peer)
      PeerBook.connected(peer)
      PeerBook.disconnected(book, peer, 0, end)
      return [peer.dialAt, peer.failures]
    })

    assert.deepStrictEqual(peers, [
      [120_000, 0],
      [120_000, 1]
    ])
  })

  it("forgets failures once a connection was useful", () => {
    const book = make()
    const peer = added(book, at(1))
    for (let turn = 0; turn < 5; turn++) failDial(book, peer, 0)
    PeerBook.connected(peer)

    PeerBook.disconnected(book, peer, 1_000, "useful")

    assert.deepStrictEqual([peer.failures, peer.dialAt], [0, 2_000])
  })

  describe("a ban", () => {
    it("fault 41: is of an address, and not of others on the same host", () => {
      const book = make()
      const [liar, neighbour] = [6881, 6882].map((port) => added(book, at(1, port)))

      const banned = [Bans.ban(book, liar!, 0), Bans.ban(book, liar!, 0)]

      assert.deepStrictEqual([banned, liar!.state, neighbour!.state], [[[liar], []], "banned", "idle"])
      assert.deepStrictEqual([PeerBook.nextToDial(book, 0), Bans.bannedCount(book)], [neighbour, 1])
      assert.isUndefined(PeerBook.add(book, at(1, 6881), 0))
      assert.isDefined(PeerBook.add(book, at(1, 6883), 0))
    })

    it("fault 41: is of the host with its third address, except for peers that have proved themselves", () => {
      const book = make()
      const peers = [1, 2, 3, 4, 5].map((port) => added(book, at("192.0.2.1", port)))
      const elsewhere = added(book, at("192.0.2.2"))
      const visitor = added(book, at("192.0.2.1", 6))
      PeerBook.connected(visitor)
      peers[4]!.isProven = true
      Bans.ban(book, peers[0]!, 0)
      Bans.ban(book, peers[1]!, 0)
      const before = peers.map((peer) => peer.state)

      const banned = Bans.ban(book, peers[2]!, 0)

      assert.deepStrictEqual(before, ["banned", "banned", "idle", "idle", "idle"])
      assert.deepStrictEqual(
        peers.map(({ key }) => book.peers.get(key)?.state),
        ["banned", "banned", "banned", undefined, "idle"]
      )
      assert.deepStrictEqual([banned, visitor.state, Bans.bannedCount(book)], [[peers[2], visitor], "banned", 3])
      PeerBook.disconnected(book, visitor, 0, "useful")
      assert.isUndefined(book.peers.get(visitor.key))
      assert.deepStrictEqual([elsewhere.state, PeerBook.add(book, at("192.0.2.1", 9), 0)], ["idle", undefined])
    })

    it("lasts until it ends, whatever happens to the connection", () => {
      const book = make()
      const peer = added(book, at(1))
      PeerBook.connected(peer)
      Bans.ban(book, peer, 0)

      PeerBook.disconnected(book, peer, 0, "useful")

      assert.deepStrictEqual([peer.state, PeerBook.nextToDial(book, 1e9)], ["banned", undefined])
    })

    /** Bans a peer and waits until the ban ends. Returns how long it lasted, in minutes. */
    const banFor = (book: PeerBook.PeerBook, peer: PeerBook.Peer, at: number): number => {
      let now = at
      Bans.ban(book, peer, now)
      for (; peer.state === "banned" && now < at + 2 * Bans.longestBan; Bans.pardon(book, now)) now += 60_000
      return (now - at) / 60_000
    }

    it("lasts ten minutes, twice as long each further time, up to a day, and ten minutes after a day without", () => {
      const book = make()
      const peer = added(book, at(1))
      const minutes: Array<number> = []
      let now = 0
      for (let turn = 0; turn < 10; turn++) {
        minutes.push(banFor(book, peer, now))
        now += minutes.at(-1)! * 60_000
      }

      const later = banFor(book, peer, now + Bans.longestBan)

      assert.deepStrictEqual([...minutes, later], [10, 20, 40, 80, 160, 320, 640, 1_280, 1_440, 1_440, 10])
      assert.deepStrictEqual([Bans.bannedCount(book), peer.failures], [0, 0])
      assert.strictEqual(PeerBook.nextToDial(book, now * 9), peer)
    })

    it("of a host ends with the first of its addresses that returns, except for guilty ones", () => {
      const book = make()
      const [one, two, three] = [1, 2, 3].map((port) => added(book, at("192.0.2.1", port)))
      const minute = 60_000
      for (const [index, peer] of [one!, two!, three!].entries()) Bans.ban(book, peer, index * minute)
      const refused = PeerBook.add(book, at("192.0.2.1", 5), 3 * minute)
      const before = Bans.pardon(book, 10 * minute - 1)

      const after = Bans.pardon(book, 10 * minute)

      assert.deepStrictEqual([refused, before, after], [undefined, false, true])
      const states = [one, two, three].map((peer) => peer!.state)
      assert.deepStrictEqual(states, ["idle", "banned", "banned"])
      assert.isDefined(PeerBook.add(book, at("192.0.2.1", 5), 10 * minute))
    })

    it("fault 41: of three addresses of an IPv6 /64 is of all that a host can choose in it", () => {
      const book = make()
      const liars = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map((host) => added(book, at(host)))

      for (const peer of liars) Bans.ban(book, peer, 0)

      const hosts = ["2001:db8::ffff:4", "2001:db8:0:1::1"]
      const taken = hosts.map((host) => PeerBook.arrive(book, at(host), 0) !== undefined)
      assert.deepStrictEqual(taken, [false, true])
    })

    it("keeps a peer that connected to us known, and never dialled", () => {
      const book = make()
      const peer = PeerBook.arrive(book, at(1, 50_000), 0)!
      PeerBook.connected(peer)
      Bans.ban(book, peer, 0)

      Bans.pardon(book, Bans.firstBan)

      assert.deepStrictEqual([peer.state, PeerBook.nextToDial(book, 1e9)], ["gone", undefined])
      assert.strictEqual(PeerBook.arrive(book, at(1, 50_000), Bans.firstBan), peer)
    })

    it("is not the result of being this very client: that address is only not dialled for an hour", () => {
      const book = make()
      const own = [1, 2, 3].map((port) => added(book, at(1, port)))
      const neighbour = added(book, at(1, 4))

      for (const peer of own) Bans.exclude(book, peer, 0)
      PeerBook.disconnected(book, own[0]!, 0, "failed")

      assert.deepStrictEqual([PeerBook.nextToDial(book, 1e9), Bans.bannedCount(book)], [neighbour, 0])
      assert.isUndefined(PeerBook.add(book, at(1, 1), 0))
      Bans.pardon(book, Bans.selfRest - 1)
      assert.strictEqual(own[0]!.state, "ourselves")
      Bans.pardon(book, Bans.selfRest)
      assert.strictEqual(own[0]!.state, "idle")
    })
  })

  describe("an address that several name", () => {
    const tracker = { _tag: "Source", source: "a", reach: "public" } as const
    const near = { _tag: "Source", source: "b", reach: "private" } as const

    it("is the user's, or else of whoever may name most, in whatever order", () => {
      const orders = [
        [tracker, near, Candidate.given],
        [Candidate.given, near, tracker],
        [near, Candidate.given, tracker]
      ] as const
      for (const origins of orders) {
        const book = make()
        const peer = added(book, at(1), 0, origins[0])

        const others = origins.slice(1).map((origin) => PeerBook.add(book, at(1), 0, origin))

        assert.deepStrictEqual([others, peer.origin], [[undefined, undefined], Candidate.given])
      }
    })

    it("is ranked again when it is another's", () => {
      const book = PeerBook.make(random, undefined, undefined, (_, origin) => (origin === Candidate.given ? 1 : 0))
      added(book, at(1), 0, near)
      const second = added(book, at(2), 0, tracker)

      PeerBook.add(book, at(2), 0, Candidate.given)

      assert.strictEqual(PeerBook.nextToDial(book, 0), second)
    })
  })

  describe("a peer that is given up", () => {
    const named = { _tag: "Source", source: "b" } as const

    it("is forgotten at once without an encounter, and afterwards with one", () => {
      const book = make()
      const [idle, dialled, connected] = [1, 2, 3].map((host) => added(book, at(host)))
      PeerBook.dialing(book, dialled!)
      PeerBook.dialing(book, connected!)
      PeerBook.connected(connected!)

      const haveEncounters = [idle, dialled, connected].map((peer) => PeerBook.dismiss(book, peer!))
      const left = book.peers.size
      PeerBook.disconnected(book, dialled!, 0, "cancelled")
      PeerBook.disconnected(book, connected!, 0, "useful")

      assert.deepStrictEqual([haveEncounters, left, book.peers.size], [[false, true, true], 2, 0])
      assert.isUndefined(PeerBook.nextToDial(book, 1e9))
    })

    it("is dialled again if it is named again before its encounter has ended", () => {
      const book = make()
      const peer = added(book, at(1))
      PeerBook.dialing(book, peer)
      PeerBook.connected(peer)
      PeerBook.dismiss(book, peer)

      const again = PeerBook.add(book, at(1), 0, named)
      PeerBook.disconnected(book, peer, 0, "useful")

      assert.isUndefined(again)
      assert.deepStrictEqual([peer.origin, PeerBook.nextToDial(book, 1e9)], [named, peer])
    })

    it("is not dialled after a ban for what it did at the end, unless it is named again", () => {
      for (const isNamedAgain of [false, true]) {
        const book = make()
        const peer = added(book, at(1))
        PeerBook.dialing(book, peer)
        PeerBook.connected(peer)
        PeerBook.dismiss(book, peer)
        Bans.ban(book, peer, 0)
        PeerBook.disconnected(book, peer, 0, "failed")
        Bans.pardon(book, Bans.longestBan)

        if (isNamedAgain) PeerBook.add(book, at(1), 0, named)

        assert.strictEqual(PeerBook.nextToDial(book, 1e9), isNamedAgain ? peer : undefined)
      }
    })

    it("stays banned, and is not dialled after the ban", () => {
      const book = make()
      const peer = added(book, at(1))
      Bans.ban(book, peer, 0)

      const hasEncounter = PeerBook.dismiss(book, peer)
      const during = Bans.bannedCount(book)
      Bans.pardon(book, Bans.longestBan)

      assert.deepStrictEqual([hasEncounter, during], [false, 1])
      assert.isUndefined(PeerBook.nextToDial(book, 1e9))
    })
  })

  describe("a full book", () => {
    const full = () => {
      const book = make()
      const peers = Array.from({ length: PeerBook.maxAddresses }, (_, host) => added(book, at(host)))
      return { book, peers }
    }

    it("drops new addresses while every known one may still be good", () => {
      const { book } = full()

      const peer = PeerBook.add(book, at("new.example"), 0)

      assert.deepStrictEqual([peer, book.peers.size], [undefined, PeerBook.maxAddresses])
    })

    it("replaces the address that failed most with a new one, under its own key", () => {
      const { book, peers } = full()
      failDial(book, peers[3]!, 0)
      failDial(book, peers[5]!, 0)
      failDial(book, peers[5]!, 0)

      const peer = added(book, at("new.example"))

      assert.deepStrictEqual([book.peers.size, peer.key], [PeerBook.maxAddresses, PeerBook.maxAddresses])
      assert.deepStrictEqual([book.peers.has(5), book.peers.has(3)], [false, true])
      assert.isDefined(PeerBook.add(book, peers[5]!.address, 0))
      assert.isFalse(book.peers.has(3))
    })

    it("never forgets addresses that are dialled, connected or banned", () => {
      const { book, peers } = full()
      const [connected, dialled, banned] = peers
      for (const peer of peers) failDial(book, peer, 0)
      PeerBook.dialing(book, connected!)
      PeerBook.connected(connected!)
      PeerBook.dialing(book, dialled!)
      Bans.ban(book, banned!, 0)

      const others = Array.from({ length: 2 * PeerBook.maxAddresses }, (_, host) => PeerBook.add(book, at(host, 1), 0))

      assert.strictEqual(others.filter((peer) => peer !== undefined).length, PeerBook.maxAddresses)
      assert.deepStrictEqual(
        [connected!, dialled!, banned!].map((peer) => book.peers.get(peer.key)),
        [connected, dialled, banned]
      )
    })

    it("fault 73: forgets peers that were met once they fail again and again, and proven ones long after that", () => {
      const { book, peers } = full()
      const proven = peers[0]!
      for (const peer of peers) {
        PeerBook.dialing(book, peer)
        PeerBook.connected(peer)
        PeerBook.disconnected(book, peer, 0, "useful")
      }
      PeerBook.prove(book, [proven.key])
      const useful = PeerBook.add(book, at("new.example"), 0)
      for (let turn = 0; turn < Shelves.failuresOfLost; turn++) for (const peer of peers) failDial(book, peer, 0)

      const others = Array.from({ length: 2 * PeerBook.maxAddresses }, (_, host) => PeerBook.add(book, at(host, 1), 0))
      const kept = book.peers.get(proven.key)
      for (let turn = 0; turn < Shelves.failuresOfLostProven; turn++) failDial(book, proven, 0)
      const last = PeerBook.add(book, at("last.example"), 0)

      assert.deepStrictEqual([useful, kept, last !== undefined], [undefined, proven, true])
      assert.strictEqual(others.filter((peer) => peer !== undefined).length, PeerBook.maxAddresses - 1)
      assert.isFalse(book.peers.has(proven.key))
    })

    it("fault 73: takes every peer that connects, for a new address, and keeps those that proved useful", () => {
      const { book, peers } = full()
      const proven = peers.slice(0, 10)
      PeerBook.prove(
        book,
        proven.map(({ key }) => key)
      )

      const came = Array.from({ length: 2 * PeerBook.maxAddresses }, (_, host) => {
        const peer = PeerBook.arrive(book, at(host, 50_000), 0)!
        PeerBook.connected(peer)
        return peer
      })
      const size = book.peers.size
      for (const peer of came) PeerBook.disconnected(book, peer, 0, "failed")

      assert.strictEqual(size, 3 * PeerBook.maxAddresses)
      assert.strictEqual(book.peers.size, PeerBook.maxAddresses)
      assert.isTrue(proven.every(({ key }) => book.peers.has(key)))
    })

    it("fault 73: forgets the oldest bans if there are too many", () => {
      const book = make()
      const liars = Array.from({ length: 2 * Bans.maxExcluded }, (_, host) => added(book, at(host)))

      for (const [index, peer] of liars.entries()) Bans.ban(book, peer, index)

      assert.strictEqual(Bans.bannedCount(book), Bans.maxExcluded)
      assert.deepStrictEqual([book.peers.size, book.guilty.size], [Bans.maxExcluded, Bans.maxExcluded])
      assert.isTrue(book.excluded.has(liars.at(-1)!))
    })

    it("fault 73: keeps its bans when a host with many ports is banned", () => {
      const book = make()
      const others = [1, 2, 3, 4, 5].map((host) => added(book, at(host)))
      for (const peer of others) Bans.ban(book, peer, 0)
      const ports = Array.from({ length: 1_990 }, (_, port) => added(book, at("192.0.2.1", 1 + port)))

      for (const peer of ports.slice(0, PeerBook.maxBannedPorts)) Bans.ban(book, peer, 1)

      assert.deepStrictEqual([Bans.bannedCount(book), book.peers.size, book.byHost.size], [8, 8, 6])
      assert.isTrue(others.every((peer) => book.excluded.has(peer)))
      assert.isUndefined(PeerBook.arrive(book, at("192.0.2.1", 50_000), 1))
    })

    it("fault 73: keeps its bans when peers say that they are this very client", () => {
      const book = make()
      const liar = added(book, at("192.0.2.1"))
      Bans.ban(book, liar, 0)
      const mirrors = Array.from({ length: 2 * Bans.maxExcluded }, (_, host) => added(book, at(host)))

      for (const peer of mirrors) Bans.exclude(book, peer, 1)

      assert.deepStrictEqual([Bans.bannedCount(book), book.excluded.size], [1, Bans.maxExcluded])
      for (const peer of mirrors.slice(-3)) Bans.ban(book, peer, 2)
      assert.deepStrictEqual([Bans.bannedCount(book), book.excluded.size], [4, Bans.maxExcluded])
    })

    it("excludes nobody whom it has forgotten", () => {
      const book = make()
      const [late, ...liars] = Array.from({ length: 1 + Bans.maxExcluded }, (_, host) => added(book, at(host)))
      PeerBook.connected(late!)
      Bans.ban(book, late!, 0)
      for (const peer of liars) Bans.ban(book, peer, 1)
      const again = added(book, at(0))

      Bans.exclude(book, late!, 2)
      PeerBook.disconnected(book, late!, 2, "useful")

      assert.deepStrictEqual([book.excluded.has(late!), book.byAddress.get("10.0.0.0:6881")], [false, again])
    })

    it("stays bounded and knows whom to dial, whatever happens to its addresses", () => {
      type Step = readonly [host: number, what: number, end: number, ask: number]
      const step = fc.tuple(fc.nat(40), fc.nat(19), fc.nat(3), fc.nat(20))
      const ends: ReadonlyArray<PeerBook.EncounterEnd> = ["useful", "failed", "without a place", "useless"]
      const take = (book: PeerBook.PeerBook, [host, what, end]: Step, now: number): void => {
        const peer = book.byAddress.get(`10.0.0.${host}:6881`)
        if (peer === undefined) {
          if (what % 2 === 0) PeerBook.add(book, at(host), now)
          else PeerBook.arrive(book, at(host), now)
        } else if (what === 0) Bans.ban(book, peer, now)
        else if (what === 1) PeerBook.prove(book, [peer.key])
        else if (what === 2) PeerBook.leave(book, peer)
        else if (what === 3) PeerBook.recall(book)
        else if (what > 9 && peer.state === "idle") PeerBook.disconnected(book, peer, now, ends[end]!)
        else if (peer.state === "idle") PeerBook.dialing(book, peer)
        else if (peer.state === "connecting" && what % 2 === 0) PeerBook.connected(peer)
        else if (peer.state === "connecting" || peer.state === "connected") {
          PeerBook.disconnected(book, peer, now, ends[end]!)
        }
      }
      fc.assert(
        fc.property(fc.array(step, { minLength: 1, maxLength: 400, size: "max" }), (steps) => {
          const book = make()
          for (const [index, one] of steps.entries()) {
            const now = index * 2_000
            take(book, one, now)
            if (index % 7 === 0) Bans.pardon(book, now)
            const idle = [...book.peers.values()].filter(({ state }) => state === "idle")
            // Not after every step, because asking puts the queue in order.
            if (one[3] === 0 || index === steps.length - 1) {
              const dialAt = PeerBook.nextDialAt(book) ?? Number.POSITIVE_INFINITY
              const soonest = Math.min(...idle.map(({ dialAt }) => dialAt))
              assert.strictEqual(Math.max(dialAt, now), Math.max(soonest, now))
              const due = idle.filter(({ dialAt }) => dialAt <= now).map(({ failures }) => failures)
              assert.strictEqual(
                PeerBook.nextToDial(book, now)?.failures,
                due.length === 0 ? undefined : Math.min(...due)
              )
            }
            const resting = [...book.peers.values()].filter(({ state }) => state === "idle" || state === "gone")
            assert.strictEqual(book.shelves.size, resting.length)
            assert.strictEqual(book.queue.size, idle.length)
            assert.strictEqual(book.byAddress.size, book.peers.size)
            assert.isTrue([...book.excluded].every(({ key }) => book.peers.has(key)))
          }
        }),
        { numRuns: 50 }
      )
    })
  })

  describe("for peers that connect to us", () => {
    const arrived = (book: PeerBook.PeerBook, address: PeerAddress): PeerBook.Peer => {
      const peer = PeerBook.arrive(book, address, 0)
      if (peer === undefined) throw new Error("not taken")
      return peer
    }

    const come = (book: PeerBook.PeerBook, address: PeerAddress): PeerBook.Peer => {
      const peer = arrived(book, address)
      PeerBook.connected(peer)
      PeerBook.disconnected(book, peer, 0, "useful")
      return peer
    }

    it("never dials the port that they came from, but knows them when they return", () => {
      const book = make()
      const peer = come(book, at(1, 50_000))

      const again = arrived(book, at(1, 50_000))

      assert.strictEqual(again, peer)
      assert.deepStrictEqual([PeerBook.nextToDial(book, 1e9), PeerBook.nextDialAt(book)], [undefined, undefined])
    })

    it("dials one after all if a source names its address", () => {
      const book = make()
      const peer = come(book, at(1, 50_000))

      const named = PeerBook.add(book, at(1, 50_000), 0)

      assert.deepStrictEqual([named, PeerBook.nextToDial(book, 1e9)], [peer, peer])
    })

    it("refuses a peer that is banned, connected, being dialled, or ourselves", () => {
      const book = make()
      const [banned, connected, dialled, ourselves] = [1, 2, 3, 4].map((host) => added(book, at(host)))
      Bans.ban(book, banned!, 0)
      PeerBook.connected(connected!)
      PeerBook.dialing(book, dialled!)
      Bans.exclude(book, ourselves!, 0)

      const taken = [1, 2, 3, 4].map((host) => PeerBook.arrive(book, at(host), 0))

      assert.deepStrictEqual(taken, [undefined, undefined, undefined, undefined])
    })

    it("fault 41: refuses a host of which three ports were banned", () => {
      const book = make()
      for (const port of [1, 2, 3]) Bans.ban(book, arrived(book, at(1, port)), 0)

      const taken = [at(1, 4), at(2, 4)].map((address) => PeerBook.arrive(book, address, 0) !== undefined)

      assert.deepStrictEqual(taken, [false, true])
    })

    it("forgets peers that only connect", () => {
      const book = make()
      const peer = arrived(book, at(1, 50_000))

      PeerBook.disconnected(book, peer, 0, "failed")

      assert.deepStrictEqual([book.peers.size, book.byAddress.size], [0, 0])
    })

    it("replaces the one that has been gone for longest with a new address", () => {
      const book = make()
      const [first, second] = [come(book, at(1, 50_000)), come(book, at(2, 50_000))]
      for (let host = 0; host < PeerBook.maxAddresses - 2; host++) added(book, at(1_000 + host))

      const peer = PeerBook.add(book, at("new.example"), 0)

      assert.isDefined(peer)
      assert.deepStrictEqual([book.peers.has(first.key), book.peers.has(second.key)], [false, true])
    })
  })

  it("does not dial peers that it has left", () => {
    const book = make()
    const peer = added(book, at(1))
    PeerBook.dialing(book, peer)
    PeerBook.connected(peer)
    PeerBook.disconnected(book, peer, 0, "useful")

    PeerBook.leave(book, peer)

    assert.deepStrictEqual([PeerBook.nextToDial(book, 1e9), PeerBook.add(book, at(1), 0)], [undefined, undefined])
  })

  it("dials peers that it has left once something is wanted, but none that only connected to us", () => {
    const book = make()
    const left = added(book, at(1))
    PeerBook.leave(book, left)
    const came = PeerBook.arrive(book, at(2), 0)!
    PeerBook.connected(came)
    PeerBook.disconnected(book, came, 0, "useful")

    PeerBook.recall(book)

    assert.deepStrictEqual([left.state, came.state], ["idle", "gone"])
    assert.strictEqual(PeerBook.nextToDial(book, 1e9), left)
  })
})
