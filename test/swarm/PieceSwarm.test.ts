import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scheduler from "effect/Scheduler"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as Callers from "../../src/connect/Callers.ts"
import * as Places from "../../src/connect/Places.ts"
import * as WireMessage from "../../src/testing/WireMessage.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { listen, pass, serve, settle, test, torrent } from "../peer/sessions.ts"
import { at, start } from "./swarms.ts"

const stalls = { stopsAfter: { blocks: 0, how: "stall" } } as const

describe("PieceSwarm", () => {
  test("replaces a peer that is of no use for 2 minutes with one that waits", function* () {
    const known = yield* torrent()
    const choker = yield* serve(known, at(1), { unchokes: "never", seed: 1 })
    const { facts, swarm } = yield* start(known, { maxConnections: 1 })
    yield* swarm.add([at(1)])
    yield* pass(130)
    const alone = choker.counters.openConnections
    yield* serve(known, at(2), { seed: 2 })

    yield* swarm.add([at(2)])
    yield* pass(2)
    const later = [...facts]

    assert.deepStrictEqual(
      [alone, later],
      [1, ["+10.0.0.1", "-10.0.0.1 it was of no use for 2 minutes, and others wait", "+10.0.0.2"]]
    )
  })

  test("reports callers without a handshake, and takes no memory for them or for trackers without peers", function* () {
    const callers = Callers.make()
    const { facts, swarm } = yield* start(yield* torrent(), { callers })
    Callers.note(callers, "10.0.0.1", 0)
    yield* pass(40)
    const early = [...facts]

    Callers.note(callers, "10.0.0.1", 40_000)
    yield* swarm.add([], { voter: "tracker", host: "1.2.3.4" })
    yield* pass(3)

    assert.deepStrictEqual([early, facts, swarm.hasParts()], [[], ["~1"], false])
    yield* swarm.add([at(1)])
    assert.isTrue(swarm.hasParts())
    yield* pass(3)
    assert.strictEqual(facts.filter((fact) => fact.startsWith("~")).length, 1)
  })

  test("keeps a useful peer however many wait", function* () {
    const known = yield* torrent(8)
    const peer = yield* serve(known, at(1), { bytesPerSecond: 1_800 })
    const { swarm } = yield* start(known, { maxConnections: 1 })

    yield* swarm.add([at(1), at(2), at(3)])
    yield* pass(200)

    assert.deepStrictEqual([peer.counters.connections, peer.counters.openConnections], [1, 1])
  })

  test("lets all sessions that are woken together take their turns in one task", function* () {
    let turns = 0
    const scheduler = new Scheduler.MixedScheduler("async", (run) => {
      turns++
      const immediate = setImmediate(run)
      return () => clearImmediate(immediate)
    })
    const known = yield* torrent(1)
    const hosts = [1, 2, 3, 4, 5, 6].map((host) => at(host))
    for (const [index, host] of hosts.entries()) yield* serve(known, host, { ...stalls, seed: index })
    const { assembly, swarm } = yield* Effect.provideService(start(known), Scheduler.Scheduler, scheduler)
    yield* swarm.add(hosts)
    yield* pass(1)
    const idle = assembly.idleSuppliers.size
    turns = 0

    Assembly.wakeIdle(assembly)

    assert.deepStrictEqual([idle, turns], [6, 1])
    yield* settle
    assert.strictEqual(assembly.idleSuppliers.size, 6)
  })

  test("replaces a peer that wants nothing while it seeds, but not one that waits for its turn", function* () {
    const known = yield* torrent()
    const { infoHash } = known.metainfo
    yield* serve(known, at(1), { pieces: [], seed: 1 })
    yield* listen(at(2), (connection) =>
      Effect.andThen(
        Effect.sync(() => {
          connection.receiveUnsafe(() => true)
          const features = { ...Handshake.noFeatures, fast: true }
          connection.writeUnsafe(Handshake.encode({ features, infoHash, peerId: new Uint8Array(20) }))
          connection.writeUnsafe(WireMessage.encodeAll([{ _tag: "HaveNone" }, { _tag: "Interested" }]))
        }),
        Effect.never
      )
    )
    const stored = [0, 1, 2, 3]
    const { facts, swarm } = yield* start(known, { maxConnections: 2, seeds: true, uploadSlots: 0, stored })
    yield* swarm.add([at(1), at(2)])
    yield* pass(118)
    yield* serve(known, at(3), { pieces: [], seed: 3 })
    yield* swarm.add([at(3)])
    yield* pass(1)
    const early = [...facts]

    yield* pass(4)

    assert.sameMembers(early, ["+10.0.0.1", "+10.0.0.2"])
    assert.strictEqual(facts[2], "-10.0.0.1 it was of no use for 2 minutes, and others wait")
    assert.isFalse(facts.some((fact) => fact.startsWith("-10.0.0.2")))
  })

  test("fault 49: ends some sessions for a torrent that was added later, the longest useless first", function* () {
    const places = Places.make(4)
    const [known, other] = [yield* torrent(4), yield* torrent(5)]
    for (const host of [1, 2, 3, 4]) yield* serve(known, at(host), { ...stalls, seed: host })
    for (const host of [5, 6, 7, 8]) yield* serve(other, at(host), { ...stalls, seed: host })
    const first = yield* start(known, { places })
    yield* first.swarm.add([1, 2, 3, 4].map((host) => at(host)))
    yield* pass(5)
    const second = yield* start(other, { places })
    yield* second.swarm.add([5, 6, 7, 8].map((host) => at(host)))

    yield* pass(10)

    const connected = [first, second].map(({ swarm }) => swarm.counts().connected)
    const given = first.facts.filter((fact) => fact.startsWith("-"))
    assert.deepStrictEqual(connected, [2, 2])
    assert.deepStrictEqual(
      given.map((fact) => fact.slice(fact.indexOf(" ") + 1)),
      Array(2).fill("another torrent needs its place")
    )
  })

  test("disconnects all peers that have everything, once it has everything itself", function* () {
    const known = yield* torrent()
    const seed = yield* serve(known, at(1), { seed: 1 })
    const grown = yield* serve(known, at(2), { seed: 2, announces: { every: 1 } })
    const partial = yield* serve(known, at(3), { seed: 3, pieces: [0] })
    const { assembly, swarm } = yield* start(known)
    yield* swarm.add([at(1), at(2), at(3)])
    yield* pass(1)

    for (const piece of [0, 1, 2, 3] as Array<PieceIndex>) {
      PieceTable.verify(assembly.table, piece)
      PieceTable.store(assembly.table, piece)
      swarm.announce(piece)
    }
    yield* settle
    yield* pass(60)

    assert.deepStrictEqual(
      [seed, grown, partial].map(({ counters }) => [counters.connections, counters.openConnections]),
      [
        [1, 0],
        [1, 0],
        [1, 1]
      ]
    )
    assert.deepStrictEqual([partial.counters.haves, swarm.counts().connected], [4, 1])
  })

  test("fault 46: releases the blocks of a silent peer after 10 seconds, and disconnects it in the end", function* () {
    const known = yield* torrent()
    yield* serve(known, at(1), { ...stalls, seed: 1 })
    const { assembly, facts, swarm } = yield* start(known)
    yield* swarm.add([at(1)])
    yield* pass(5)
    yield* serve(known, at(2), { seed: 2, pieces: [0, 1, 2, 3] })
    yield* swarm.add([at(2)])

    yield* pass(8)
    const complete = assembly.table.counts.complete
    yield* pass(180)

    assert.strictEqual(complete, 4)
    assert.isTrue(facts.some((fact) => fact.startsWith("-10.0.0.1 it")))
  })

  test("super-seeds no piece that it retracted, until it announces it again", function* () {
    const known = yield* torrent()
    const peer = yield* serve(known, at(1), { pieces: [] })
    const { swarm } = yield* start(known, { seeds: true, superSeeds: true, stored: [0, 1, 2, 3] })
    const pieces = [0, 1] as ReadonlyArray<number> as ReadonlyArray<PieceIndex>
    swarm.retract(pieces)
    yield* swarm.add([at(1)])
    yield* pass(20)
    const without = peer.counters.haves

    swarm.announce(pieces[0]!)
    yield* pass(20)

    assert.deepStrictEqual([without, peer.counters.haves], [2, 3])
  })

  test("dies as a whole if its timer has a bug", function* () {
    const { assembly, running, swarm } = yield* start(yield* torrent())
    yield* swarm.add([at(1)])
    yield* pass(5)
    const before = running.pollUnsafe()
    Object.defineProperty(assembly.suppliers, "size", {
      get: () => {
        throw new Error("no such luck")
      }
    })

    yield* pass(2)
    const exit = running.pollUnsafe()

    assert.isUndefined(before)
    assert.isTrue(exit !== undefined && Exit.hasDies(exit))
  })
})
