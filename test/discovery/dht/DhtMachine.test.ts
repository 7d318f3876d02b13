import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import type * as CompactPeers from "../../../src/base/CompactPeers.ts"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as DhtLimits from "../../../src/discovery/dht/DhtLimits.ts"
import * as DhtMachine from "../../../src/discovery/dht/DhtMachine.ts"
import * as ExternalAddress from "../../../src/discovery/dht/ExternalAddress.ts"
import * as Krpc from "../../../src/discovery/dht/Krpc.ts"
import * as NodeId from "../../../src/discovery/dht/NodeId.ts"
import * as NodeInfo from "../../../src/discovery/dht/NodeInfo.ts"
import type { Options } from "../../../src/discovery/dht/NodeState.ts"
import * as PeerStore from "../../../src/discovery/dht/PeerStore.ts"
import * as RoutingTable from "../../../src/discovery/dht/RoutingTable.ts"
import * as Tokens from "../../../src/discovery/dht/Tokens.ts"
import * as Transactions from "../../../src/discovery/dht/Transactions.ts"
import * as Upkeep from "../../../src/discovery/dht/Upkeep.ts"

const prng = Prng.make(5)
const hash = NodeId.random(prng)
const minute = 60_000

const address = (number: number, port = 6881): PeerAddress => ({
  host: `${20 + (number % 150)}.${number % 256}.3.1`,
  port
})

const make = (options: Partial<Options> = {}) => {
  const machine = DhtMachine.make({
    family: "ipv4",
    id: NodeId.random(prng),
    limits: DhtLimits.defaults,
    random: Prng.make(1),
    entropy: (length) => Uint8Array.from({ length }, () => Prng.integer(prng, 256)),
    now: 0,
    ...options
  })
  DhtMachine.opened(machine, 0)
  return machine
}

/** The datagrams among actions, decoded. */
const sent = (actions: DhtMachine.Actions) =>
  actions.flatMap((action) =>
    action._tag === "Send" ? [{ to: action.to, message: Result.getOrThrow(Krpc.decode(action.payload)) }] : []
  )

const queries = (actions: DhtMachine.Actions) =>
  sent(actions).flatMap(({ message, to }) => (message._tag === "Query" ? [{ to, message }] : []))

const answers = (actions: DhtMachine.Actions) =>
  sent(actions).flatMap(({ message }) => (message._tag === "Query" ? [] : [message]))

const ask = (question: Krpc.Question, id = NodeId.random(prng), isReadOnly = false) =>
  Krpc.encodeQuery({ transaction: Uint8Array.of(7, 7), id, isReadOnly, question })

const getPeers = (scrape = false): Krpc.Question => ({
  _tag: "get_peers",
  target: hash,
  want: [],
  noSeeds: false,
  scrape
})

const respond = (
  { transaction }: Krpc.Query,
  id: NodeId.NodeId,
  rest: Partial<Krpc.Answer> = {}
): Uint8Array<ArrayBuffer> => Krpc.encodeResponse({ transaction, id, seen: address(200), ...rest })

/** Lets a node know others, each of which answers a ping. */
const know = (machine: DhtMachine.DhtMachine, count: number, now = 0) =>
  Array.from({ length: count }, (_, index) => {
    const node = { id: NodeId.random(prng), address: address(index + 1) }
    const [query] = queries(DhtMachine.suggest(machine, node.address, now))
    DhtMachine.receive(machine, respond(query!.message, node.id), node.address, now)
    return node
  })

describe("DhtMachine", () => {
  it("answers a ping with its id and with the address that it came from", () => {
    const machine = make()

    const [answer] = answers(DhtMachine.receive(machine, ask({ _tag: "ping" }), address(1, 5), 0))

    assert(answer?._tag === "Response")
    assert.deepStrictEqual([answer.transaction, answer.id], [Uint8Array.of(7, 7), machine.table.id])
    assert.deepStrictEqual(answer.seen, address(1, 5))
  })

  it("names the nodes closest to the target, of the families that are wanted (BEP 32)", () => {
    const machine = make()
    const nodes = know(machine, 30)
    const sibling = make({ family: "ipv6" })
    machine.sibling = sibling
    const node6 = { id: NodeId.random(prng), address: { host: "2001:470::1", port: 1 } }
    RoutingTable.answered(sibling.table, node6, 0)
    const named = (want: ReadonlyArray<CompactPeers.Family>) => {
      const [answer] = answers(
        DhtMachine.receive(machine, ask({ _tag: "find_node", target: hash, want }), address(99), 0)
      )
      assert(answer?._tag === "Response")
      return answer.nodes.map(({ address }) => address)
    }
    const known = nodes.filter(({ address }) => RoutingTable.find(machine.table, address) !== undefined)
    const closest = RoutingTable.closest(machine.table, hash).map(({ address }) => address)

    assert.isAtLeast(known.length, 8)
    assert.strictEqual(closest.length, 8)
    assert.deepStrictEqual(named([]), closest)
    assert.deepStrictEqual(named(["ipv6"]), [node6.address])
    assert.deepStrictEqual(named(["ipv4", "ipv6"]), [...closest, node6.address])
  })

  it("stores what is announced with a token, and names it", () => {
    const machine = make()
    const [given] = answers(DhtMachine.receive(machine, ask(getPeers()), address(1, 5), 0))
    assert(given?._tag === "Response")
    const announce = (port: number, impliedPort: boolean) =>
      ask({ _tag: "announce_peer", target: hash, port, impliedPort, isSeed: true, token: given.token! })

    DhtMachine.receive(machine, announce(7000, false), address(1, 5), 0)
    DhtMachine.receive(machine, announce(7000, true), address(1, 6), 0)
    const [found] = answers(DhtMachine.receive(machine, ask(getPeers(true)), address(2), 0))

    assert(found?._tag === "Response")
    assert.deepStrictEqual(found.peers, [address(1, 7000), address(1, 6)])
    assert.isDefined(found.filters)
  })

  it("fault 82: refuses an announce with a token of another address, for another torrent, or that is old", () => {
    const machine = make()
    const [given] = answers(DhtMachine.receive(machine, ask(getPeers()), address(1), 0))
    assert(given?._tag === "Response")
    const announce = (from: PeerAddress, now: number, target = hash) => {
      const question = { _tag: "announce_peer", target, port: 1, impliedPort: false, isSeed: false } as const
      return answers(DhtMachine.receive(machine, ask({ ...question, token: given.token! }), from, now))[0]
    }
    const refused = { _tag: "Failure", transaction: Uint8Array.of(7, 7), code: Krpc.errors.protocol } as const

    assert.deepStrictEqual(announce(address(2), 0), refused)
    assert.deepStrictEqual(announce(address(1), 0, NodeId.random(prng)), refused)
    assert.deepStrictEqual(announce(address(1), 11 * minute), refused)
    assert.strictEqual(machine.peers.peers, 0)
    assert.strictEqual(announce(address(1, 99), 0)?._tag, "Failure")
  })

  it("fault 59: answers an unknown method with error 204, and nothing that is not a query", () => {
    const machine = make()
    const unknown = Bytes.fromText("d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:aa1:y1:qe")

    assert.deepStrictEqual(answers(DhtMachine.receive(machine, unknown, address(1), 0)), [
      { _tag: "Failure", transaction: Bytes.fromText("aa"), code: 204 }
    ])
    const others = [
      Krpc.encodeFailure(Uint8Array.of(1), 201),
      Krpc.encodeResponse({ transaction: Uint8Array.of(1), id: hash, seen: address(1) }),
      Bytes.fromText("d1:t2:aa1:y1:qe"),
      Bytes.fromText("d"),
      // Our own query, that came back.
      ask({ _tag: "ping" }, machine.table.id)
    ]
    for (const payload of others) assert.deepStrictEqual(DhtMachine.receive(machine, payload, address(1), 0), [])
  })

  it("asks and does not answer if it is read-only, and gives no place to others that are (BEP 43)", () => {
    const machine = make({ isReadOnly: true })

    assert.deepStrictEqual(DhtMachine.receive(machine, ask({ _tag: "ping" }), address(1), 0), [])
    const [query] = queries(DhtMachine.suggest(machine, address(1), 0))
    assert.isTrue(query!.message.isReadOnly)

    const open = make()
    const actions = DhtMachine.receive(open, ask({ _tag: "ping" }, hash, true), address(1), 0)
    assert.deepStrictEqual([answers(actions).length, queries(actions).length], [1, 0])
  })

  it("fault 59: drops what is too long or no message, and counts it", () => {
    const machine = make()
    const long = Krpc.encodeResponse({
      transaction: Uint8Array.of(1),
      id: hash,
      seen: address(1),
      token: new Uint8Array(3_000)
    })

    for (const payload of [long, new Uint8Array(), Bytes.fromText("d1:ae"), new Uint8Array(65_000).fill(0x64)]) {
      assert.deepStrictEqual(DhtMachine.receive(machine, payload, address(1), 0), [])
    }

    assert.strictEqual(machine.counts.malformed, 4)
  })

  it("fault 59: survives every sequence of messages, true and false, in any order and at any time", () => {
    const id = fc.integer({ min: 0, max: 30 }).map((seed) => NodeId.random(Prng.make(seed)))
    const from = fc.record({
      host: fc.constantFrom("20.1.1.1", "20.1.1.2", "21.1.1.1", "127.0.0.1", "10.0.0.1", "2001:470::1", "fe80::1%eth0"),
      port: fc.integer({ min: 0, max: 3 })
    })
    const nodes = fc.array(fc.record({ id, address: from }), { maxLength: 12 })
    const response = fc.record({ id, nodes, token: fc.uint8Array({ maxLength: 70 }), hasFilters: fc.boolean() })
    const target = fc.constantFrom(hash, NodeId.random(Prng.make(3)))
    const flags = fc.record({
      noSeeds: fc.boolean(),
      scrape: fc.boolean(),
      impliedPort: fc.boolean(),
      isSeed: fc.boolean()
    })
    const step = fc.oneof(
      fc.record({ _tag: fc.constant("bytes" as const), from, bytes: fc.uint8Array({ maxLength: 60 }) }),
      fc.record({
        _tag: fc.constant("query" as const),
        from,
        id,
        target,
        flags,
        method: fc.nat(3),
        isReadOnly: fc.boolean()
      }),
      // An answer to one of the queries that are out, from whoever was asked or from another.
      fc.record({ _tag: fc.constant("answer" as const), which: fc.nat(20), from: fc.option(from), response }),
      fc.record({ _tag: fc.constant("error" as const), which: fc.nat(20) }),
      fc.record({ _tag: fc.constant("search" as const), target, scrape: fc.boolean(), announces: fc.boolean() }),
      fc.record({ _tag: fc.constant("cancel" as const), task: fc.nat(5) }),
      fc.record({ _tag: fc.constant("wait" as const), millis: fc.constantFrom(1, 300, 2_000, 9_000, 1_000_000) })
    )
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.constantFrom("ipv4" as const, "ipv6" as const),
        (steps, family) => {
          const machine = make({ family })
          machine.sibling = make({ family: family === "ipv4" ? "ipv6" : "ipv4" })
          let now = 0
          const out: Array<{ readonly to: PeerAddress; readonly message: Krpc.Query }> = []
          const keep = (actions: DhtMachine.Actions) => void out.push(...queries(actions))
          keep(DhtMachine.bootstrap(machine, [address(1), address(2)], now))
          for (const step of steps) {
            if (step._tag === "bytes") keep(DhtMachine.receive(machine, step.bytes, step.from, now))
            else if (step._tag === "query") {
              const { flags, id, isReadOnly, method, target } = step
              const token = Tokens.issue(machine.tokens, step.from.host, target, now)
              const questions: ReadonlyArray<Krpc.Question> = [
                { _tag: "ping" },
                { _tag: "find_node", target, want: ["ipv4", "ipv6"] },
                { _tag: "get_peers", target, want: [], ...flags },
                { _tag: "announce_peer", target, port: 9, token, ...flags }
              ]
              keep(DhtMachine.receive(machine, ask(questions[method]!, id, isReadOnly), step.from, now))
            } else if (step._tag === "answer" || step._tag === "error") {
              const query = out[step.which % Math.max(1, out.length)]
              if (query === undefined) continue
              const { transaction } = query.message
              if (step._tag === "error") {
                keep(DhtMachine.receive(machine, Krpc.encodeFailure(transaction, 203), query.to, now))
                continue
              }
              const { hasFilters, id, nodes, token } = step.response
              const filters = hasFilters
                ? { seeds: new Uint8Array(256), downloaders: new Uint8Array(256).fill(255) }
                : undefined
              const payload = Krpc.encodeResponse({
                transaction,
                id,
                seen: step.from ?? address(9),
                nodes: NodeInfo.encode(
                  nodes.filter(({ address }) => !address.host.includes(":")),
                  "ipv4"
                ),
                nodes6: NodeInfo.encode(
                  nodes.filter(({ address }) => address.host.includes(":")),
                  "ipv6"
                ),
                peers: nodes.map(({ address }) => Krpc.compact(address)),
                token,
                filters
              })
              keep(DhtMachine.receive(machine, payload, step.from ?? query.to, now))
            } else if (step._tag === "search") {
              const announce = step.announces ? { port: 7 } : undefined
              const search = { target: step.target, wantsPeers: true, scrape: step.scrape, announce }
              keep(DhtMachine.search(machine, search, now).actions)
            } else if (step._tag === "cancel") DhtMachine.cancel(machine, step.task)
            else now += step.millis
            keep(DhtMachine.tick(machine, now))

            assert.isAbove(DhtMachine.nextAt(machine, now), now - 1)
            assert.isAtMost(machine.transactions.pending.size, Transactions.maxPending)
            DhtMachine.status(machine, now)
          }
          // Whatever came, all searches end.
          for (let count = 0; count < 2_000 && machine.tasks.size > 0; count++) {
            now = Math.max(now + 1, DhtMachine.nextAt(machine, now))
            DhtMachine.tick(machine, now)
          }
          assert.strictEqual([...machine.tasks.values()].filter(({ isUpkeep }) => !isUpkeep).length, 0)
        }
      ),
      { numRuns: 150 }
    )
  })

  it("fault 79: ignores an answer from another address, with another transaction id, or that comes twice", () => {
    const machine = make()
    const [query] = queries(DhtMachine.suggest(machine, address(1), 0))
    const good = respond(query!.message, hash)
    const guess = respond({ ...query!.message, transaction: Uint8Array.of(1, 2, 3, 4) }, hash)

    DhtMachine.receive(machine, good, address(2), 0)
    DhtMachine.receive(machine, good, address(1, 6882), 0)
    DhtMachine.receive(machine, guess, address(1), 0)
    assert.strictEqual(RoutingTable.nodes(machine.table).length, 0)
    assert.strictEqual(machine.counts.unasked, 3)

    DhtMachine.receive(machine, good, address(1), 0)
    DhtMachine.receive(machine, good, address(1), 0)
    assert.deepStrictEqual(
      RoutingTable.nodes(machine.table).map(({ address }) => address),
      [address(1)]
    )
    assert.strictEqual(machine.counts.unasked, 4)
  })

  it("fault 79: takes a node that asks into the table only when it answers in turn", () => {
    const machine = make()
    const id = NodeId.random(prng)

    const [check] = queries(DhtMachine.receive(machine, ask({ _tag: "ping" }, id), address(1), 0))
    assert.strictEqual(RoutingTable.nodes(machine.table).length, 0)

    // Senders that may be forged do not make it ask as many.
    let asked = 0
    for (let index = 2; index < 100; index++) {
      asked += queries(DhtMachine.receive(machine, ask({ _tag: "ping" }), address(index), 1)).length
    }
    assert.strictEqual(asked, 0)

    DhtMachine.receive(machine, respond(check!.message, id), address(1), 100)
    assert.deepStrictEqual(RoutingTable.find(machine.table, address(1))!.id, id)
  })

  it("fault 79: does not ask an address in our network because a stranger names it", () => {
    const machine = make()
    know(machine, 1)
    const { actions } = DhtMachine.search(machine, { target: hash, wantsPeers: true }, 0)
    const [query] = queries(actions)
    const hosts = ["127.0.0.1", "192.168.1.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "99.1.1.1"]
    const nodes = NodeInfo.encode(
      hosts.map((host) => ({ id: NodeId.random(prng), address: { host, port: 80 } })),
      "ipv4"
    )
    const peers = hosts.map((host) => Krpc.compact({ host, port: 80 }))

    const next = DhtMachine.receive(
      machine,
      respond(query!.message, NodeId.random(prng), { nodes, peers }),
      query!.to,
      0
    )

    assert.deepStrictEqual(
      queries(next).map(({ to }) => to.host),
      ["99.1.1.1"]
    )
    assert.deepStrictEqual(
      next.flatMap((action) => (action._tag === "Found" ? action.peers : [])),
      [{ host: "99.1.1.1", port: 80 }]
    )
  })

  it("fault 83: sends a host that asks no more than its share, and all hosts no more than the limit", () => {
    const limits = { ...DhtLimits.defaults, datagramsPerSecondPerHost: 1_000 }
    const bytesOf = (actions: DhtMachine.Actions) =>
      actions.reduce((sum, action) => sum + (action._tag === "Send" ? action.payload.length : 0), 0)
    const one = make({ limits })
    know(one, 20)
    let sentToOne = 0
    for (let index = 0; index < 1_000; index++) {
      sentToOne += bytesOf(DhtMachine.receive(one, ask(getPeers(true), hash, true), address(1), index * 10))
    }
    assert.isAtMost(sentToOne, limits.answerBytesPerSecondPerHost * 12)
    assert.isAtLeast(sentToOne, limits.answerBytesPerSecondPerHost * 8)

    const all = make({ limits: { ...limits, answerBytesPerSecond: 4_096 } })
    know(all, 20)
    let sentToAll = 0
    for (let index = 0; index < 1_000; index++) {
      const from = { host: `30.${index >>> 8}.${index & 255}.1`, port: 1 }
      sentToAll += bytesOf(DhtMachine.receive(all, ask(getPeers(), hash, true), from, index * 10))
    }
    assert.isAtMost(sentToAll, 4_096 * 12)
    assert.isAbove(all.counts.limited, 0)
  })

  it("fault 83: answers in one datagram, however many nodes, peers and filters there are", () => {
    for (const family of ["ipv4", "ipv6"] as const) {
      const machine = make({ family, limits: { ...DhtLimits.defaults, storedPeersPerHost: 10_000 } })
      machine.sibling = make({ family: family === "ipv4" ? "ipv6" : "ipv4" })
      for (const [table, is6] of [
        [machine.table, family === "ipv6"],
        [machine.sibling.table, family === "ipv4"]
      ] as const) {
        for (let index = 0; index < 200; index++) {
          const host = is6 ? `2001:${(0x400 + index).toString(16)}:1::1` : address(index).host
          RoutingTable.answered(table, { id: NodeId.random(prng), address: { host, port: 1 } }, 0)
        }
      }
      const from = { host: family === "ipv4" ? "20.9.9.9" : "2001:470::9", port: 9 }
      const asked: Krpc.Question = {
        _tag: "get_peers",
        target: hash,
        want: ["ipv4", "ipv6"],
        noSeeds: false,
        scrape: true
      }
      for (let index = 1; index <= 300; index++) {
        const host = family === "ipv4" ? address(index).host : `2001:${(0x400 + index).toString(16)}:1::1`
        PeerStore.add(machine.peers, hash, { host, port: index }, false, 300_000)
      }
      for (const question of [asked, { ...asked, scrape: false }, { ...asked, want: [] }]) {
        const [action] = DhtMachine.receive(machine, ask(question), from, 400_000)

        assert(action?._tag === "Send")
        assert.isAtMost(action.payload.length, Krpc.maxSentBytes)
        const [answer] = answers([action])
        assert(answer?._tag === "Response")
        // What fits is used.
        if (!question.scrape) assert.isAbove(action.payload.length, Krpc.maxSentBytes - 25)
      }
    }
  })

  it("fault 83: makes no answer that it does not send", () => {
    // Each answer chooses peers at random.
    let chosen = 0
    const random = () => {
      chosen++
      return 0.5
    }
    const machine = make({ random })
    for (let index = 0; index < 500; index++) PeerStore.add(machine.peers, hash, address(index, index + 1), false, 0)
    chosen = 0
    for (let index = 0; index < 2_000; index++) {
      const from = { host: `30.${index >>> 8}.${index & 255}.1`, port: 1 }
      DhtMachine.receive(machine, ask(getPeers(), hash, true), from, 0)
    }

    const { answersSent, limited } = machine.counts
    assert.strictEqual(answersSent + limited, 2_000)
    assert.isAbove(answersSent, 50)
    assert.isAtMost(chosen, 500 * answersSent)
  })

  it("fault 83: reads no more from a host than its share", () => {
    const machine = make()
    for (let index = 0; index < 500; index++) DhtMachine.receive(machine, Bytes.fromText("d"), address(1), 0)

    assert.strictEqual(machine.counts.malformed, DhtLimits.defaults.datagramsPerSecondPerHost * 2)
    assert.strictEqual(answers(DhtMachine.receive(machine, ask({ _tag: "ping" }), address(2), 0)).length, 1)
  })

  it("sends no more queries than its limit, and the rest of a search later", () => {
    const machine = make({ limits: { ...DhtLimits.defaults, queriesPerSecond: 2 } })
    for (let index = 1; index < 30; index++) {
      RoutingTable.answered(machine.table, { id: NodeId.random(prng), address: address(index) }, 0)
    }

    const { actions } = DhtMachine.search(machine, { target: hash, wantsPeers: true }, 0)
    assert.strictEqual(queries(actions).length, 4)
    const { actions: held } = DhtMachine.search(machine, { target: NodeId.random(prng), wantsPeers: true }, 0)
    assert.strictEqual(queries(held).length, 0)

    const next = DhtMachine.nextAt(machine, 0)
    assert.isAtMost(next, 500)
    assert.strictEqual(queries(DhtMachine.tick(machine, 500)).length, 1)
  })

  it("asks a suggested node again while it knows few, and at once when it gets a socket", () => {
    const machine = make()
    const hostsAsked = (actions: DhtMachine.Actions) => queries(actions).map(({ to }) => to.host)
    assert.deepStrictEqual(hostsAsked(DhtMachine.suggest(machine, address(1), 0)), [address(1).host])
    let asked = 0
    for (let now = 0; now < 60_000; now += 1_000) asked += queries(DhtMachine.tick(machine, now)).length
    assert.isAtLeast(asked, 2)

    DhtMachine.closed(machine)
    assert.deepStrictEqual(DhtMachine.suggest(machine, address(2), 100_000), [])
    assert.deepStrictEqual(DhtMachine.bootstrap(machine, [address(3)], 100_000), [])
    DhtMachine.opened(machine, 200_000)

    const hosts = [1, 2, 3].map((number) => address(number).host)
    assert.includeMembers(hostsAsked(DhtMachine.tick(machine, 200_000)), hosts)
  })

  it("asks what was suggested without a socket even if it knows many", () => {
    const machine = make()
    know(machine, 20)
    DhtMachine.closed(machine)
    DhtMachine.suggest(machine, address(100), 0)

    const asked = queries(DhtMachine.opened(machine, 1_000))

    assert.deepStrictEqual(
      asked.map(({ to }) => to),
      [address(100)]
    )
  })

  it("remembers a limited number of suggested nodes: the latest, each once", () => {
    const machine = make()
    for (let index = 0; index < 100; index++) DhtMachine.suggest(machine, address(index % 50), 0)

    assert.deepStrictEqual(
      machine.suggested,
      Array.from({ length: DhtMachine.maxSuggested }, (_, index) => address(30 + index))
    )
  })

  it("joins within seconds once a node answers, however long it knew none", () => {
    const machine = make()
    DhtMachine.bootstrap(machine, [address(1)], 0)
    let now = 0
    for (; now < 3_000_000; now += 1_000) DhtMachine.tick(machine, now)
    assert.isAbove(machine.schedule.bootstrap, now + 30_000)

    const [query] = queries(DhtMachine.suggest(machine, address(2), now))
    DhtMachine.receive(machine, respond(query!.message, NodeId.random(prng)), address(2), now)
    const asked: Array<Krpc.Question["_tag"] | undefined> = []
    for (const end = now + 20_000; now < end; now += 1_000) {
      asked.push(...queries(DhtMachine.tick(machine, now)).map(({ message }) => message.question?._tag))
    }

    assert.include(asked, "find_node")
  })

  it("takes an id that suits its address once nodes of six networks agree on it (BEP 42)", () => {
    const machine = make()
    const voters = (count: number, host: string, first: number) => {
      for (let index = 0; index < count; index++) {
        const from = address(first + index)
        const [query] = queries(DhtMachine.suggest(machine, from, 0))
        const seen = { host, port: 1 }
        DhtMachine.receive(machine, respond(query!.message, NodeId.random(prng), { seen }), from, 0)
      }
    }
    const before = machine.table.id
    voters(5, "87.1.2.3", 1)
    DhtMachine.tick(machine, Upkeep.periodMillis)
    assert.strictEqual(machine.table.id, before)

    voters(1, "87.1.2.3", 10)
    DhtMachine.tick(machine, 2 * Upkeep.periodMillis)

    assert.isTrue(NodeId.suits(machine.table.id, "87.1.2.3"))
    assert.strictEqual(RoutingTable.nodes(machine.table).length, 6)
    assert.strictEqual(DhtMachine.status(machine, 0).externalHost, "87.1.2.3")
  })

  it("fault 79: is not moved by one network that reports another address", () => {
    const votes = ExternalAddress.make()
    for (let index = 0; index < 100; index++) ExternalAddress.vote(votes, `66.6.6.${index}`, "66.6.6.6")
    assert.isUndefined(ExternalAddress.agreed(votes))

    for (let index = 1; index < 8; index++) ExternalAddress.vote(votes, address(index).host, "87.1.2.3")
    assert.strictEqual(ExternalAddress.agreed(votes), "87.1.2.3")
    for (let index = 50; index < 60; index++) ExternalAddress.vote(votes, address(index).host, "66.6.6.6")
    assert.isUndefined(ExternalAddress.agreed(votes))
  })

  it("forgets a node that is silent, but not while nothing comes from anybody", () => {
    const machine = make()
    const [first, second] = know(machine, 2)
    const silent = (now: number) => {
      Upkeep.check(machine, first!.address, now)
      DhtMachine.tick(machine, now + Transactions.timeoutMillis)
    }
    for (let count = 1; count < 10; count++) silent(count * 10_000)
    assert.isDefined(RoutingTable.find(machine.table, first!.address))

    for (let count = 10; count < 16; count++) {
      const now = count * 10_000
      Upkeep.check(machine, first!.address, now)
      DhtMachine.receive(machine, ask({ _tag: "ping" }, second!.id), second!.address, now + 1_000)
      DhtMachine.tick(machine, now + Transactions.timeoutMillis)
    }
    assert.isUndefined(RoutingTable.find(machine.table, first!.address))
  })

  it("is frugal at rest: sends less than a query a second", () => {
    const machine = make()
    const nodes = know(machine, 40)
    const start = machine.counts.queriesSent
    let wakes = 0
    for (let now = 0; now < 60 * minute; now = Math.max(now + 1, DhtMachine.nextAt(machine, now))) {
      wakes++
      for (const { message, to } of queries(DhtMachine.tick(machine, now))) {
        const node = nodes.find(({ address }) => address.host === to.host)
        if (node !== undefined) DhtMachine.receive(machine, respond(message, node.id), to, now)
      }
    }

    assert.isBelow(machine.counts.queriesSent - start, 3_600 / 4)
    assert.isBelow(wakes, 3_600 / 2)
    // One or two may be about to be asked.
    const { goodNodes, nodes: known } = DhtMachine.status(machine, 60 * minute)
    assert.isAtLeast(goodNodes, known - 2)
    assert.strictEqual(known, RoutingTable.nodes(machine.table).length)
  })

  it("is not proved to be reachable by hosts of the network around", () => {
    const machine = make()
    const machine6 = make({ family: "ipv6" })
    const asks = (of: DhtMachine.DhtMachine, host: string) => {
      DhtMachine.receive(of, ask({ _tag: "ping" }), { host, port: 6881 }, 0)
      return DhtMachine.status(of, 0).isReachable
    }
    for (let index = 0; index < 6; index++) {
      ExternalAddress.vote(machine.external, address(index).host, "87.1.2.3")
      ExternalAddress.vote(machine6.external, `2001:47${index}::1`, "2a02:8071::1")
    }

    const around = ["192.168.1.7", "10.0.0.1", "100.64.0.1", "169.254.1.1", "127.0.0.1"]
    for (const host of around) assert.isUndefined(asks(machine, host), host)
    // Behind the same NAT, and in the same IPv6 network.
    assert.isUndefined(asks(machine, "87.1.2.3"))
    for (const host of ["fe80::1", "fd00::1", "::1", "2a02:8071::77"]) assert.isUndefined(asks(machine6, host), host)
    assert.isTrue(asks(machine, "87.1.2.4"))
    assert.isTrue(asks(machine6, "2a02:8071:0:1::77"))
  })

  it("says whether others reach it: once one asks that it has not asked", () => {
    const machine = make()
    const reachable = (now: number) => DhtMachine.status(machine, now).isReachable
    know(machine, 1)

    DhtMachine.receive(machine, ask({ _tag: "ping" }), address(1), 0)
    assert.isUndefined(reachable(0))
    assert.isFalse(reachable(16 * minute))
    DhtMachine.receive(machine, ask({ _tag: "ping" }), address(2), 17 * minute)
    assert.isTrue(reachable(18 * minute))
    assert.isFalse(reachable(33 * minute))
  })
})
