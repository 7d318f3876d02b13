import * as Net from "node:net"
import * as Os from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import * as Descriptors from "../../src/base/Descriptors.ts"
import type { Reach } from "../../src/base/PeerAddress.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import { Dialer, Listener, NamedFrom } from "../../src/network/Transport.ts"
import { online } from "./online.ts"
import * as Suite from "./Transport.suite.ts"

/** Sockets and ports of this process; vitest talks to its workers over pipes or ports of threads, which are neither. */
const handles = Effect.sync(
  () => process.getActiveResourcesInfo().filter((name) => /^TCP(Server|Socket)Wrap|^TCPConnectWrap/.test(name)).length
)

const medium = (host: string): Suite.Medium => ({
  layer: TcpTransport.layer,
  host,
  test: it.live,
  handles,
  // Linux lets the buffers of a loopback connection grow to 6 MiB for the reader and 4 MiB for the writer.
  bufferBytes: 16 * 1024 * 1024
})

Suite.suite("TCP, IPv4", medium("127.0.0.1"))

Suite.suite("TCP, incoming as streams", {
  ...medium("127.0.0.1"),
  layer: Layer.merge(TcpTransport.layerDialer, TcpTransport.layerListenerStream),
  readsAhead: true
})

const hasLoopback6 = Object.values(Os.networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"))
if (hasLoopback6) Suite.suite("TCP, IPv6", medium("::1"))

describe("TcpTransport", () => {
  it.live.skipIf(!hasLoopback6)("reports an IPv4 peer's own address on a port of both families", () =>
    Effect.gen(function* () {
      const listening = yield* (yield* Listener).listen({ host: "::", port: 0 })

      yield* (yield* Dialer).connect({ host: "127.0.0.1", port: listening.address.port })
      const far = yield* listening.accept

      assert.strictEqual(far.remote.host, "127.0.0.1")
    }).pipe(Effect.provide(TcpTransport.layer))
  )

  it.live.skipIf(process.platform !== "linux")(
    "connects from the local address that it was given, and to its family",
    () =>
      Effect.gen(function* () {
        const listening = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })
        const dialer = yield* Dialer

        const near = yield* dialer.connect({ host: "localhost", port: listening.address.port })
        const far = yield* listening.accept
        const other = yield* Effect.exit(dialer.connect({ host: "::1", port: listening.address.port }))

        assert.strictEqual(near.remote.port, listening.address.port)
        assert.strictEqual(far.remote.host, "127.0.0.9")
        assert.strictEqual(other._tag, "Failure")
      }).pipe(Effect.provide(Layer.merge(TcpTransport.layerDialerFrom("127.0.0.9"), TcpTransport.layerListener)))
  )

  it.live("fault 56: reports a connection that finds no descriptor", () =>
    Effect.gen(function* () {
      const short = Deferred.makeUnsafe<void>()
      const descriptors = yield* Descriptors.Descriptors
      descriptors.acceptors.add(Deferred.succeed(short, undefined))
      const { address } = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })
      const { _getActiveHandles } = process as unknown as { readonly _getActiveHandles: () => ReadonlyArray<unknown> }
      const servers = _getActiveHandles().filter((handle) => handle instanceof Net.Server)
      const server = servers.find((server) => (server.address() as Net.AddressInfo | null)?.port === address.port)

      // What Node does if the system has no descriptor for a connection.
      server?.emit("error", Object.assign(new Error("accept"), { code: "EMFILE" }))

      yield* Deferred.await(short)
    }).pipe(
      Effect.provide(TcpTransport.layer),
      Effect.provideServiceEffect(Descriptors.Descriptors, Effect.sync(Descriptors.make))
    )
  )

  it.live("fault 91: connects to no address of a name to which whoever named it may not send us", () =>
    Effect.gen(function* () {
      const { accept, address } = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })
      const accepted = yield* Effect.forkScoped(accept)
      const dialer = yield* Dialer
      const connect = (from: Reach) =>
        Effect.provideService(dialer.connect({ host: "localhost", port: address.port }), NamedFrom, from).pipe(
          Effect.scoped
        )

      const refused = yield* Effect.forEach(["public", "private", "none"] as const, (from) =>
        Effect.flip(connect(from))
      )
      const before = accepted.pollUnsafe()
      yield* connect("loopback")

      assert.deepStrictEqual(
        refused.map(({ why }) => why),
        Array(3).fill("permission denied")
      )
      assert.isUndefined(before)
    }).pipe(Effect.provide(TcpTransport.layer))
  )

  it.live("looks up a host name", () =>
    Effect.gen(function* () {
      const listening = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })

      const near = yield* (yield* Dialer).connect({ host: "localhost", port: listening.address.port })

      assert.deepStrictEqual(near.remote, { host: "localhost", port: listening.address.port })
    }).pipe(Effect.provide(TcpTransport.layer))
  )

  it.live.each([
    [{ host: "127.0.0.1", port: 70_000 }, "port is not valid"],
    [{ host: "no-such-host.invalid", port: 6881 }, /^host not found$|^host name lookup failed$/],
    [{ host: "a\0b", port: 6881 }, /^host not found$|^address is not valid$/]
  ] as const)("says why it cannot connect to %o", ([address, why]) =>
    Effect.gen(function* () {
      yield* online
      const error = yield* Effect.flip((yield* Dialer).connect(address))

      assert.match(error.message, typeof why === "string" ? new RegExp(`^${why}$`) : why)
      yield* Suite.eventually(Effect.map(handles, (now) => now === 0))
    }).pipe(Effect.provide(TcpTransport.layer))
  )

  it.live("reports that an address is not this machine's", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip((yield* Listener).listen({ host: "192.0.2.1", port: 0 }))

      assert.strictEqual(error.message, "address is not available on this machine")
    }).pipe(Effect.provide(TcpTransport.layer))
  )
})
