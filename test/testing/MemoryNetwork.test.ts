import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { Dialer, Listener } from "../../src/network/Transport.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import { assertSame, collector, pair, pattern, settle, suite } from "../network/Transport.suite.ts"

const run = <A, E>(
  options: MemoryNetwork.Options,
  body: Effect.Effect<A, E, Dialer | Listener | MemoryNetwork.MemoryNetwork | Scope.Scope>
) => Effect.provide(body, MemoryNetwork.layer(options))

/** Dials `10.0.0.7` from `10.0.0.8`. */
const sevenAndEight = Effect.gen(function* () {
  const network = yield* MemoryNetwork.MemoryNetwork
  const listening = yield* network.host("10.0.0.7").listener.listen({ host: "0.0.0.0", port: 6881 })
  const dial = network.host("10.0.0.8").dialer.connect(listening.address)
  return { network, listening, dial }
})

suite("memory", {
  layer: MemoryNetwork.layer(),
  host: MemoryNetwork.defaultHost,
  test: it.effect,
  handles: Effect.serviceOption(MemoryNetwork.MemoryNetwork).pipe(
    Effect.flatMap((network) => (network._tag === "Some" ? network.value.counts : Effect.die("no network"))),
    Effect.map((counts) => counts.connections + counts.dials + counts.listening)
  ),
  bufferBytes: 65_536 + 262_144 + 16_384
})

describe("MemoryNetwork", () => {
  it.effect("takes a latency for the bytes, and twice as long for a connection", () =>
    run(
      { link: { latency: "50 millis" }, connectDelay: "10 millis" },
      Effect.gen(function* () {
        const { dial, listening } = yield* sevenAndEight
        const dialing = yield* Effect.forkScoped(dial)

        yield* TestClock.adjust("109 millis")
        assert.isUndefined(dialing.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const near = yield* Fiber.join(dialing)
        const far = yield* listening.accept
        const atFar = collector()
        far.receiveUnsafe(atFar.sink)
        near.writeUnsafe(pattern(100))
        yield* settle
        yield* TestClock.adjust("49 millis")
        assert.strictEqual(atFar.lengthUnsafe(), 0)
        yield* TestClock.adjust("1 millis")

        assertSame(atFar.chunks, [pattern(100)])
      })
    )
  )

  it.effect("shares a link's bandwidth among its connections", () =>
    run(
      { link: { bytesPerSecond: 100_000 }, chunkBytes: 1000, windowBytes: 5000 },
      Effect.gen(function* () {
        const { dial, listening } = yield* sevenAndEight
        const sinks = [collector(), collector()]
        const nears = [yield* dial, yield* dial]
        for (const sink of sinks) (yield* listening.accept).receiveUnsafe(sink.sink)
        for (const near of nears) near.writeUnsafe(new Uint8Array(1_000_000))
        yield* settle

        yield* TestClock.adjust("2 seconds")

        const total = sinks[0]!.lengthUnsafe() + sinks[1]!.lengthUnsafe()
        assert.isAtMost(total, 200_000)
        assert.isAtLeast(total, 195_000)
        assert.closeTo(sinks[0]!.lengthUnsafe(), 100_000, 6000)
      })
    )
  )

  it.effect("uses the two directions of a link independently, also from a host to itself", () =>
    run(
      { link: { bytesPerSecond: 100_000 }, chunkBytes: 1000 },
      Effect.gen(function* () {
        const { near, far } = yield* pair(MemoryNetwork.defaultHost)
        const atNear = collector()
        const atFar = collector()
        near.receiveUnsafe(atNear.sink)
        far.receiveUnsafe(atFar.sink)
        near.writeUnsafe(new Uint8Array(50_000))
        far.writeUnsafe(new Uint8Array(50_000))
        yield* settle

        yield* TestClock.adjust("500 millis")

        assert.deepStrictEqual([atNear.lengthUnsafe(), atFar.lengthUnsafe()], [50_000, 50_000])
      })
    )
  )

  it.effect("keeps the order when a link becomes faster on the way", () =>
    run(
      { link: { latency: "100 millis" } },
      Effect.gen(function* () {
        const { network, dial, listening } = yield* sevenAndEight
        const dialing = yield* Effect.forkScoped(dial)
        yield* TestClock.adjust("1 second")
        const near = yield* Fiber.join(dialing)
        const atFar = collector()
        ;(yield* listening.accept).receiveUnsafe(atFar.sink)
        near.writeUnsafe(pattern(50_000))
        yield* settle

        yield* network.link("10.0.0.7", "10.0.0.8", { latency: 0 })
        near.writeUnsafe(pattern(50_000, 50_000))
        yield* settle
        const before = atFar.lengthUnsafe()
        yield* TestClock.adjust("100 millis")

        assert.strictEqual(before, 0)
        assertSame(atFar.chunks, [pattern(100_000)])
      })
    )
  )

  it.effect("cuts the stream at the same places with the same seed, and at others with another", () =>
    Effect.gen(function* () {
      const cuts = (seed: number) =>
        run(
          { seed },
          Effect.gen(function* () {
            const { near, far } = yield* pair(MemoryNetwork.defaultHost)
            const atFar = collector()
            far.receiveUnsafe(atFar.sink)
            near.writeUnsafe(pattern(500_000))
            yield* atFar.until(500_000)
            return atFar.chunks.map((chunk) => chunk.length)
          })
        ).pipe(Effect.scoped)

      const first = yield* cuts(7)
      const again = yield* cuts(7)
      const other = yield* cuts(8)

      assert.deepStrictEqual(again, first)
      assert.notDeepEqual(other, first)
      assert.isTrue(first.some((length) => length <= 20))
    })
  )

  it.effect("cuts chunks of the configured length", () =>
    run(
      { chunkBytes: 1 },
      Effect.gen(function* () {
        const { near, far } = yield* pair(MemoryNetwork.defaultHost)
        const atFar = collector()
        far.receiveUnsafe(atFar.sink)

        near.writeUnsafe(pattern(68))
        yield* atFar.until(68)

        assert.isTrue(atFar.chunks.every((chunk) => chunk.length === 1))
        assertSame(atFar.chunks, [pattern(68)])
      })
    )
  )

  it.effect("overwrites a view when its sink returns, and puts views at changing offsets", () =>
    run(
      {},
      Effect.gen(function* () {
        const { near, far } = yield* pair(MemoryNetwork.defaultHost)
        const views: Array<Uint8Array> = []
        const atFar = collector((view) => views.push(view) > 0)
        far.receiveUnsafe(atFar.sink)

        near.writeUnsafe(pattern(200_000))
        yield* atFar.until(200_000)
        // Whoever waits for the last byte goes on inside the sink.
        yield* settle

        assert.isTrue(views.at(-1)!.every((byte) => byte === 0xdb))
        assert.isAbove(new Set(views.map((view) => view.byteOffset)).size, 1)
      })
    )
  )

  it.effect("holds back what crosses a partition until it heals, then delivers it in order", () =>
    run(
      {},
      Effect.gen(function* () {
        const { network, dial, listening } = yield* sevenAndEight
        const near = yield* dial
        const far = yield* listening.accept
        const atFar = collector()
        far.receiveUnsafe(atFar.sink)
        near.writeUnsafe(pattern(1000))
        yield* atFar.until(1000)

        yield* network.partition("10.0.0.7", "10.0.0.8")
        near.writeUnsafe(pattern(50_000, 1000))
        const late = yield* Effect.forkScoped(dial)
        yield* TestClock.adjust("1 hour")
        const during = [atFar.lengthUnsafe(), late.pollUnsafe(), far.writeUnsafe(new Uint8Array(1))]
        yield* network.heal("10.0.0.7", "10.0.0.8")
        near.writeUnsafe(pattern(50_000, 51_000))
        yield* atFar.until(101_000)
        yield* Fiber.join(late)

        assert.deepStrictEqual(during, [1000, undefined, true])
        assertSame(atFar.chunks, [pattern(101_000)])
      })
    )
  )

  it.effect("isolates one host from all others, but not from itself", () =>
    run(
      {},
      Effect.gen(function* () {
        const { network, dial, listening } = yield* sevenAndEight

        yield* network.partition("10.0.0.7")
        const own = yield* Effect.exit(network.host("10.0.0.7").dialer.connect(listening.address))
        const foreign = yield* Effect.forkScoped(dial)
        yield* settle

        assert.isTrue(Exit.isSuccess(own))
        assert.isUndefined(foreign.pollUnsafe())
      })
    )
  )

  it.effect("cuts the connections between two hosts, at both ends, and allows new ones", () =>
    run(
      {},
      Effect.gen(function* () {
        const { network, dial, listening } = yield* sevenAndEight
        const near = yield* dial
        const far = yield* listening.accept
        const other = yield* network.host("10.0.0.9").dialer.connect(listening.address)

        yield* network.cut("10.0.0.7", "10.0.0.8")
        const errors = yield* Effect.all([Effect.flip(near.closed), Effect.flip(far.closed)])
        yield* dial

        assert.deepStrictEqual(
          errors.map((error) => error.message),
          ["connection reset", "connection reset"]
        )
        assert.isFalse(near.writeUnsafe(new Uint8Array(1)))
        assert.isTrue(other.writeUnsafe(new Uint8Array(1)))
      })
    )
  )

  it.effect("gives each host its own address and ports", () =>
    run(
      {},
      Effect.gen(function* () {
        const ofHost = (address: string) =>
          Effect.gen(function* () {
            return yield* (yield* Listener).listen({ host: "0.0.0.0", port: 6881 })
          }).pipe(Effect.provide(MemoryNetwork.host(address)))
        const seven = yield* ofHost("10.0.0.7")
        const eight = yield* ofHost("10.0.0.8")

        yield* Effect.flatMap(Dialer, (dialer) => dialer.connect(eight.address)).pipe(
          Effect.provide(MemoryNetwork.host("10.0.0.7"))
        )
        const far = yield* eight.accept

        assert.deepStrictEqual(seven.address, { host: "10.0.0.7", port: 6881 })
        assert.deepStrictEqual(eight.address, { host: "10.0.0.8", port: 6881 })
        assert.strictEqual(far.remote.host, "10.0.0.7")
      })
    )
  )

  it.effect("counts what is in use", () =>
    run(
      {},
      Effect.gen(function* () {
        const { network, dial } = yield* sevenAndEight

        const inside = yield* Effect.scoped(Effect.andThen(dial, network.counts))
        const outside = yield* network.counts

        assert.deepStrictEqual(inside, { connections: 2, dials: 0, listening: 1, waiting: 1 })
        assert.deepStrictEqual(outside, { connections: 1, dials: 0, listening: 1, waiting: 1 })
      })
    )
  )

  it.effect("delivers without the clock if there is no latency", () =>
    run(
      {},
      Effect.gen(function* () {
        const { near, far } = yield* pair(MemoryNetwork.defaultHost)
        const atFar = collector()
        far.receiveUnsafe(atFar.sink)

        near.writeUnsafe(pattern(1_000_000))
        const atOnce = atFar.lengthUnsafe()
        yield* atFar.until(1_000_000)

        assert.strictEqual(atOnce, 0)
        assert.strictEqual(yield* Clock.currentTimeMillis, 0)
      })
    )
  )
})
