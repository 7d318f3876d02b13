/**
 * Whether nodes of the DHT answer. If none does, what else is known of the way to them decides whether that is a fault
 * of this machine's firewall, or unknown.
 */
import * as Os from "node:os"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as CompactPeers from "../base/CompactPeers.ts"
import * as Environment from "../base/Environment.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Reach from "../base/Reach.ts"
import { Dht } from "../discovery/dht/Dht.ts"
import type { DhtStatus, FamilyStatus } from "../discovery/dht/DhtStatus.ts"
import * as Offline from "../network/provider/node/Offline.ts"
import { UdpHub, type UdpHubOptions } from "../network/UdpHub.ts"
import * as NodeDht from "../node/NodeDht.ts"
import * as NodeLookup from "../node/NodeLookup.ts"
import * as NodeUdpHub from "../node/NodeUdpHub.ts"
import type { DhtOptions } from "./DhtOptions.ts"
import type { Finding } from "./Finding.ts"
import * as Findings from "./Finding.ts"
import * as Units from "./Units.ts"

/** How long the first nodes may take. Most answer in a second or two, over IPv6 sometimes later. */
export const time: Duration.Input = "10 seconds"

/** How many nodes answer before the DHT counts as joined: as many as store an announce (BEP 5). */
const enoughNodes = 8

/** How often the state of the DHT is looked at. */
const pollTime: Duration.Input = "200 millis"

/** The names of the findings. */
export const names = { ipv4: "DHT IPv4", ipv6: "DHT IPv6" } as const

/** What is known of the way to nodes besides their answers. */
export interface Surroundings {
  /** Whether `PIECEWISE_OFFLINE` is set. */
  readonly isOffline: boolean
  /** The local addresses that UDP is bound to, and what says so; `undefined` if it is bound to all. */
  readonly bound: { readonly hosts: ReadonlyArray<string>; readonly by: string } | undefined
  /** The addresses of this machine's networks, without loopback; `undefined` if the system does not say. */
  readonly hosts: ReadonlyArray<string> | undefined
  /** Whether the name of a router was resolved; `undefined` if none was looked up. */
  readonly isResolved: boolean | undefined
  /** The UDP port that a node should have, that of TCP or a chosen one; 0 for any. */
  readonly wantedPort: number
}

/** How the DHT is joined. */
export interface Options {
  readonly dht: DhtOptions
  readonly from: string | undefined
  /** The port and the local addresses of UDP. */
  readonly udp: UdpHubOptions
}

/** The addresses by which others may reach this machine; `undefined` if the system does not say. */
export const hostsOfMachine = (): ReadonlyArray<string> | undefined => {
  try {
    const all = Object.values(Os.networkInterfaces()).flatMap((found) => found ?? [])
    return all.filter(({ internal }) => !internal).map(({ address }) => address)
  } catch {
    return undefined
  }
}

/**
 * Joins the DHT with the nodes that are remembered, and changes nothing of these. `listeningPort`: the TCP port on which
 * peers can connect, if there is one.
 */
export const run = (
  { dht, from, udp }: Options,
  listeningPort: Effect.Effect<number | undefined>
): Effect.Effect<ReadonlyArray<Finding>> => {
  if (dht === false) {
    return Effect.succeed(Object.values(names).map((name) => Findings.unknown(name, "not asked, because of --no-dht")))
  }
  let isResolved: boolean | undefined
  const lookup: NodeLookup.NodeLookup = async (host, hints) => {
    isResolved ??= false
    const found = await NodeLookup.system(host, hints)
    isResolved ||= found.length > 0
    return found
  }
  return Effect.gen(function* () {
    const port = yield* listeningPort
    if (port !== undefined) yield* Effect.flatMap(UdpHub, (hub) => hub.follow(port))
    const status = yield* ask
    const surroundings: Surroundings = {
      isOffline: Offline.isOn(),
      bound: boundOf({ from, udp }),
      hosts: hostsOfMachine(),
      isResolved,
      wantedPort: udp.port ?? port ?? 0
    }
    return CompactPeers.families.map((family) => ofFamily(family, nodesOf(family, status), surroundings))
  }).pipe(
    Effect.scoped,
    Effect.provide(
      Layer.provideMerge(NodeDht.layerHub({ ...dht, isLoadOnly: true }, lookup), NodeUdpHub.layerPort(udp))
    )
  )
}

/** The state of the DHT when enough nodes of each family have answered, or at the end of `time`. */
export const ask = Effect.gen(function* () {
  const dht = yield* Dht
  // A lookup of nobody's torrent asks the nodes that are known, and those that they name.
  const infoHash = crypto.getRandomValues(new Uint8Array(20)) as InfoHash
  const lookup = Effect.forever(Effect.andThen(Stream.runDrain(dht.peers(infoHash)), Effect.sleep(pollTime)))
  const looking = yield* Effect.forkChild(lookup)
  const joined = Effect.gen(function* () {
    while (!isJoined(yield* dht.status)) yield* Effect.sleep(pollTime)
  })
  yield* Effect.timeoutOption(joined, time)
  const status = yield* dht.status
  yield* Fiber.interrupt(looking)
  return status
})

const isJoined = (status: DhtStatus): boolean => {
  const open = CompactPeers.families.flatMap((family) => nodesOf(family, status))
  return open.length > 0 && open.every(({ goodNodes }) => goodNodes >= enoughNodes)
}

/** Our nodes of a family. */
const nodesOf = (family: CompactPeers.Family, status: DhtStatus): ReadonlyArray<FamilyStatus> => {
  const others = (status.others ?? []).filter(({ local }) => familyOf(local.host) === family)
  const first = status[family]
  return first === undefined ? others : [first, ...others]
}

const boundOf = ({ from, udp }: Pick<Options, "from" | "udp">): Surroundings["bound"] => {
  if (from !== undefined) return { hosts: [from], by: `--bind ${from}` }
  if (udp.host === undefined) return undefined
  const hosts = typeof udp.host === "string" ? [udp.host] : udp.host
  return { hosts, by: `${Environment.udpBindName}=${hosts.join(",")}` }
}

const labels = { ipv4: "IPv4", ipv6: "IPv6" } as const

const familyOf = (host: string): CompactPeers.Family | undefined => CompactPeers.familyOf({ host })

/** What the state of our nodes of a family says. Of several, the one that has most answers speaks for all. */
export const ofFamily = (
  family: CompactPeers.Family,
  nodes: ReadonlyArray<FamilyStatus>,
  surroundings: Surroundings
): Finding => {
  const name = names[family]
  const { bound, wantedPort } = surroundings
  const [best, ...rest] = [...nodes].sort((a, b) => b.goodNodes - a.goodNodes)
  if (best === undefined) {
    return bound?.hosts.every((host) => familyOf(host) !== family)
      ? Findings.unknown(name, `not asked, because ${bound.by} names no ${labels[family]} address`)
      : Findings.unknown(name, "this machine has no such address, or no free UDP port")
  }
  if (best.goodNodes === 0) return silent(family, best, surroundings)
  const { externalHost, goodNodes, isReachable, local } = best
  const seen = externalHost === undefined ? "" : `; they see us at ${externalHost}`
  const reached = isReachable === true ? "; others reach us" : ""
  const isTaken = wantedPort !== 0 && wantedPort !== local.port
  return Findings.works(
    name,
    `${Units.count(goodNodes, "node")} answered UDP port ${local.port}${seen}${reached}`,
    isTaken
      ? `another program uses UDP port ${wantedPort}, so others may not reach the DHT through a router; choose another --port`
      : adviceOf(rest.filter((node) => node.goodNodes === 0))
  )
}

const adviceOf = (unanswered: ReadonlyArray<FamilyStatus>): string | undefined => {
  if (unanswered.length === 0) return undefined
  const hosts = unanswered.map(({ local }) => local.host).join(" and ")
  return `no node answered at ${hosts}, so see whether the network of that address is online`
}

/** No node answered. Only a machine that is not offline blames its firewall. */
const silent = (
  family: CompactPeers.Family,
  { nodes }: FamilyStatus,
  { bound, hosts, isOffline, isResolved }: Surroundings
): Finding => {
  const [name, label] = [names[family], labels[family]]
  const what = nodes === 0 ? "no node answered, and no router" : `none of ${Units.count(nodes, "known node")} answered`
  if (isOffline) return Findings.unknown(name, "no node was asked elsewhere, because PIECEWISE_OFFLINE is set")
  if (bound?.hosts.every((host) => familyOf(host) !== family || Reach.isThisMachine(host))) {
    return Findings.unknown(name, `${what}; ${bound.by} reaches this machine alone`)
  }
  if (hosts?.some((host) => isOutside(host, family)) === false) {
    return Findings.unknown(name, `this machine has no ${label} address that reaches others`)
  }
  if (isResolved === false) {
    const advice = "see whether this machine is online, and whether it can look up names"
    return Findings.unknown(name, `${what}, and no name of a router can be resolved`, advice)
  }
  if (family === "ipv6") {
    return Findings.unknown(name, what, "if other programs reach hosts over IPv6, allow UDP over it in the firewall")
  }
  if (isResolved === undefined) {
    return Findings.unknown(name, what, "see whether this machine is online, and allow UDP in the firewall")
  }
  const advice =
    bound === undefined
      ? "allow UDP in the firewall, or use --no-dht if this network forbids it"
      : `see whether the network of ${bound.by} is online, and allow UDP in the firewall`
  return Findings.fails(name, what, advice)
}

/** Whether an address of this machine may reach nodes. In IPv4 the router may translate it. */
const isOutside = (host: string, family: CompactPeers.Family): boolean =>
  familyOf(host) === family && (family === "ipv6" ? Reach.of(host) === "public" : !Reach.isLinkLocal(host))
