/**
 * The checks of `piecewise doctor`: what works from here. Each of them says what it found, and what to do if something
 * does not work. What a check cannot find out from here is `unknown`, which is no failure.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { InfoHash } from "../base/InfoHash.ts"
import type * as PeerAddress from "../base/PeerAddress.ts"
import * as Reach from "../base/Reach.ts"
import { Dht } from "../discovery/dht/Dht.ts"
import type { DhtStatus, FamilyStatus } from "../discovery/dht/DhtStatus.ts"
import type { EngineOptions, ListenOptions } from "../engine/EngineOptions.ts"
import { IoDaemon } from "../io-daemon/IoDaemon.ts"
import * as NodeUdpPort from "../network/provider/node/NodeUdpPort.ts"
import * as Offline from "../network/provider/node/Offline.ts"
import * as TcpTransport from "../network/provider/node/TcpTransport.ts"
import { Listener, UdpPort } from "../network/Transport.ts"
import { UdpHub, type UdpHubOptions } from "../network/UdpHub.ts"
import * as NodeDht from "../node/NodeDht.ts"
import * as NodeIoDaemon from "../node/NodeIoDaemon.ts"
import * as NodeUdpHub from "../node/NodeUdpHub.ts"
import * as DescriptorLimit from "../storage/provider/node/DescriptorLimit.ts"
import type { DhtOptions } from "./DhtOptions.ts"
import * as SystemErrors from "./SystemErrors.ts"
import * as Units from "./Units.ts"

/** What a check found. */
export interface Finding {
  readonly name: string
  readonly state: "works" | "fails" | "unknown"
  /** What was found: a clause for people. */
  readonly what: string
  /** What to do about it; `undefined` if there is nothing to do. */
  readonly advice: string | undefined
}

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

/** How long the first nodes of the DHT may take. Most answer in a second or two. */
const dhtTime: Duration.Input = "10 seconds"

/** How many nodes answer before the DHT counts as joined: as many as store an announce (BEP 5). */
const enoughNodes = 8

/** How often the state of the DHT is looked at. */
const pollTime: Duration.Input = "200 millis"

const works = (name: string, what: string, advice?: string): Finding => ({ name, state: "works", what, advice })
const fails = (name: string, what: string, advice: string): Finding => ({ name, state: "fails", what, advice })
const unknown = (name: string, what: string, advice?: string): Finding => ({ name, state: "unknown", what, advice })

const late = (...names: ReadonlyArray<string>): ReadonlyArray<Finding> =>
  names.map((name) => unknown(name, `there was no result within ${Duration.toSeconds(timeout)} seconds`))

/** Runs all checks. Never fails, and ends within a little more than `timeout`. */
export const run = (options: Options): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.flatMap(Deferred.make<number | undefined>(), (port) => runAll(options, port))

/** `port` completes with the TCP port on which peers can connect, if there is one, because the DHT takes its number. */
const runAll = (options: Options, port: ListeningAt) =>
  Effect.map(
    Effect.all(
      [
        within(listening(options, port), "listening", "incoming"),
        within(udp(options), "UDP"),
        within(dht(options, port), "DHT IPv4", "DHT IPv6"),
        within(Effect.succeed(encryption(options)), "encryption"),
        within(disk(options), "disk", "flush"),
        within(Effect.sync(files), "files"),
        within(daemon, "io-daemon")
      ],
      { concurrency: "unbounded" }
    ),
    (findings) => findings.flat()
  )

type ListeningAt = Deferred.Deferred<number | undefined>

const within = (check: Effect.Effect<ReadonlyArray<Finding>>, ...names: ReadonlyArray<string>) =>
  Effect.map(
    Effect.timeoutOption(check, timeout),
    Option.getOrElse(() => late(...names))
  )

/** Whether a connection from a host proves that the internet reaches us, and not only this machine or its network. */
export const isOutside = ({ host }: PeerAddress.PeerAddress): boolean => Reach.of(host) === "public"

/** Whether the port is free, and whether somebody connects while the DHT is being asked. */
const listening = Effect.fnUntraced(
  function* ({ dht, listen }: Options, port: ListeningAt) {
    if (listen === undefined) {
      yield* Deferred.succeed(port, undefined)
      return [
        unknown("listening", "nobody may connect, because of --no-listen"),
        unknown("incoming", "nobody may connect")
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
      return [fails("listening", attempt.failure.why, advice), unknown("incoming", "nobody can connect")]
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
    yield* Effect.timeoutOption(outsider, dht === false ? "1 second" : dhtTime)
    return [
      works("listening", `peers can connect to TCP port ${address.port} of this machine`),
      incoming(caller, address)
    ]
  },
  Effect.scoped,
  Effect.provide(TcpTransport.layerListener)
)

const incoming = (caller: PeerAddress.PeerAddress | undefined, { port }: PeerAddress.PeerAddress): Finding =>
  caller === undefined
    ? unknown(
        "incoming",
        "no connection from outside was seen, so it is unknown whether one can arrive",
        `if downloads are slow, open TCP port ${port} in the firewall and forward it in the router`
      )
    : works("incoming", `${caller.host} connected to us`)

/** Whether a datagram arrives that we send to ourselves. */
const udp = Effect.fnUntraced(
  function* ({ from }: Options) {
    const host = from ?? "127.0.0.1"
    const bound = yield* Effect.result(Effect.flatMap(UdpPort, (udp) => udp.bind({ host, port: 0 })))
    if (bound._tag === "Failure") {
      return [fails("UDP", bound.failure.why, "without UDP there is no DHT and no UDP tracker; see --bind")]
    }
    const socket = bound.success
    const arrived = Effect.callback<void>((resume) => {
      socket.receiveUnsafe(() => resume(Effect.void))
      socket.sendUnsafe(new TextEncoder().encode("piecewise"), socket.local)
    })
    const isThere = Option.isSome(yield* Effect.timeoutOption(arrived, "2 seconds"))
    return [
      isThere
        ? works("UDP", "datagrams are sent and received on this machine")
        : fails("UDP", "a datagram to this machine did not arrive", "look for a firewall that drops UDP")
    ]
  },
  Effect.scoped,
  Effect.provide(NodeUdpPort.layer)
)

/** Whether nodes of the DHT answer. */
const dht = ({ dht, udp }: Options, listeningAt: ListeningAt): Effect.Effect<ReadonlyArray<Finding>> =>
  dht === false
    ? Effect.succeed([
        unknown("DHT IPv4", "not asked, because of --no-dht"),
        unknown("DHT IPv6", "not asked, because of --no-dht")
      ])
    : Effect.gen(function* () {
        const node = yield* Dht
        const port = yield* Deferred.await(listeningAt)
        if (port !== undefined) yield* Effect.flatMap(UdpHub, (hub) => hub.follow(port))
        // A lookup of nobody's torrent asks the nodes that are known, and those that they name.
        const infoHash = crypto.getRandomValues(new Uint8Array(20)) as InfoHash
        const lookup = Effect.forever(Effect.andThen(Stream.runDrain(node.peers(infoHash)), Effect.sleep(pollTime)))
        const looking = yield* Effect.forkChild(lookup)
        const joined = Effect.gen(function* () {
          while (!isJoined(yield* node.status)) yield* Effect.sleep(pollTime)
        })
        yield* Effect.timeoutOption(joined, dhtTime)
        const status = yield* node.status
        yield* Fiber.interrupt(looking)
        const wanted = udp.port ?? port
        return [ofFamily("DHT IPv4", status.ipv4, wanted), ofFamily("DHT IPv6", status.ipv6, wanted)]
      }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(NodeDht.layerHub(dht), NodeUdpHub.layerPort(udp))))

const isJoined = ({ ipv4, ipv6 }: DhtStatus): boolean =>
  [ipv4, ipv6].some((family) => (family?.goodNodes ?? 0) >= enoughNodes)

/** What the state of a node says. `wanted` is the UDP port that it should have, 0 for any: that of TCP, or a chosen one. */
export const ofFamily = (name: string, family: FamilyStatus | undefined, wanted = 0): Finding => {
  if (family === undefined) return unknown(name, "this machine has no such address, or no free UDP port")
  const { externalHost, goodNodes, isReachable, local, nodes } = family
  if (goodNodes > 0) {
    const seen = externalHost === undefined ? "" : `; they see us at ${externalHost}`
    const reached = isReachable === true ? "; others reach us" : ""
    const isTaken = wanted !== 0 && wanted !== local.port
    return works(
      name,
      `${Units.count(goodNodes, "node")} answered UDP port ${local.port}${seen}${reached}`,
      isTaken
        ? `another program uses UDP port ${wanted}, so others may not reach the DHT through a router; choose another --port`
        : undefined
    )
  }
  if (Offline.isOn()) return unknown(name, "no node was asked elsewhere, because PIECEWISE_OFFLINE is set")
  const what = nodes === 0 ? "no node answered, and no router" : `none of ${Units.count(nodes, "known node")} answered`
  return name.endsWith("IPv6")
    ? unknown(name, `${what}; the machine may have no IPv6`)
    : fails(name, what, "allow UDP in the firewall, or use --no-dht if this network forbids it")
}

const encryptions = {
  prefer: "connections to peers are encrypted if the peer can do so",
  require: "only peers that encrypt are connected to",
  off: "connections to peers are not encrypted"
}

const encryption = ({ encryption = "prefer" }: Options): ReadonlyArray<Finding> => [
  works(
    "encryption",
    encryptions[encryption],
    encryption === "off"
      ? "some peers and networks accept only encrypted connections; leave out --encryption off"
      : undefined
  )
]

/** How much is written to see how fast the disk is. */
const testBytes = 16 * 1_024 * 1_024

/** A disk that takes longer to confirm 16 MiB holds up downloads. */
const slowFlushMillis = 2_000

/** Whether a file can be written in the folder and flushed. The file is removed. */
const disk = ({ directory }: Options): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.tryPromise({
    try: async () => {
      const folder = await nearest(Path.resolve(directory))
      const file = Path.join(folder, `.piecewise-doctor-${process.pid}`)
      const began = performance.now()
      const handle = await FileSystem.open(file, "wx")
      try {
        await handle.writeFile(new Uint8Array(testBytes))
        const written = performance.now()
        await handle.sync()
        const flushed = performance.now()
        const { bavail, bsize } = await FileSystem.statfs(folder)
        return { folder, free: bavail * bsize, writing: written - began, flushing: flushed - written }
      } finally {
        await handle.close()
        await FileSystem.rm(file, { force: true })
      }
    },
    catch: SystemErrors.why
  }).pipe(
    Effect.match({
      onFailure: (why) => [
        fails("disk", `${directory}: ${why}`, "choose another folder with --output"),
        unknown("flush", "nothing could be written")
      ],
      onSuccess: ({ flushing, folder, free, writing }) => [
        works(
          "disk",
          `${folder} can be written, ${Units.bytes(testBytes / (writing / 1_000))}/s, ${Units.bytes(free)} are free`
        ),
        works(
          "flush",
          `the disk confirms ${Units.bytes(testBytes)} in ${Math.ceil(flushing)} ms`,
          flushing > slowFlushMillis ? "downloads may be faster on another disk" : undefined
        )
      ]
    })
  )

/** The folder, or its nearest ancestor that exists. */
const nearest = async (folder: string): Promise<string> => {
  try {
    await FileSystem.stat(folder)
    return folder
  } catch (cause) {
    if (SystemErrors.codeOf(cause) !== "ENOENT" || folder === Path.dirname(folder)) throw cause
    return nearest(Path.dirname(folder))
  }
}

/** Fewer open files and connections than this hold up an engine with its usual 200 connections. */
const fewDescriptors = 1_024

const files = (): ReadonlyArray<Finding> => {
  const limit = DescriptorLimit.ofProcess()
  if (limit === undefined) return [unknown("files", "this system does not say how many files may be open")]
  const what = `${limit === Number.POSITIVE_INFINITY ? "any number of" : limit} files and connections may be open`
  return [
    limit < fewDescriptors ? works("files", what, `raise it with ulimit -n ${fewDescriptors}`) : works("files", what)
  ]
}

/** Whether the io-daemon can be started. Only pages need it, and `--storage io-daemon`. */
const daemon = Effect.gen(function* () {
  const program = yield* NodeIoDaemon.findProgram
  yield* Effect.flatMap(IoDaemon, ({ endpoint }) => endpoint).pipe(Effect.provide(NodeIoDaemon.layerProcess({})))
  return [works("io-daemon", `${program} starts and answers`)]
}).pipe(
  Effect.catch(({ why }) =>
    Effect.succeed([
      unknown("io-daemon", why, "only browser pages, --storage io-daemon and --network io-daemon need it")
    ])
  ),
  Effect.scoped
)
