import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Bytes from "../../../src/base/Bytes.ts"
import type * as PeerAddress from "../../../src/base/PeerAddress.ts"
import * as UdpTracker from "../../../src/discovery/tracker/provider/UdpTracker.ts"
import { Tracker } from "../../../src/discovery/tracker/Tracker.ts"
import * as TrackerSource from "../../../src/discovery/tracker/TrackerSource.ts"
import { ConnectionError, UdpPort, type UdpSocket } from "../../../src/network/Transport.ts"
import * as UdpHub from "../../../src/network/UdpHub.ts"
import * as MemoryUdpNetwork from "../../../src/testing/MemoryUdpNetwork.ts"
import { peerSourceContext } from "../peerSourceContext.ts"
import { request } from "./requests.ts"

const trackerHost = "10.0.0.9"
const url = `udp://${trackerHost}:6969/announce`

/** A packet that a tracker received. */
interface Heard {
  readonly seconds: number
  readonly action: "connect" | "announce" | "scrape"
  readonly transactionId: number
  readonly connectionId: string
  readonly payload: Uint8Array
}

const hex = (text: string) => Bytes.fromHex(text.replaceAll(" ", ""))!

const packet = (action: number, transactionId: number, rest: Uint8Array) => {
  const head = new Uint8Array(8)
  Bytes.writeUint32Unsafe(head, 0, action)
  Bytes.writeUint32Unsafe(head, 4, transactionId)
  return Bytes.concat([head, rest])
}

const actions = ["connect", "announce", "scrape"] as const

/** Interval 1800, 3 leechers, 4 seeders, and the peer 10.0.0.1:6881. */
const announceRest = hex("00000708 00000003 00000004 0a0000011ae1")

/** Answers like a correct tracker. Connection ids count up. */
const honest = () => {
  let connections = 0
  return ({ action, transactionId }: Heard): ReadonlyArray<Uint8Array> => {
    switch (action) {
      case "connect": {
        const id = new Uint8Array(8)
        id[7] = ++connections
        return [packet(0, transactionId, id)]
      }
      case "announce":
        return [packet(1, transactionId, announceRest)]
      case "scrape":
        return [packet(2, transactionId, hex("00000005 00000006 00000007"))]
    }
  }
}

/** Answers like `honest`, but over IPv6 and with the peer [2001:db8::2]:6881. */
const honestOverIpv6 = () => {
  const answer = honest()
  const peers = hex("20010db8000000000000000000000002 1ae1")
  return (heard: Heard): ReadonlyArray<Uint8Array> =>
    heard.action === "announce"
      ? [packet(1, heard.transactionId, Bytes.concat([announceRest.subarray(0, 12), peers]))]
      : answer(heard)
}

/** Starts a tracker in the memory network that answers with `respond`. */
const serve = Effect.fnUntraced(function* (respond: (heard: Heard) => ReadonlyArray<Uint8Array>, host = trackerHost) {
  const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
  const clock = yield* Clock.Clock
  const socket = yield* network.host(host).bind({ host, port: 6969 })
  const heard: Array<Heard> = []
  socket.receiveUnsafe((view, from) => {
    const payload = view.slice()
    const one: Heard = {
      seconds: clock.currentTimeMillisUnsafe() / 1000,
      action: actions[Bytes.readUint32Unsafe(payload, 8)]!,
      transactionId: Bytes.readUint32Unsafe(payload, 12),
      connectionId: Bytes.toHex(payload.subarray(0, 8)),
      payload
    }
    heard.push(one)
    for (const answer of respond(one)) socket.sendUnsafe(answer, from)
  })
  return { heard, socket, log: () => heard.map(({ action, seconds }) => `${seconds} ${action}`) }
})

const noNames: UdpTracker.Lookup = (address) => Effect.fail(new ConnectionError({ address, why: "host not found" }))

const namesOf =
  (...hosts: ReadonlyArray<string>): UdpTracker.Lookup =>
  ({ port }) =>
    Effect.succeed(hosts.map((host) => ({ host, port })))

const makeTracker = (options: Partial<UdpTracker.UdpTrackerOptions> = {}) =>
  Effect.provideServiceEffect(UdpTracker.make({ lookup: noNames, ...options }), UdpHub.UdpHub, UdpHub.make())

const inNetwork = (options?: MemoryUdpNetwork.Options) =>
  Effect.provide(MemoryUdpNetwork.layer(options)) as <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, Exclude<R, UdpPort | MemoryUdpNetwork.MemoryUdpNetwork>>

/** Starts an effect and runs everything that needs no time to pass. */
const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.forkChild(effect, { startImmediately: true }).pipe(Effect.tap(TestClock.adjust(0)))

const silent = () => []

describe("UdpTracker", () => {
  it.effect("asks for a connection id, announces with it, and reads the answer", () =>
    Effect.gen(function* () {
      const { heard } = yield* serve(honest())
      const tracker = yield* makeTracker()

      const response = yield* tracker.announce(`${url}?passkey=x`, request)

      assert.deepStrictEqual(response.peers, [{ host: "10.0.0.1", port: 6881 }])
      assert.deepInclude(response, { intervalSeconds: 1800, seeders: 4, leechers: 3 })
      assert.deepStrictEqual(
        heard.map(({ action, connectionId }) => [action, connectionId]),
        [
          ["connect", "0000041727101980"],
          ["announce", "0000000000000001"]
        ]
      )
      assert.strictEqual(Bytes.toText(heard[1]!.payload.subarray(100)), "/announce?passkey=x")
      assert.notStrictEqual(heard[0]!.transactionId, heard[1]!.transactionId)
    }).pipe(inNetwork())
  )

  it.effect("sends no option if the URL has neither path nor query", () =>
    Effect.gen(function* () {
      const { heard } = yield* serve(honest())
      const tracker = yield* makeTracker()

      yield* tracker.announce(`udp://${trackerHost}:6969`, request)
      yield* tracker.announce(`udp://${trackerHost}:6969/`, request)

      assert.deepStrictEqual(
        heard.slice(1).map(({ payload }) => payload.length),
        [98, 98]
      )
    }).pipe(inNetwork())
  )

  it.effect("scrapes", () =>
    Effect.gen(function* () {
      const { heard } = yield* serve(honest())
      const tracker = yield* makeTracker()

      const response = yield* tracker.scrape(url, request.infoHash)

      assert.deepStrictEqual(response, { seeders: 5, leechers: 7, downloads: 6 })
      assert.deepStrictEqual(heard[1]?.payload.subarray(16), request.infoHash)
    }).pipe(inNetwork())
  )

  it.effect("uses a connection id for a minute, for all torrents", () =>
    Effect.gen(function* () {
      const { heard, log } = yield* serve(honest())
      const tracker = yield* makeTracker()

      yield* tracker.announce(url, request)
      yield* TestClock.adjust(59_999)
      yield* tracker.announce(`${url}/other`, { ...request, infoHash: new Uint8Array(20).fill(2) })
      yield* TestClock.adjust(1)
      yield* tracker.scrape(url, request.infoHash)

      assert.deepStrictEqual(log(), ["0 connect", "0 announce", "59.999 announce", "60 connect", "60 scrape"])
      assert.deepStrictEqual(
        heard.filter(({ action }) => action !== "connect").map(({ connectionId }) => connectionId.slice(-1)),
        ["1", "1", "2"]
      )
    }).pipe(inNetwork())
  )

  it.effect("requests that begin together share one connection id", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(honest())
      const tracker = yield* makeTracker()

      const announces = Array.from({ length: 5 }, () => tracker.announce(url, request))
      yield* Effect.all(announces, { concurrency: "unbounded" })

      assert.deepStrictEqual(log(), ["0 connect", ...Array(5).fill("0 announce")])
    }).pipe(inNetwork())
  )

  it.effect("keeps asking for the connection id if the first request is interrupted", () =>
    Effect.gen(function* () {
      const answer = honest()
      const { log } = yield* serve((heard) => (heard.seconds === 0 ? [] : answer(heard)))
      const tracker = yield* makeTracker()
      const first = yield* start(tracker.announce(url, request))
      const second = yield* start(tracker.announce(url, request))

      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("15 seconds")
      const response = yield* Fiber.join(second)

      assert.strictEqual(response.seeders, 4)
      assert.deepStrictEqual(log(), ["0 connect", "15 connect", "15 announce"])
    }).pipe(inNetwork())
  )

  it.effect("passes the connection id to the others if the first request is interrupted", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(honest())
      const tracker = yield* makeTracker()
      const first = yield* start(tracker.announce(url, request))
      const second = yield* start(tracker.announce(url, request))

      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("400 millis")
      const response = yield* Fiber.join(second)

      assert.strictEqual(response.seeders, 4)
      assert.deepStrictEqual(log(), ["0.1 connect", "0.3 announce"])
    }).pipe(inNetwork({ latency: "100 millis" }))
  )

  it.effect("gives up on a silent tracker after two tries", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(silent)
      const tracker = yield* makeTracker()
      const fiber = yield* start(Effect.flip(tracker.announce(url, request)))

      yield* TestClock.adjust(29_999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      const error = yield* Fiber.join(fiber)

      assert.strictEqual(error.message, `Tracker ${url}: no answer in time.`)
      assert.isUndefined(error.retryAfter)
      assert.deepStrictEqual(log(), ["0 connect", "15 connect"])
    }).pipe(inNetwork())
  )

  it.effect("each silent tracker delays the peers of a torrent by three seconds", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(honest())
      const clock = yield* Clock.Clock
      const events: Array<string> = []
      const silent = Array.from({ length: 5 }, (_, index) => `udp://10.0.0.${index + 1}:6969`)
      const source = yield* TrackerSource.make().pipe(Effect.provideServiceEffect(Tracker, makeTracker()))
      const trackers = [...silent, url].map((one) => [one])

      yield* source.peers(peerSourceContext({ trackers })).pipe(
        Stream.runForEach(({ _tag, source }) =>
          Effect.sync(() => events.push(`${clock.currentTimeMillisUnsafe() / 1000} ${_tag} ${source}`))
        ),
        start
      )
      yield* TestClock.adjust("1 minute")

      assert.deepStrictEqual(log(), ["15 connect", "15 announce"])
      assert.deepStrictEqual(events, [
        `15 Peers ${url}`,
        ...silent.map((one, index) => `${30 + 3 * index} Failed ${one}`)
      ])
    }).pipe(inNetwork())
  )

  it.effect("fault 58: waits 15 s after the first try, and doubles the wait with each further try, up to 8 times", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(silent)
      const tracker = yield* makeTracker({ timeout: "4 hours" })
      const fiber = yield* start(Effect.flip(tracker.announce(url, request)))

      yield* TestClock.adjust("4 hours")
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(
        log(),
        [0, 15, 45, 105, 225, 465, 945, 1905, 3825, 7665, 11_505].map((seconds) => `${seconds} connect`)
      )
    }).pipe(inNetwork())
  )

  it.effect("fault 58: asks for another connection id if the current one expires before the answer", () =>
    Effect.gen(function* () {
      const answer = honest()
      const { heard, log } = yield* serve((heard) =>
        heard.action === "announce" && heard.seconds < 100 ? [] : answer(heard)
      )
      const tracker = yield* makeTracker({ timeout: "1 hour" })
      const fiber = yield* start(tracker.announce(url, request))

      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(log(), [
        "0 connect",
        "0 announce",
        "15 announce",
        "45 announce",
        "105 connect",
        "105 announce"
      ])
      const announces = heard.filter(({ action }) => action === "announce")
      assert.strictEqual(new Set(announces.map(({ transactionId }) => transactionId)).size, 1)
      assert.strictEqual(announces.at(-1)?.connectionId, "0000000000000002")
    }).pipe(inNetwork())
  )

  it.effect("accepts an answer to the first try that arrives after the second", () =>
    Effect.gen(function* () {
      let late: (() => void) | undefined
      const answer = honest()
      const { socket, log } = yield* serve((heard) => {
        if (heard.action === "connect") return answer(heard)
        late ??= () => socket.sendUnsafe(answer(heard)[0]!, { host: MemoryUdpNetwork.defaultHost, port: 49_152 })
        return []
      })
      const tracker = yield* makeTracker()
      const fiber = yield* start(tracker.announce(url, request))
      yield* TestClock.adjust("20 seconds")

      late!()
      const response = yield* Fiber.join(fiber)

      assert.strictEqual(response.seeders, 4)
      assert.deepStrictEqual(log(), ["0 connect", "0 announce", "15 announce"])
    }).pipe(inNetwork())
  )

  it.effect("succeeds in a network that loses a third of all packets", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(honest())
      const tracker = yield* makeTracker({ timeout: "2 hours" })
      const fiber = yield* start(tracker.announce(url, request))

      yield* TestClock.adjust("2 hours")
      const response = yield* Fiber.join(fiber)

      assert.strictEqual(response.seeders, 4)
      assert.isAbove(log().length, 2)
    }).pipe(inNetwork({ lossRate: 0.33, latency: "50 millis", seed: 5 }))
  )

  it.effect("reports why the tracker refused, and then asks for a new connection id", () =>
    Effect.gen(function* () {
      const answer = honest()
      const { log } = yield* serve((heard) =>
        heard.action === "scrape" ? [packet(3, heard.transactionId, Bytes.fromText("connection id?"))] : answer(heard)
      )
      const tracker = yield* makeTracker()

      const error = yield* Effect.flip(tracker.scrape(url, request.infoHash))
      yield* tracker.announce(url, request)

      assert.strictEqual(error.why, "refused: connection id?")
      assert.isUndefined(error.retryAfter)
      assert.deepStrictEqual(log(), ["0 connect", "0 scrape", "0 connect", "0 announce"])
    }).pipe(inNetwork())
  )

  it.effect("fails if the peers of an answer are cut", () =>
    Effect.gen(function* () {
      const answer = honest()
      yield* serve((heard) =>
        heard.action === "announce" ? [packet(1, heard.transactionId, announceRest.subarray(0, -1))] : answer(heard)
      )
      const tracker = yield* makeTracker()

      const error = yield* Effect.flip(tracker.announce(url, request))

      assert.strictEqual(error.why, "the peers take 5 bytes, which is not a multiple of 6")
    }).pipe(inNetwork())
  )
})

describe("UdpTracker among forgers", () => {
  const wrongId = new Uint8Array(8).fill(0xee)
  /** An answer that is correct except that it has other peers. */
  const evilAnswer = (heard: Heard, transactionId: number) =>
    heard.action === "connect"
      ? packet(0, transactionId, wrongId)
      : packet(1, transactionId, hex("00000708 00000000 00000000 666666661ae1"))
  const spoof = (transactionId: number) => packet(3, transactionId, Bytes.fromText("go away"))

  const forgeries: ReadonlyArray<readonly [string, (heard: Heard) => Uint8Array]> = [
    ["of the wrong transaction", (heard) => evilAnswer(heard, heard.transactionId ^ 1)],
    ["of the wrong action", ({ transactionId }) => packet(2, transactionId, new Uint8Array(12))],
    ["of an unknown action", ({ transactionId }) => packet(7, transactionId, new Uint8Array(12))],
    ["that is short", (heard) => evilAnswer(heard, heard.transactionId).subarray(0, 15)],
    ["that is empty", () => new Uint8Array()],
    ["that is an error of the wrong transaction", ({ transactionId }) => spoof(transactionId ^ 1)]
  ]

  for (const action of ["connect", "announce"] as const) {
    for (const [what, forge] of forgeries) {
      it.effect(`fault 58: ignores an answer to its ${action} ${what}`, () =>
        Effect.gen(function* () {
          const answer = honest()
          const { log } = yield* serve((heard) =>
            heard.action === action ? [forge(heard), ...(heard.seconds === 0 ? [] : answer(heard))] : answer(heard)
          )
          const tracker = yield* makeTracker()
          const fiber = yield* start(tracker.announce(url, request))

          assert.isUndefined(fiber.pollUnsafe())
          yield* TestClock.adjust("15 seconds")
          const response = yield* Fiber.join(fiber)

          assert.deepStrictEqual(response.peers, [{ host: "10.0.0.1", port: 6881 }])
          assert.strictEqual(log().filter((line) => line.endsWith(action)).length, 2)
        }).pipe(inNetwork())
      )
    }

    it.effect(`fault 58: ignores answers and errors to its ${action} from other addresses`, () =>
      Effect.gen(function* () {
        const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
        const sameHost = yield* network.host(trackerHost).bind({ host: trackerHost, port: 6970 })
        const samePort = yield* network.host("10.0.0.8").bind({ host: "10.0.0.8", port: 6969 })
        const answer = honest()
        const client = { host: MemoryUdpNetwork.defaultHost, port: 49_152 }
        yield* serve((heard) => {
          if (heard.action !== action) return answer(heard)
          for (const forger of [sameHost, samePort]) {
            forger.sendUnsafe(evilAnswer(heard, heard.transactionId), client)
            forger.sendUnsafe(spoof(heard.transactionId), client)
          }
          return []
        })
        const tracker = yield* makeTracker()
        const fiber = yield* start(Effect.flip(tracker.announce(url, request)))

        yield* TestClock.adjust(29_999)
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust(1)
        const error = yield* Fiber.join(fiber)

        assert.strictEqual(error.why, "no answer in time")
      }).pipe(inNetwork())
    )
  }

  it.effect("fault 58: accepts one answer, and ignores later ones", () =>
    Effect.gen(function* () {
      const answer = honest()
      yield* serve((heard) => [...answer(heard), evilAnswer(heard, heard.transactionId), spoof(heard.transactionId)])
      const tracker = yield* makeTracker()

      const first = yield* tracker.announce(url, request)
      const second = yield* tracker.announce(url, request)

      assert.deepStrictEqual(second.peers, first.peers)
      assert.strictEqual(first.seeders, 4)
    }).pipe(inNetwork())
  )
})

describe("UdpTracker and names", () => {
  const named = "udp://tracker.example:6969/announce"

  it.effect("tries the addresses of a name in turn", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(honest(), "9.0.0.2")
      const tracker = yield* makeTracker({ lookup: namesOf("9.0.0.1", "9.0.0.2") })
      const fiber = yield* start(tracker.announce(named, request))

      yield* TestClock.adjust("15 seconds")
      const response = yield* Fiber.join(fiber)

      assert.strictEqual(response.seeders, 4)
      assert.deepStrictEqual(log(), ["15 connect", "15 announce"])
    }).pipe(inNetwork())
  )

  it.effect("asks over IPv4 if the name has such an address", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(honest(), "9.0.0.1")
      const tracker = yield* makeTracker({ lookup: namesOf("2001:db8::1", "9.0.0.1") })

      yield* tracker.announce(named, request)

      assert.deepStrictEqual(log(), ["0 connect", "0 announce"])
    }).pipe(inNetwork())
  )

  it.effect("asks over IPv6 too if IPv4 is silent for a second, because the machine may have only IPv6", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(honestOverIpv6(), "2001:db8::1")
      const tracker = yield* makeTracker({ lookup: namesOf("2001:db8::1", "9.0.0.1") })
      const fiber = yield* start(tracker.announce(named, request))

      yield* TestClock.adjust("1 second")
      const exit = fiber.pollUnsafe()

      assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
      assert.deepStrictEqual(log(), ["1 connect", "1 announce"])
    }).pipe(inNetwork())
  )

  /** A machine with one family of addresses, or with none. */
  const machineWith = Effect.fnUntraced(function* (...hosts: ReadonlyArray<"::" | "0.0.0.0">) {
    const both = yield* UdpPort
    const port = UdpPort.of({
      bind: (address) =>
        hosts.some((host) => host === address.host)
          ? both.bind(address)
          : Effect.fail(new ConnectionError({ address, why: "address family is not supported" }))
    })
    return yield* Effect.provideService(makeTracker({ lookup: namesOf("2001:db8::1", "9.0.0.1") }), UdpPort, port)
  })

  it.effect("asks over IPv6 at once on a machine without IPv4", () =>
    Effect.gen(function* () {
      const { log } = yield* serve(honestOverIpv6(), "2001:db8::1")
      const tracker = yield* machineWith("::")

      yield* tracker.announce(named, request)

      assert.deepStrictEqual(log(), ["0 connect", "0 announce"])
    }).pipe(inNetwork())
  )

  it.effect("reports the error of IPv4 on a machine without either", () =>
    Effect.gen(function* () {
      const tracker = yield* machineWith()

      const error = yield* Effect.flip(tracker.announce(named, request))

      assert.strictEqual(error.why, "address family is not supported")
    }).pipe(inNetwork())
  )

  it.effect("goes on asking over IPv4 on a machine without IPv6", () =>
    Effect.gen(function* () {
      const tracker = yield* machineWith("0.0.0.0")
      const fiber = yield* start(tracker.announce(named, request))
      yield* TestClock.adjust("10 seconds")
      yield* serve(honest(), "9.0.0.1")

      yield* TestClock.adjust("5 seconds")
      const response = yield* Fiber.join(fiber)

      assert.strictEqual(response.seeders, 4)
    }).pipe(inNetwork())
  )

  it.effect("asks over IPv6 if the name has no other addresses, and reads IPv6 peers then (BEP 7)", () =>
    Effect.gen(function* () {
      yield* serve(honestOverIpv6(), "2001:db8::1")
      const tracker = yield* makeTracker({ lookup: namesOf("2001:db8::1") })

      const response = yield* tracker.announce(named, request)

      assert.deepStrictEqual(response.peers, [{ host: "2001:db8::2", port: 6881 }])
    }).pipe(inNetwork())
  )

  const elsewhere = "udp://tracker.example:6969/x"

  it.effect("fault 24: a public name can lead into the local network only for an announce", () =>
    Effect.gen(function* () {
      const { heard } = yield* serve(honest())
      const { heard: heardHere } = yield* serve(honest(), "127.0.0.1")
      const { heard: heardAround } = yield* serve(honest(), "fe80::1")
      const lead = (url: string, ...hosts: ReadonlyArray<string>) =>
        Effect.flatMap(makeTracker({ lookup: namesOf(...hosts) }), (tracker) => tracker.announce(url, request))
      const scrape = Effect.flatMap(makeTracker({ lookup: namesOf(trackerHost) }), (tracker) =>
        tracker.scrape(elsewhere, request.infoHash)
      )

      const error = yield* Effect.flip(lead(elsewhere, trackerHost, "127.0.0.1", "fe80::1"))
      const scraped = yield* Effect.flip(scrape)
      const linkLocal = yield* Effect.flip(lead(named, "fe80::1", "0.0.0.0", "::"))
      yield* serve(honest(), "9.0.0.1")
      yield* lead(elsewhere, trackerHost, "9.0.0.1")

      const why = "a tracker in the local network must have a component in its path that begins with announce"
      assert.deepStrictEqual([error.why, scraped.why], [why, why])
      assert.strictEqual(linkLocal.why, "it leads to an address that no tracker has")
      assert.deepStrictEqual([...heard, ...heardHere, ...heardAround], [])

      // A tracker behind the same NAT, whose name our resolver maps to its local address.
      yield* lead(named, trackerHost)
      assert.isAbove(heard.length, 0)
    }).pipe(inNetwork())
  )

  it.effect("fault 24: never sends to a name, because the sender would resolve it again", () =>
    Effect.gen(function* () {
      const { heard } = yield* serve(honest(), "tracker.example")
      const tracker = yield* makeTracker({ lookup: (address) => Effect.succeed([address]) })

      const error = yield* Effect.flip(tracker.announce(named, request))

      assert.strictEqual(error.why, "its name has no address")
      assert.deepStrictEqual(heard, [])
    }).pipe(inNetwork())
  )

  it.effect("a local name may lead into the local network", () =>
    Effect.gen(function* () {
      yield* serve(honest())
      const tracker = yield* makeTracker({ lookup: namesOf(trackerHost) })

      const response = yield* tracker.announce("udp://tracker.lan:6969", request)

      assert.strictEqual(response.seeders, 4)
    }).pipe(inNetwork())
  )

  it.effect("says which address the answer came from", () =>
    Effect.gen(function* () {
      const respond = () => {
        const answer = honest()
        return (heard: Heard) =>
          heard.action === "announce"
            ? [packet(1, heard.transactionId, hex("00000708 00000003 00000004 7f0000011ae1 010203040050"))]
            : answer(heard)
      }
      yield* serve(respond(), "9.0.0.1")
      yield* serve(respond())
      const tracker = yield* makeTracker()

      const far = yield* tracker.announce("udp://9.0.0.1:6969", request)
      const near = yield* tracker.announce(url, request)

      assert.deepStrictEqual([far.from, near.from], ["9.0.0.1", trackerHost])
    }).pipe(inNetwork())
  )

  it.effect("reports why a name could not be resolved", () =>
    Effect.gen(function* () {
      const unknown = yield* makeTracker()
      const empty = yield* makeTracker({ lookup: namesOf() })
      const slow = yield* makeTracker({ lookup: () => Effect.never })

      const notFound = yield* Effect.flip(unknown.announce(named, request))
      const noAddress = yield* Effect.flip(empty.announce(named, request))
      const fiber = yield* start(Effect.flip(slow.announce(named, request)))
      yield* TestClock.adjust(UdpTracker.defaultTimeout)
      const noAnswer = yield* Fiber.join(fiber)

      assert.deepStrictEqual(
        [notFound, noAddress, noAnswer].map(({ why }) => why),
        ["host not found", "its name has no address", "no answer in time"]
      )
    }).pipe(inNetwork())
  )

  it.effect("fails for good for URLs that can never work", () =>
    Effect.gen(function* () {
      const tracker = yield* makeTracker()
      const cases = [
        ["x", "this is not a URL"],
        ["http://tracker.example/announce", "this is not a UDP URL"],
        ["udp://tracker.example/announce", "its URL has no port"],
        ["udp://0x7f.1:80/announce", "its URL does not contain a usable address"],
        ["udp://255.255.255.255:80", "its URL does not contain a usable address"],
        ["udp://0.0.0.0:80/announce", "its URL does not contain a usable address"],
        ["udp://[::]:80/announce", "its URL does not contain a usable address"],
        ["udp://[::ffff:0.0.0.0]:80/announce", "its URL does not contain a usable address"],
        ["udp://168.63.129.16:80/announce", "its URL does not contain a usable address"],
        ["udp://[fe80::1]:80/announce", "it leads to an address that no tracker has"],
        ["udp://tracker.example:0/announce", "its URL does not contain a usable address"],
        [`udp://tracker.example:80/${"x".repeat(UdpTracker.maxUrlDataLength)}`, "its URL is too long for a datagram"]
      ] as const

      const errors = yield* Effect.forEach(cases, ([url]) => Effect.flip(tracker.announce(url, request)))

      assert.deepStrictEqual(
        errors.map(({ retryAfter, why }) => [why, retryAfter]),
        cases.map(([, why]) => [why, "never"])
      )
    }).pipe(inNetwork())
  )
})

describe("UdpTracker and its sockets", () => {
  /** Counts the network's open ports, can break them, and refuses to open the first `refusals`. */
  const watched = Effect.gen(function* () {
    const port = yield* UdpPort
    const state = { open: 0, bound: 0, refusals: 0 }
    const broken: Array<Deferred.Deferred<void, ConnectionError>> = []
    const bind: UdpPort["Service"]["bind"] = Effect.fnUntraced(function* (options) {
      const address: PeerAddress.PeerAddress = options
      if (state.refusals-- > 0) return yield* new ConnectionError({ address, why: "too many open files" })
      const socket = yield* port.bind(options)
      const closed = yield* Deferred.make<void, ConnectionError>()
      broken.push(closed)
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          state.open++
          state.bound++
        }),
        () => Effect.sync(() => state.open--)
      )
      return { ...socket, closed: Effect.raceFirst(socket.closed, Deferred.await(closed)) } satisfies UdpSocket
    })
    const breakAll = Effect.sync(() => {
      const error = new ConnectionError({ address: { host: "0.0.0.0", port: 0 }, why: "network unreachable" })
      for (const closed of broken) Deferred.doneUnsafe(closed, Exit.fail(error))
    })
    const tracker = yield* Effect.provideService(makeTracker(), UdpPort, { bind })
    return { state, breakAll, tracker }
  })

  it.effect("opens a socket with the first request, and closes it a minute after the last", () =>
    Effect.gen(function* () {
      yield* serve(honest())
      const { state, tracker } = yield* watched
      assert.strictEqual(state.bound, 0)

      yield* tracker.announce(url, request)
      yield* tracker.announce(url, request)
      yield* TestClock.adjust(59_999)
      assert.deepStrictEqual([state.open, state.bound], [1, 1])
      yield* TestClock.adjust(1)

      assert.deepStrictEqual([state.open, state.bound], [0, 1])
    }).pipe(inNetwork())
  )

  it.effect("reports why no socket could be opened, and tries again with the next request", () =>
    Effect.gen(function* () {
      yield* serve(honest())
      const { state, tracker } = yield* watched
      state.refusals = 1

      const error = yield* Effect.flip(tracker.announce(url, request))
      const response = yield* tracker.announce(url, request)

      assert.strictEqual(error.why, "too many open files")
      assert.strictEqual(response.seeders, 4)
    }).pipe(inNetwork())
  )

  it.effect("fails when its socket breaks, and opens another", () =>
    Effect.gen(function* () {
      const answer = honest()
      let isSilent = true
      yield* serve((heard) => (isSilent ? [] : answer(heard)))
      const { breakAll, state, tracker } = yield* watched
      const fiber = yield* start(Effect.flip(tracker.announce(url, request)))

      yield* breakAll
      const error = yield* Fiber.join(fiber)
      isSilent = false
      const response = yield* tracker.announce(url, request)

      assert.strictEqual(error.why, "network unreachable")
      assert.strictEqual(response.seeders, 4)
      assert.deepStrictEqual([state.open, state.bound], [1, 2])
    }).pipe(inNetwork())
  )
})
