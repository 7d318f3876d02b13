import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import * as PeerExchange from "../../src/peer/PeerExchange.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"
import type { Contact, PexMessage } from "../../src/wire/extension/PexMessage.ts"

const minute = PeerExchange.interval

const contact = (text: string, flags = 0): Contact => ({ address: PeerAddress.parse(text)!, flags })

const contacts = (...texts: ReadonlyArray<string>) => texts.map((text) => contact(text))

/** Public addresses, all of different hosts. */
const many = (count: number, offset = 0) =>
  Array.from({ length: count }, (_, index) =>
    contact(`198.${18 + ((index + offset) >>> 16)}.${((index + offset) >>> 8) & 0xff}.${(index + offset) & 0xff}:6881`)
  )

const exchange = (host = "203.0.113.1", isPrivate = false) => PeerExchange.make({ host, isPrivate })

const told = (message: PexMessage | undefined) => message?.added.map(({ address }) => PeerAddress.format(address))

const dropped = (message: PexMessage | undefined) => message?.dropped.map(PeerAddress.format)

const took = (self: PeerExchange.PeerExchange, added: ReadonlyArray<Contact>, now: number) =>
  PeerExchange.take(self, { added, dropped: [] }, now).map(({ address }) => PeerAddress.format(address))

describe("PeerExchange.next", () => {
  it("sends the peers that we are connected to, with their flags", () => {
    const message = PeerExchange.next(exchange(), [contact("198.51.100.1:1", 2), contact("[2001:db8::1]:2", 16)], 0)

    assert.deepStrictEqual(message, {
      added: [contact("198.51.100.1:1", 2), contact("[2001:db8::1]:2", 16)],
      dropped: []
    })
  })

  it("sends what has changed since the last message, and nothing if nothing has", () => {
    const self = exchange()
    PeerExchange.next(self, contacts("198.51.100.1:1", "198.51.100.2:2"), 0)

    const same = PeerExchange.next(self, contacts("198.51.100.2:2", "198.51.100.1:1"), minute)
    const changed = PeerExchange.next(self, contacts("198.51.100.2:2", "198.51.100.3:3"), 2 * minute)

    assert.isUndefined(same)
    assert.deepStrictEqual(told(changed), ["198.51.100.3:3"])
    assert.deepStrictEqual(dropped(changed), ["198.51.100.1:1"])
  })

  it("fault 74: reads nothing while nothing has changed that the peer was not told", () => {
    const self = exchange()
    let reads = 0
    const watched = function* (connected: ReadonlyArray<Contact>) {
      reads++
      yield* connected
    }
    const first = PeerExchange.next(self, watched(many(60)), 0, 1)
    const rest = PeerExchange.next(self, watched(many(60)), minute, 1)

    for (let second = 0; second < 100; second++)
      assert.isUndefined(PeerExchange.next(self, watched(many(60)), 2 * minute + second, 1))
    const idle = reads
    const changed = PeerExchange.next(self, watched(many(61)), 3 * minute, 2)

    assert.deepStrictEqual([first?.added.length, rest?.added.length, changed?.added.length], [50, 10, 1])
    assert.deepStrictEqual([idle, reads], [2, 3])
  })

  it("leaves out peers that came and went between two messages", () => {
    const self = exchange()
    PeerExchange.next(self, contacts("198.51.100.1:1"), 0)

    const brief = PeerExchange.next(self, contacts("198.51.100.1:1", "198.51.100.9:9"), minute - 1)
    const after = PeerExchange.next(self, contacts("198.51.100.1:1"), minute)

    assert.isUndefined(brief)
    assert.isUndefined(after)
  })

  it("sends at most one message a minute", () => {
    const self = exchange()
    const sent: Array<number> = []

    for (let now = 0; now <= 5 * minute; now += 1_000) {
      if (PeerExchange.next(self, many(1, now), now) !== undefined) sent.push(now)
    }

    assert.deepStrictEqual(
      sent,
      [0, 1, 2, 3, 4, 5].map((index) => index * minute)
    )
  })

  it("does not start the minute when there was nothing to send", () => {
    const self = exchange()

    assert.isUndefined(PeerExchange.next(self, [], 0))
    assert.isDefined(PeerExchange.next(self, many(1), 1))
  })

  it("adds and drops at most 50 in a message, and the rest in the next ones", () => {
    const self = exchange()
    const messages = [0, 1, 2].map((index) => PeerExchange.next(self, many(120), index * minute))
    const goodbyes = [3, 4, 5, 6].map((index) => PeerExchange.next(self, [], index * minute))

    assert.deepStrictEqual(
      messages.map((message) => message?.added.length),
      [50, 50, 20]
    )
    assert.deepStrictEqual(
      goodbyes.map((message) => message?.dropped.length),
      [50, 50, 20, undefined]
    )
  })

  it("fault 38: sends nothing for a private torrent", () => {
    assert.isUndefined(PeerExchange.next(exchange("203.0.113.1", true), many(3), 0))
  })

  it("sends addresses of the local network only to peers in it", () => {
    const connected = contacts("198.51.100.1:1", "192.168.1.5:2", "127.0.0.1:3", "[fe80::1]:4", "[::1]:5")

    assert.deepStrictEqual(told(PeerExchange.next(exchange("203.0.113.1"), connected, 0)), ["198.51.100.1:1"])
    assert.deepStrictEqual(told(PeerExchange.next(exchange("192.168.1.9"), connected, 0)), [
      "198.51.100.1:1",
      "192.168.1.5:2",
      "[fe80::1]:4"
    ])
    assert.strictEqual(told(PeerExchange.next(exchange("127.0.0.1"), connected, 0))?.length, 5)
  })

  it("leaves out host names and addresses that cannot be dialled", () => {
    const connected = contacts("peer.example:1", "0.0.0.0:2", "224.0.0.1:3", "198.51.100.1:4")

    assert.deepStrictEqual(told(PeerExchange.next(exchange(), connected, 0)), ["198.51.100.1:4"])
  })

  it("brings what the peer knows up to date within the rules, whatever our connections do", () => {
    const snapshot = fc.uniqueArray(fc.nat(150), { maxLength: 120 })
    fc.assert(
      fc.property(fc.array(fc.tuple(snapshot, fc.integer({ min: 1, max: 200_000 })), { maxLength: 20 }), (script) => {
        const self = exchange()
        const believed = new Set<string>()
        let now = 0
        let last = Number.NEGATIVE_INFINITY
        const send = (connected: ReadonlyArray<Contact>) => {
          const message = PeerExchange.next(self, connected, now)
          if (message === undefined) return
          assert.isAtLeast(now - last, minute)
          last = now
          assert.isAtLeast(message.added.length + message.dropped.length, 1)
          assert.isAtMost(message.added.length, 50)
          assert.isAtMost(message.dropped.length, 50)
          for (const text of dropped(message)!) assert.isTrue(believed.delete(text), "drops only what it added")
          for (const text of told(message)!) {
            assert.isFalse(believed.has(text), "adds nobody twice")
            assert.isTrue(connected.some(({ address }) => PeerAddress.format(address) === text))
            believed.add(text)
          }
        }
        let connected: ReadonlyArray<Contact> = []
        for (const [indices, wait] of script) {
          connected = indices.map((index) => many(1, index)[0]!)
          now += wait
          send(connected)
        }
        for (let round = 0; round < 8; round++) {
          now += minute
          send(connected)
        }

        assert.deepStrictEqual([...believed].sort(), connected.map(({ address }) => PeerAddress.format(address)).sort())
      })
    )
  })
})

describe("PeerExchange.take", () => {
  it("accepts addresses with their flags, each of them once", () => {
    const self = exchange()
    const message = { added: [contact("198.51.100.1:1", 18), contact("198.51.100.2:2")], dropped: [] }

    assert.deepStrictEqual(PeerExchange.take(self, message, 0), message.added)
    assert.deepStrictEqual(PeerExchange.take(self, message, minute), [])
  })

  it("fault 38: accepts 100 addresses of a first message and 50 of later ones", () => {
    const self = exchange()

    const counts = [0, 1, 2].map((index) => took(self, many(150, index * 150), index * minute).length)

    assert.deepStrictEqual(counts, [100, 50, 50])
  })

  it("fault 38: reads only one in 45 of messages that come every second", () => {
    const self = exchange()
    let count = 0

    for (let second = 0; second < 90; second++) count += took(self, many(50, second * 50), second * 1_000).length

    assert.strictEqual(count, 100)
  })

  it("fault 38: accepts no more than 500 addresses from one peer", () => {
    const self = exchange()
    let count = 0

    for (let index = 0; index < 100; index++) count += took(self, many(50, index * 50), index * minute).length

    assert.strictEqual(count, PeerExchange.maxAccepted)
    assert.strictEqual(self.accepted.size, PeerExchange.maxAccepted)
  })

  it("fault 38: accepts nothing for a private torrent", () => {
    assert.deepStrictEqual(took(exchange("203.0.113.1", true), many(3), 0), [])
  })

  it("fault 38: accepts addresses of a local network only from a peer in it", () => {
    const added = contacts("10.0.0.1:1", "127.0.0.1:2", "[fd00::1]:3", "[::1]:4", "198.51.100.1:5", "100.64.0.1:6")

    assert.deepStrictEqual(took(exchange("203.0.113.1"), added, 0), ["198.51.100.1:5"])
    assert.deepStrictEqual(took(exchange("10.0.0.9"), added, 0), [
      "10.0.0.1:1",
      "[fd00::1]:3",
      "198.51.100.1:5",
      "100.64.0.1:6"
    ])
    assert.strictEqual(took(exchange("::1"), added, 0).length, 6)
  })

  it("fault 38: ignores addresses that no peer can have", () => {
    assert.deepStrictEqual(took(exchange(), contacts("0.0.0.0:1", "255.255.255.255:2", "[::]:3", "[ff02::1]:4"), 0), [])
    assert.deepStrictEqual(took(exchange(), [{ address: { host: "198.51.100.1", port: 0 }, flags: 0 }], 0), [])
  })

  it("accepts one port of a public host, and every port of this machine", () => {
    const added = contacts("198.51.100.1:1", "198.51.100.1:2", "127.0.0.1:1", "127.0.0.1:2")

    assert.deepStrictEqual(took(exchange("127.0.0.1"), added, 0), ["198.51.100.1:1", "127.0.0.1:1", "127.0.0.1:2"])
  })

  it("is bounded and accepts only what is within reach, whatever the messages", () => {
    const added = fc.array(fc.record({ address: Values.peerAddress, flags: fc.nat(255) }), { maxLength: 120 })
    fc.assert(
      fc.property(fc.array(fc.tuple(added, fc.nat(100_000)), { maxLength: 20 }), (script) => {
        const self = exchange()
        let now = 0
        let total = 0
        for (const [contacts, wait] of script) {
          now += wait
          for (const { address } of PeerExchange.take(self, { added: contacts, dropped: [] }, now)) {
            total++
            assert.strictEqual(PeerAddress.reachOf(address), "public")
          }
        }

        assert.isAtMost(
          total,
          PeerExchange.maxFirstContacts + (now / PeerExchange.minInterval) * PeerExchange.maxContacts
        )
      })
    )
  })
})
