import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as IpAddress from "../../../src/base/IpAddress.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as Lookup from "../../../src/discovery/dht/Lookup.ts"
import * as NodeId from "../../../src/discovery/dht/NodeId.ts"
import type { NodeInfo } from "../../../src/discovery/dht/NodeInfo.ts"

const prng = Prng.make(3)
const target = NodeId.random(prng)
const ownId = NodeId.random(prng)
const token = Uint8Array.of(1)

const hostOf = (number: number) => `${20 + (number % 150)}.${(number >>> 8) % 256}.${number % 256}.1`

/** A node of each number, with an id that suits its host. */
const suited = (number: number): NodeInfo => ({
  id: NodeId.ofAddress(IpAddress.parse(hostOf(number))!, number & 255, Prng.make(number)),
  address: { host: hostOf(number), port: 6881 }
})

/** One with an id that shares so many bits with the target, which does not suit its host. */
const near = (number: number, shared: number): NodeInfo => ({
  id: NodeId.randomSharing(target, shared, prng),
  address: { host: hostOf(number), port: 6881 }
})

/** Runs a lookup in which every query is answered after 100 ms, or never; returns who was asked. */
const run = (
  lookup: Lookup.Lookup,
  answer: (candidate: Lookup.Candidate) => ReadonlyArray<NodeInfo> | undefined,
  idOf: (candidate: Lookup.Candidate) => NodeId.NodeId = (candidate) => candidate.id!
) => {
  const asked: Array<Lookup.Candidate> = []
  const due: Array<{ readonly at: number; readonly candidate: Lookup.Candidate }> = []
  let now = 0
  while (!Lookup.isDone(lookup, now)) {
    let candidate = Lookup.next(lookup, now)
    for (; candidate !== undefined; candidate = Lookup.next(lookup, now)) {
      Lookup.sent(lookup, candidate, now)
      asked.push(candidate)
      due.push({ at: now + (answer(candidate) === undefined ? 8_000 : 100), candidate })
    }
    now += 50
    assert.isBelow(now, 120_000, "the lookup ends")
    for (const entry of due.filter(({ at }) => at <= now)) {
      due.splice(due.indexOf(entry), 1)
      const nodes = answer(entry.candidate)
      if (nodes === undefined) Lookup.failed(lookup, entry.candidate)
      else Lookup.answered(lookup, entry.candidate, { id: idOf(entry.candidate), token, nodes })
    }
  }
  return { asked, now }
}

const make = (nodes: ReadonlyArray<NodeInfo>, bootstrap: ReadonlyArray<NodeInfo["address"]> = []) =>
  Lookup.make({ target, ownId, nodes, bootstrap })

const byDistance = (nodes: ReadonlyArray<NodeInfo>) => [...nodes].sort((a, b) => NodeId.compare(target, a.id, b.id))

const hosts = (nodes: ReadonlyArray<{ readonly address: { readonly host: string } }>) =>
  nodes.map(({ address }) => address.host)

describe("Lookup", () => {
  const all = Array.from({ length: 200 }, (_, index) => suited(index))
  const sorted = byDistance(all)

  it("finds the eight closest nodes, and asks few others", () => {
    // Each names the eight that are next to it in the order of distance, and closer.
    const closer = ({ address }: Lookup.Candidate) => {
      const at = sorted.findIndex((node) => node.address.host === address.host)
      return sorted.slice(Math.max(0, Math.floor(at / 2) - 4), Math.floor(at / 2) + 4)
    }
    const lookup = make(sorted.slice(-8))

    const { asked } = run(lookup, closer)

    assert.deepStrictEqual(hosts(Lookup.closest(lookup, 0)), hosts(sorted.slice(0, 8)))
    assert.isBelow(asked.length, 60)
    assert.isAtMost(lookup.inFlight.size, Lookup.concurrency)
  })

  it("asks no more than four at once, and others in place of those that are silent", () => {
    const lookup = make(sorted.slice(0, 20))
    const ask = (now: number) => {
      let count = 0
      for (let next = Lookup.next(lookup, now); next !== undefined; next = Lookup.next(lookup, now)) {
        Lookup.sent(lookup, next, now)
        count++
      }
      return count
    }

    assert.strictEqual(ask(0), 4)
    assert.strictEqual(ask(Lookup.stallMillis - 1), 0)
    assert.strictEqual(Lookup.nextAt(lookup, 0), Lookup.stallMillis)
    assert.strictEqual(ask(Lookup.stallMillis), 4)
    assert.isFalse(Lookup.isDone(lookup, Lookup.stallMillis))
  })

  it("goes around nodes that do not answer", () => {
    const dead = new Set(hosts(sorted.slice(0, 8).filter((_, index) => index % 2 === 0)))
    const lookup = make(sorted.slice(0, 16))

    const { now } = run(lookup, ({ address }) => (dead.has(address.host) ? undefined : []))

    assert.deepStrictEqual(
      hosts(Lookup.closest(lookup, now)),
      hosts(sorted.filter(({ address }) => !dead.has(address.host)).slice(0, 8))
    )
  })

  it("begins with addresses alone", () => {
    const lookup = make([], [sorted[150]!.address])

    run(
      lookup,
      ({ address }) => (address.host === sorted[150]!.address.host ? sorted.slice(0, 8) : []),
      ({ address, id }) => id ?? all.find((node) => node.address.host === address.host)!.id
    )

    assert.deepStrictEqual(hosts(Lookup.closest(lookup, 0)), hosts(sorted.slice(0, 8)))
  })

  it("ends at once if there is nobody to ask", () => {
    const lookup = make([])

    assert.isTrue(Lookup.isDone(lookup, 0))
    assert.isUndefined(Lookup.next(lookup, 0))
  })

  it("fault 80: ends although every answer names others that are closer, which answer or do not", () => {
    for (const answers of [true, false]) {
      let made = 1_000
      let shared = 8
      const lookup = make(sorted.slice(0, 8))

      const { asked } = run(lookup, (candidate) => {
        if (!answers && !hosts(sorted.slice(0, 8)).includes(candidate.address.host)) return undefined
        shared = Math.min(150, shared + 1)
        return Array.from({ length: 50 }, () => near(made++, shared))
      })

      assert.isAtMost(asked.length, Lookup.maxQueries)
      assert.isAtMost(lookup.candidates.length, Lookup.maxCandidates)
      assert.isAtMost(lookup.addresses.size, 4 * Lookup.maxCandidates)
    }
  })

  it("fault 80: ends at nodes that answered, if closer ones that do not exist use up its queries", () => {
    const living = sorted.slice(100, 104)
    const lookup = make(living)
    lookup.queries = Lookup.maxQueries - 8

    const { now } = run(lookup, (candidate) => {
      const index = hosts(living).indexOf(candidate.address.host)
      return index < 0 ? undefined : sorted.slice(8 * index, 8 * index + 8)
    })

    assert.strictEqual(lookup.queries, Lookup.maxQueries)
    assert.deepStrictEqual(hosts(Lookup.closest(lookup, now)), hosts(living))
  })

  it("fault 80: asks nobody twice when nodes name each other in a circle, or us", () => {
    const circle = sorted.slice(0, 3)
    const lookup = make(circle)

    const { asked } = run(lookup, () => [...circle, { id: ownId, address: { host: "99.1.1.1", port: 1 } }])

    assert.deepStrictEqual(hosts(asked).sort(), hosts(circle).sort())
  })

  it("fault 80: sends few queries to one host, however many ports of it are named", () => {
    const lookup = make(sorted.slice(0, 8))
    let port = 1

    const { asked } = run(lookup, () =>
      Array.from({ length: 8 }, () => ({
        id: NodeId.randomSharing(target, 60, prng),
        address: { host: "198.41.0.4", port: port++ }
      }))
    )

    assert.isAtMost(hosts(asked).filter((host) => host === "198.41.0.4").length, Lookup.maxPerHost)
  })

  it("fault 84: ends at nodes whose ids suit them, however many others claim to be closer", () => {
    const liars = Array.from({ length: 60 }, (_, index) => near(2_000 + index * 7, 60))
    const lookup = make([...sorted.slice(0, 8), ...liars.slice(0, 8)])

    const { asked } = run(lookup, ({ suits }) => (suits ? [] : liars.slice(0, 8)))
    const closest = Lookup.closest(lookup, 0)

    assert.deepStrictEqual(hosts(closest.filter(({ suits }) => suits)), hosts(sorted.slice(0, 8)))
    assert.isAtMost(closest.length, Lookup.closestCount + Lookup.maxUnsuited)
    assert.isAtMost(asked.length, 40)
  })

  it("always ends, and reports the closest that answered in order, whatever nodes do", () => {
    const behaviour = fc.array(
      fc.tuple(fc.constantFrom("answer", "silence", "lie"), fc.array(fc.nat(199), { maxLength: 12 })),
      {
        minLength: 1,
        maxLength: 60
      }
    )
    fc.assert(
      fc.property(behaviour, (behaviour) => {
        const lookup = make(all.slice(0, 10))
        const behaviourOf = (candidate: Lookup.Candidate) =>
          behaviour[Number(candidate.address.host.split(".")[2]) % behaviour.length]!

        const { asked } = run(
          lookup,
          (candidate) => {
            const [kind, named] = behaviourOf(candidate)
            return kind === "silence" ? undefined : named.map((index) => all[index]!)
          },
          (candidate) => (behaviourOf(candidate)[0] === "lie" ? near(1, 30).id : candidate.id!)
        )

        const closest = Lookup.closest(lookup, 0)
        assert.strictEqual(new Set(asked).size, asked.length)
        assert.deepStrictEqual(hosts(closest), hosts([...closest].sort((a, b) => NodeId.compare(target, a.id!, b.id!))))
        for (const candidate of closest) assert.strictEqual(candidate.state, "answered")
      })
    )
  })
})
