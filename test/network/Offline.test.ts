import { assert, describe, it, vi } from "@effect/vitest"
import { Cause, Deferred, Effect, Layer, Logger } from "effect"
import { Tracker } from "../../src/discovery/tracker/Tracker.ts"
import * as NodeUdpPort from "../../src/network/provider/node/NodeUdpPort.ts"
import * as Offline from "../../src/network/provider/node/Offline.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import type { UdpSocket } from "../../src/network/Transport.ts"
import { Dialer, UdpPort } from "../../src/network/Transport.ts"
import * as NodeLookup from "../../src/node/NodeLookup.ts"
import * as NodeTracker from "../../src/node/NodeTracker.ts"

const why = "only this machine may be reached, because PIECEWISE_OFFLINE is set"

/** Sets the variable for one test. */
const set = (value: string) =>
  Effect.acquireRelease(
    Effect.sync(() => vi.stubEnv("PIECEWISE_OFFLINE", value)),
    () => Effect.sync(() => vi.unstubAllEnvs())
  )

const infoHash = new TextEncoder().encode("the-twenty-byte-hash")

describe("Offline", () => {
  it.live.each<[string, boolean]>([
    ["", false],
    ["0", false],
    ["off", false],
    ["No", false],
    ["false ", false],
    ["1", true],
    ["true", true],
    ["yes", true],
    // A value that nobody understands must not let anything out.
    ["perhaps", true]
  ])("takes %j for %s", ([value, expected]) =>
    Effect.gen(function* () {
      yield* set(value)

      assert.strictEqual(Offline.isOn(), expected)
      assert.strictEqual(Offline.whyNot("192.0.2.1") !== undefined, expected)
    })
  )

  it.live.each([
    "127.0.0.1",
    "127.9.8.7",
    "::1",
    "::ffff:127.0.0.1",
    "localhost",
    "tracker.localhost",
    "0.0.0.0",
    "::"
  ])("lets %s be reached", (host) =>
    Effect.gen(function* () {
      yield* set("1")

      assert.isUndefined(Offline.whyNot(host))
    })
  )

  it.live.each([
    "192.0.2.1",
    "10.0.0.1",
    "224.0.0.1",
    "2001:db8::1",
    "fe80::1",
    // Gateways turn these into 127.0.0.1, but packets for them leave the machine.
    "2002:7f00:1::1",
    "64:ff9b::7f00:1",
    "2001:db8::5efe:7f00:1",
    "router.example",
    "nas.lan"
  ])("keeps %s from being dialled", (host) =>
    Effect.gen(function* () {
      yield* set("1")
      const dialer = yield* Dialer

      const error = yield* Effect.flip(Effect.scoped(dialer.connect({ host, port: 6_881 })))

      assert.strictEqual(error.why, why)
    }).pipe(Effect.provide(TcpTransport.layer))
  )

  it.live("lets datagrams reach this machine, and warns once of those that do not", () =>
    Effect.gen(function* () {
      yield* set("1")
      const warnings: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))])
      const udp = yield* UdpPort
      const bind = udp.bind({ host: "127.0.0.1", port: 0 })
      const sender = yield* Effect.provide(bind, logger)
      const receiver: UdpSocket = yield* bind
      const received = yield* Deferred.make<number>()
      receiver.receiveUnsafe((payload) => void Deferred.doneUnsafe(received, Effect.succeed(payload[0]!)))

      sender.sendUnsafe(Uint8Array.of(1), { host: "192.0.2.1", port: 6_881 })
      sender.sendUnsafe(Uint8Array.of(2), { host: "10.0.0.1", port: 6_881 })
      sender.sendUnsafe(Uint8Array.of(3), receiver.local)

      assert.strictEqual(yield* Deferred.await(received), 3)
      assert.deepStrictEqual(warnings, [`Nothing is sent to 192.0.2.1:6881: ${why}`])
    }).pipe(Effect.scoped, Effect.provide(NodeUdpPort.layer))
  )

  it.live("resolves no name of another machine, without asking the system", () =>
    Effect.gen(function* () {
      yield* set("1")

      const error = yield* Effect.flip(Effect.tryPromise(() => NodeLookup.system("router.example")))
      const found = yield* Effect.promise(() => NodeLookup.system("localhost"))

      assert.include(Cause.pretty(Cause.fail(error.cause)), why)
      assert.isTrue(found.every(({ address }) => Offline.whyNot(address) === undefined))
    })
  )

  it.live.each([
    "http://192.0.2.1:6969/announce",
    "http://tracker.example/announce",
    "https://tracker.example/announce",
    "udp://192.0.2.1:6969",
    "udp://tracker.example:6969"
  ])("lets no tracker at %s be asked, and says why", (url) =>
    Effect.gen(function* () {
      yield* set("1")
      const tracker = yield* Tracker

      const error = yield* Effect.flip(tracker.scrape(url, infoHash))

      assert.include(error.why, why)
    }).pipe(Effect.provide(NodeTracker.layer))
  )

  it.live("restricts a medium that connects through another process", () =>
    Effect.gen(function* () {
      yield* set("1")
      const dialer = yield* Dialer

      const error = yield* Effect.flip(Effect.scoped(dialer.connect({ host: "192.0.2.1", port: 6_881 })))

      assert.strictEqual(error.why, why)
    }).pipe(Effect.provide(Offline.layer(Layer.merge(TcpTransport.layer, NodeUdpPort.layer))))
  )
})
