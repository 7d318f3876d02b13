import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as DialPriority from "../../src/connect/DialPriority.ts"
import * as Places from "../../src/connect/Places.ts"
import * as Dialling from "../../src/swarm/Dialling.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import { requestsCounted } from "../peer/protocols.ts"
import { ourId, pass, serve, settle, test, torrent } from "../peer/sessions.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { at, start } from "./swarms.ts"

const counts = Effect.flatMap(MemoryNetwork.MemoryNetwork, (network) => network.counts)

const stalls = { stopsAfter: { blocks: 0, how: "stall" } } as const

describe("Swarm", () => {
  test("dials the addresses that are added, and reports it", function* () {
    const known = yield* torrent()
    yield* serve(known, at(1))
    const { facts, swarm } = yield* start(known)

    const added = yield* Effect.forEach([[at(1), at(1)], [at(1)]], (addresses) => swarm.add(addresses))
    yield* settle

    assert.deepStrictEqual([added, facts], [[1, 0], ["+10.0.0.1"]])
    assert.deepStrictEqual(swarm.counts(), {
      connected: 1,
      dialling: 0,
      unchoked: 0,
      interested: 0,
      known: 1,
      banned: 0,
      hungUp: 0,
      encryption: "off"
    })
  })

  test("holds it against no peer that its sessions and dials were ended", function* () {
    const known = yield* torrent()
    yield* serve(known, at(1), stalls)
    const network = yield* MemoryNetwork.MemoryNetwork
    const waits = yield* start(known, { maxConnections: 1 })
    yield* waits.swarm.add([at(1)])
    yield* settle
    yield* waits.swarm.add([at(2)])
    yield* settle
    const connected = waits.swarm.counts().connected
    yield* waits.swarm.endSessions
    yield* settle

    yield* network.partition("127.0.0.1")
    const dials = yield* start(known)
    yield* dials.swarm.add([at(3)])
    yield* settle
    const dialling = dials.swarm.counts().dialling
    yield* dials.swarm.endSessions
    yield* settle

    assert.deepStrictEqual([connected, dialling], [1, 1])
    assert.deepInclude(waits.swarm.failures(), [at(2).host, 0])
    assert.deepStrictEqual(dials.swarm.failures(), [[at(3).host, 0]])
    assert.notInclude(dials.facts.join(), "?")
  })

  test("dials in the order of BEP 40 once it knows its external address", function* () {
    const known = yield* torrent()
    const { facts, swarm } = yield* start(known, { maxConnections: 1 })
    const ourselves = "123.213.32.10"
    const hosts = ["1.2.3.4", "98.76.54.32", "200.100.50.25", "123.213.32.234"]
    const priority = (host: string) => DialPriority.between({ host: ourselves, port: 0 }, { host, port: 6881 })!
    const ordered = [...hosts].sort((one, other) => priority(other) - priority(one))

    const addresses = hosts.map((host) => ({ host, port: 6881 }))
    yield* swarm.add(addresses, { voter: "tracker", host: ourselves })
    yield* settle

    assert.notDeepEqual(ordered, hosts)
    assert.deepStrictEqual(
      facts,
      ordered.map((host) => `?${host} connection refused`)
    )
  })

  describe("keeps its limit", () => {
    test("of dials, and dials again as soon as one has succeeded", function* () {
      const known = yield* torrent()
      const count = 2 * Dialling.maxDialing + 3
      for (let host = 1; host <= count; host++) yield* serve(known, at(host), { ...stalls, seed: host })
      const { swarm } = yield* start(known)

      yield* swarm.add(Array.from({ length: count }, (_, index) => at(index + 1)))
      yield* settle

      assert.strictEqual(swarm.counts().connected, count)
    })

    test("of connections, and uses a place as soon as it is free", function* () {
      const known = yield* torrent()
      // Nobody listens at the first two.
      for (const host of [3, 4, 5]) yield* serve(known, at(host), { ...stalls, seed: host })
      const { facts, swarm } = yield* start(known, { maxConnections: 2 })

      yield* swarm.add([1, 2, 3, 4, 5].map((host) => at(host)))
      yield* settle
      const before = swarm.counts().connected
      yield* (yield* MemoryNetwork.MemoryNetwork).cut(at(3).host)
      yield* settle

      assert.deepStrictEqual([before, swarm.counts().connected], [2, 2])
      assert.deepStrictEqual(facts, [
        "?10.0.0.1 connection refused",
        "?10.0.0.2 connection refused",
        "+10.0.0.3",
        "+10.0.0.4",
        "-10.0.0.3 connection reset",
        "+10.0.0.5"
      ])
    })

    test("of connections that are being opened", function* () {
      const known = yield* torrent()
      const network = yield* MemoryNetwork.MemoryNetwork
      yield* network.partition("127.0.0.1")
      const { swarm } = yield* start(known)

      yield* swarm.add(Array.from({ length: 30 }, (_, host) => at(host)))
      yield* settle

      assert.strictEqual((yield* counts).dials, Dialling.maxDialing)
    })

    test("and ends a connection that does not open within 10 seconds, for the next one", function* () {
      const known = yield* torrent()
      const network = yield* MemoryNetwork.MemoryNetwork
      const dead = Array.from({ length: Dialling.maxDialing }, (_, host) => at(100 + host))
      for (const { host } of dead) yield* network.partition("127.0.0.1", host)
      yield* serve(known, at(1), stalls)
      const { facts, swarm } = yield* start(known)
      yield* swarm.add([...dead, at(1)])
      yield* pass(9)
      const early = facts.length

      yield* pass(1)

      assert.deepStrictEqual([early, facts.filter((fact) => fact.endsWith(" timed out")).length], [0, dead.length])
      assert.include(facts, "+10.0.0.1")
    })

    test("that it shares with other torrents", function* () {
      const places = Places.make(1)
      const [known, other] = [yield* torrent(4), yield* torrent(5)]
      for (const host of [1, 2]) yield* serve(known, at(host), { ...stalls, seed: host })
      yield* serve(other, at(3), stalls)
      const first = yield* start(known, { places })
      const second = yield* start(other, { places })
      yield* first.swarm.add([at(1)])
      yield* second.swarm.add([at(3)])
      yield* settle
      const before = [first, second].map(({ swarm }) => swarm.counts().connected)

      yield* (yield* MemoryNetwork.MemoryNetwork).cut(at(1).host)
      yield* settle

      const after = [first, second].map(({ swarm }) => swarm.counts().connected)
      assert.deepStrictEqual(
        [before, after],
        [
          [1, 0],
          [0, 1]
        ]
      )
    })

    test("and does not dial with a connection that became free after the torrent was complete", function* () {
      const places = Places.make(1)
      const known = yield* torrent()
      const peer = yield* serve(known, at(1))
      const { assembly, swarm } = yield* start(known, { places })
      const share = Places.share(1, 0, () => {})
      const occupant = { useOf: () => ({ idleMillis: 0, isUseless: false }), leave: () => {} }
      const other = Places.claim(places, share, { host: "10.9.9.9", isIncoming: true, occupant }, 0)!
      yield* swarm.add([at(1)])
      yield* settle
      for (const piece of [0, 1, 2, 3]) PieceTable.restore(assembly.table, piece as PieceIndex)

      Places.release(places, other, 0)
      yield* settle

      assert.strictEqual(peer.counters.connections, 0)
    })
  })

  describe("dials again", () => {
    test("a peer that returns, after a wait that grows", function* () {
      const known = yield* torrent()
      const { facts, swarm } = yield* start(known)
      yield* swarm.add([at(1)])
      yield* pass(60)
      const dials = facts.length
      yield* serve(known, at(1), stalls)

      yield* pass(90)

      assert.isAtLeast(dials, 5)
      assert.isAtMost(dials, 7)
      assert.include(facts, "+10.0.0.1")
    })

    test("soon, if the connection was useful", function* () {
      const known = yield* torrent()
      const peer = yield* serve(known, at(1), { stopsAfter: { blocks: 3, how: "close" } })
      const { swarm } = yield* start(known)

      yield* swarm.add([at(1)])
      yield* pass(20)

      assert.isAtLeast(peer.counters.connections, 6)
    })

    test("fault 29: not soon, if a peer only sent blocks that nobody requested", function* () {
      const known = yield* torrent()
      const peer = yield* serve(known, at(1), {
        misanswers: { how: "unaligned", every: 1 },
        stopsAfter: { blocks: 3, how: "close" }
      })
      const { swarm } = yield* start(known)

      yield* swarm.add([at(1)])
      yield* pass(20)

      assert.isAtMost(peer.counters.connections, 6)
    })

    test("never itself", function* () {
      const known = yield* torrent()
      const peer = yield* serve(known, at(1), {}, ourId)
      const { swarm } = yield* start(known)

      yield* swarm.add([at(1)])
      yield* pass(120)

      assert.strictEqual(peer.counters.connections, 1)
      assert.deepStrictEqual(swarm.counts(), {
        connected: 0,
        dialling: 0,
        unchoked: 0,
        interested: 0,
        known: 1,
        banned: 0,
        hungUp: 0,
        encryption: "off"
      })
    })
  })

  describe("counts peers that close before the handshake", () => {
    /** An address where every connection is closed at once. */
    const slam = Effect.fnUntraced(function* (host: number) {
      const { listener } = (yield* MemoryNetwork.MemoryNetwork).host(at(host).host)
      const listening = yield* listener.listen(at(host))
      yield* Effect.forkScoped(Effect.forever(Effect.scoped(listening.accept)))
    })

    test("and reports the first, and then ten times as many", function* () {
      const known = yield* torrent()
      for (let host = 1; host <= 12; host++) yield* slam(host)
      const { facts, swarm } = yield* start(known)
      const counts: Array<number> = []

      for (const hosts of [[1], [2, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12]]) {
        yield* swarm.add(hosts.map((host) => at(host)))
        yield* pass(2)
        counts.push(swarm.counts().hungUp)
      }

      assert.deepStrictEqual(counts, [1, 3, 12])
      assert.deepStrictEqual(
        facts.filter((fact) => fact.startsWith("~")),
        ["~1", "~12"]
      )
    })

    test("but not those that refuse, do not answer, or are this client", function* () {
      const known = yield* torrent()
      yield* (yield* MemoryNetwork.MemoryNetwork).partition("127.0.0.1", at(2).host)
      yield* serve(known, at(3), {}, ourId)
      yield* serve(known, at(4), { silent: "from the start" })
      const { facts, swarm } = yield* start(known)

      yield* swarm.add([1, 2, 3, 4].map((host) => at(host)))
      yield* pass(15)

      assert.strictEqual(swarm.counts().hungUp, 0)
      assert.notInclude(facts.join(), "~")
      assert.notInclude(facts.join(), at(3).host)
    })

    test("until it introduces itself", function* () {
      const known = yield* torrent()
      const network = yield* MemoryNetwork.MemoryNetwork
      const { listener } = network.host(at(1).host)
      const closing = yield* Effect.forkScoped(
        Effect.scoped(
          Effect.gen(function* () {
            const listening = yield* listener.listen(at(1))
            yield* Effect.scoped(listening.accept)
          })
        ),
        { startImmediately: true }
      )
      const { swarm } = yield* start(known)
      yield* swarm.add([at(1)])
      yield* pass(0)
      const before = swarm.counts().hungUp
      yield* Fiber.await(closing)
      yield* serve(known, at(1), stalls)

      yield* pass(5)

      const { connected, hungUp } = swarm.counts()
      assert.deepStrictEqual([before, connected, hungUp], [1, 1, 0])
    })
  })

  test("fault 32: refuses a second connection to the same peer", function* () {
    const known = yield* torrent()
    for (const host of [1, 2]) yield* serve(known, at(host), stalls, new Uint8Array(20).fill(9))
    const { facts, swarm } = yield* start(known)

    yield* swarm.add([at(1), at(2)])
    yield* settle

    assert.deepStrictEqual(facts, ["+10.0.0.1", "?10.0.0.2 it is connected already"])
  })

  describe("bans", () => {
    test("fault 41: at once, and never dials that address again", function* () {
      const known = yield* torrent()
      const peers = [
        yield* serve(known, at(1), { ...stalls, seed: 1 }),
        yield* serve(known, at(2), { ...stalls, seed: 2 })
      ]
      const { assembly, facts, swarm } = yield* start(known)
      yield* swarm.add([at(1), at(2)])
      yield* settle

      swarm.ban(idOf(0), "it lied")
      yield* settle
      const ended = [...facts]
      yield* swarm.add([at(1)])
      yield* pass(60)

      assert.deepStrictEqual(ended, ["+10.0.0.1", "+10.0.0.2", "!10.0.0.1 it lied", "-10.0.0.1 it is banned"])
      assert.deepStrictEqual(
        peers.map(({ counters }) => counters.connections),
        [1, 1]
      )
      assert.deepStrictEqual(swarm.counts().banned, 1)
      assert.strictEqual(assembly.suppliers.size, 1)
    })

    test("a peer at any point of its dial, and uses the place that becomes free", function* () {
      const known = yield* torrent()
      yield* serve(known, at(1), { ...stalls, seed: 1 })
      yield* serve(known, at(2), { ...stalls, seed: 2 })
      for (let turns = 0; turns < 30; turns++) {
        const scope = yield* Scope.make()
        const { swarm } = yield* Scope.provide(start(known, { maxConnections: 1 }), scope)
        yield* swarm.add([at(1), at(2)])
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow

        swarm.ban(idOf(0), "it lied")
        yield* settle

        assert.deepStrictEqual(
          [turns, swarm.counts()],
          [
            turns,
            { connected: 1, dialling: 0, unchoked: 0, interested: 0, known: 2, banned: 1, hungUp: 0, encryption: "off" }
          ]
        )
        yield* Scope.close(scope, Exit.void)
        yield* settle
      }
    })

    test("fault 41: a whole host, including dials under way, but not a peer that has proved itself", function* () {
      const known = yield* torrent()
      for (const port of [1, 2, 3, 4]) yield* serve(known, at(1, port), { ...stalls, seed: port })
      const { swarm } = yield* start(known)
      yield* swarm.add([1, 2, 3, 4].map((port) => at(1, port)))
      yield* settle
      yield* (yield* MemoryNetwork.MemoryNetwork).partition("127.0.0.1", at(1).host)
      yield* swarm.add([at(1, 5)])
      yield* settle
      swarm.prove([idOf(3)])

      for (const key of [0, 1, 2]) swarm.ban(idOf(key), "it lied")
      yield* settle

      assert.deepStrictEqual(swarm.counts(), {
        connected: 1,
        dialling: 0,
        unchoked: 0,
        interested: 0,
        known: 4,
        banned: 3,
        hungUp: 0,
        encryption: "off"
      })
      assert.strictEqual((yield* counts).dials, 0)
    })
  })

  test("law 12: leaves nothing behind when its scope closes, whatever was going on", function* () {
    const known = yield* torrent()
    const network = yield* MemoryNetwork.MemoryNetwork
    const places = Places.make(4)
    yield* serve(known, at(1), { ...stalls, seed: 1 })
    yield* serve(known, at(2), { silent: "from the start" })
    yield* network.partition("127.0.0.1", at(3).host)
    const scope = yield* Scope.make()
    const { assembly, swarm } = yield* Scope.provide(start(known, { places }), scope)
    yield* swarm.add([1, 2, 3, 4, 5, 6, 7, 8].map((host) => at(host)))
    yield* pass(2)

    yield* Scope.close(scope, Exit.void)
    yield* settle

    assert.deepInclude(yield* counts, { connections: 0, dials: 0 })
    assert.deepStrictEqual([swarm.counts().connected, requestsCounted(assembly), assembly.suppliers.size], [0, 0, 0])
    assert.deepStrictEqual([places.held.size, places.dialing, places.waiting.size], [0, 0, 0])
  })
})
