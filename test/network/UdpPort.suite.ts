/** What every `UdpPort` does. Nothing is lost on the tested media, except what their queues cannot hold. */
import { assert, describe, type it } from "@effect/vitest"
import { Deferred, Effect, Exit, type Layer, Scope } from "effect"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import { type DatagramSink, maxDatagramBytes, UdpPort, type UdpSocket } from "../../src/network/Transport.ts"
import { eventually, pattern } from "./Transport.suite.ts"

export interface UdpMedium {
  readonly layer: Layer.Layer<UdpPort>
  /** Two hosts of one family, which may be the same. */
  readonly hosts: readonly [string, string]
  /** Runs a test: `it.effect` or `it.live`. */
  readonly test: typeof it.effect
}

/** A sink that copies, and can be waited for. */
const collector = (onDatagram: DatagramSink = () => {}) => {
  const received: Array<{ readonly payload: Uint8Array; readonly from: PeerAddress }> = []
  const waiters: Array<{ readonly count: number; readonly done: Deferred.Deferred<void> }> = []
  const sink: DatagramSink = (payload, from) => {
    received.push({ payload: payload.slice(), from })
    for (const { count, done } of waiters) if (received.length >= count) Deferred.doneUnsafe(done, Exit.void)
    onDatagram(payload, from)
  }
  return {
    sink,
    received,
    /** Completes when `count` datagrams have arrived. */
    until: (count: number) =>
      Effect.suspend(() => {
        const done = Deferred.makeUnsafe<void>()
        waiters.push({ count, done })
        if (received.length >= count) Deferred.doneUnsafe(done, Exit.void)
        return Deferred.await(done)
      })
  }
}

/** 1,400 bytes that show which datagram they are. */
const numbered = (index: number): Uint8Array => {
  const payload = new Uint8Array(1400).fill(index)
  Bytes.writeUint32Unsafe(payload, 0, index)
  return payload
}

/** A socket that has received from itself, so that it is known to work. */
const proveAlive = Effect.fnUntraced(function* (socket: UdpSocket, sink: ReturnType<typeof collector>) {
  const before = sink.received.length
  socket.sendUnsafe(pattern(3), socket.local)
  yield* sink.until(before + 1)
  assert.deepStrictEqual(sink.received.at(-1), { payload: pattern(3), from: socket.local })
})

export const suite = (name: string, medium: UdpMedium) =>
  describe(`UdpPort (${name})`, () => {
    const [hostA, hostB] = medium.hosts
    const test = (title: string, body: Effect.Effect<void, unknown, UdpPort | Scope.Scope>) =>
      medium.test(title, () => Effect.provide(body, medium.layer))
    const bind = (host: string, port = 0) => Effect.flatMap(UdpPort, (udp) => udp.bind({ host, port }))

    test(
      "carries payloads of every size both ways, with their sender's address",
      Effect.gen(function* () {
        const a = yield* bind(hostA)
        const b = yield* bind(hostB)
        const atA = collector()
        const atB = collector()
        a.receiveUnsafe(atA.sink)
        b.receiveUnsafe(atB.sink)

        const payloads = [0, 1, 1472, 9000, maxDatagramBytes].map((length) => pattern(length, length))
        for (const [index, payload] of payloads.entries()) {
          a.sendUnsafe(payload, b.local)
          yield* atB.until(index + 1)
          b.sendUnsafe(payload, atB.received[index]!.from)
          yield* atA.until(index + 1)
        }

        assert.deepStrictEqual(
          atB.received,
          payloads.map((payload) => ({ payload, from: a.local }))
        )
        assert.deepStrictEqual(
          atA.received,
          payloads.map((payload) => ({ payload, from: b.local }))
        )
      })
    )

    test(
      "has the port that it was bound to, and a free one for 0",
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { local } = yield* Scope.provide(bind(hostA), scope)
        yield* Scope.close(scope, Exit.void)

        const again = yield* bind(hostA, local.port)

        assert.strictEqual(local.host, hostA)
        assert.isAbove(local.port, 0)
        assert.deepStrictEqual(again.local, local)
      })
    )

    test(
      "reports that a port is in use",
      Effect.gen(function* () {
        const { local } = yield* bind(hostA)

        const error = yield* Effect.flip(bind(hostA, local.port))

        assert.strictEqual(error.message, `port ${local.port} is in use`)
        assert.deepStrictEqual(error.address, local)
      })
    )

    test(
      "drops what it cannot send, and stays usable",
      Effect.gen(function* () {
        const socket = yield* bind(hostA)
        const sink = collector()
        socket.receiveUnsafe(sink.sink)
        const scope = yield* Scope.make()
        const { local: nobody } = yield* Scope.provide(bind(hostA), scope)
        yield* Scope.close(scope, Exit.void)

        for (const to of [
          nobody,
          { host: hostA, port: 0 },
          { host: hostA, port: 70_000 },
          { host: "", port: 6881 },
          { host: "no-such-host.invalid", port: 6881 },
          { host: "x".repeat(300), port: 6881 },
          { host: hostA.includes(":") ? "127.0.0.1" : "::1", port: socket.local.port }
        ]) {
          socket.sendUnsafe(pattern(10), to)
        }
        socket.sendUnsafe(new Uint8Array(maxDatagramBytes + 1), socket.local)
        socket.sendUnsafe(new Uint8Array(2 << 20), socket.local)

        yield* proveAlive(socket, sink)
        assert.strictEqual(sink.received.length, 1)
      })
    )

    test(
      "receives whole datagrams of a burst that no queue holds",
      Effect.gen(function* () {
        const a = yield* bind(hostA)
        const b = yield* bind(hostB)
        const atB = collector()
        b.receiveUnsafe(atB.sink)

        for (let index = 0; index < 3000; index++) a.sendUnsafe(numbered(index), b.local)
        yield* eventually(
          Effect.sync(() => {
            b.sendUnsafe(pattern(1), b.local)
            return atB.received.some(({ payload }) => payload.length === 1)
          })
        )

        const ofBurst = atB.received.filter(({ payload }) => payload.length > 1)
        assert.isAtLeast(ofBurst.length, 1)
        for (const { payload, from } of ofBurst) {
          assert.deepStrictEqual(payload, numbered(Bytes.readUint32Unsafe(payload, 0)))
          assert.deepStrictEqual(from, a.local)
        }
      })
    )

    test(
      "completes closed when its scope closes, and sends and receives nothing more",
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const closing = yield* Scope.provide(bind(hostA), scope)
        const other = yield* bind(hostB)
        const atClosing = collector()
        const atOther = collector()
        closing.receiveUnsafe(atClosing.sink)
        other.receiveUnsafe(atOther.sink)

        yield* Scope.close(scope, Exit.void)
        yield* closing.closed
        closing.sendUnsafe(pattern(10), other.local)
        other.sendUnsafe(pattern(10), closing.local)

        yield* proveAlive(other, atOther)
        assert.strictEqual(atOther.received.length, 1)
        assert.strictEqual(atClosing.received.length, 0)
      })
    )

    test(
      "closes when its sink throws, frees the port, and dies with the thrown error",
      Effect.gen(function* () {
        const a = yield* bind(hostA)
        const b = yield* bind(hostB)
        b.receiveUnsafe(() => {
          throw new Error("a bug in the sink")
        })

        a.sendUnsafe(pattern(1), b.local)
        const exit = yield* Effect.exit(b.closed)

        assert.deepStrictEqual(exit, Exit.die(new Error("a bug in the sink")))
        const again = yield* bind(hostB, b.local.port)
        assert.deepStrictEqual(again.local, b.local)
      })
    )

    test(
      "accepts one sink only",
      Effect.gen(function* () {
        const socket = yield* bind(hostA)
        socket.receiveUnsafe(() => {})

        assert.throws(() => socket.receiveUnsafe(() => {}), "receiveUnsafe was called twice")
      })
    )
  })
