import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as Descriptors from "../../src/base/Descriptors.ts"
import * as UdpTracker from "../../src/discovery/tracker/provider/UdpTracker.ts"
import { ConnectionError, type DatagramSink, UdpPort } from "../../src/network/Transport.ts"
import * as UdpHub from "../../src/network/UdpHub.ts"
import * as MemoryUdpNetwork from "../../src/testing/MemoryUdpNetwork.ts"
import * as Property from "../../src/testing/Property.ts"
import { request } from "../discovery/tracker/requests.ts"

const protocols: ReadonlyArray<UdpHub.Protocol> = ["tracker", "dht", "utp"]

/** As the BEPs say it, and not by a table of bytes. */
const expected = (payload: Uint8Array): UdpHub.Protocol | undefined => {
  const first = payload[0]
  if (first === undefined) return undefined
  if (first === 0) return "tracker"
  if (String.fromCharCode(first) === "d") return "dht"
  const [type, version] = [first >>> 4, first & 15]
  return version === 1 && type <= 4 ? "utp" : undefined
}

const datagram = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc
    .tuple(fc.constantFrom(0x00, 0x64, 0x01, 0x11, 0x21, 0x31, 0x41, 0x51, 0x02), fc.uint8Array({ maxLength: 20 }))
    .map(([first, rest]) => Uint8Array.of(first, ...rest))
)

/** A peer of the network that sends to a socket of the hub, and keeps what comes back. */
const peer = Effect.fnUntraced(function* (host: string) {
  const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
  const socket = yield* network.host(host).bind({ host, port: 6_969 })
  const heard: Array<string> = []
  socket.receiveUnsafe((payload, from) => heard.push(`${from.port} ${Bytes.toHex(payload)}`))
  return { socket, heard }
})

const collector = () => {
  const received: Array<string> = []
  const sink: DatagramSink = (payload) => received.push(Bytes.toHex(payload))
  return { received, sink }
}

const inNetwork = Effect.provide(MemoryUdpNetwork.layer())

describe("UdpHub", () => {
  it.effect("binds only the local address that it was given, and no other family", () =>
    Effect.gen(function* () {
      const hub = yield* UdpHub.make({ host: "10.0.0.1" })

      const { local } = yield* hub.socket("ipv4")
      const failure = yield* Effect.flip(hub.socket("ipv6"))

      assert.strictEqual(local.host, "10.0.0.1")
      assert.strictEqual(failure.why, "10.0.0.1 has no connection to it")
    }).pipe(
      Effect.provideServiceEffect(
        UdpPort,
        Effect.map(MemoryUdpNetwork.MemoryUdpNetwork, (network) => network.host("10.0.0.1"))
      ),
      inNetwork
    )
  )

  it.effect(
    "law: a datagram reaches exactly the protocol that it belongs to, if that is claimed, and is counted if not",
    () =>
      Property.check(
        fc.record({ claimed: fc.subarray([...protocols]), payloads: fc.array(datagram, { maxLength: 30 }) }),
        ({ claimed, payloads }) =>
          Effect.gen(function* () {
            const hub = yield* UdpHub.make()
            const received: Array<readonly [UdpHub.Protocol, string]> = []
            for (const protocol of claimed) {
              yield* hub.claim(protocol, (payload) => received.push([protocol, Bytes.toHex(payload)]))
            }
            const { local } = yield* hub.socket("ipv4")
            const { socket } = yield* peer("10.0.0.1")

            for (const payload of payloads) socket.sendUnsafe(payload.slice(), local)
            yield* TestClock.adjust(1)

            const due = payloads.flatMap((payload) => {
              const protocol = expected(payload)
              return protocol !== undefined && claimed.includes(protocol)
                ? [[protocol, Bytes.toHex(payload)] as const]
                : []
            })
            assert.deepStrictEqual(received, due)
            assert.strictEqual(yield* hub.unclaimed, payloads.length - due.length)
          }).pipe(Effect.scoped),
        { layer: MemoryUdpNetwork.layer() }
      )
  )

  it.effect("binds each of several local addresses by one number, and says at which a datagram arrived", () =>
    Effect.gen(function* () {
      const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
      const port = UdpPort.of({ bind: (options) => network.host(options.host).bind(options) })
      const hub = yield* Effect.provideService(
        UdpHub.make({ host: ["10.0.0.2", "2001:db8::2", "10.0.0.3"] }),
        UdpPort,
        port
      )
      yield* hub.follow(6_881)
      const arrived: Array<string> = []
      yield* hub.claim("dht", (_, from, host) => arrived.push(`${from.host} at ${host}`))
      const { heard, socket } = yield* peer("10.0.0.1")

      const hosts = [hub.hosts("ipv4"), hub.hosts("ipv6")]
      const sockets = yield* Effect.forEach(hosts[0]!, (host) => hub.socket("ipv4", host))
      const first = yield* hub.socket("ipv4")
      const failure = yield* Effect.flip(hub.socket("ipv4", "10.0.0.4"))
      for (const { local, sendUnsafe } of sockets) {
        socket.sendUnsafe(Bytes.fromText("de"), local)
        sendUnsafe(Bytes.fromText("de"), socket.local)
      }
      yield* TestClock.adjust(1)

      assert.deepStrictEqual(hosts, [["10.0.0.2", "10.0.0.3"], ["2001:db8::2"]])
      assert.deepStrictEqual(
        [...sockets, first].map(({ local }) => local),
        ["10.0.0.2", "10.0.0.3", "10.0.0.2"].map((host) => ({ host, port: 6_881 }))
      )
      assert.deepStrictEqual(arrived, ["10.0.0.1 at 10.0.0.2", "10.0.0.1 at 10.0.0.3"])
      assert.strictEqual(heard.length, 2)
      assert.strictEqual(failure.why, "10.0.0.2 and 2001:db8::2 and 10.0.0.3 has no connection to it")
    }).pipe(Effect.scoped, inNetwork)
  )

  it.effect("takes the number that it follows, for both families, for as long as somebody wants it", () =>
    Effect.gen(function* () {
      const hub = yield* UdpHub.make()
      const portOf = (family: UdpHub.Family) => Effect.scoped(Effect.map(hub.socket(family), ({ local }) => local.port))
      const closeIdle = TestClock.adjust(UdpHub.idleTime)

      const followed = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* hub.follow(6_881)
          yield* Effect.scoped(hub.follow(6_999))
          return [yield* portOf("ipv4"), yield* portOf("ipv6")]
        })
      )
      const kept = yield* portOf("ipv4")
      yield* closeIdle
      const after = yield* portOf("ipv4")

      assert.deepStrictEqual(followed, [6_881, 6_881])
      assert.strictEqual(kept, 6_881, "an open socket keeps its port")
      assert.notStrictEqual(after, 6_881)
    }).pipe(
      Effect.provideServiceEffect(
        UdpPort,
        Effect.map(MemoryUdpNetwork.MemoryUdpNetwork, (network) => network.host("10.0.0.1", "2001:db8::1"))
      ),
      inNetwork
    )
  )

  it.effect("takes the number of the next one, or any free one, while the number that it follows is in use", () =>
    Effect.gen(function* () {
      const port = yield* UdpPort
      const hub = yield* UdpHub.make()
      yield* hub.follow(6_881)
      const other = yield* Scope.make()
      yield* Scope.provide(port.bind({ host: "0.0.0.0", port: 6_881 }), other)
      const take = Effect.scoped(Effect.map(hub.socket("ipv4"), ({ local }) => local.port))

      const any = yield* take
      yield* TestClock.adjust(UdpHub.idleTime)
      yield* hub.follow(6_882)
      const next = yield* take
      yield* TestClock.adjust(UdpHub.idleTime)
      yield* Scope.close(other, Exit.void)
      const first = yield* take

      assert.isAtLeast(any, 49_152)
      assert.deepStrictEqual([next, first], [6_882, 6_881])
    }).pipe(inNetwork)
  )

  it.effect("follows nobody if it has a port of its own, 0 included", () =>
    Effect.gen(function* () {
      const [fixed, any] = [yield* UdpHub.make({ port: 7_000 }), yield* UdpHub.make({ port: 0 })]
      yield* fixed.follow(6_881)
      yield* any.follow(6_881)

      const ports = yield* Effect.forEach([fixed, any], (hub) => hub.socket("ipv4"))

      assert.strictEqual(ports[0]!.local.port, 7_000)
      assert.notStrictEqual(ports[1]!.local.port, 6_881)
    }).pipe(inNetwork)
  )

  it.effect("serves a tracker and a DHT by one socket", () =>
    Effect.gen(function* () {
      const hub = yield* UdpHub.make({ port: 6_881 })
      const dht = collector()
      yield* hub.claim("dht", dht.sink)
      const lookup: UdpTracker.Lookup = (address) =>
        Effect.fail(new ConnectionError({ address, why: "host not found" }))
      const tracker = yield* Effect.provideService(UdpTracker.make({ lookup }), UdpHub.UdpHub, hub)
      const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
      const ports: Array<number> = []
      // A node of the DHT that is a tracker too: it answers with a query of its own first.
      const server = yield* network.host("10.0.0.9").bind({ host: "10.0.0.9", port: 6_969 })
      server.receiveUnsafe((payload, from) => {
        ports.push(from.port)
        server.sendUnsafe(Bytes.fromText("d1:y1:qe"), from)
        const action = Bytes.readUint32Unsafe(payload, 8)
        const answer = new Uint8Array(20)
        Bytes.writeUint32Unsafe(answer, 0, action)
        Bytes.writeUint32Unsafe(answer, 4, Bytes.readUint32Unsafe(payload, 12))
        Bytes.writeUint32Unsafe(answer, 8, 1_800)
        server.sendUnsafe(answer, from)
      })
      const ofDht = yield* hub.socket("ipv4")

      const { intervalSeconds } = yield* tracker.announce("udp://10.0.0.9:6969", request)
      ofDht.sendUnsafe(Uint8Array.of(...new Uint8Array(8), 0, 0, 0, 0, 1, 2, 3, 4), server.local)
      yield* TestClock.adjust(1)

      assert.strictEqual(intervalSeconds, 1_800)
      assert.deepStrictEqual(ports, [6_881, 6_881, 6_881])
      assert.deepStrictEqual(dht.received, Array(3).fill(Bytes.toHex(Bytes.fromText("d1:y1:qe"))))
      assert.strictEqual(yield* hub.unclaimed, 0)
    }).pipe(inNetwork)
  )

  it.effect("hands each datagram to every claim of its protocol, and to none that has ended", () =>
    Effect.gen(function* () {
      const hub = yield* UdpHub.make()
      const { local } = yield* hub.socket("ipv4")
      const { socket } = yield* peer("10.0.0.1")
      const [first, second] = [collector(), collector()]
      const scope = yield* Scope.make()
      yield* Scope.provide(hub.claim("dht", first.sink), scope)
      const send = () => {
        socket.sendUnsafe(Bytes.fromText("de"), local)
        return TestClock.adjust(1)
      }

      yield* send()
      yield* Effect.scoped(Effect.andThen(hub.claim("dht", second.sink), Effect.suspend(send)))
      yield* Scope.close(scope, Exit.void)
      yield* send()
      yield* hub.claim("dht", second.sink)
      yield* send()

      assert.deepStrictEqual([first.received.length, second.received.length, yield* hub.unclaimed], [2, 2, 1])
    }).pipe(inNetwork)
  )
})

describe("UdpHub and its sockets", () => {
  /** Counts the sockets of the network, and breaks them. */
  const watched = Effect.gen(function* () {
    const port = yield* UdpPort
    const state = { open: 0, hosts: [] as Array<string>, refusals: 0 }
    const closing: Array<Deferred.Deferred<void, ConnectionError>> = []
    const bind: UdpPort["Service"]["bind"] = Effect.fnUntraced(function* (options) {
      if (state.refusals-- > 0) return yield* new ConnectionError({ address: options, why: "too many open files" })
      const socket = yield* port.bind(options)
      const closed = yield* Deferred.make<void, ConnectionError>()
      closing.push(closed)
      state.hosts.push(options.host)
      yield* Effect.acquireRelease(
        Effect.sync(() => state.open++),
        () => Effect.sync(() => state.open--)
      )
      return { ...socket, closed: Effect.raceFirst(socket.closed, Deferred.await(closed)) }
    })
    const breakAll = Effect.sync(() => {
      const error = new ConnectionError({ address: { host: "0.0.0.0", port: 0 }, why: "network unreachable" })
      for (const closed of closing) Deferred.doneUnsafe(closed, Exit.fail(error))
    })
    const hub = yield* Effect.provideService(UdpHub.make(), UdpPort, { bind })
    return { hub, state, breakAll }
  })

  it.effect("fault 56: others give a descriptor up for a socket that has none", () =>
    Effect.gen(function* () {
      const { host } = yield* MemoryUdpNetwork.MemoryUdpNetwork
      let free = 0
      const port = UdpPort.of({
        bind: (options) =>
          Effect.suspend(() =>
            free > 0
              ? host("10.0.0.1").bind(options)
              : Effect.fail(new ConnectionError({ address: options, why: "too many open files", code: "EMFILE" }))
          )
      })
      const hub = yield* Effect.provideService(UdpHub.make(), UdpPort, port)
      yield* Descriptors.register(
        "connections",
        Effect.sync(() => ++free > 0)
      )

      const fiber = yield* Effect.forkChild(hub.socket("ipv4"), { startImmediately: true })
      yield* TestClock.adjust("20 millis")
      const socket = yield* Fiber.join(fiber)

      assert.deepStrictEqual([socket.local.host, free], ["10.0.0.1", 1])
    }).pipe(inNetwork, Effect.provideServiceEffect(Descriptors.Descriptors, Effect.sync(Descriptors.make)))
  )

  it.effect("binds once for two users that ask again after a failure, whoever hears of it first", () =>
    Effect.gen(function* () {
      const network = yield* UdpPort
      let binds = 0
      const port = UdpPort.of({
        bind: (at) =>
          Effect.gen(function* () {
            binds++
            yield* Effect.sleep("10 millis")
            if (binds === 1) return yield* new ConnectionError({ address: at, why: "not now" })
            return yield* network.bind(at)
          })
      })
      const hub = yield* Effect.provideService(UdpHub.make({ port: 6_881 }), UdpPort, port)
      const user = Effect.retry(hub.socket("ipv4"), { times: 1 })

      const users = yield* Effect.forkChild(Effect.all([user, user], { concurrency: "unbounded" }))
      yield* TestClock.adjust("1 second")
      const [first, second] = yield* Fiber.join(users)

      assert.strictEqual(binds, 2)
      assert.deepStrictEqual([first.local.port, second.local.port], [6_881, 6_881])
    }).pipe(Effect.scoped, inNetwork)
  )

  it.effect("are bound by the first user, one a family, and closed a minute after the last has left", () =>
    Effect.gen(function* () {
      const { hub, state } = yield* watched
      const [early, late] = [yield* Scope.make(), yield* Scope.make()]
      assert.strictEqual(state.open, 0)

      const first = yield* Scope.provide(hub.socket("ipv4"), early)
      const second = yield* Scope.provide(hub.socket("ipv4"), late)
      yield* Effect.scoped(hub.socket("ipv6"))
      assert.deepStrictEqual(state.hosts, ["0.0.0.0", "::"])
      yield* TestClock.adjust(UdpHub.idleTime)
      assert.strictEqual(state.open, 1, "the one that is used")
      yield* Scope.close(early, Exit.void)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(state.open, 1, "the one that is still used")
      yield* Scope.close(late, Exit.void)
      yield* TestClock.adjust(59_999)
      const third = yield* Effect.scoped(hub.socket("ipv4"))
      yield* TestClock.adjust(59_999)
      assert.strictEqual(state.open, 1, "the one that was used again")
      yield* TestClock.adjust(1)

      assert.strictEqual(state.open, 0)
      assert.deepStrictEqual([second.local, third.local], [first.local, first.local])
    }).pipe(inNetwork)
  )

  it.effect("are opened anew after they could not be bound, or broke, used or not", () =>
    Effect.gen(function* () {
      const { breakAll, hub, state } = yield* watched
      state.refusals = 1

      const refused = yield* Effect.flip(Effect.scoped(hub.socket("ipv4")))
      const scope = yield* Scope.make()
      const used = yield* Scope.provide(hub.socket("ipv4"), scope)
      yield* breakAll
      const error = yield* Effect.flip(used.closed)
      yield* Effect.scoped(hub.socket("ipv4"))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(state.open, 1, "the broken one is closed, the other is idle")
      yield* breakAll
      yield* TestClock.adjust(1)
      assert.strictEqual(state.open, 0, "a broken one does not stay idle")
      yield* hub.socket("ipv4")

      assert.deepStrictEqual([refused.why, error.why], ["too many open files", "network unreachable"])
      assert.strictEqual(state.hosts.length, 3)
    }).pipe(inNetwork)
  )

  it.effect("law 12: close with the hub", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { hub, state } = yield* Scope.provide(watched, scope)
      yield* Effect.scoped(hub.socket("ipv4"))

      yield* Scope.close(scope, Exit.void)

      assert.strictEqual(state.open, 0)
    }).pipe(inNetwork)
  )
})
