/**
 * What every pair of `Dialer` and `Listener` does.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { MemoryNetwork, TransportSuite } from "piecewise/testing"
 *
 * const cases = TransportSuite.cases({
 *   host: MemoryNetwork.defaultHost,
 *   // Of a transport over sockets: how many are open.
 *   handles: Effect.succeed(0),
 *   bufferBytes: 1_000_000
 * })
 * const failures: Array<string> = []
 * for (const { run } of cases) {
 *   const failed = Effect.catch(run, ({ message }) => Effect.sync(() => failures.push(message)))
 *   await Effect.runPromise(Effect.provide(failed, MemoryNetwork.layer()))
 * }
 * assert.deepEqual(failures, [])
 * ```
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Prng from "../../base/Prng.ts"
import type { Dialer, Listener } from "../../network/Transport.ts"
import * as Assert from "./Assert.ts"
import * as Suite from "./Suite.ts"
import * as TransportDials from "./TransportDials.ts"
import * as Probe from "./TransportProbe.ts"

const { assertSame, collector, cut, eventually, pair, pattern, settle, sum, writeAll } = Probe

export type { Medium } from "./TransportProbe.ts"

/** Exchanges that are tried. */
const exchanges = 25

/** Sends bytes both ways, cut at random. */
const exchange = Effect.fnUntraced(function* (host: string, seed: number) {
  const random = Prng.make(seed)
  const draw = () =>
    Array.from({ length: Prng.between(random, 0, 12) }, () => Prng.integer(random, random() < 0.5 ? 40 : 70_000))
  const [there, back] = [draw(), draw()]
  const { near, far } = yield* pair(host)
  const atFar = collector()
  const atNear = collector()
  far.receiveUnsafe(atFar.sink)
  near.receiveUnsafe(atNear.sink)
  const sendThere = cut(there)
  const sendBack = cut(back)

  yield* Effect.all([writeAll(near, sendThere), writeAll(far, sendBack)], { concurrency: 2 })
  yield* Effect.all([atFar.until(sum(there)), atNear.until(sum(back))])

  assertSame(atFar.chunks, sendThere)
  assertSame(atNear.chunks, sendBack)
}, Effect.scoped)

/** What every transport does. */
export const cases = (medium: Probe.Medium): ReadonlyArray<Suite.Case<Dialer | Listener>> => [
  ...connectionCases(medium),
  ...TransportDials.cases(medium)
]

const connectionCases = ({ host, ...medium }: Probe.Medium): ReadonlyArray<Suite.Case<Dialer | Listener>> => [
  Suite.test(
    "delivers every byte in order, however it is written and cut",
    Effect.forEach(
      Array.from({ length: exchanges }, (_, seed) => seed),
      (seed) => exchange(host, seed),
      { discard: true }
    )
  ),

  Suite.test(
    "needs written bytes no more when it says so",
    Effect.gen(function* () {
      const { near, far } = yield* pair(host)
      const atFar = collector()
      const expected: Array<Uint8Array> = []
      let again = 0

      // More than the system takes while nobody reads.
      for (let turn = 0; turn < 60; turn++) {
        const bytes = pattern(300_000, turn)
        expected.push(bytes.slice())
        near.writeUnsafe(bytes)
        if (near.writeUnsafe.isWrittenUnsafe?.() !== true) continue
        bytes.fill(0)
        again++
      }
      far.receiveUnsafe(atFar.sink)
      yield* atFar.until(60 * 300_000)

      assertSame(atFar.chunks, expected)
      if (near.writeUnsafe.isWrittenUnsafe !== undefined) Assert.isAbove(again, 0)
    })
  ),

  ...(medium.readsAhead === true || medium.freshViews === true
    ? []
    : [
        Suite.test(
          "reads into a buffer that is reused",
          Effect.gen(function* () {
            const { near, far } = yield* pair(host)
            const kept: Array<Uint8Array> = []
            const atFar = collector((view) => kept.push(view) > 0)
            far.receiveUnsafe(atFar.sink)

            near.writeUnsafe(new Uint8Array(1000).fill(1))
            yield* atFar.until(1000)
            near.writeUnsafe(new Uint8Array(1000).fill(2))
            yield* atFar.until(2000)

            Assert.strictEqual(kept[0]!.buffer, kept.at(-1)!.buffer)
            Assert.notDeepEqual(kept[0]!.slice(), atFar.chunks[0])
          })
        )
      ]),

  Suite.test(
    "reads nothing before receiveUnsafe",
    Effect.gen(function* () {
      const { near, far } = yield* pair(host)
      near.writeUnsafe(pattern(50_000))
      yield* settle
      const atFar = collector()

      far.receiveUnsafe(atFar.sink)
      const atOnce = atFar.lengthUnsafe()
      yield* atFar.until(50_000)

      Assert.strictEqual(atOnce, 0)
      assertSame(atFar.chunks, [pattern(50_000)])
    })
  ),

  Suite.test(
    "stops when the sink returns false, and continues without loss",
    Effect.gen(function* () {
      const { near, far } = yield* pair(host)
      const atFar = collector(() => false)
      far.receiveUnsafe(atFar.sink)
      const sender = yield* Effect.forkScoped(writeAll(near, cut(new Array(40).fill(50_000))))
      let stops = 0

      while (atFar.lengthUnsafe() < 2_000_000) {
        const before = atFar.lengthUnsafe()
        yield* eventually(Effect.sync(() => atFar.lengthUnsafe() > before))
        const views = atFar.chunks.length
        yield* settle
        Assert.strictEqual(atFar.chunks.length, views)
        stops++
        far.resumeUnsafe()
      }

      yield* Fiber.join(sender)
      Assert.isAbove(stops, 3)
      assertSame(atFar.chunks, cut(new Array(40).fill(50_000)))
    })
  ),

  Suite.test(
    "makes a writer wait while the other side does not read, with bounded bytes between them",
    Effect.gen(function* () {
      const { near, far } = yield* pair(host)
      const atFar = collector()
      let written = 0
      const sender = yield* Effect.gen(function* () {
        // A transport that takes everything must not fill the memory of its test.
        while (written <= medium.bufferBytes) {
          written += 16_384
          if (!near.writeUnsafe(new Uint8Array(16_384))) yield* near.drained
        }
      }).pipe(Effect.forkScoped)

      let before = -1
      while (before !== written) {
        before = written
        yield* settle
        yield* settle
      }
      Assert.isAtMost(written, medium.bufferBytes)
      Assert.isFalse(near.writeUnsafe(new Uint8Array(1)))
      yield* Fiber.interrupt(sender)

      far.receiveUnsafe(atFar.sink)
      yield* near.drained
      yield* atFar.until(written + 1)
      Assert.isTrue(near.writeUnsafe(new Uint8Array(1)))
    })
  ),

  Suite.test(
    "closes when the remote side has closed, after the sink received every byte",
    Effect.gen(function* () {
      const { near, far, closeNear } = yield* pair(host)
      const atFar = collector()
      near.writeUnsafe(pattern(30_000))
      yield* settle

      yield* closeNear
      far.receiveUnsafe(atFar.sink)
      yield* far.closed

      assertSame(atFar.chunks, [pattern(30_000)])
      Assert.isFalse(far.writeUnsafe(new Uint8Array(1)))
      yield* far.drained
    })
  ),

  ...(medium.readsAhead === true
    ? []
    : [
        Suite.test(
          "does not notice a close while the sink returns false",
          Effect.gen(function* () {
            const { near, far, closeNear } = yield* pair(host)
            const atFar = collector(() => false)
            far.receiveUnsafe(atFar.sink)
            near.writeUnsafe(new Uint8Array([1]))
            yield* atFar.until(1)
            const closed = yield* Effect.forkScoped(far.closed)

            yield* closeNear
            yield* settle
            const whilePaused = closed.pollUnsafe()
            far.resumeUnsafe()

            yield* Fiber.join(closed)
            Assert.isUndefined(whilePaused)
          })
        )
      ]),

  Suite.test(
    "completes closed and drained when its own scope closes",
    Effect.gen(function* () {
      const { near, closeNear } = yield* pair(host)
      for (let written = 0; near.writeUnsafe(new Uint8Array(65_536)); written += 65_536) {
        Assert.isAtMost(written, 2 * medium.bufferBytes, "bytes written without waiting")
        yield* settle
      }
      const waiting = yield* Effect.forkScoped(Effect.all([near.closed, near.drained], { concurrency: 2 }))
      yield* settle

      yield* closeNear

      yield* Fiber.join(waiting)
      Assert.isFalse(near.writeUnsafe(new Uint8Array(1)))
    })
  ),

  Suite.test(
    "resets the remote side when it closes over bytes it did not read",
    Effect.gen(function* () {
      const { near, closeFar } = yield* pair(host)
      near.receiveUnsafe(() => true)
      near.writeUnsafe(new Uint8Array(1000))
      yield* settle

      yield* closeFar
      const error = yield* Effect.flip(near.closed)

      Assert.strictEqual(error.message, "connection reset")
      Assert.strictEqual(error.address, near.remote)
    })
  ),

  Suite.test(
    "closes the connection when its sink throws, and dies with the thrown error",
    Effect.gen(function* () {
      const { near, far } = yield* pair(host)
      near.receiveUnsafe(() => true)
      far.receiveUnsafe(() => {
        throw new Error("a bug in the sink")
      })

      near.writeUnsafe(new Uint8Array(1))
      const exit = yield* Effect.exit(far.closed)
      yield* near.closed

      Assert.deepStrictEqual(exit, Exit.die(new Error("a bug in the sink")))
    })
  ),

  Suite.test(
    "has the addresses of both ends",
    Effect.gen(function* () {
      const { near, far, listening } = yield* pair(host)

      Assert.deepStrictEqual(near.remote, listening.address)
      Assert.strictEqual(far.remote.host, host)
      Assert.notStrictEqual(far.remote.port, listening.address.port)
      Assert.isAbove(far.remote.port, 0)
    })
  )
]
