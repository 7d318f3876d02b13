import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as PeerId from "../../src/base/PeerId.ts"
import * as Bans from "../../src/swarm/Bans.ts"
import * as Candidate from "../../src/swarm/Candidate.ts"
import * as PeerPolicy from "../../src/swarm/PeerPolicy.ts"
import * as PolicyGuard from "../../src/swarm/PolicyGuard.ts"

const candidate = (host: string, known: Partial<PeerPolicy.Candidate> = {}): PeerPolicy.Candidate => ({
  address: { host, port: 6_881 },
  origin: Candidate.given,
  infoHash: undefined,
  peerId: undefined,
  client: undefined,
  ...known
})

const idOf = (text: string) => PeerId.fromBytes(new TextEncoder().encode(text.padEnd(20, "x")))

const offence = (options: Partial<PeerPolicy.Offence> = {}): PeerPolicy.Offence => ({
  candidate: candidate("192.0.2.1"),
  what: "lie",
  why: "it sent wrong bytes",
  bans: 0,
  isProven: false,
  ...options
})

/** A guarded policy, and what it threw. */
const guarded = (policy: Partial<PeerPolicy.PeerPolicy>) => {
  const defects: Array<unknown> = []
  const guard: PolicyGuard.PolicyGuard = {
    policy: { ...PeerPolicy.standard, ...policy },
    onDefect: (defect) => defects.push(defect)
  }
  return { guard, defects }
}

describe("PeerPolicy.subnets", () => {
  const admits = (options: PeerPolicy.SubnetOptions) => {
    const { admits } = PeerPolicy.subnets(options)
    return (host: string) => admits(candidate(host))
  }

  it.each<[string, PeerPolicy.SubnetOptions, string, boolean]>([
    ["nothing", {}, "192.0.2.1", true],
    ["nothing, and so names too", {}, "peer.example", true],
    ["denied", { deny: ["192.0.2.0/24"] }, "192.0.2.1", false],
    ["not denied", { deny: ["192.0.2.0/24"] }, "192.0.3.1", true],
    ["allowed", { allow: ["192.0.2.0/24"] }, "192.0.2.1", true],
    ["not allowed", { allow: ["192.0.2.0/24"] }, "2001:db8::1", false],
    ["nobody is allowed", { allow: [] }, "192.0.2.1", false],
    ["allowed and denied", { allow: ["192.0.2.0/24"], deny: ["192.0.2.1"] }, "192.0.2.1", false],
    ["denied, as IPv4 inside IPv6", { deny: ["192.0.2.0/24"] }, "::ffff:192.0.2.1", false],
    ["denied in the form of IPv4 inside IPv6", { deny: ["::ffff:192.0.2.0/120"] }, "192.0.2.1", false],
    ["denied, through NAT64", { deny: ["192.0.2.0/24"] }, "64:ff9b::c000:201", false],
    ["denied, through 6to4", { deny: ["192.0.2.0/24"] }, "2002:c000:201::1", false],
    ["denied, with a zone", { deny: ["fe80::/10"] }, "fe80::1%eth0", false],
    ["a name, which may lead anywhere", { deny: ["192.0.2.0/24"] }, "peer.example", false]
  ])("%s", (_, options, host, expected) => {
    assert.strictEqual(admits(options)(host), expected)
  })

  it("throws for a text that is no subnet, and names it", () => {
    assert.throws(() => PeerPolicy.subnets({ deny: ["10.0.0/8"] }), PeerPolicy.InvalidSubnet, `"10.0.0/8" is no subnet`)
  })
})

describe("PeerPolicy.clients", () => {
  it.each<[string, PeerPolicy.ClientOptions, string | undefined, string | undefined, boolean]>([
    ["an id that is denied", { deny: ["-XL"] }, "-XL0012-", undefined, false],
    ["another id", { deny: ["-XL"] }, "-qB4650-", undefined, true],
    ["an id in other capitals, which is another client", { deny: ["-XL"] }, "-xl0012-", undefined, true],
    ["a name of an id", { deny: ["qbittorrent"] }, "-qB4650-", undefined, false],
    ["a name that the client gives itself", { deny: ["Xunlei"] }, "-UT3550-", "xunlei 7.9", false],
    ["no id yet", { deny: ["-XL"], allow: ["-PW"] }, undefined, undefined, true],
    ["an id that is allowed", { allow: ["-PW"] }, "-PW0100-", undefined, true],
    ["an id that is not allowed", { allow: ["-PW"] }, "-UT3550-", undefined, false],
    ["allowed and denied", { allow: ["-PW"], deny: ["piecewise 0.1"] }, "-PW0100-", undefined, false],
    ["bytes that are no text", { deny: ["-XL"] }, "\u0000\u0001", undefined, true]
  ])("%s", (_, options, id, client, expected) => {
    const { admits } = PeerPolicy.clients(options)

    assert.strictEqual(
      admits(candidate("192.0.2.1", { peerId: id === undefined ? undefined : idOf(id), client })),
      expected
    )
  })
})

describe("PeerPolicy.lanFirst", () => {
  it.each<[string, number]>([
    ["10.1.2.3", 1],
    ["172.16.0.1", 1],
    ["172.32.0.1", 0],
    ["192.168.1.5", 1],
    ["169.254.7.7", 1],
    ["127.0.0.1", 1],
    ["100.64.0.1", 0],
    ["fd12::1", 1],
    ["fe80::1%eth0", 1],
    ["::1", 1],
    ["2001:db8::1", 0],
    ["192.0.2.1", 0],
    ["nas.local", 0]
  ])("ranks %s as %i", (host, expected) => {
    assert.strictEqual(PeerPolicy.lanFirst.rank(candidate(host)), expected)
  })
})

describe("PeerPolicy.compose", () => {
  it("admits whom all admit, adds ranks, and takes other decisions from the last", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ admits: fc.boolean(), rank: fc.integer(), ban: fc.nat() })), (given) => {
        const policy = PeerPolicy.compose(
          ...given.map(({ admits, ban, rank }) => ({ admits: () => admits, rank: () => rank, ban: () => ban }))
        )

        const peer = candidate("192.0.2.1")
        assert.deepStrictEqual(
          [policy.admits(peer), policy.rank(peer), policy.ban(offence())],
          [
            given.every(({ admits }) => admits),
            given.reduce((sum, { rank }) => sum + rank, 0),
            given.at(-1)?.ban ?? Bans.firstBan
          ]
        )
        assert.strictEqual(policy.choker, PeerPolicy.standard.choker)
      })
    )
  })

  it("is as the standard policy where it says nothing, also if a decision is undefined", () => {
    const nothing: Partial<PeerPolicy.PeerPolicy> = Object.fromEntries(
      Object.keys(PeerPolicy.standard).map((name) => [name, undefined] as const)
    )
    const composed = PeerPolicy.compose(nothing)
    const provided = Effect.runSync(Effect.provide(PeerPolicy.PeerPolicy, PeerPolicy.layer(nothing)))

    assert.deepStrictEqual(provided, PeerPolicy.standard)
    assert.strictEqual(composed.ban, PeerPolicy.standard.ban)
    assert.strictEqual(composed.choker, PeerPolicy.standard.choker)
  })

  it("of nothing is the standard policy", () => {
    const { admits: _, rank: __, ...others } = PeerPolicy.compose()
    const { admits, rank, ...standard } = PeerPolicy.standard

    assert.deepStrictEqual(others, standard)
    assert.deepStrictEqual([admits(candidate("x")), rank(candidate("x"))], [true, 0])
  })
})

it.effect("PeerPolicy.layer completes a policy with the standard one", () =>
  Effect.gen(function* () {
    const admits = () => false

    const policy = yield* Effect.provide(PeerPolicy.PeerPolicy, PeerPolicy.layer({ admits }))

    assert.deepStrictEqual(policy, { ...PeerPolicy.standard, admits })
    assert.strictEqual(yield* PeerPolicy.PeerPolicy, PeerPolicy.standard)
  })
)

describe("PolicyGuard", () => {
  it("bans for lies alone by the standard policy, longer each time", () => {
    const bans = [0, 1, 2, 20].map((bans) => PolicyGuard.sentence(PolicyGuard.standard, offence({ bans }))?.millis)
    const others = (["protocol error", "flood", "useless"] as const).map((what) =>
      PolicyGuard.sentence(PolicyGuard.standard, offence({ what }))
    )

    assert.deepStrictEqual(bans, [600_000, 1_200_000, 2_400_000, 86_400_000])
    assert.deepStrictEqual(others, [undefined, undefined, undefined])
  })

  it("ends every ban, and bans for a lie in any case", () => {
    const wanted: fc.Arbitrary<Duration.Input | undefined> = fc.oneof(
      fc.double(),
      fc.constantFrom(undefined, "1 hour" as const, Duration.infinity, "nonsense" as never, {} as never, null as never)
    )
    fc.assert(
      fc.property(wanted, fc.constantFrom("lie", "flood", "useless"), (ban, what) => {
        const { guard } = guarded({ ban: () => ban })

        const sentence = PolicyGuard.sentence(guard, offence({ what }))

        if (what === "lie") assert.isAtLeast(sentence!.millis, PeerPolicy.shortestBan)
        if (sentence === undefined) return
        assert.isAbove(sentence.millis, 0)
        assert.isAtMost(sentence.millis, PeerPolicy.longestBan)
        assert.strictEqual(sentence.countsForHost, what !== "useless")
      })
    )
  })

  it("replaces what makes no sense", () => {
    const { defects, guard } = guarded({
      admits: () => "yes" as never,
      rank: () => Number.NaN,
      priority: () => Number.POSITIVE_INFINITY
    })
    const peer = candidate("192.0.2.1")
    const us = { ipv4Host: undefined, ipv6Host: undefined, port: 0 }

    const answers = [
      PolicyGuard.admits(guard, peer),
      PolicyGuard.rank(guard, peer),
      PolicyGuard.priority(guard, peer, us)
    ]

    assert.deepStrictEqual([answers, defects], [[false, 0, undefined], []])
  })

  it("reports whatever a policy throws, and goes on without it", () => {
    const bug = new Error("a bug")
    const throwing = () => {
      throw bug
    }
    const { defects, guard } = guarded({
      admits: throwing,
      rank: throwing,
      priority: throwing,
      choker: throwing,
      ban: throwing
    })
    const peer = candidate("192.0.2.1")
    const us = { ipv4Host: undefined, ipv6Host: undefined, port: 0 }

    const answers = [
      PolicyGuard.admits(guard, peer),
      PolicyGuard.rank(guard, peer),
      PolicyGuard.priority(guard, peer, us),
      PolicyGuard.chooser(guard).choose,
      PolicyGuard.sentence(guard, offence())
    ]

    assert.deepStrictEqual(answers, [false, 0, undefined, undefined, { millis: Bans.firstBan, countsForHost: true }])
    assert.deepStrictEqual(defects, Array(5).fill(bug))
  })
})
