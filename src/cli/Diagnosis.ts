/**
 * The checks of `piecewise doctor`: what works from here. Each of them says what it found, and what to do if something
 * does not work. What a check cannot find out from here is `unknown`, which is no failure.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as PeerAddress from "../base/PeerAddress.ts"
import * as Reach from "../base/Reach.ts"
import type { EngineOptions, ListenOptions } from "../engine/EngineOptions.ts"
import { IoDaemon } from "../io-daemon/IoDaemon.ts"
import * as NodeUdpPort from "../network/provider/node/NodeUdpPort.ts"
import * as Offline from "../network/provider/node/Offline.ts"
import * as TcpTransport from "../network/provider/node/TcpTransport.ts"
import { Listener, UdpPort } from "../network/Transport.ts"
import type { UdpHubOptions } from "../network/UdpHub.ts"
import * as NodeIoDaemon from "../node/NodeIoDaemon.ts"
import * as DescriptorLimit from "../storage/provider/node/DescriptorLimit.ts"
import * as DhtDiagnosis from "./DhtDiagnosis.ts"
import type { DhtOptions } from "./DhtOptions.ts"
import * as DiskDiagnosis from "./DiskDiagnosis.ts"
import type { Finding } from "./Finding.ts"
import * as Findings from "./Finding.ts"

/** What is checked. */
export interface Options {
  /** The folder that a download would be stored in. It need not exist. */
  readonly directory: string
  /** Where peers may connect; `undefined` with `--no-listen`. */
  readonly listen: ListenOptions | undefined
  readonly from: string | undefined
  readonly dht: DhtOptions
  /** The port and the local addresses of UDP. */
  readonly udp: UdpHubOptions
  readonly encryption: EngineOptions["encryption"]
}

/** How long a check may take. All of them run at once. */
export const timeout: Duration.Input = "12 seconds"

const late = (...names: ReadonlyArray<string>): ReadonlyArray<Finding> =>
  names.map((name) => Findings.unknown(name, `there was no result within ${Duration.toSeconds(timeout)} seconds`))

/** Runs all checks. Never fails, and ends within a little more than `timeout`. */
export const run = (options: Options): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.flatMap(Deferred.make<number | undefined>(), (port) => runAll(options, port))

/** `port` completes with the TCP port on which peers can connect, if there is one, because the DHT takes its number. */
const runAll = (options: Options, port: Deferred.Deferred<number | undefined>) =>
  Effect.map(
    Effect.all(
      [
        within(listening(options, port), "listening", "incoming"),
        within(udp(options), "UDP"),
        within(DhtDiagnosis.run(options, Deferred.await(port)), DhtDiagnosis.names.ipv4, DhtDiagnosis.names.ipv6),
        within(Effect.succeed(encryption(options)), "encryption"),
        within(DiskDiagnosis.run(options.directory), "disk", "flush"),
        within(Effect.sync(files), "files"),
        within(daemon, "io-daemon")
      ],
      { concurrency: "unbounded" }
    ),
    (findings) => findings.flat()
  )

/**
 * Runs a check, for `timeout` at most. One that has not ended then is not waited for, because a call to a disk that is
 * gone may never return. If the caller is interrupted, the check cleans up first.
 */
export const within = (check: Effect.Effect<ReadonlyArray<Finding>>, ...names: ReadonlyArray<string>) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkDetach(check)
      const found = yield* restore(Effect.timeoutOption(Fiber.join(fiber), timeout)).pipe(
        Effect.onInterrupt(() => Fiber.interrupt(fiber))
      )
      if (Option.isSome(found)) return found.value
      fiber.interruptUnsafe()
      return late(...names)
    })
  )

/** Whether a connection from a host proves that the internet reaches us, and not only this machine or its network. */
export const isOutside = ({ host }: PeerAddress.PeerAddress): boolean => Reach.of(host) === "public"

/** Whether the port is free, and whether somebody connects while the DHT is being asked. */
const listening = Effect.fnUntraced(
  function* ({ dht, listen }: Options, port: Deferred.Deferred<number | undefined>) {
    if (listen === undefined) {
      yield* Deferred.succeed(port, undefined)
      return [
        Findings.unknown("listening", "nobody may connect, because of --no-listen"),
        Findings.unknown("incoming", "nobody may connect")
      ]
    }
    const ports = typeof listen.port === "number" ? [listen.port] : listen.port
    const hosts = listen.host === undefined ? ["::", "0.0.0.0"] : [listen.host]
    const listener = yield* Listener
    const attempt = yield* Effect.result(
      Effect.firstSuccessOf(hosts.flatMap((host) => ports.map((port) => listener.listen({ host, port }))))
    )
    yield* Deferred.succeed(port, attempt._tag === "Success" ? attempt.success.address.port : undefined)
    if (attempt._tag === "Failure") {
      const advice = "choose another port with --port, or another address with --bind"
      return [
        Findings.fails("listening", attempt.failure.why, advice),
        Findings.unknown("incoming", "nobody can connect")
      ]
    }
    const { accept, address } = attempt.success
    let caller: PeerAddress.PeerAddress | undefined
    const outsider = Effect.gen(function* () {
      while (caller === undefined) {
        const { remote } = yield* Effect.scoped(accept)
        if (isOutside(remote)) caller = remote
      }
    })
    // Others only hear of the port during a download, so a longer wait would show no more.
    yield* Effect.timeoutOption(outsider, dht === false ? "1 second" : DhtDiagnosis.time)
    return [
      Findings.works("listening", `peers can connect to TCP port ${address.port} of this machine`),
      incoming(caller, address, DhtDiagnosis.hostsOfMachine())
    ]
  },
  Effect.scoped,
  Effect.provide(TcpTransport.layerListener)
)

/** What is known of connections from outside. `hosts`: the addresses of this machine, without loopback. */
export const incoming = (
  caller: PeerAddress.PeerAddress | undefined,
  { host, port }: PeerAddress.PeerAddress,
  hosts: ReadonlyArray<string> | undefined
): Finding => {
  if (caller !== undefined) return Findings.works("incoming", `${caller.host} connected to us`)
  if (Reach.isThisMachine(host)) {
    return Findings.unknown("incoming", `only this machine can connect, because of --bind ${host}`)
  }
  if (hosts?.length === 0) return Findings.unknown("incoming", "this machine is in no network")
  return Findings.unknown(
    "incoming",
    "no connection from outside was seen, so it is unknown whether one can arrive",
    `if downloads are slow, open TCP port ${port} in the firewall and forward it in the router`
  )
}

/** Whether a datagram arrives that we send to ourselves. */
const udp = Effect.fnUntraced(
  function* ({ from }: Options) {
    const host = from ?? "127.0.0.1"
    const bound = yield* Effect.result(Effect.flatMap(UdpPort, (udp) => udp.bind({ host, port: 0 })))
    if (bound._tag === "Failure") {
      return [Findings.fails("UDP", bound.failure.why, "without UDP there is no DHT and no UDP tracker; see --bind")]
    }
    if (Offline.whyNot(host) !== undefined) {
      return [Findings.unknown("UDP", `nothing is sent to ${host}, because PIECEWISE_OFFLINE is set`)]
    }
    const socket = bound.success
    const arrived = Effect.callback<void>((resume) => {
      socket.receiveUnsafe(() => resume(Effect.void))
      socket.sendUnsafe(new TextEncoder().encode("piecewise"), socket.local)
    })
    const isThere = Option.isSome(yield* Effect.timeoutOption(arrived, "2 seconds"))
    return [
      isThere
        ? Findings.works("UDP", "datagrams are sent and received on this machine")
        : Findings.fails("UDP", "a datagram to this machine did not arrive", "look for a firewall that drops UDP")
    ]
  },
  Effect.scoped,
  Effect.provide(NodeUdpPort.layer)
)

const encryptions = {
  prefer: "connections to peers are encrypted if the peer can do so",
  require: "only peers that encrypt are connected to",
  off: "connections to peers are not encrypted"
}

const encryption = ({ encryption = "prefer" }: Options): ReadonlyArray<Finding> => [
  Findings.works(
    "encryption",
    encryptions[encryption],
    encryption === "off"
      ? "some peers and networks accept only encrypted connections; leave out --encryption off"
      : undefined
  )
]

/** Fewer open files and connections than this hold up an engine with its usual 200 connections. */
const fewDescriptors = 1_024

const files = (): ReadonlyArray<Finding> => {
  const limit = DescriptorLimit.ofProcess()
  if (limit === undefined) return [Findings.unknown("files", "this system does not say how many files may be open")]
  const what = `${limit === Number.POSITIVE_INFINITY ? "any number of" : limit} files and connections may be open`
  return [
    limit < fewDescriptors
      ? Findings.works("files", what, `raise it with ulimit -n ${fewDescriptors}`)
      : Findings.works("files", what)
  ]
}

/** Whether the io-daemon can be started. Only pages need it, and `--storage io-daemon`. */
const daemon = Effect.gen(function* () {
  const program = yield* NodeIoDaemon.findProgram
  yield* Effect.flatMap(IoDaemon, ({ endpoint }) => endpoint).pipe(Effect.provide(NodeIoDaemon.layerProcess({})))
  return [Findings.works("io-daemon", `${program} starts and answers`)]
}).pipe(
  Effect.catch(({ why }) =>
    Effect.succeed([
      Findings.unknown("io-daemon", why, "only browser pages, --storage io-daemon and --network io-daemon need it")
    ])
  ),
  Effect.scoped
)
