/**
 * What every `UdpPort` does. Nothing may be lost on the tested medium, except what its queues cannot hold.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Bytes from "../../base/Bytes.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as Transport from "../../network/Transport.ts"
import { type DatagramSink, UdpPort, type UdpSocket } from "../../network/Transport.ts"
import * as Assert from "./Assert.ts"
import * as Suite from "./Suite.ts"
import * as TransportProbe from "./TransportProbe.ts"

const { maxDatagramBytes } = Transport
const { eventually, pattern } = TransportProbe

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
  Assert.deepStrictEqual(sink.received.at(-1), { payload: pattern(3), from: socket.local })
})

/** What every port does. `hosts` are two hosts of one family, which may be the same. */
export const cases = (hosts: readonly [string, string]): ReadonlyArray<Suite.Case<UdpPort>> => {
  const [hostA, hostB] = hosts
  const bind = (host: string, port = 0) => Effect.flatMap(UdpPort, (udp) => udp.bind({ host, port }))
  return [
    Suite.test(
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

        Assert.deepStrictEqual(
          atB.received,
          payloads.map((payload) => ({ payload, from: a.local }))
        )
        Assert.deepStrictEqual(
          atA.received,
          payloads.map((payload) => ({ payload, from: b.local }))
        )
      })
    ),

    Suite.test(
      "has the port that it was bound to, and a free one for 0",
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { local } = yield* Scope.provide(bind(hostA), scope)
        yield* Scope.close(scope, Exit.void)

        const again = yield* bind(hostA, local.port)

        Assert.strictEqual(local.host, hostA)
        Assert.isAbove(local.port, 0)
        Assert.deepStrictEqual(again.local, local)
      })
    ),

    Suite.test(
      "reports that a port is in use",
      Effect.gen(function* () {
        const { local } = yield* bind(hostA)

        const error = yield* Effect.flip(bind(hostA, local.port))

        Assert.strictEqual(error.message, `port ${local.port} is in use`)
        Assert.deepStrictEqual(error.address, local)
      })
    ),

    Suite.test(
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
        Assert.strictEqual(sink.received.length, 1)
      })
    ),

    Suite.test(
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
        Assert.isAtLeast(ofBurst.length, 1)
        for (const { payload, from } of ofBurst) {
          Assert.deepStrictEqual(payload, numbered(Bytes.readUint32Unsafe(payload, 0)))
          Assert.deepStrictEqual(from, a.local)
        }
      })
    ),

    Suite.test(
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
        Assert.strictEqual(atOther.received.length, 1)
        Assert.strictEqual(atClosing.received.length, 0)
      })
    ),

    Suite.test(
      "closes when its sink throws, frees the port, and dies with the thrown error",
      Effect.gen(function* () {
        const a = yield* bind(hostA)
        const b = yield* bind(hostB)
        b.receiveUnsafe(() => {
          throw new Error("a bug in the sink")
        })

        a.sendUnsafe(pattern(1), b.local)
        const exit = yield* Effect.exit(b.closed)

        Assert.deepStrictEqual(exit, Exit.die(new Error("a bug in the sink")))
        const again = yield* bind(hostB, b.local.port)
        Assert.deepStrictEqual(again.local, b.local)
      })
    ),

    Suite.test(
      "accepts one sink only",
      Effect.gen(function* () {
        const socket = yield* bind(hostA)
        socket.receiveUnsafe(() => {})

        Assert.throws(() => socket.receiveUnsafe(() => {}), "receiveUnsafe was called twice")
      })
    )
  ]
}
