import { assert, describe, it } from "@effect/vitest"
import * as DhtLimits from "../../../src/discovery/dht/DhtLimits.ts"
import * as TrafficLimits from "../../../src/discovery/dht/TrafficLimits.ts"

const limits: DhtLimits.DhtLimits = {
  ...DhtLimits.defaults,
  queriesPerSecond: 10,
  answerBytesPerSecond: 1_000,
  answerBytesPerSecondPerHost: 100,
  datagramsPerSecondPerHost: 5
}

const at = (host: string, port = 1) => ({ host, port })

/** Answers as many bytes to an address, if at least `most` may be sent. */
const answer = (traffic: TrafficLimits.TrafficLimits, host: string, bytes: number, now = 0, most = bytes): boolean => {
  if (!TrafficLimits.mayAnswer(traffic, at(host), most, now)) return false
  TrafficLimits.answered(traffic, at(host), bytes, now)
  return true
}

/** How often something may be done at one time. */
const times = (may: () => boolean) => {
  let count = 0
  while (may()) count++
  return count
}

describe("TrafficLimits", () => {
  it("lets a burst of two seconds through, then the average", () => {
    const traffic = TrafficLimits.make(limits, 0)

    assert.strictEqual(
      times(() => TrafficLimits.mayAsk(traffic, 0)),
      20
    )
    assert.strictEqual(TrafficLimits.waitToAsk(traffic, 0), 100)
    assert.strictEqual(
      times(() => TrafficLimits.mayAsk(traffic, 500)),
      5
    )
    assert.strictEqual(
      times(() => TrafficLimits.mayAsk(traffic, 60_000)),
      20
    )
  })

  it("fault 83: counts all ports of a host, and all addresses of an IPv6 network, together", () => {
    const traffic = TrafficLimits.make(limits, 0)
    let port = 0

    assert.strictEqual(
      times(() => TrafficLimits.mayRead(traffic, at("20.1.1.1", ++port), 0)),
      10
    )
    assert.isTrue(TrafficLimits.mayRead(traffic, at("20.1.1.2"), 0))
    assert.strictEqual(
      times(() => TrafficLimits.mayRead(traffic, at(`2001:470::${(++port).toString(16)}`), 0)),
      10
    )
  })

  it("counts each address of a local network by itself", () => {
    const traffic = TrafficLimits.make(limits, 0)

    for (const port of [1, 2]) {
      assert.strictEqual(
        times(() => TrafficLimits.mayRead(traffic, at("127.0.0.1", port), 0)),
        10
      )
    }
  })

  it("fault 83: limits answers to a host, and to all hosts, in bytes", () => {
    const traffic = TrafficLimits.make(limits, 0)
    assert.strictEqual(
      times(() => answer(traffic, "20.1.1.1", 50)),
      4
    )
    let host = 0
    assert.strictEqual(
      times(() => answer(traffic, `20.2.${++host}.1`, 180)),
      10
    )
    // A refused answer costs its host nothing.
    assert.isFalse(answer(traffic, "20.3.1.1", 180))
    assert.isTrue(answer(traffic, "20.3.1.1", 200, 1_000))
  })

  it("lets answers through although its limit is less than the longest one", () => {
    const traffic = TrafficLimits.make(limits, 0)

    assert.isTrue(answer(traffic, "20.1.1.1", 50, 0, 1_200))
    assert.isFalse(answer(traffic, "20.1.1.1", 50, 100, 1_200))
    assert.isTrue(answer(traffic, "20.1.1.1", 50, 500, 1_200))
  })

  it("fault 83: remembers a limited number of hosts", () => {
    const traffic = TrafficLimits.make(limits, 0)
    for (let index = 0; index < 3 * TrafficLimits.maxHosts; index++) {
      TrafficLimits.mayRead(traffic, at(`30.${index >>> 16}.${(index >>> 8) & 255}.${index & 255}`), 0)
    }

    assert.strictEqual(traffic.hosts.size, TrafficLimits.maxHosts)
  })
})
