import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import type * as Dht from "../../../src/discovery/dht/Dht.ts"
import * as DhtStore from "../../../src/discovery/dht/DhtStore.ts"
import { ConnectionError } from "../../../src/network/Transport.ts"
import * as MemoryUdpNetwork from "../../../src/testing/MemoryUdpNetwork.ts"
import { hostOf, port, start, startAt, startMany } from "./dhtHosts.ts"

const infoHash = InfoHash.fromHex("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")!

/** Runs an effect while time passes. */
const during = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

/** The result of an effect that must have ended by now. */
const resultOf = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> => {
  const exit = fiber.pollUnsafe()
  assert(exit !== undefined, "it has not ended")
  return Effect.suspend(() => exit)
}

const both = { concurrency: "unbounded" } as const

const network = MemoryUdpNetwork.layer({ latency: "50 millis" })

describe("Dht", () => {
  it.effect("finds the peer that another node announced", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(20)

      const announced = yield* during(nodes[3]!.announce(infoHash, { port: 7000 }))
      const found = yield* during(Stream.runCollect(nodes[15]!.peers(infoHash)))

      assert.strictEqual(announced.nodes, 8)
      assert.deepStrictEqual(
        found.flatMap(({ peers }) => peers),
        [{ host: hostOf(3), port: 7000 }]
      )
      const others = Array.from({ length: 20 }, (_, index) => hostOf(index))
      for (const { from } of found) assert.include(others, from.host)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("announces at the end of a search, with the port that the datagrams come from", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(12)

      yield* during(Stream.runDrain(nodes[1]!.peers(infoHash, { announce: { port: 1, impliedPort: true } })))
      const found = yield* during(Stream.runCollect(nodes[2]!.peers(infoHash)))

      assert.deepStrictEqual(
        found.flatMap(({ peers }) => peers),
        [{ host: hostOf(1), port }]
      )
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("says how many nodes answered a search, and how many took the announce", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(12)
      const alone = yield* start(hostOf(40), { bootstrap: [{ host: hostOf(41), port }] })
      const search = Effect.fnUntraced(function* (node: Dht.Dht["Service"], announce?: Dht.DhtAnnounce) {
        const ends: Array<Dht.LookupEnd> = []
        const onEnd = (end: Dht.LookupEnd) => void ends.push(end)
        yield* during(Stream.runDrain(node.peers(infoHash, { announce, onEnd })))
        assert.strictEqual(ends.length, 1)
        return ends[0]!
      })

      const announced = yield* search(nodes[1]!, { port: 7000 })
      const only = yield* search(nodes[1]!)
      const nobody = yield* search(alone, { port: 7000 })

      assert.strictEqual(announced.announced, 8)
      assert.isAtLeast(announced.answered, 8)
      assert.strictEqual(only.announced, 0)
      assert.isAtLeast(only.answered, 8)
      assert.deepStrictEqual(nobody, { answered: 0, announced: 0 })
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("estimates how many seeds and downloaders there are", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(30)
      for (const [index, node] of nodes.entries()) {
        if (index < 20) yield* during(node.announce(infoHash, { port: 7000, isSeed: index < 5 }))
      }

      const { downloaders, nodes: answers, seeds } = yield* during(nodes[25]!.scrape(infoHash))

      assert.strictEqual(seeds, 5)
      assert.strictEqual(downloaders, 15)
      assert.isAtLeast(answers, 8)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("ends at once, with nothing, if it knows nobody", () =>
    Effect.gen(function* () {
      const node = yield* start(hostOf(0), { bootstrap: [] })

      const found = yield* during(Stream.runCollect(node.peers(infoHash)))
      const announced = yield* during(node.announce(infoHash, { port: 7000 }))
      const scraped = yield* during(node.scrape(infoHash))

      assert.deepStrictEqual(found, [])
      assert.deepStrictEqual(announced, { nodes: 0 })
      assert.deepStrictEqual(scraped, { seeds: 0, downloaders: 0, nodes: 0, answered: 0 })
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("finds peers of both families, each over its own", () =>
    Effect.gen(function* () {
      const host6 = (number: number) => `2001:${(0x400 + number * 3).toString(16)}::1`
      const bootstrap = [
        { host: hostOf(0), port },
        { host: host6(0), port }
      ]
      const nodes = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, index) => index),
        (index) => start(hostOf(index), { other: host6(index), bootstrap: index === 0 ? [] : bootstrap })
      )
      yield* TestClock.adjust("3 minutes")

      const announced = yield* during(nodes[1]!.announce(infoHash, { port: 7000 }))
      const found = yield* during(Stream.runCollect(nodes[9]!.peers(infoHash)))
      const status = yield* nodes[9]!.status

      assert.isAtLeast(announced.nodes, 16)
      assert.sameDeepMembers(
        found.flatMap(({ peers }) => peers),
        [
          { host: hostOf(1), port: 7000 },
          { host: host6(1), port: 7000 }
        ]
      )
      assert.isAtLeast(status.ipv4!.goodNodes, 8)
      assert.isAtLeast(status.ipv6!.goodNodes, 8)
      assert.strictEqual(status.ipv4!.externalHost, hostOf(9))
      assert.strictEqual(status.ipv6!.externalHost, host6(9))
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("learns nodes of the other family from those of one (BEP 32)", () =>
    Effect.gen(function* () {
      const host6 = (number: number) => `2001:${(0x400 + number * 3).toString(16)}::1`
      const nodes = yield* Effect.forEach(
        Array.from({ length: 10 }, (_, index) => index),
        (index) =>
          start(hostOf(index), {
            other: host6(index),
            bootstrap:
              index === 0
                ? []
                : [
                    { host: hostOf(0), port },
                    { host: host6(0), port }
                  ]
          })
      )
      yield* TestClock.adjust("3 minutes")

      // It knows an IPv4 node alone.
      const late = yield* start(hostOf(20), { other: host6(20), bootstrap: [{ host: hostOf(0), port }] })
      yield* TestClock.adjust("3 minutes")
      yield* during(Stream.runDrain(late.peers(infoHash)))

      assert.isAtLeast((yield* late.status).ipv6!.nodes, 1)
      assert.strictEqual(nodes.length, 10)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("keeps its id and its nodes from one run to the next, and joins without a router", () =>
    Effect.gen(function* () {
      yield* startMany(15)
      const store = DhtStore.layerMemory()
      const memory = yield* Layer.build(store)
      const shared = Layer.succeedContext(memory)
      const first = yield* Effect.scoped(
        Effect.gen(function* () {
          const node = yield* start(hostOf(40), { bootstrap: [{ host: hostOf(0), port }], store: shared })
          yield* TestClock.adjust("3 minutes")
          return yield* node.status
        })
      )
      yield* TestClock.adjust("5 minutes")

      const again = yield* start(hostOf(40), { bootstrap: [], store: shared })
      yield* TestClock.adjust("10 seconds")

      const { ipv4 } = yield* again.status
      assert.strictEqual(ipv4!.id, first.ipv4!.id)
      assert.isAtLeast(ipv4!.nodes, 8)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("keeps what was saved of a family that it does not use", () =>
    Effect.gen(function* () {
      const ipv6 = { id: "6".repeat(40), nodes: [{ host: "2001:db8::1", port }] }
      const memory = yield* Layer.build(DhtStore.layerMemory({ ipv6 }))
      const store = Layer.succeedContext(memory)
      yield* startMany(10)

      yield* Effect.scoped(
        Effect.andThen(
          startAt([hostOf(40)], { bootstrap: [{ host: hostOf(0), port }], store }),
          TestClock.adjust("3 minutes")
        )
      )

      const saved = yield* Context.get(memory, DhtStore.DhtStore).load
      assert.isAtLeast(saved!.ipv4!.nodes.length, 8)
      assert.deepStrictEqual(saved!.ipv6, ipv6)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("works on without what its store has lost, or cannot keep", () =>
    Effect.gen(function* () {
      const broken = Layer.succeed(
        DhtStore.DhtStore,
        DhtStore.DhtStore.of({
          load: Effect.fail(new DhtStore.DhtStoreError({ operation: "load", why: "the disk is gone" })),
          save: () => Effect.fail(new DhtStore.DhtStoreError({ operation: "save", why: "the disk is full" }))
        })
      )
      yield* startMany(10)

      const node = yield* start(hostOf(40), { bootstrap: [{ host: hostOf(0), port }], store: broken })
      yield* TestClock.adjust("11 minutes")

      assert.isAtLeast((yield* node.status).ipv4!.nodes, 8)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("does not save over what it could not load", () =>
    Effect.gen(function* () {
      let saves = 0
      const unread = Layer.succeed(
        DhtStore.DhtStore,
        DhtStore.DhtStore.of({
          load: Effect.fail(new DhtStore.DhtStoreError({ operation: "load", why: "it is of a later version" })),
          save: () => Effect.sync(() => void saves++)
        })
      )
      yield* startMany(10)

      yield* Effect.scoped(
        Effect.andThen(
          start(hostOf(40), { bootstrap: [{ host: hostOf(0), port }], store: unread }),
          TestClock.adjust("11 minutes")
        )
      )

      assert.strictEqual(saves, 0)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("takes in a node that is added, if it answers", () =>
    Effect.gen(function* () {
      const one = yield* start(hostOf(0), { bootstrap: [] })
      yield* start(hostOf(1), { bootstrap: [] })

      // Before there is a socket, to nobody, and to a name that cannot be resolved.
      yield* one.addNode({ host: hostOf(1), port })
      yield* one.addNode({ host: hostOf(2), port })
      yield* one.addNode({ host: "node.example", port })
      yield* TestClock.adjust("1 minute")

      const { ipv4 } = yield* one.status
      assert.strictEqual(ipv4!.nodes, 1)
      assert.isAtLeast(ipv4!.traffic.queriesUnanswered, 2)
      assert.strictEqual(one.portUnsafe("ipv4"), port)
      assert.isUndefined(one.portUnsafe("ipv6"))
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("fault 79: asks a node that is added only if whoever named it may name its address", () =>
    Effect.gen(function* () {
      const hosts = ["10.0.0.2", "192.168.1.2", "100.64.0.9", "169.254.7.7", "127.0.0.2"]
      for (const host of hosts) yield* start(host, { bootstrap: [] })
      const asked = Effect.fnUntraced(function* (host: string, from: string | undefined, named: PeerAddress) {
        const lookup = () => Effect.succeed([named])
        const node = yield* start(host, { bootstrap: [], lookup })
        yield* TestClock.adjust("1 second")
        yield* node.addNode(named, { from })
        yield* node.addNode({ host: "node.example", port }, { from })
        yield* TestClock.adjust("1 second")
        const { queriesSent } = (yield* node.status).ipv4!.traffic
        return queriesSent > 0
      })

      const byAnybody = yield* Effect.forEach(hosts, (host, index) => asked(hostOf(index), undefined, { host, port }))
      const from = ["10.0.0.9", "10.0.0.9", "10.0.0.9", "10.0.0.9", "127.0.0.1"]
      const fromThere = yield* Effect.forEach(hosts, (host, index) =>
        asked(hostOf(20 + index), from[index], { host, port })
      )
      const fromAround = yield* asked(hostOf(40), "10.0.0.9", { host: "127.0.0.2", port })

      assert.deepStrictEqual(byAnybody, [false, false, false, false, false])
      assert.deepStrictEqual(fromThere, [true, true, true, true, true])
      assert.isFalse(fromAround)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("resolves the names of routers again, as after a start without a network", () =>
    Effect.gen(function* () {
      yield* startMany(10)
      let tries = 0
      const bootstrap = [{ host: "router.example", port }]
      const lookup = () =>
        Effect.suspend(() =>
          ++tries < 3
            ? Effect.fail(new ConnectionError({ address: bootstrap[0]!, why: "there is no network" }))
            : Effect.succeed([{ host: hostOf(0), port }])
        )

      const late = yield* start(hostOf(40), { bootstrap, lookup })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* late.status).ipv4!.nodes, 0)
      yield* TestClock.adjust("5 minutes")

      assert.isAtLeast((yield* late.status).ipv4!.nodes, 8)
      assert.strictEqual(tries, 3)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("searches as soon as a saved node answers, while names of routers are still looked up", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(12)
      yield* during(nodes[1]!.announce(infoHash, { port: 7000 }))
      const known = {
        id: "00".repeat(20),
        nodes: Array.from({ length: 8 }, (_, index) => ({ host: hostOf(index), port }))
      }
      const node = yield* start(hostOf(40), {
        bootstrap: [{ host: "router.example", port }],
        lookup: () => Effect.never,
        store: DhtStore.layerMemory({ ipv4: known })
      })
      const scraping = yield* Effect.forkChild(node.scrape(infoHash))
      yield* TestClock.adjust("3 seconds")

      const { answered, downloaders } = yield* resultOf(scraping)
      assert.isAtLeast(answered, 8)
      assert.strictEqual(downloaders, 1)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("asks routers that are known while names of others are still looked up", () =>
    Effect.gen(function* () {
      yield* startMany(12)
      const addresses = new Map([["quick.example", hostOf(0)]])
      const lookup = ({ host }: PeerAddress) => {
        const known = addresses.get(host)
        return known === undefined ? Effect.never : Effect.succeed([{ host: known, port }])
      }
      const names = ["slow.example", "slower.example", "dead.example", "silent.example"]
      const slow = names.map((host) => ({ host, port }))
      const named = yield* start(hostOf(40), { bootstrap: [{ host: "quick.example", port }, ...slow], lookup })
      const numbered = yield* start(hostOf(41), { bootstrap: [...slow, { host: hostOf(0), port }], lookup })
      const scraping = yield* Effect.forkChild(
        Effect.all(
          [named, numbered].map((node) => node.scrape(infoHash)),
          both
        )
      )
      yield* TestClock.adjust("3 seconds")

      for (const { answered } of yield* resultOf(scraping)) assert.isAtLeast(answered, 8)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("asks a router that is found while a search asks dead nodes", () =>
    Effect.gen(function* () {
      yield* startMany(12)
      const lookup = () => Effect.delay(Effect.succeed([{ host: hostOf(0), port }]), "2 seconds")
      const bootstrap = [
        { host: hostOf(50), port },
        { host: "router.example", port }
      ]
      const node = yield* start(hostOf(40), { bootstrap, lookup })
      yield* TestClock.adjust("4 seconds")

      assert.isAtLeast((yield* node.status).ipv4!.nodes, 8)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("asks few of the nodes that are added in a flood", () =>
    Effect.gen(function* () {
      const one = yield* start(hostOf(0), { bootstrap: [] })
      yield* TestClock.adjust("1 second")
      for (let index = 1; index < 200; index++) yield* one.addNode({ host: hostOf(index), port })

      assert.isAtMost((yield* one.status).ipv4!.traffic.queriesSent, 20)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("stops a search that nobody waits for any more", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(10)
      const fiber = yield* Effect.forkChild(Stream.runDrain(nodes[1]!.peers(infoHash)))
      yield* TestClock.adjust("20 millis")
      assert.strictEqual((yield* nodes[1]!.status).ipv4!.lookups, 1)

      yield* Fiber.interrupt(fiber)

      assert.strictEqual((yield* nodes[1]!.status).ipv4!.lookups, 0)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("answers nobody, and is in no table, if it is read-only (BEP 43)", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(10)
      const reader = yield* start(hostOf(40), { bootstrap: [{ host: hostOf(0), port }], isReadOnly: true })
      yield* TestClock.adjust("3 minutes")
      yield* during(nodes[3]!.announce(infoHash, { port: 7000 }))

      const found = yield* during(Stream.runCollect(reader.peers(infoHash)))

      assert.strictEqual(found.flatMap(({ peers }) => peers).length, 1)
      const { ipv4, isReadOnly } = yield* reader.status
      assert.deepStrictEqual([isReadOnly, ipv4!.traffic.answersSent], [true, 0])
      for (const node of nodes) assert.isAtMost((yield* node.status).ipv4!.nodes, 9)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("ends a search when its scope closes, for whoever waits in a longer one, and later ones at once", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const node = yield* Scope.provide(start(hostOf(0), { bootstrap: [{ host: hostOf(1), port }] }), scope)
      yield* TestClock.adjust("1 minute")
      const fiber = yield* Effect.forkChild(Stream.runCollect(node.peers(infoHash)))
      yield* TestClock.adjust("100 millis")
      assert.isUndefined(fiber.pollUnsafe())

      yield* Scope.close(scope, Exit.void)

      assert.deepStrictEqual(yield* Fiber.join(fiber), [])
      assert.deepStrictEqual(yield* Stream.runCollect(node.peers(infoHash)), [])
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("leaves nothing behind when its scope closes", () =>
    Effect.gen(function* () {
      const counted = yield* Effect.scoped(
        Effect.gen(function* () {
          const node: Dht.Dht["Service"] = yield* start(hostOf(0), { bootstrap: [{ host: hostOf(1), port }] })
          yield* TestClock.adjust("1 minute")
          return node
        })
      )
      const before = (yield* counted.status).isReadOnly
      yield* TestClock.adjust("1 hour")

      assert.isFalse(before)
      // The port is free again.
      const next = yield* start(hostOf(0), { bootstrap: [] })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(next.portUnsafe("ipv4"), port)
    }).pipe(Effect.scoped, Effect.provide(network))
  )
})
