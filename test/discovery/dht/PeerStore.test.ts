import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as BloomFilter from "../../../src/discovery/dht/BloomFilter.ts"
import * as DhtLimits from "../../../src/discovery/dht/DhtLimits.ts"
import * as PeerStore from "../../../src/discovery/dht/PeerStore.ts"

const hash = (number: number) => new Uint8Array(20).fill(number)

const peer = (number: number, port = 6881) => ({ host: `20.${number >>> 8}.${number & 255}.1`, port })

const make = (limits: Partial<DhtLimits.DhtLimits> = {}) => PeerStore.make({ ...DhtLimits.defaults, ...limits })

const portsOf = (store: PeerStore.PeerStore, number: number, now = 0, noSeeds = false, count = 1_000) =>
  PeerStore.sample(store, hash(number), { count, noSeeds, leastReach: "loopback", random: Prng.make(1), now }).map(
    (compact) => Bytes.readUint16Unsafe(compact, 4)
  )

describe("PeerStore", () => {
  it("keeps a peer for half an hour after its last announce", () => {
    const store = make()
    PeerStore.add(store, hash(1), peer(1), false, 0)
    PeerStore.add(store, hash(1), peer(2, 7), false, 0)
    PeerStore.add(store, hash(1), peer(1), false, 1_000_000)

    assert.strictEqual(portsOf(store, 1, PeerStore.lifetimeMillis - 1).length, 2)
    assert.deepStrictEqual(portsOf(store, 1, PeerStore.lifetimeMillis), [6881])
    PeerStore.expire(store, PeerStore.lifetimeMillis)
    assert.strictEqual(store.peers, 1)
    PeerStore.expire(store, PeerStore.lifetimeMillis + 1_000_000)
    assert.deepStrictEqual([store.peers, store.hashes.size, store.hosts.size], [0, 0, 0])
  })

  it("leaves out seeds for a seed, and counts both in filters", () => {
    const store = make()
    for (let index = 0; index < 10; index++) PeerStore.add(store, hash(1), peer(index, index + 1), index < 4, 0)

    const filters = PeerStore.filters(store, hash(1), 0)!

    assert.deepStrictEqual(portsOf(store, 1, 0, true), [5, 6, 7, 8, 9, 10])
    assert.closeTo(BloomFilter.estimate(filters.seeds), 4, 0.1)
    assert.closeTo(BloomFilter.estimate(filters.downloaders), 6, 0.1)
    assert.isUndefined(PeerStore.filters(store, hash(2), 0))
  })

  it("chooses at random if there are more than wanted", () => {
    const store = make()
    for (let index = 0; index < 100; index++) PeerStore.add(store, hash(1), peer(index, index + 1), false, 0)

    const chosen = portsOf(store, 1, 0, false, 10)

    assert.strictEqual(new Set(chosen).size, 10)
    assert.notDeepEqual(chosen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  it("does not name a peer of a local network to the world", () => {
    const store = make()
    PeerStore.add(store, hash(1), { host: "192.168.1.7", port: 5 }, false, 0)
    PeerStore.add(store, hash(1), peer(1, 6), false, 0)
    const sample = (leastReach: "public" | "private") =>
      PeerStore.sample(store, hash(1), { count: 9, noSeeds: false, leastReach, random: Prng.make(1), now: 0 }).length

    assert.strictEqual(sample("public"), 1)
    assert.strictEqual(sample("private"), 2)
  })

  it("fault 81: replaces what was announced longest ago when a limit is reached", () => {
    const store = make({ storedHashes: 3, storedPeersPerHash: 2, storedPeers: 5 })
    for (let index = 0; index < 3; index++) PeerStore.add(store, hash(1), peer(index, index + 1), false, 0)
    assert.deepStrictEqual(portsOf(store, 1), [2, 3])

    PeerStore.add(store, hash(2), peer(1), false, 0)
    PeerStore.add(store, hash(3), peer(1), false, 0)
    PeerStore.add(store, hash(1), peer(1, 2), false, 0)
    PeerStore.add(store, hash(4), peer(1), false, 0)

    assert.deepStrictEqual(
      [1, 2, 3, 4].map((number) => portsOf(store, number).length),
      [2, 0, 1, 1]
    )
  })

  it("fault 81: takes no more peers from one host than one may announce, until they are over", () => {
    const store = make({ storedPeersPerHost: 3 })
    const add = (number: number, host: string, now = 0) =>
      PeerStore.add(store, hash(number), { host, port: 1 + number }, false, now)

    assert.deepStrictEqual(
      [1, 2, 3, 4].map((number) => add(number, "20.1.1.1")),
      [true, true, true, false]
    )
    // What is there may be announced again.
    assert.isTrue(add(2, "20.1.1.1"))
    assert.isTrue(add(4, "20.1.1.2"))
    // All addresses of an IPv6 network are one host's.
    assert.deepStrictEqual(
      [1, 2, 3, 4].map((number) => add(number, `2001:470::${number}`)),
      [true, true, true, false]
    )
    assert.isTrue(add(4, "20.1.1.1", PeerStore.lifetimeMillis))
  })

  it("fault 81: keeps what others announced while a few public hosts announce all that they may", () => {
    const store = make()
    const numbered = (number: number) => Uint8Array.from({ length: 20 }, (_, index) => number >>> (8 * index))
    for (let number = 0; number < 500; number++) PeerStore.add(store, numbered(number), peer(number), false, 0)

    for (let host = 0; host < 15; host++) {
      for (let number = 0; number < 1_000; number++) {
        PeerStore.add(store, numbered(1_000 * (1 + host) + number), { host: `90.${host}.1.1`, port: 1 }, false, 1)
      }
    }

    const kept = Array.from({ length: 500 }, (_, number) => store.hashes.has(Bytes.toHex(numbered(number))))
    assert.isTrue(kept.every(Boolean))
  })

  it("takes any number of torrents from a host of the local network", () => {
    const store = make()
    const numbered = (number: number) => Uint8Array.from({ length: 20 }, (_, index) => number >>> (8 * index))

    for (const host of ["192.168.1.7", "127.0.0.1"]) {
      const taken = Array.from({ length: 900 }, (_, number) =>
        PeerStore.add(store, numbered(number), { host, port: 1 }, false, 0)
      )
      assert.isTrue(taken.every(Boolean), host)
    }
  })

  it("fault 81: lets a host announce many ports for a torrent without driving out others", () => {
    const store = make()
    for (let index = 0; index < 400; index++) PeerStore.add(store, hash(1), peer(index), false, 0)
    for (let port = 1; port <= 450; port++) PeerStore.add(store, hash(1), { host: "30.1.1.1", port }, false, 0)

    const peers = PeerStore.sample(store, hash(1), {
      count: 1_000,
      noSeeds: false,
      leastReach: "public",
      random: Prng.make(1),
      now: 0
    })
    assert.strictEqual(peers.length, 400 + PeerStore.maxPerHostOfHash)
    assert.strictEqual(store.peers, peers.length)
    assert.strictEqual(store.hosts.get("30.1.1.1"), PeerStore.maxPerHostOfHash)
  })

  it("fault 81: never exceeds its limits, whatever is announced", () => {
    const limits = {
      ...DhtLimits.defaults,
      storedHashes: 4,
      storedPeersPerHash: 3,
      storedPeers: 8,
      storedPeersPerHost: 4
    }
    const announce = fc.record({
      number: fc.nat(8),
      who: fc.nat(6),
      port: fc.integer({ min: 1, max: 3 }),
      isSeed: fc.boolean(),
      wait: fc.constantFrom(0, 1, 600_000, 2_000_000)
    })
    fc.assert(
      fc.property(fc.array(announce, { maxLength: 80 }), (announces) => {
        const store = PeerStore.make(limits)
        let now = 0
        for (const { isSeed, number, port, wait, who } of announces) {
          now += wait
          const isTaken = PeerStore.add(store, hash(number), peer(who, port), isSeed, now)

          const sizes = [...store.hashes.values()].map(({ size }) => size)
          const perHost = new Map<string, number>()
          for (const peers of store.hashes.values()) {
            for (const { host } of peers.values()) perHost.set(host, (perHost.get(host) ?? 0) + 1)
          }
          assert.isAtMost(store.hashes.size, limits.storedHashes)
          assert.isAtMost(Math.max(0, ...sizes), limits.storedPeersPerHash)
          assert.strictEqual(
            store.peers,
            sizes.reduce((sum, size) => sum + size, 0)
          )
          assert.isAtMost(store.peers, limits.storedPeers)
          assert.deepStrictEqual(store.hosts, perHost)
          assert.isAtMost(Math.max(0, ...perHost.values()), limits.storedPeersPerHost)
          if (isTaken) assert.include(portsOf(store, number, now), port)
          if (wait === 600_000) PeerStore.expire(store, now)
        }
      })
    )
  })
})
