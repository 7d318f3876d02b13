/**
 * What every pair of `Dialer` and `Listener` does. Each test counts its own handles, so layers say how to count them.
 */
import { assert, describe, type it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, type Layer, Scope } from "effect"
import * as fc from "fast-check"
import { type Connection, Dialer, Listener, type Sink } from "../../src/network/Transport.ts"

export interface Medium {
  readonly layer: Layer.Layer<Dialer | Listener>
  /** A host of this medium to listen on. */
  readonly host: string
  /** Runs a test: `it.effect` or `it.live`. */
  readonly test: typeof it.effect
  /** How many handles are open, beyond those of the test runner. */
  readonly handles: Effect.Effect<number, never, Dialer | Listener>
  /** What the medium itself buffers between a writer and a stopped reader, at most. */
  readonly bufferBytes: number
  /** Whether incoming connections read ahead of their sink, into fresh memory. Default `false`. */
  readonly readsAhead?: boolean
  /** Whether each view is in memory of its own, as those of messages are. Default `false`. */
  readonly freshViews?: boolean
}

/** A dialed connection, its other end, and the scopes that hold them. */
export const pair = (host: string) =>
  Effect.gen(function* () {
    const listening = yield* (yield* Listener).listen({ host, port: 0 })
    const nearScope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const farScope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const near = yield* Scope.provide((yield* Dialer).connect(listening.address), nearScope)
    const far = yield* Scope.provide(listening.accept, farScope)
    return {
      near,
      far,
      listening,
      closeNear: Scope.close(nearScope, Exit.void),
      closeFar: Scope.close(farScope, Exit.void)
    }
  })

/** A sink that copies, and can be waited for. */
export const collector = (onView: Sink = () => true) => {
  const chunks: Array<Uint8Array> = []
  const waiters: Array<{ readonly length: number; readonly done: Deferred.Deferred<void> }> = []
  let total = 0
  const sink: Sink = (view) => {
    chunks.push(view.slice())
    total += view.length
    for (const waiter of waiters) if (total >= waiter.length) Deferred.doneUnsafe(waiter.done, Exit.void)
    return onView(view)
  }
  return {
    sink,
    chunks,
    lengthUnsafe: () => total,
    /** Completes when `length` bytes have arrived. */
    until: (length: number) =>
      Effect.suspend(() => {
        const done = Deferred.makeUnsafe<void>()
        waiters.push({ length, done })
        if (total >= length) Deferred.doneUnsafe(done, Exit.void)
        return Deferred.await(done)
      })
  }
}

/** Bytes that show their position. */
export const pattern = (length: number, first = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => ((first + index) * 31 + ((first + index) >>> 8)) & 0xff)

/** Writes `chunks` and waits for room when `writeUnsafe` returns `false`. */
export const writeAll = Effect.fnUntraced(function* (connection: Connection, chunks: Iterable<Uint8Array>) {
  for (const chunk of chunks) if (!connection.writeUnsafe(chunk)) yield* connection.drained
})

/** Runs everything that needs no time: turns of the event loop. */
export const settle = Effect.promise(async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
})

/** Compares joined bytes, and shows where they differ instead of all of them. */
export const assertSame = (actual: ReadonlyArray<Uint8Array>, expected: ReadonlyArray<Uint8Array>): void => {
  const [a, b] = [Buffer.concat(actual), Buffer.concat(expected)]
  const at = a.equals(b) ? -1 : b.findIndex((byte, index) => a[index] !== byte)
  assert.deepStrictEqual({ length: a.length, differsAt: at }, { length: b.length, differsAt: -1 })
}

/** Waits, by turns of the event loop, until `check` holds; a test that waits in vain is ended by its timeout. */
export const eventually = <R>(check: Effect.Effect<boolean, never, R>): Effect.Effect<void, never, R> =>
  Effect.flatMap(check, (holds) => (holds ? Effect.void : Effect.andThen(settle, () => eventually(check))))

export const suite = (name: string, medium: Medium) =>
  describe(`Transport (${name})`, () => {
    const { host } = medium
    const test = (title: string, body: Effect.Effect<void, unknown, Dialer | Listener | Scope.Scope>) =>
      medium.test(title, () => Effect.provide(body, medium.layer))

    test(
      "delivers every byte in order, however it is written and cut",
      Effect.gen(function* () {
        const services = yield* Effect.context<Dialer | Listener>()
        const lengths = fc.array(fc.oneof(fc.nat(40), fc.nat(70_000)), { maxLength: 12 })
        const property = fc.asyncProperty(lengths, lengths, (there, back) =>
          Effect.gen(function* () {
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
          }).pipe(Effect.scoped, Effect.runPromiseWith(services))
        )

        yield* Effect.promise(() => fc.assert(property, { numRuns: 25 }))
      })
    )

    test(
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
        if (near.writeUnsafe.isWrittenUnsafe !== undefined) assert.isAbove(again, 0)
      })
    )

    if (medium.readsAhead !== true && medium.freshViews !== true) {
      test(
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

          assert.strictEqual(kept[0]!.buffer, kept.at(-1)!.buffer)
          assert.notDeepEqual(kept[0]!.slice(), atFar.chunks[0])
        })
      )
    }

    test(
      "reads nothing before receiveUnsafe",
      Effect.gen(function* () {
        const { near, far } = yield* pair(host)
        near.writeUnsafe(pattern(50_000))
        yield* settle
        const atFar = collector()

        far.receiveUnsafe(atFar.sink)
        const atOnce = atFar.lengthUnsafe()
        yield* atFar.until(50_000)

        assert.strictEqual(atOnce, 0)
        assertSame(atFar.chunks, [pattern(50_000)])
      })
    )

    test(
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
          assert.strictEqual(atFar.chunks.length, views)
          stops++
          far.resumeUnsafe()
        }

        yield* Fiber.join(sender)
        assert.isAbove(stops, 3)
        assertSame(atFar.chunks, cut(new Array(40).fill(50_000)))
      })
    )

    test(
      "makes a writer wait while the other side does not read, with bounded bytes between them",
      Effect.gen(function* () {
        const { near, far } = yield* pair(host)
        const atFar = collector()
        let written = 0
        const sender = yield* Effect.gen(function* () {
          while (true) {
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
        assert.isAtMost(written, medium.bufferBytes)
        assert.isFalse(near.writeUnsafe(new Uint8Array(1)))
        yield* Fiber.interrupt(sender)

        far.receiveUnsafe(atFar.sink)
        yield* near.drained
        yield* atFar.until(written + 1)
        assert.isTrue(near.writeUnsafe(new Uint8Array(1)))
      })
    )

    test(
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
        assert.isFalse(far.writeUnsafe(new Uint8Array(1)))
        yield* far.drained
      })
    )

    if (medium.readsAhead !== true) {
      test(
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
          assert.isUndefined(whilePaused)
        })
      )
    }

    test(
      "completes closed and drained when its own scope closes",
      Effect.gen(function* () {
        const { near, closeNear } = yield* pair(host)
        while (near.writeUnsafe(new Uint8Array(65_536))) yield* settle
        const waiting = yield* Effect.forkScoped(Effect.all([near.closed, near.drained], { concurrency: 2 }))
        yield* settle

        yield* closeNear

        yield* Fiber.join(waiting)
        assert.isFalse(near.writeUnsafe(new Uint8Array(1)))
      })
    )

    test(
      "resets the remote side when it closes over bytes it did not read",
      Effect.gen(function* () {
        const { near, closeFar } = yield* pair(host)
        near.receiveUnsafe(() => true)
        near.writeUnsafe(new Uint8Array(1000))
        yield* settle

        yield* closeFar
        const error = yield* Effect.flip(near.closed)

        assert.strictEqual(error.message, "connection reset")
        assert.strictEqual(error.address, near.remote)
      })
    )

    test(
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

        assert.deepStrictEqual(exit, Exit.die(new Error("a bug in the sink")))
      })
    )

    test(
      "has the addresses of both ends",
      Effect.gen(function* () {
        const { near, far, listening } = yield* pair(host)

        assert.deepStrictEqual(near.remote, listening.address)
        assert.strictEqual(far.remote.host, host)
        assert.notStrictEqual(far.remote.port, listening.address.port)
        assert.isAbove(far.remote.port, 0)
      })
    )

    test(
      "is refused if nothing listens",
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { address } = yield* Scope.provide((yield* Listener).listen({ host, port: 0 }), scope)
        yield* Scope.close(scope, Exit.void)

        const error = yield* Effect.flip((yield* Dialer).connect(address))

        assert.strictEqual(error.message, "connection refused")
        assert.deepStrictEqual(error.address, address)
        yield* eventually(Effect.map(medium.handles, (now) => now === 0))
      })
    )

    test(
      "leaves nothing behind when connecting is interrupted, whenever that is",
      Effect.gen(function* () {
        yield* Effect.gen(function* () {
          const dialer = yield* Dialer
          const listening = yield* (yield* Listener).listen({ host, port: 0 })
          const untilClosed = Effect.flatMap(listening.accept, (far) => {
            far.receiveUnsafe(() => true)
            return Effect.exit(far.closed)
          })
          const taker = yield* Effect.forkScoped(Effect.forever(Effect.scoped(untilClosed)))
          for (let turns = 0; turns < 24; turns++) {
            const dial = yield* Effect.forkScoped(
              Effect.scoped(Effect.andThen(dialer.connect(listening.address), Effect.never))
            )
            for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow

            yield* Fiber.interrupt(dial)
          }

          // The port is left.
          yield* eventually(Effect.map(medium.handles, (now) => now <= 1))
          yield* Fiber.interrupt(taker)
        }).pipe(Effect.scoped)

        yield* eventually(Effect.map(medium.handles, (now) => now === 0))
      })
    )

    test(
      "waits to accept, and an interrupted accept takes no connection",
      Effect.gen(function* () {
        const dialer = yield* Dialer
        const listening = yield* (yield* Listener).listen({ host, port: 0 })
        const first = yield* Effect.forkScoped(listening.accept)
        const second = yield* Effect.forkScoped(listening.accept)
        yield* settle
        yield* Fiber.interrupt(first)

        const near = yield* dialer.connect(listening.address)
        const far = yield* Fiber.join(second)
        const atFar = collector()
        far.receiveUnsafe(atFar.sink)
        near.writeUnsafe(pattern(10))

        yield* atFar.until(10)
      })
    )

    test(
      "closes a connection at once that exceeds the backlog",
      Effect.gen(function* () {
        const dialer = yield* Dialer
        const listening = yield* (yield* Listener).listen({ host, port: 0, backlog: 2 })

        const nears = yield* Effect.forEach([1, 2, 3], () => dialer.connect(listening.address))
        for (const near of nears) near.receiveUnsafe(() => true)
        // Which one it is depends on the order of their arrival.
        yield* Effect.exit(Effect.raceAllFirst(nears.map((near) => near.closed)))
        const fars = [yield* listening.accept, yield* listening.accept]

        assert.strictEqual(fars.length, 2)
      })
    )

    test(
      "reports that a port is in use",
      Effect.gen(function* () {
        const listener = yield* Listener
        const { address } = yield* listener.listen({ host, port: 0 })

        const error = yield* Effect.flip(listener.listen({ host, port: address.port }))

        assert.strictEqual(error.message, `port ${address.port} is in use`)
      })
    )

    test(
      "frees the port with its scope, closes what was not accepted, and keeps what was",
      Effect.gen(function* () {
        const dialer = yield* Dialer
        const listener = yield* Listener
        const scope = yield* Scope.make()
        const listening = yield* Scope.provide(listener.listen({ host, port: 0 }), scope)
        const near = yield* dialer.connect(listening.address)
        const far = yield* listening.accept
        const unaccepted = yield* dialer.connect(listening.address)
        unaccepted.receiveUnsafe(() => true)
        const atFar = collector()
        far.receiveUnsafe(atFar.sink)
        yield* settle

        yield* Scope.close(scope, Exit.void)
        yield* unaccepted.closed
        near.writeUnsafe(pattern(10))
        yield* atFar.until(10)
        yield* listener.listen({ host, port: listening.address.port })
        const late = yield* Effect.exit(Effect.forkChild(listening.accept).pipe(Effect.flatMap(Fiber.await)))

        assert.isTrue(Exit.isSuccess(late) && Exit.isFailure(late.value) && Exit.hasInterrupts(late.value))
      })
    )

    test(
      "carries 200 connections, and leaves no handle when they close",
      Effect.gen(function* () {
        yield* Effect.gen(function* () {
          const dialer = yield* Dialer
          const listening = yield* (yield* Listener).listen({ host, port: 0, backlog: 200 })
          const nears = yield* Effect.forEach(Array.from({ length: 200 }), () => dialer.connect(listening.address), {
            concurrency: 50
          })
          const fars = yield* Effect.forEach(nears, () => listening.accept)
          const sinks = fars.map(() => collector())
          fars.forEach((far, index) => {
            far.receiveUnsafe(sinks[index]!.sink)
          })

          for (const near of nears) near.writeUnsafe(pattern(20_000, near.remote.port))
          yield* Effect.forEach(sinks, (sink) => sink.until(20_000))

          const sent = pattern(20_000, listening.address.port)
          for (const sink of sinks) assertSame(sink.chunks, [sent])
        }).pipe(Effect.scoped)

        yield* eventually(Effect.map(medium.handles, (now) => now === 0))
      })
    )
  })

const sum = (lengths: ReadonlyArray<number>): number => lengths.reduce((total, length) => total + length, 0)

/** The pattern, cut into pieces of `lengths`. */
const cut = (lengths: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  let first = 0
  return lengths.map((length) => {
    const chunk = pattern(length, first)
    first += length
    return chunk
  })
}
