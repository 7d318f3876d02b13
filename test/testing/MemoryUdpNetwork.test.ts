import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryUdpNetwork from "../../src/testing/MemoryUdpNetwork.ts"
import { settle } from "../network/Transport.suite.ts"
import * as UdpSuite from "../network/UdpPort.suite.ts"

const { defaultHost } = MemoryUdpNetwork

UdpSuite.suite("memory", { layer: MemoryUdpNetwork.layer(), hosts: [defaultHost, defaultHost], test: it.effect })

/** Sends `count` datagrams from one host to another. Returns the lengths of those that arrived. */
const send = Effect.fnUntraced(function* (count: number) {
  const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
  const a = yield* network.host("10.0.0.7").bind({ host: "0.0.0.0", port: 6881 })
  const b = yield* network.host("10.0.0.8").bind({ host: "0.0.0.0", port: 6881 })
  const lengths: Array<number> = []
  b.receiveUnsafe((payload, from) => {
    assert.deepStrictEqual(from, { host: "10.0.0.7", port: 6881 })
    lengths.push(payload.length)
  })
  for (let length = 0; length < count; length++) a.sendUnsafe(new Uint8Array(length), b.local)
  yield* settle
  return lengths
})

const lossy = (seed: number) =>
  Effect.provide(Effect.scoped(send(1000)), MemoryUdpNetwork.layer({ seed, lossRate: 0.25 }))

describe("MemoryUdpNetwork", () => {
  it.effect("delivers after the latency, and keeps the order", () =>
    Effect.gen(function* () {
      const lengths = yield* send(10)
      yield* TestClock.adjust("49 millis")
      yield* settle
      assert.deepStrictEqual(lengths, [])

      yield* TestClock.adjust("1 millis")
      yield* settle

      assert.deepStrictEqual(lengths, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    }).pipe(Effect.provide(MemoryUdpNetwork.layer({ latency: "50 millis" })))
  )

  it.effect("loses the configured share of datagrams, and the same ones with the same seed", () =>
    Effect.gen(function* () {
      const [one, again, other] = [yield* lossy(1), yield* lossy(1), yield* lossy(2)]

      assert.approximately(one.length, 750, 60)
      assert.deepStrictEqual(again, one)
      assert.notDeepEqual(other, one)
    })
  )

  it.effect("overwrites a payload once its sink has returned", () =>
    Effect.gen(function* () {
      const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
      const socket = yield* network.host(defaultHost).bind({ host: defaultHost, port: 0 })
      const kept: Array<Uint8Array> = []
      socket.receiveUnsafe((payload) => kept.push(payload))

      socket.sendUnsafe(Uint8Array.of(1, 2, 3), socket.local)
      yield* settle

      assert.deepStrictEqual(
        kept.map((view) => [...view]),
        [[0xdb, 0xdb, 0xdb]]
      )
    }).pipe(Effect.provide(MemoryUdpNetwork.layer()))
  )
})
