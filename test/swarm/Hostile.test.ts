import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Dialer, Listener } from "../../src/network/Transport.ts"
import type * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import { requestsCounted } from "../peer/protocols.ts"
import { layer, pass, serve, torrent } from "../peer/sessions.ts"
import { at, startWhole } from "./swarms.ts"

type Services = Dialer | Listener | MemoryNetwork.MemoryNetwork | Scope.Scope

const test = (name: string, body: () => Generator<Effect.Effect<unknown, unknown, Services>, void, never>) =>
  it.effect(name, () => Effect.provide(Effect.gen(body), layer({ link: { latency: "5 millis" } })))

/** Scripted seeds on hosts 1, 2, ... */
const serveAll = (known: Parameters<typeof serve>[0], behaviours: ReadonlyArray<PeerBehaviour>) =>
  Effect.forEach(behaviours, (behaviour, index) => serve(known, at(index + 1), { seed: index + 1, ...behaviour }))

const all = (behaviours: ReadonlyArray<unknown>) => behaviours.map((_, index) => at(index + 1))

const bans = (facts: ReadonlyArray<string>) =>
  facts.filter((fact) => fact.startsWith("!")).map((fact) => fact.slice(1).split(" ")[0])

/** Slow enough that several peers share a piece. */
const slow = { bytesPerSecond: 40_000 } as const

describe("a swarm with hostile peers", () => {
  test("fault 40: bans the only liar among many once the piece passes, and nobody else", function* () {
    // Pieces of 64 blocks, so that every peer contributes to both.
    const known = yield* torrent(2, 1_048_576)
    const behaviours = [slow, slow, { ...slow, corrupts: "every block" }, slow, slow] as const
    yield* serveAll(known, behaviours)
    const { assembly, facts, isRight, rejected, swarm } = yield* startWhole(known)

    yield* swarm.add(all(behaviours))
    yield* pass(180)

    assert.deepStrictEqual([isRight(), bans(facts)], [true, ["10.0.0.3"]])
    assert.isAbove(rejected.length, 0)
    assert.deepStrictEqual([assembly.table.counts.stored, assembly.pool.loans.size], [2, 0])
  })

  test("fault 40: bans a peer at once that sent a wrong piece alone, because another has that piece", function* () {
    const known = yield* torrent(4)
    yield* serveAll(known, [{ corrupts: "every block" }, { unchokes: "never" }])
    const { facts, stored, swarm } = yield* startWhole(known)

    yield* swarm.add([at(1), at(2)])
    yield* pass(5)

    assert.deepStrictEqual(bans(facts), ["10.0.0.1"])
    assert.isFalse([0, 1, 2, 3].some((piece) => stored().writes(piece) > 0))
  })

  test("fault 41: bans the liar and not the honest peers of the same host", function* () {
    const known = yield* torrent(2, 1_048_576)
    const honest = yield* Effect.forEach([1, 2, 3], (port) => serve(known, at(1, port), { ...slow, seed: port }))
    const liar = yield* serve(known, at(1, 9), { ...slow, seed: 9, corrupts: "every block" })
    const { facts, isRight, swarm } = yield* startWhole(known)

    yield* swarm.add([1, 2, 3, 9].map((port) => at(1, port)))
    yield* pass(180)

    assert.deepStrictEqual([isRight(), swarm.counts().banned], [true, 1])
    assert.deepStrictEqual([liar.counters.openConnections, bans(facts).length], [0, 1])
    assert.deepStrictEqual(
      honest.map(({ counters }) => counters.complaints),
      [[], [], []]
    )
  })

  test("fault 43: stores no part of a piece whose last block is wrong", function* () {
    const known = yield* torrent(4)
    const behaviours = [{ corrupts: "last block" }, {}] as const
    yield* serveAll(known, behaviours)
    const { facts, isRight, stored, swarm } = yield* startWhole(known)
    yield* swarm.add([at(1)])
    yield* pass(3)
    const before = [0, 1, 2, 3].map((piece) => stored().writes(piece))

    yield* swarm.add([at(2)])
    yield* pass(200)

    assert.deepStrictEqual(before, [0, 0, 0, 0])
    assert.deepStrictEqual([isRight(), bans(facts)], [true, ["10.0.0.1"]])
  })

  test("fault 45: downloads from a peer that chokes and unchokes every 100 ms", function* () {
    const known = yield* torrent(4)
    const behaviours = [
      { chokesEvery: "100 millis", bytesPerSecond: 200_000 },
      { chokesEvery: "100 millis", bytesPerSecond: 200_000, features: { fast: false } }
    ] as const
    const peers = yield* serveAll(known, behaviours)
    const { assembly, facts, isRight, swarm } = yield* startWhole(known)

    yield* swarm.add(all(behaviours))
    for (let turn = 0; turn < 300; turn++) yield* pass(1, "100 millis")

    assert.deepStrictEqual([isRight(), bans(facts), requestsCounted(assembly)], [true, [], 0])
    assert.deepStrictEqual(
      peers.flatMap(({ counters }) => counters.complaints),
      []
    )
  })

  test("fault 46: downloads past a peer that has everything and sends nothing", function* () {
    const known = yield* torrent(8)
    const behaviours = [{ stopsAfter: { blocks: 0, how: "stall" } }, slow] as const
    const peers = yield* serveAll(known, behaviours)
    const { facts, isRight, swarm } = yield* startWhole(known)

    yield* swarm.add(all(behaviours))
    yield* pass(40)

    assert.deepStrictEqual([isRight(), bans(facts)], [true, []])
    assert.isAtMost(peers[0]!.counters.requests, 30)
  })

  test("fault 46: disconnects a peer that answers no request for a minute", function* () {
    const known = yield* torrent(8)
    yield* serveAll(known, [{ stopsAfter: { blocks: 0, how: "stall" } }, { pieces: [0] }])
    const { facts, swarm } = yield* startWhole(known, { maxConnections: 1 })

    yield* swarm.add([at(1), at(2)])
    yield* pass(80)

    assert.include(facts, "-10.0.0.1 it sent no requested block for a minute")
    assert.include(facts, "+10.0.0.2")
  })

  test("fault 42: requests damaged pieces rarely from the only peer that has them", function* () {
    const known = yield* torrent(2)
    const behaviours = [1, 2, 3].map(() => ({ ...slow, corrupts: { pieces: [0] } }) as const)
    const peers = yield* serveAll(known, behaviours)
    const { assembly, rejected, swarm } = yield* startWhole(known)

    yield* swarm.add(all(behaviours))
    yield* pass(300)

    assert.strictEqual(assembly.table.counts.stored, 1)
    assert.isAtMost(rejected.length, 12)
    const requests = peers.reduce((sum, { counters }) => sum + counters.requests, 0)
    assert.isAtMost(requests, 200)
  })
})
