import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import * as IoDaemonConnection from "../../src/network/provider/io-daemon/IoDaemonConnection.ts"
import type { Session, SessionSocket } from "../../src/network/provider/io-daemon/IoDaemonSession.ts"
import type { ClientFrame } from "../../src/network/provider/io-daemon/IoDaemonSocketCodec.ts"
import { SocketFrameError } from "../../src/network/provider/io-daemon/IoDaemonSocketCodec.ts"
import { assertSame, collector, pattern } from "./Transport.suite.ts"

const remote = { host: "10.0.0.7", port: 6881 }
const { creditBatchBytes, receiveWindowBytes, sendWindowBytes } = IoDaemonConnection

/** A connection of id 1 over a session that records what it sends. */
const make = () => {
  const sent: Array<ClientFrame> = []
  const sockets = new Map<number, SessionSocket>()
  const session: Session = {
    isOpenUnsafe: () => true,
    nextIdUnsafe: () => 1,
    addUnsafe: (id, socket) => sockets.set(id, socket),
    removeUnsafe: (id) => sockets.delete(id),
    sendUnsafe: (frame) => sent.push(frame),
    waitingBytesUnsafe: () => 0,
    endUnsafe: () => {}
  }
  const { connection, closeUnsafe } = IoDaemonConnection.makeUnsafe(session, 1, remote)
  const socket = sockets.get(1)!
  return {
    connection,
    closeUnsafe,
    sent,
    isKnown: () => sockets.has(1),
    breakUnsafe: socket.breakUnsafe,
    data: (bytes: Uint8Array) => socket.receiveUnsafe({ _tag: "Data", id: 1, bytes }),
    credit: (bytes: number) => socket.receiveUnsafe({ _tag: "Credit", id: 1, bytes }),
    closed: (code: string) => socket.receiveUnsafe({ _tag: "Closed", id: 1, code }),
    /** What was granted since the last call. */
    grants: () => sent.splice(0).map((frame) => (frame._tag === "Credit" ? frame.bytes : frame._tag))
  }
}

/** Resuming happens in a microtask. */
const microtasks = Effect.promise(() => Promise.resolve())

describe("IoDaemonConnection", () => {
  it.effect("grants nothing before it has a sink, and then a window", () =>
    Effect.gen(function* () {
      const { connection, data, grants } = make()
      assert.deepStrictEqual(grants(), [])
      assert.throws(() => data(Uint8Array.of(1)), SocketFrameError, "bytes that it was not asked for")

      connection.receiveUnsafe(() => true)
      yield* microtasks

      assert.deepStrictEqual(grants(), [receiveWindowBytes])
    })
  )

  it.effect("grants received bytes again, in batches", () =>
    Effect.gen(function* () {
      const { connection, data, grants } = make()
      const taken = collector()
      connection.receiveUnsafe(taken.sink)
      yield* microtasks
      grants()

      data(pattern(creditBatchBytes - 1))
      assert.deepStrictEqual(grants(), [])
      data(pattern(10))

      assert.deepStrictEqual(grants(), [creditBatchBytes + 9])
      assert.strictEqual(taken.lengthUnsafe(), creditBatchBytes + 9)
    })
  )

  it.effect("refuses bytes beyond what it has granted", () =>
    Effect.gen(function* () {
      const { connection, data } = make()
      connection.receiveUnsafe(() => false)
      yield* microtasks

      data(pattern(receiveWindowBytes))

      assert.throws(() => data(Uint8Array.of(1)), SocketFrameError, "bytes that it was not asked for")
    })
  )

  it.effect(
    "keeps what arrives while the sink returns false, grants nothing, and passes it on in order when resumed",
    () =>
      Effect.gen(function* () {
        const { connection, data, grants } = make()
        let isWilling = false
        const taken = collector(() => isWilling)
        connection.receiveUnsafe(taken.sink)
        yield* microtasks
        grants()

        data(pattern(creditBatchBytes))
        data(pattern(1000, 7))
        data(pattern(1000, 9))
        assert.strictEqual(taken.chunks.length, 1)
        assert.deepStrictEqual(grants(), [])
        connection.resumeUnsafe()
        connection.resumeUnsafe()
        assert.strictEqual(taken.chunks.length, 1)
        yield* microtasks
        // Two calls are one, and the sink has returned false again.
        assert.strictEqual(taken.chunks.length, 2)
        isWilling = true
        connection.resumeUnsafe()
        data(pattern(1000, 11))
        yield* microtasks

        assertSame(taken.chunks, [pattern(creditBatchBytes), pattern(1000, 7), pattern(1000, 9), pattern(1000, 11)])
        assert.deepStrictEqual(grants(), [creditBatchBytes + 3000])
      })
  )

  it.effect(
    "keeps a window of frames of one byte during a pause, and gives them in order in linear time",
    () =>
      Effect.gen(function* () {
        const { connection, data } = make()
        let isPaused = true
        let taken = 0
        let isOrdered = true
        connection.receiveUnsafe((view) => {
          isOrdered &&= view[0] === (taken & 0xff)
          taken += view.length
          return !isPaused
        })
        yield* microtasks
        for (let index = 0; index < receiveWindowBytes; index++) data(Uint8Array.of(index & 0xff))
        const before = taken

        isPaused = false
        connection.resumeUnsafe()
        yield* microtasks

        assert.deepStrictEqual([before, taken, isOrdered], [1, receiveWindowBytes, true])
      }),
    // Shifting an array takes 30 s.
    15_000
  )

  it.effect("closes after the last byte if the remote closes while the sink returns false", () =>
    Effect.gen(function* () {
      const { connection, data, closed, isKnown, sent } = make()
      const taken = collector(() => taken.chunks.length > 1)
      connection.receiveUnsafe(taken.sink)
      yield* microtasks
      const closing = yield* Effect.forkChild(connection.closed, { startImmediately: true })

      data(pattern(10))
      data(pattern(10, 10))
      closed("")
      assert.isUndefined(closing.pollUnsafe())
      connection.resumeUnsafe()
      yield* Fiber.join(closing)

      assertSame(taken.chunks, [pattern(20)])
      assert.isFalse(isKnown())
      // The daemon has forgotten it, so no frame is sent.
      assert.deepStrictEqual(sent, [{ _tag: "Credit", id: 1, bytes: receiveWindowBytes }])
    })
  )

  it.effect("closes when it gets a sink after the remote has closed", () =>
    Effect.gen(function* () {
      const { connection, closed } = make()
      closed("")

      connection.receiveUnsafe(() => true)

      yield* connection.closed
    })
  )

  it.effect.each([
    ["ECONNRESET", "connection reset"],
    ["EWHATEVER", "connection failed (EWHATEVER)"]
  ] as const)("breaks at once with the words for %s", ([code, why]) =>
    Effect.gen(function* () {
      const { connection, closed, data } = make()
      connection.receiveUnsafe(() => false)
      yield* microtasks
      data(pattern(10))

      closed(code)
      const error = yield* Effect.flip(connection.closed)

      assert.strictEqual(error.why, why)
      assert.strictEqual(error.address, remote)
    })
  )

  it.effect("sends what fits into the window, and the rest as the daemon grants it", () =>
    Effect.gen(function* () {
      const { connection, credit, sent } = make()
      const data = () => sent.map((frame) => (frame._tag === "Data" ? frame.bytes : new Uint8Array()))

      assert.isTrue(connection.writeUnsafe(pattern(100)))
      assert.isTrue(connection.writeUnsafe(new Uint8Array()))
      yield* connection.drained
      assert.isFalse(connection.writeUnsafe(pattern(sendWindowBytes, 100)))
      assert.isFalse(connection.writeUnsafe(pattern(50, 100 + sendWindowBytes)))
      assert.isFalse(connection.writeUnsafe(new Uint8Array()))
      assertSame(data(), [pattern(sendWindowBytes)])
      const draining = yield* Effect.forkChild(connection.drained, { startImmediately: true })
      credit(149)
      assert.isUndefined(draining.pollUnsafe())
      credit(2)
      yield* Fiber.join(draining)

      assertSame(data(), [pattern(sendWindowBytes + 150)])
      assert.isTrue(connection.writeUnsafe(Uint8Array.of(1)))
      assert.isFalse(connection.writeUnsafe(Uint8Array.of(1)))
    })
  )

  it.effect("drops everything when it is closed, sends one frame to the daemon, and answers nothing more", () =>
    Effect.gen(function* () {
      const { connection, closeUnsafe, data, isKnown, sent } = make()
      const taken = collector(() => false)
      connection.receiveUnsafe(taken.sink)
      yield* microtasks
      data(pattern(10))
      data(pattern(10))
      assert.isFalse(connection.writeUnsafe(new Uint8Array(sendWindowBytes + 1)))
      sent.length = 0

      closeUnsafe()
      closeUnsafe()
      connection.resumeUnsafe()
      yield* microtasks
      yield* connection.drained
      yield* connection.closed

      assert.deepStrictEqual(sent, [{ _tag: "Close", id: 1 }])
      assert.isFalse(connection.writeUnsafe(Uint8Array.of(1)))
      assert.strictEqual(taken.chunks.length, 1)
      assert.isFalse(isKnown())
    })
  )

  it.effect("closes when its sink throws, even over kept bytes, and dies with the thrown error", () =>
    Effect.gen(function* () {
      const { connection, data, sent } = make()
      let views = 0
      connection.receiveUnsafe(() => {
        if (++views === 2) throw new Error("a bug in the sink")
        return false
      })
      yield* microtasks
      data(pattern(1))
      data(pattern(1))
      data(pattern(1))
      connection.resumeUnsafe()

      const exit = yield* Effect.exit(connection.closed)

      assert.deepStrictEqual(exit, Exit.die(new Error("a bug in the sink")))
      assert.strictEqual(views, 2)
      assert.deepStrictEqual(sent.at(-1), { _tag: "Close", id: 1 })
    })
  )

  it.effect("breaks with its session, without a frame to the daemon", () =>
    Effect.gen(function* () {
      const { connection, breakUnsafe, sent } = make()
      assert.isFalse(connection.writeUnsafe(new Uint8Array(sendWindowBytes + 1)))
      sent.length = 0

      breakUnsafe("the io-daemon is gone")
      yield* connection.drained
      const error = yield* Effect.flip(connection.closed)

      assert.strictEqual(error.message, "the io-daemon is gone")
      assert.deepStrictEqual(sent, [])
    })
  )

  it("accepts one sink only", () => {
    const { connection } = make()
    connection.receiveUnsafe(() => true)

    assert.throws(() => connection.receiveUnsafe(() => true), "receiveUnsafe was called twice")
  })
})
