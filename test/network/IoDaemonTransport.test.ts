import * as Os from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as IoDaemonAt from "../../src/io-daemon/IoDaemon.ts"
import { IoDaemon, IoDaemonUnavailable } from "../../src/io-daemon/IoDaemon.ts"
import * as IoDaemonTransport from "../../src/network/provider/io-daemon/IoDaemonTransport.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import { Dialer, Listener, NamedFrom, UdpPort } from "../../src/network/Transport.ts"
import * as Daemon from "../io-daemon/daemon.ts"
import * as Suite from "./Transport.suite.ts"
import * as UdpSuite from "./UdpPort.suite.ts"

/** A daemon of its own for each test: it is ready in 10 ms. */
const layer = Layer.provideMerge(IoDaemonTransport.layer, Daemon.layer())

/** Sockets of the daemon. */
const sockets = Effect.gen(function* () {
  const daemon = yield* Effect.serviceOption(IoDaemon)
  if (daemon._tag === "None") return yield* Effect.die("no daemon")
  return (yield* Effect.provideService(Daemon.stats, IoDaemon, daemon.value)).sockets
})

const medium = (host: string): Suite.Medium => ({
  layer,
  host,
  test: it.live,
  handles: sockets,
  // The windows of both ends, and what Linux lets the buffers of a loopback connection grow to.
  bufferBytes: 20 * 1024 * 1024,
  freshViews: true
})

const hasLoopback6 = Object.values(Os.networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"))

const shutDown = Daemon.request("POST", "/v1/control/shutdown")

const endpoint = { url: "http://127.0.0.1:1", token: Redacted.make("0123456789abcdef") }

const somewhere = { host: "127.0.0.1", port: 6881 }

/** Dials over a transport of its own. */
const connectOver = (daemon: Layer.Layer<IoDaemon>) =>
  Effect.gen(function* () {
    const transport = yield* Layer.build(Layer.provide(Layer.fresh(IoDaemonTransport.layer), daemon))
    return yield* Context.get(transport, Dialer).connect(somewhere)
  })

/** The same if it fails, once the test clock has used up all retries. */
const connectInVain = Effect.fnUntraced(function* (daemon: Layer.Layer<IoDaemon>) {
  const dialing = yield* Effect.forkScoped(connectOver(daemon))
  const hasEnded = Effect.map(TestClock.adjust("100 millis"), () => dialing.pollUnsafe() !== undefined)
  yield* Suite.eventually(hasEnded)
  return yield* Effect.flip(Fiber.join(dialing))
})

Daemon.live("sockets", () => {
  it.live.skipIf(process.platform !== "linux")("connects from the local address that it was given", () =>
    Effect.gen(function* () {
      const listening = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })
      const port = listening.address.port
      const over = Layer.provide(Layer.fresh(IoDaemonTransport.layerFrom("127.0.0.9")), Daemon.layer())
      const dialer = Context.get(yield* Layer.build(over), Dialer)

      yield* dialer.connect({ host: "127.0.0.1", port })
      const far = yield* listening.accept
      const other = yield* Effect.flip(dialer.connect({ host: "::1", port }))

      assert.strictEqual(far.remote.host, "127.0.0.9")
      assert.strictEqual(other.why, "address family is not supported")
    }).pipe(Effect.provide(TcpTransport.layerListener))
  )

  Suite.suite("io-daemon, IPv4", medium("127.0.0.1"))
  if (hasLoopback6) Suite.suite("io-daemon, IPv6", medium("::1"))

  const udpMedium = (host: string): UdpSuite.UdpMedium => ({ layer, hosts: [host, host], test: it.live })
  UdpSuite.suite("io-daemon, IPv4", udpMedium("127.0.0.1"))
  if (hasLoopback6) UdpSuite.suite("io-daemon, IPv6", udpMedium("::1"))

  describe("IoDaemonTransport", () => {
    it.live.each([
      [{ host: "127.0.0.1", port: 70_000 }, "port is not valid"],
      [{ host: "x".repeat(256), port: 6881 }, "address is not valid"],
      [{ host: "no-such-host.invalid", port: 6881 }, /^host not found$|^host name lookup failed$/],
      [{ host: "169.254.169.254", port: 80 }, "permission denied"]
    ] as const)("says why it cannot connect to %o", ([address, why]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip((yield* Dialer).connect(address))

        assert.match(error.message, typeof why === "string" ? new RegExp(`^${why}$`) : why)
        assert.strictEqual(error.address, address)
        assert.strictEqual(yield* sockets, 0)
      }).pipe(Effect.provide(layer))
    )

    it.live("asks the daemon for no name unless it may lead anywhere", () =>
      Effect.gen(function* () {
        const { address } = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })
        const dialer = yield* Dialer

        const error = yield* dialer
          .connect({ host: "localhost", port: address.port })
          .pipe(Effect.provideService(NamedFrom, "public"), Effect.flip)
        const { remote } = yield* dialer.connect(address).pipe(Effect.provideService(NamedFrom, "public"))

        assert.deepStrictEqual([error.why, remote], ["permission denied", address])
      }).pipe(Effect.provide(layer))
    )

    it.live("looks up a host name, and keeps it as the remote address", () =>
      Effect.gen(function* () {
        const { address } = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })

        const near = yield* (yield* Dialer).connect({ host: "localhost", port: address.port })

        assert.deepStrictEqual(near.remote, { host: "localhost", port: address.port })
      }).pipe(Effect.provide(layer))
    )

    it.live("reports that an address is not this machine's", () =>
      Effect.gen(function* () {
        const listening = yield* Effect.flip((yield* Listener).listen({ host: "192.0.2.1", port: 0 }))
        const bound = yield* Effect.flip((yield* UdpPort).bind({ host: "192.0.2.1", port: 0 }))

        assert.strictEqual(listening.message, "address is not available on this machine")
        assert.strictEqual(bound.message, "address is not available on this machine")
      }).pipe(Effect.provide(layer))
    )

    it.live("carries bytes to and from plain TCP, dialled and accepted, and each other's end", () =>
      Effect.gen(function* () {
        const tcp = yield* Layer.build(TcpTransport.layer)
        const [daemonDialer, daemonListener] = [yield* Dialer, yield* Listener]
        const [tcpDialer, tcpListener] = [Context.get(tcp, Dialer), Context.get(tcp, Listener)]
        const sent = Suite.pattern(3_000_000)

        for (const [dialer, listener] of [
          [daemonDialer, tcpListener],
          [tcpDialer, daemonListener]
        ] as const) {
          const listening = yield* listener.listen({ host: "127.0.0.1", port: 0 })
          const nearScope = yield* Scope.make()
          const near = yield* Scope.provide(dialer.connect(listening.address), nearScope)
          const far = yield* listening.accept
          const [atNear, atFar] = [Suite.collector(), Suite.collector()]
          near.receiveUnsafe(atNear.sink)
          far.receiveUnsafe(atFar.sink)

          yield* Effect.all([Suite.writeAll(near, [sent]), Suite.writeAll(far, [sent])], { concurrency: 2 })
          yield* Effect.all([atNear.until(sent.length), atFar.until(sent.length)])
          yield* Scope.close(nearScope, Exit.void)
          yield* far.closed

          Suite.assertSame(atNear.chunks, [sent])
          Suite.assertSame(atFar.chunks, [sent])
        }
      }).pipe(Effect.provide(layer))
    )

    it.live("opens one WebSocket for all, when the first is needed", () =>
      Effect.gen(function* () {
        const dialer = yield* Dialer
        const before = yield* Daemon.stats
        const listening = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })

        yield* Effect.forEach(Array.from({ length: 20 }), () => dialer.connect(listening.address), {
          concurrency: "unbounded"
        })
        yield* (yield* UdpPort).bind({ host: "127.0.0.1", port: 0 })

        const after = yield* Daemon.stats
        // The handshake and the second question.
        assert.strictEqual(after.requests - before.requests, 2)
        assert.strictEqual(before.sockets, 0)
      }).pipe(Effect.provide(layer))
    )

    it.live("ends its sockets when the daemon ends, and finds the restarted daemon", () =>
      Effect.gen(function* () {
        const { near, far, listening } = yield* Suite.pair("127.0.0.1")
        const udp = yield* (yield* UdpPort).bind({ host: "127.0.0.1", port: 0 })
        const accepting = yield* Effect.forkScoped(listening.accept)
        assert.isFalse(near.writeUnsafe(new Uint8Array(16 << 20)))

        yield* shutDown
        const errors = [yield* Effect.flip(near.closed), yield* Effect.flip(far.closed), yield* Effect.flip(udp.closed)]
        yield* near.drained
        const accepted = yield* Fiber.await(accepting)

        for (const error of errors) assert.strictEqual(error.message, "the io-daemon is gone")
        assert.isTrue(Exit.hasInterrupts(accepted))
        const again = yield* Suite.pair("127.0.0.1")
        const atFar = Suite.collector()
        again.far.receiveUnsafe(atFar.sink)
        again.near.writeUnsafe(Suite.pattern(1000))
        yield* atFar.until(1000)
      }).pipe(Effect.provide(layer))
    )

    it.live("closes its sockets with the layer", () =>
      Effect.gen(function* () {
        const listening = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })
        const scope = yield* Scope.make()
        const transport = yield* Layer.buildWithScope(Layer.fresh(IoDaemonTransport.layer), scope)
        const near = yield* Effect.provide((yield* Dialer).connect(listening.address), transport)
        const dialed = yield* Effect.provide(
          Effect.flatMap(Dialer, (dialer) => dialer.connect(listening.address)),
          transport
        )
        const fars = [yield* listening.accept, yield* listening.accept]
        for (const far of fars) far.receiveUnsafe(() => true)

        yield* Scope.close(scope, Exit.void)
        const error = yield* Effect.flip(dialed.closed)
        yield* Effect.raceAllFirst(fars.map((far) => far.closed))

        assert.strictEqual(error.message, "the io-daemon is gone")
        assert.isTrue(near.writeUnsafe(Uint8Array.of(1)))
      }).pipe(Effect.provide(layer))
    )

    it.live("is refused with a wrong token, and waits for the daemon with that token", () =>
      Effect.gen(function* () {
        const { url } = yield* (yield* IoDaemon).endpoint

        const dialing = yield* Effect.forkScoped(connectOver(IoDaemonAt.layer({ ...endpoint, url })))
        yield* Suite.eventually(Effect.map(Daemon.stats, ({ unauthorized }) => unauthorized > 1))

        assert.isUndefined(dialing.pollUnsafe())
      }).pipe(Effect.provide(Daemon.layer()))
    )
  })
})

describe("IoDaemonTransport without a daemon", () => {
  it.effect("reports that there is no daemon, after a while", () =>
    Effect.gen(function* () {
      const error = yield* connectInVain(IoDaemonAt.layer(endpoint))

      assert.strictEqual(error.message, "the io-daemon is not there: it cannot be reached, or has another token")
      assert.strictEqual(error.address, somewhere)
      assert.isAtLeast(yield* Clock.currentTimeMillis, 30_000)
    })
  )

  it.effect("reports why there is none", () =>
    Effect.gen(function* () {
      const unavailable = Effect.fail(new IoDaemonUnavailable({ why: "it did not start in time" }))

      const error = yield* connectInVain(Layer.succeed(IoDaemon, IoDaemon.of({ endpoint: unavailable })))

      assert.strictEqual(error.message, "the io-daemon is not there: it did not start in time")
    })
  )

  it.effect.each([
    { ...endpoint, url: "127.0.0.1 port 4710" },
    { ...endpoint, token: Redacted.make("not a token") }
  ])("says that its address or token is not valid", (wrong) =>
    Effect.gen(function* () {
      const error = yield* connectInVain(IoDaemonAt.layer(wrong))

      assert.strictEqual(error.message, "the io-daemon is not there: its address or its token is not valid")
    })
  )

  it.live("reports that its layer is closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const over = Layer.provide(Layer.fresh(IoDaemonTransport.layer), IoDaemonAt.layer(endpoint))
      const transport = yield* Layer.buildWithScope(over, scope)
      yield* Scope.close(scope, Exit.void)

      const error = yield* Effect.flip(Context.get(transport, Dialer).connect(somewhere))

      assert.strictEqual(error.message, "the io-daemon is not there: its layer is closed")
    })
  )

  it.live("stops waiting for a daemon that starts, and for one that does not answer", () =>
    Effect.gen(function* () {
      const { address } = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })
      const silent = IoDaemonAt.layer({ ...endpoint, url: `http://127.0.0.1:${address.port}` })
      const absent = Layer.succeed(IoDaemon, IoDaemon.of({ endpoint: Effect.never }))

      for (const daemon of [silent, absent]) {
        const dialing = yield* Effect.forkScoped(connectOver(daemon))
        yield* Suite.settle

        const exit = yield* Effect.andThen(Fiber.interrupt(dialing), Fiber.await(dialing))

        assert.isTrue(Exit.hasInterrupts(exit))
      }
    }).pipe(Effect.provide(TcpTransport.layer))
  )
})
