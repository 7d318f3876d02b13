import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as DhtProgram from "../../../src/discovery/dht/DhtProgram.ts"
import type { DhtStatus } from "../../../src/discovery/dht/DhtStatus.ts"
import * as Krpc from "../../../src/discovery/dht/Krpc.ts"
import * as NodeId from "../../../src/discovery/dht/NodeId.ts"
import * as Reachability from "../../../src/discovery/dht/Reachability.ts"
import * as MemoryUdpNetwork from "../../../src/testing/MemoryUdpNetwork.ts"
import { hostOf, port, start, startAt, startMany } from "./dhtHosts.ts"

const infoHash = InfoHash.fromHex("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")!

/** The local addresses of a program, in networks of their own. */
const ours = [60, 61, 62].map(hostOf)

const bootstrap = [{ host: hostOf(0), port }]

const statusesOf = ({ ipv4, ipv6, others = [] }: DhtStatus) =>
  [ipv4, ipv6, ...others].filter((status) => status !== undefined)

/** Runs an effect while time passes. */
const during = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust("2 minutes")
    return yield* Fiber.join(fiber)
  })

const network = MemoryUdpNetwork.layer({ latency: "50 millis" })

describe("BEP 45: Dht at several local addresses", () => {
  it.effect("has a node at each, whose id suits its address and so is no other's", () =>
    Effect.gen(function* () {
      yield* startMany(20)
      const dht = yield* startAt(ours, { bootstrap })
      yield* TestClock.adjust("5 minutes")

      const nodes = statusesOf(yield* dht.status)

      assert.deepStrictEqual(
        nodes.map(({ local }) => local),
        ours.map((host) => ({ host, port }))
      )
      const ids = nodes.map(({ id }) => Bytes.fromHex(id)!)
      for (const [index, { externalHost, goodNodes }] of nodes.entries()) {
        assert.strictEqual(externalHost, ours[index])
        assert.isTrue(NodeId.suits(ids[index]!, ours[index]!))
        assert.isAtLeast(goodNodes, 8)
        for (const other of ids.slice(0, index)) assert.isBelow(NodeId.sharedBits(ids[index]!, other), 21)
      }
      assert.strictEqual(dht.portUnsafe("ipv4"), port)
      assert.isUndefined(dht.portUnsafe("ipv6"))
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("announces each address, asks from one after the other, and announces with the tokens of each", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const nodes = yield* startMany(20)
      const passes = (host: string, payload: Uint8Array) => {
        const message = Krpc.decode(payload)
        const question = message._tag === "Success" && message.success._tag === "Query" && message.success.question
        if (question && (question._tag === "get_peers" || question._tag === "announce_peer")) asked.push(host)
        return true
      }
      const dht = yield* startAt(ours, { bootstrap, passes })
      yield* TestClock.adjust("5 minutes")

      const announced = yield* during(dht.announce(infoHash, { port: 7000 }))
      const turns = asked.filter((host, index) => host !== asked[index - 1])
      const found = yield* during(Stream.runCollect(nodes[9]!.peers(infoHash)))

      assert.strictEqual(announced.nodes, 8 * ours.length)
      assert.deepStrictEqual(turns, ours)
      assert.sameDeepMembers(
        found.flatMap(({ peers }) => peers),
        ours.map((host) => ({ host, port: 7000 }))
      )
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("finds the peers of others, each once, although its first address is cut off", () =>
    Effect.gen(function* () {
      const nodes = yield* startMany(20)
      yield* during(nodes[3]!.announce(infoHash, { port: 7000 }))
      const dht = yield* startAt(ours, { bootstrap, passes: (host) => host !== ours[0] })
      yield* TestClock.adjust("5 minutes")

      const found = yield* during(Stream.runCollect(dht.peers(infoHash)))

      assert.deepStrictEqual(
        found.flatMap(({ peers }) => peers),
        [{ host: hostOf(3), port: 7000 }]
      )
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("answers from the address that was asked, with the id of the node there", () =>
    Effect.gen(function* () {
      const dht = yield* startAt(ours, { bootstrap: [], nodeId: new Uint8Array(20).fill(7) })
      yield* TestClock.adjust("1 second")
      const { host } = yield* MemoryUdpNetwork.MemoryUdpNetwork
      const stranger = yield* host(hostOf(0)).bind({ host: hostOf(0), port })
      const answers = new Map<string, string>()
      stranger.receiveUnsafe((payload, from) => {
        const message = Krpc.decode(payload)
        if (message._tag === "Success" && message.success._tag === "Response") {
          answers.set(from.host, Bytes.toHex(message.success.id))
        }
      })

      for (const host of ours) {
        const query = { transaction: Uint8Array.of(1), id: NodeId.random(() => 0.3), isReadOnly: true }
        stranger.sendUnsafe(Krpc.encodeQuery({ ...query, question: { _tag: "ping" } }), { host, port })
      }
      yield* TestClock.adjust("1 second")

      const ids = statusesOf(yield* dht.status).map(({ id, local }) => [local.host, id] as const)
      assert.deepStrictEqual([...answers], ids)
      // Of a given id, apart in the first bits.
      assert.deepStrictEqual(
        ids.map(([, id]) => id),
        ["07", "87", "47"].map((first) => `${first}${"07".repeat(19)}`)
      )
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("has no more nodes of a family than the limit", () =>
    Effect.gen(function* () {
      const hosts = Array.from({ length: 20 }, (_, index) => hostOf(60 + index))
      const dht = yield* startAt([...hosts, "2001:db8::1"], { bootstrap: [] })
      yield* TestClock.adjust("1 second")

      const status = yield* dht.status

      assert.strictEqual(statusesOf(status).length, DhtProgram.maxNodesOfFamily + 1)
      assert.strictEqual(status.ipv6?.local.host, "2001:db8::1")
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("tells every node that knows few of a node that is added", () =>
    Effect.gen(function* () {
      yield* start(hostOf(1), { bootstrap: [] })
      const dht = yield* startAt(ours, { bootstrap: [] })

      yield* dht.addNode({ host: hostOf(1), port })
      yield* TestClock.adjust("1 minute")

      for (const { nodes } of statusesOf(yield* dht.status)) assert.isAtLeast(nodes, 1)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("notices that it is cut off, although its nodes reach each other", () =>
    Effect.gen(function* () {
      const others = yield* Scope.make()
      yield* Scope.provide(startMany(20), others)
      const dht = yield* startAt(ours, { bootstrap })
      yield* TestClock.adjust("15 minutes")
      const before = statusesOf(yield* dht.status).map(({ nodes }) => nodes)

      yield* Scope.close(others, Exit.void)
      const { nodes: taken } = yield* during(dht.announce(infoHash, { port: 7000 }))
      yield* TestClock.adjust("30 minutes")

      assert.strictEqual(taken, 0)
      // Nobody else is to blame that nothing comes.
      assert.deepStrictEqual(
        statusesOf(yield* dht.status).map(({ nodes }) => nodes),
        before
      )
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("uses none of its own nodes, and does not take them for somebody who reaches it", () =>
    Effect.gen(function* () {
      const dht = yield* startAt(ours, { bootstrap: ours.map((host) => ({ host, port })) })
      yield* TestClock.adjust("1 second")
      yield* dht.addNode({ host: ours[0]!, port })
      yield* TestClock.adjust("1 minute")
      const early = statusesOf(yield* dht.status)
      yield* TestClock.adjust(Reachability.memoryMillis)
      const late = statusesOf(yield* dht.status)

      assert.isTrue(early.every(({ nodes, traffic }) => nodes === 0 && traffic.queriesReceived === 0))
      for (const { isReachable } of early) assert.isUndefined(isReachable)
      for (const { isReachable } of late) assert.isFalse(isReachable)
    }).pipe(Effect.scoped, Effect.provide(network))
  )

  it.effect("does not take another program on its machine for somebody who reaches it", () =>
    Effect.gen(function* () {
      const dht = yield* startAt(ours, { bootstrap: [] })
      const { host } = yield* MemoryUdpNetwork.MemoryUdpNetwork
      const program = yield* host(ours[0]!).bind({ host: ours[0]!, port: 7000 })
      const query = { transaction: Uint8Array.of(1), id: NodeId.random(() => 0.3), isReadOnly: true }
      yield* TestClock.adjust("1 second")
      program.sendUnsafe(Krpc.encodeQuery({ ...query, question: { _tag: "ping" } }), { host: ours[1]!, port })
      yield* TestClock.adjust("1 second")

      const [, asked] = statusesOf(yield* dht.status)

      assert.strictEqual(asked!.traffic.queriesReceived, 1)
      assert.isUndefined(asked!.isReachable)
    }).pipe(Effect.scoped, Effect.provide(network))
  )
})
