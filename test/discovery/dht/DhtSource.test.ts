import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import type { InfoHash } from "../../../src/base/InfoHash.ts"
import * as DhtSource from "../../../src/discovery/dht/DhtSource.ts"
import type { PeerSourceContext, PeerSourceEvent } from "../../../src/discovery/PeerSource.ts"
import * as PeerSourceSuite from "../../../src/testing/suite/PeerSourceSuite.ts"
import { listeningPort, peerSourceContext } from "../peerSourceContext.ts"
import * as FakeDht from "./fakeDht.ts"

const peer = (last: number) => ({ host: `192.0.2.${last}`, port: 6_881 })

const infoHash = new Uint8Array(20).fill(1) as InfoHash

describe("DhtSource", () => {
  for (const { name, run } of PeerSourceSuite.cases({
    source: DhtSource.of(FakeDht.make([peer(1)]).service),
    infoHash
  })) {
    it.effect(name, () => run)
  }

  /** Runs the source until the scope closes. Returns its events. */
  const begin = Effect.fnUntraced(function* (dht: FakeDht.FakeDht, own: Partial<PeerSourceContext>) {
    const events: Array<PeerSourceEvent> = []
    const fiber = yield* DhtSource.of(dht.service)
      .peers(peerSourceContext(own))
      .pipe(
        Stream.runForEach((event) => Effect.sync(() => void events.push(event))),
        Effect.forkScoped
      )
    yield* TestClock.adjust(0)
    return { events, fiber }
  })

  it.effect("reports what each node knows, and that nobody knows anything", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make([peer(1), peer(2)], [peer(3)])
      const { events } = yield* begin(dht, { hasFew: () => true })
      dht.reports = []
      yield* TestClock.adjust("20 seconds")

      assert.deepStrictEqual(events, [
        { _tag: "Peers", source: "DHT", addresses: [peer(1), peer(2)], from: FakeDht.node.host },
        { _tag: "Peers", source: "DHT", addresses: [peer(3)], from: FakeDht.node.host },
        { _tag: "Peers", source: "DHT", addresses: [] }
      ])
    })
  )

  it.effect("announces the port, then another one when it changes, and the completion", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make()
      const port = listeningPort(6_881)
      let left = 1
      const facts = () => ({ uploaded: 0, downloaded: 1, left })
      yield* begin(dht, { port, facts, hasFew: () => false })
      yield* SubscriptionRef.set(port, 7_000)
      yield* TestClock.adjust("20 seconds")
      left = 0
      yield* TestClock.adjust("20 seconds")

      assert.deepStrictEqual(
        dht.lookups.map(({ announce, noSeeds }) => ({ announce, noSeeds })),
        [
          { announce: { port: 6_881, isSeed: false }, noSeeds: false },
          { announce: { port: 7_000, isSeed: false }, noSeeds: false },
          { announce: { port: 7_000, isSeed: true }, noSeeds: true }
        ]
      )
    })
  )

  it.effect("announces a torrent that was complete from the start as a seed", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make()
      yield* begin(dht, { port: listeningPort(6_881), facts: () => ({ uploaded: 0, downloaded: 0, left: 0 }) })

      assert.deepStrictEqual(
        dht.lookups.map(({ announce }) => announce),
        [{ port: 6_881, isSeed: true }]
      )
    })
  )

  it.effect("fault 38: neither looks up nor announces a private torrent, and asks none of its nodes", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make([peer(1)])
      const { events, fiber } = yield* begin(dht, {
        isPrivate: true,
        port: listeningPort(6_881),
        nodes: [peer(9)],
        hasFew: () => true
      })
      yield* TestClock.adjust("1 hour")

      assert.isDefined(fiber.pollUnsafe())
      assert.deepStrictEqual<unknown>([events, dht.lookups, dht.nodes], [[], [], []])
    })
  )

  it.effect("asks the nodes that a torrent names", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make()
      yield* begin(dht, { nodes: [peer(8), peer(9)] })

      assert.deepStrictEqual(dht.nodes, [peer(8), peer(9)])
    })
  )

  it.effect("says after ten seconds that no node answers, and goes on as soon as one does", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make()
      dht.knownNodes = 0
      const { events } = yield* begin(dht, { hasFew: () => true })
      yield* TestClock.adjust("9 seconds")
      const before = [...events]
      yield* TestClock.adjust("10 seconds")
      const late = [...events]
      dht.knownNodes = 8
      dht.reports = [[peer(1)]]
      yield* TestClock.adjust("20 seconds")

      assert.deepStrictEqual(before, [])
      assert.deepStrictEqual(late, [{ _tag: "Failed", source: "DHT", why: "no node of the DHT answers" }])
      assert.deepStrictEqual(events.at(-1), {
        _tag: "Peers",
        source: "DHT",
        addresses: [peer(1)],
        from: FakeDht.node.host
      })
    })
  )

  it.effect("says that no node takes the announce, tries again, and answers once one has taken it", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make()
      dht.takingNodes = 0
      const { events } = yield* begin(dht, { port: listeningPort(6_881), hasFew: () => false })
      yield* TestClock.adjust("20 seconds")
      const before = [...events]
      dht.takingNodes = 1
      dht.reports = [[peer(1)]]
      yield* TestClock.adjust("1 minute")
      const lookups = dht.lookups.length
      yield* TestClock.adjust("10 minutes")

      assert.deepStrictEqual<unknown>(before, [
        { _tag: "Peers", source: "DHT", addresses: [] },
        { _tag: "Failed", source: "DHT", why: DhtSource.notTaken }
      ])
      assert.deepStrictEqual<unknown>(events.slice(2), [
        { _tag: "Peers", source: "DHT", addresses: [peer(1)], from: FakeDht.node.host }
      ])
      assert.isTrue(dht.lookups.every(({ announce }) => announce !== undefined))
      assert.deepStrictEqual([lookups, dht.lookups.length], [3, 3])
    })
  )

  it.effect("does not count nodes that are known and do not answer", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make()
      const source = DhtSource.of({
        ...dht.service,
        peers: (infoHash, options) =>
          dht.service.peers(infoHash, { ...options, onEnd: () => options?.onEnd?.({ answered: 0, announced: 0 }) })
      })
      const events: Array<PeerSourceEvent> = []
      yield* source.peers(peerSourceContext({ port: listeningPort(6_881) })).pipe(
        Stream.runForEach((event) => Effect.sync(() => void events.push(event))),
        Effect.forkScoped
      )
      yield* TestClock.adjust("20 seconds")

      assert.deepStrictEqual(events, [{ _tag: "Failed", source: "DHT", why: DhtSource.noNodes }])
      assert.strictEqual(dht.lookups.length, 5)
    })
  )

  it.effect("leaves no lookup behind when it is interrupted", () =>
    Effect.gen(function* () {
      const dht = FakeDht.make([peer(1)])
      const source = DhtSource.of({
        ...dht.service,
        peers: (...asked) => Stream.concat(dht.service.peers(...asked), Stream.never)
      })
      const fiber = yield* Effect.forkChild(Stream.runDrain(source.peers(peerSourceContext())))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.interrupt(fiber)

      assert.strictEqual(dht.lookups.length, 1)
      assert.strictEqual(dht.running, 0)
    })
  )
})
