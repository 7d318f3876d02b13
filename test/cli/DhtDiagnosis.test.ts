import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as TestClock from "effect/testing/TestClock"
import * as DhtDiagnosis from "../../src/cli/DhtDiagnosis.ts"
import { Dht } from "../../src/discovery/dht/Dht.ts"
import type { DhtStatus } from "../../src/discovery/dht/DhtStatus.ts"
import * as FakeDht from "../discovery/dht/fakeDht.ts"

/** A machine in a network whose DNS works. */
const online: DhtDiagnosis.Surroundings = {
  isOffline: false,
  bound: undefined,
  hosts: ["192.168.1.5", "fe80::1", "2a00:1450:4001::1"],
  isResolved: true,
  wantedPort: 0
}

const inNetwork = { hosts: ["192.168.1.5"], by: "--bind 192.168.1.5" }
const toItself = { hosts: ["127.0.0.1"], by: "--bind 127.0.0.1" }
const byVariable = { hosts: ["127.0.0.1", "2001:db8::1"], by: "PIECEWISE_UDP_BIND=127.0.0.1,2001:db8::1" }

const nobody = FakeDht.family({})

describe("DhtDiagnosis.ofFamily", () => {
  it("says what nodes know of us", () => {
    const status = FakeDht.family({ nodes: 12, goodNodes: 9, externalHost: "203.0.113.7", isReachable: true })

    const found = DhtDiagnosis.ofFamily("ipv4", [status], online)

    assert.deepInclude(found, {
      state: "works",
      what: "9 nodes answered UDP port 6881; they see us at 203.0.113.7; others reach us",
      advice: undefined
    })
  })

  it("says if the number of the TCP port was in use", () => {
    const ofPort = (wantedPort: number) =>
      DhtDiagnosis.ofFamily("ipv4", [FakeDht.family({ nodes: 12, goodNodes: 9 })], { ...online, wantedPort })

    assert.isUndefined(ofPort(6_881).advice)
    assert.match(ofPort(7_000).advice!, /^another program uses UDP port 7000, .* choose another --port$/)
  })

  it("blames the firewall if this machine is online", () => {
    const found = DhtDiagnosis.ofFamily("ipv4", [nobody], online)
    const bound = DhtDiagnosis.ofFamily("ipv4", [nobody], { ...online, bound: inNetwork })

    assert.strictEqual(found.state, "fails")
    assert.match(found.advice!, /^allow UDP in the firewall/)
    assert.strictEqual(bound.state, "fails")
    assert.match(bound.advice!, /^see whether the network of --bind 192.168.1.5 is online/)
  })

  it.each([
    ["PIECEWISE_OFFLINE is set", "ipv4", { isOffline: true }, /PIECEWISE_OFFLINE is set$/],
    ["it is bound to loopback", "ipv4", { bound: toItself }, /--bind 127.0.0.1 reaches this machine alone$/],
    [
      "the variable of UDP binds it to loopback",
      "ipv4",
      { bound: byVariable },
      /PIECEWISE_UDP_BIND=127.0.0.1,2001:db8::1 reaches this machine alone$/
    ],
    ["there is no network", "ipv4", { hosts: [] }, /^this machine has no IPv4 address that reaches others$/],
    ["the network gave no address", "ipv4", { hosts: ["169.254.3.4"] }, /has no IPv4 address/],
    ["no name is resolved", "ipv4", { isResolved: false }, /no name of a router can be resolved$/],
    [
      "no name is resolved, and it is bound to the network",
      "ipv4",
      { isResolved: false, bound: inNetwork },
      /no name of a router can be resolved$/
    ],
    ["no name was looked up", "ipv4", { isResolved: undefined }, /^no node answered, and no router$/],
    ["IPv6 is local alone", "ipv6", { hosts: ["192.168.1.5", "fd00::1"] }, /has no IPv6 address that reaches others$/],
    ["nobody answers over IPv6", "ipv6", {}, /^no node answered, and no router$/]
  ] as const)("does not know whether it works if %s", (_, family, differing, what) => {
    const found = DhtDiagnosis.ofFamily(family, [nobody], { ...online, ...differing })

    assert.strictEqual(found.state, "unknown")
    assert.match(found.what, what)
  })

  it("takes a family without a socket for unknown, and says that --bind is the reason", () => {
    const none = DhtDiagnosis.ofFamily("ipv6", [], online)
    const bound = DhtDiagnosis.ofFamily("ipv6", [], { ...online, bound: inNetwork })

    assert.strictEqual(none.state, "unknown")
    assert.deepInclude(bound, {
      state: "unknown",
      what: "not asked, because --bind 192.168.1.5 names no IPv6 address"
    })
  })
})

describe("DhtDiagnosis of a machine with several addresses", () => {
  const at = (host: string, goodNodes: number) => FakeDht.family({ nodes: 12, goodNodes, local: { host, port: 6_881 } })

  it("works if nodes answer at one address, and says at which none does", () => {
    const found = DhtDiagnosis.ofFamily("ipv4", [at("10.0.0.1", 0), at("10.0.1.1", 9)], online)

    assert.strictEqual(found.state, "works")
    assert.match(found.what, /^9 nodes answered/)
    assert.match(found.advice!, /^no node answered at 10.0.0.1, so see whether/)
  })

  it.effect("waits for the nodes of every address", () =>
    Effect.gen(function* () {
      const fake = FakeDht.make()
      let status: DhtStatus = { isReadOnly: false, ipv4: at("10.0.0.1", 20), others: [at("10.0.1.1", 0)] }
      const dht = Dht.of({ ...fake.service, status: Effect.sync(() => status) })
      const asking = yield* Effect.forkChild(Effect.provideService(DhtDiagnosis.ask, Dht, dht))
      yield* TestClock.adjust("4 seconds")

      status = { ...status, others: [at("10.0.1.1", 8)] }
      yield* TestClock.adjust("1 second")

      assert.deepStrictEqual(yield* Fiber.join(asking), status)
    })
  )
})

describe("DhtDiagnosis.ask", () => {
  it.effect("waits for IPv6, which answers later than IPv4", () =>
    Effect.gen(function* () {
      const fake = FakeDht.make()
      let status: DhtStatus = { isReadOnly: false, ipv4: FakeDht.family({ goodNodes: 20 }), ipv6: nobody }
      const dht = Dht.of({ ...fake.service, status: Effect.sync(() => status) })
      const asking = yield* Effect.forkChild(Effect.provideService(DhtDiagnosis.ask, Dht, dht))
      yield* TestClock.adjust("4 seconds")

      status = { ...status, ipv6: FakeDht.family({ goodNodes: 8 }) }
      yield* TestClock.adjust("1 second")
      const found = yield* Fiber.join(asking)

      assert.strictEqual(found.ipv6!.goodNodes, 8)
    })
  )

  it.effect("does not wait for IPv6 for longer than ten seconds", () =>
    Effect.gen(function* () {
      const fake = FakeDht.make()
      const status: DhtStatus = { isReadOnly: false, ipv4: FakeDht.family({ goodNodes: 20 }), ipv6: nobody }
      const dht = Dht.of({ ...fake.service, status: Effect.succeed(status) })
      const asking = yield* Effect.forkChild(Effect.provideService(DhtDiagnosis.ask, Dht, dht))

      yield* TestClock.adjust("10 seconds")

      assert.deepStrictEqual(yield* Fiber.join(asking), status)
    })
  )
})
